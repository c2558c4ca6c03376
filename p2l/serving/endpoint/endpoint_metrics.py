"""The endpoint's metrics."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from p2l.serving.http.prometheus import exposition

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class EndpointMetrics:
    """Counters of requests, batches and the queue; labels hold no text of a client."""

    def __init__(self) -> None:
        self.registry = here = CollectorRegistry()
        routes, statuses = ["route"], ["route", "status"]
        live: Literal["livesum"] = "livesum"  # the sum over the workers that live
        self._requests = Counter("p2l_requests", "Requests answered", statuses, registry=here)
        self._latency = Histogram("p2l_request_seconds", "Time to the answer", routes, buckets=_SECONDS, registry=here)
        self._refused = Counter("p2l_refused", "Requests refused, by reason", ["reason"], registry=here)
        self._dropped = Counter("p2l_dropped_prompts", "Prompts whose client left before their turn", registry=here)
        self._prompts = Counter("p2l_prompts", "Prompts ranked", registry=here)
        self._tokens = Counter("p2l_tokens", "Tokens ranked, padding not counted", registry=here)
        self._padding = Counter("p2l_padding_tokens", "Padding beside them", registry=here)
        self._batches = Histogram("p2l_batch_prompts", "Prompts in a batch", buckets=_SIZES, registry=here)
        self._forward = Counter("p2l_forward_seconds", "Time that the network ran", registry=here)
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

    def dropped(self, prompts: int) -> None:
        self._dropped.inc(prompts)

    def waiting(self, prompts: int, tokens: int) -> None:
        self._waiting.set(prompts)
        self._waiting_tokens.set(tokens)

    def exposition(self) -> bytes:
        return exposition(self.registry)
