"""The router's metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from p2l.serving.http.prometheus import exposition
from p2l.serving.router.conversation.read_text import ReadText

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class RouterMetrics:
    """Counters and histograms; labels are routes, statuses and configured names, never text of a client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "p2l_router_requests", "Requests by route and status", ("route", "status"), registry=self.registry
        )
        self.routing = self._seconds("routing_seconds", "Time to score a prompt and choose")
        self.scored = self._counter("scored_prompts", "Prompts by where their scores came from", ("source",))
        self.prompt_characters = self._counter(
            "prompt_characters", "Characters of scored turns by what became of them", ("part",)
        )
        self.read_instead = self._counter(
            "read_instead", "Prompts whose rules left nothing, by what was read", ("read",)
        )
        self.switches = self._counter("session_switches", "Answers by another model than the one before", ("model",))
        self.switch_cost = self._counter("session_switch_cost", "Price of these switches", ("model",))
        self.latency = self._seconds("request_seconds", "Time to the whole answer", ("route",))
        self.first_chunk = self._seconds("first_chunk_seconds", "Time to the first chunk of a stream", ("model",))
        self.choices = self._counter("choices", "Answers by model", ("model",))
        self.attempts = self._counter("upstream_failures", "Failed attempts by model and reason", ("model", "reason"))
        self.fallbacks = self._counter("fallbacks", "Answers by another model than the one chosen", ("model",))
        self.cost = self._counter("cost", "Cost of answers, in the unit of the configuration", ("model",))
        self.tokens = self._counter("tokens", "Tokens of answers by model and kind", ("model", "kind"))
        self.reloads = self._counter("reloads", "Reloads of the configuration", ("result",))
        self.streams = Gauge(
            "p2l_router_open_streams", "Streams under way", registry=self.registry, multiprocess_mode="livesum"
        )

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"p2l_router_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(f"p2l_router_{name}", text, labels, registry=self.registry, buckets=_SECONDS)

    def count_response(self, route: str | None, status: int, seconds: float) -> None:
        self.requests.labels(route or "none", status).inc()

    def count_scored(self, source: str) -> None:
        self.scored.labels(source).inc()

    def count_read(self, read: ReadText) -> None:
        """Count what was read of a request, and what was left out by which rule."""
        self.prompt_characters.labels("read").inc(read.characters)
        for rule, characters in read.left_out.items():
            self.prompt_characters.labels(rule).inc(characters)
        if read.instead is not None:
            self.read_instead.labels(read.instead).inc()

    def count_switch(self, model: str, price: float) -> None:
        self.switches.labels(model).inc()
        self.switch_cost.labels(model).inc(price)

    def exposition(self) -> bytes:
        return exposition(self.registry)
