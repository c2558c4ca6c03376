"""Starts faked upstreams and routers before them, and stops them after the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serving.router.fakes import KEY, Reply, Running, Seen, Upstream, completion, model, router, upstream

Answer = Callable[[Seen], Reply]
# of a router that does not wait long for a silent upstream; on a busy machine a sound one may take as long
IMPATIENT = {"calls": {"backoff": 0.01, "read_timeout": 0.5}}


class Starter:
    """Starts things that end with the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def upstream(self, answer: Answer | None = None) -> Upstream:
        """An upstream that says hello by default."""
        return self._stack.enter_context(upstream(answer or (lambda seen: Reply(body=completion()))))

    def router(self, models: dict[str, dict[str, Any]], rest: dict[str, Any] | None = None, **options: Any) -> Running:
        """A router over models; the first is best, unless a router type with its endpoint says otherwise."""
        config = {"model_configs": models, "calls": {"backoff": 0.01, "read_timeout": 5.0}} | (rest or {})
        if "router_type" not in options:
            ranks = {name: float(len(models) - rank) for rank, name in enumerate(models)}
            options |= {"router_type": "bt-endpoint", "router_model_endpoint": self.scorer(ranks).url}
        return self._stack.enter_context(router(self._folder, config, **options))

    def scorer(self, coefs: dict[str, float], eta: float | None = 0.1) -> Upstream:
        """A P2L endpoint that ranks every prompt alike."""

        def answer(seen: Seen) -> Reply:
            if seen.path == "/models":
                return Reply(body={"models": list(coefs)})
            return Reply(body={"coefs": list(coefs.values()), "eta": eta})

        return self.upstream(answer)

    def one(self, answer: Answer | None = None, **keys: Any) -> tuple[Upstream, openai.OpenAI]:
        """An upstream, and a client of a router before it."""
        fake = self.upstream(answer)
        running = self.router({"model": model(fake.url, **keys)}, router_type="random")
        return fake, self.client(running)

    def client(self, running: Running, key: str = KEY) -> openai.OpenAI:
        return self._stack.enter_context(openai.OpenAI(base_url=running.base, api_key=key, max_retries=0, timeout=20))


@pytest.fixture(autouse=True)
def _logs_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line sets up logs for its process, which here is pytest's."""
    monkeypatch.setattr("p2l.serving.router.router_command.set_up_logs", lambda level: None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Upstream, Running]]:
    """One upstream with its router for the many small requests of a file."""
    with ExitStack() as stack:
        starter = Starter(tmp_path_factory.mktemp("shared"), stack)
        fake = starter.upstream()
        yield fake, starter.router({"m": model(fake.url)}, router_type="random")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    with ExitStack() as stack:
        yield Starter(tmp_path, stack)
