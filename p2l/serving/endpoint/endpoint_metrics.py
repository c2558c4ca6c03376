"""The endpoint's metrics."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from p2l.serving.http.prometheus import exposition

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class EndpointMetrics:
    """Counters of requests, batches, caches and the queue; labels hold no text of a client."""

    def __init__(self) -> None:
        self.registry = here = CollectorRegistry()
        routes, statuses, sources, caches = ["route"], ["route", "status"], ["source"], ["cache"]
        live: Literal["livesum"] = "livesum"  # the sum over the workers that live
        self._requests = Counter("p2l_requests", "Requests answered", statuses, registry=here)
        self._latency = Histogram("p2l_request_seconds", "Time to the answer", routes, buckets=_SECONDS, registry=here)
        self._refused = Counter("p2l_refused", "Requests refused, by reason", ["reason"], registry=here)
        self._dropped = Counter("p2l_dropped_prompts", "Prompts whose client left before their turn", registry=here)
        self._prompts = Counter("p2l_prompts", "Prompts ranked", registry=here)
        self._repeated = Counter(
            "p2l_repeated_prompts", "Of these, answered from the cache or by a pass under way", sources, registry=here
        )
        self._tokens = Counter(
            "p2l_tokens", "Tokens of the prompts that the network ranked, padding not counted", registry=here
        )
        self._skipped = Counter("p2l_cached_tokens", "Of these, found in the cache of prefixes", registry=here)
        self._padding = Counter("p2l_padding_tokens", "Padding beside them", registry=here)
        self._batches = Histogram("p2l_batch_prompts", "Prompts in a batch", buckets=_SIZES, registry=here)
        self._forward = Counter("p2l_forward_seconds", "Time that the network ran", registry=here)
        self._entries = Gauge(
            "p2l_cache_entries", "Answers; blocks of prefixes", caches, registry=here, multiprocess_mode=live
        )
        self._cached_bytes = Gauge(
            "p2l_cache_bytes", "Memory of a cache", caches, registry=here, multiprocess_mode=live
        )
        self._difference = Gauge(
            "p2l_backend_difference_nats", "Largest difference of a coefficient from torch's, at load", ["backend"],
            registry=here, multiprocess_mode="livemax",
        )  # fmt: skip
        self._waiting = Gauge("p2l_waiting_prompts", "That wait or run", registry=here, multiprocess_mode=live)
        self._waiting_tokens = Gauge("p2l_waiting_tokens", "Of these", registry=here, multiprocess_mode=live)

    def count_response(self, route: str | None, status: int, seconds: float) -> None:
        self._requests.labels(route or "other", str(status)).inc()
        self._latency.labels(route or "other").observe(seconds)
        if status == 413:
            self.refused("too large")

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def batch_done(self, prompts: int, tokens: int, padded: int, seconds: float) -> None:
        self._prompts.inc(prompts)
        self._tokens.inc(tokens)
        self._padding.inc(padded - tokens)
        self._batches.observe(prompts)
        self._forward.inc(seconds)

    def repeated(self, answered: int, shared: int) -> None:
        self._prompts.inc(answered + shared)
        self._repeated.labels("cache").inc(answered)
        self._repeated.labels("shared").inc(shared)

    def answers_cached(self, answers: int, size: int) -> None:
        self._entries.labels("answers").set(answers)
        self._cached_bytes.labels("answers").set(size)

    def prefixes_cached(self, blocks: int, size: int, found: int) -> None:
        self._skipped.inc(found)
        self._entries.labels("prefixes").set(blocks)
        self._cached_bytes.labels("prefixes").set(size)

    def backend(self, name: str, difference: float) -> None:
        """Report what computes the network, and by how much its coefficients differ from torch's (nats)."""
        self._difference.labels(name).set(difference)

    def dropped(self, prompts: int) -> None:
        self._dropped.inc(prompts)

    def waiting(self, prompts: int, tokens: int) -> None:
        self._waiting.set(prompts)
        self._waiting_tokens.set(tokens)

    def exposition(self) -> bytes:
        return exposition(self.registry)
