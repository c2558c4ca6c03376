"""Metrics in the text format of Prometheus; with several workers, the sum over all of them."""

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the metrics of a registry, or of all workers if they share a metrics folder."""
    if METRICS_FOLDER_VARIABLE not in os.environ:
        return generate_latest(registry)
    all_workers = CollectorRegistry()
    MultiProcessCollector(all_workers)
    return generate_latest(all_workers)
