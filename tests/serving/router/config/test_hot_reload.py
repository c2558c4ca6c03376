"""Hot reload of the configuration."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, Running, chat, delta, model, stream


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestReload:
    def rewrite(self, running: Running, change: Any) -> None:
        config = yaml.safe_load(running.config_path.read_text())
        change(config)
        self.write(running, yaml.safe_dump(config))

    def write(self, running: Running, text: str) -> None:
        """All at once: a file that is still being written would be looked at."""
        new = running.config_path.with_suffix(".new")
        new.write_text(text)
        new.replace(running.config_path)

    def until_renamed(self, running: Running, old: str, new: str) -> None:
        self.rewrite(running, lambda config: config["model_configs"].update({new: config["model_configs"].pop(old)}))
        until(lambda: new in running.container.snapshot.config.model_configs)

    def until_refused(self, running: Running, times: int) -> None:
        expected = f'p2l_router_reloads_total{{result="refused"}} {times}.0'.encode()
        until(lambda: expected in running.container.metrics.exposition())

    def test_new_requests_get_the_new_configuration_and_streams_go_on(self, start: Starter) -> None:
        fake = start.upstream(lambda seen: stream(*[delta("x")] * 10, delta(finish="stop"), pause=0.05))
        running = start.router({"old": model(fake.url)}, router_type="random")
        client = start.client(running)
        chunks = iter(client.chat.completions.create(model="-", messages=HELLO, stream=True))
        first = next(chunks)
        self.until_renamed(running, "old", "new")
        assert [entry.id for entry in client.models.list().data] == ["p2l-router", "new"]
        rest = [chunk.choices[0].delta for chunk in chunks]
        assert first.choices[0].delta.content == "x" and len(rest) == 10 and rest[-1].model_dump()["model"] == "old"

    def test_an_invalid_file_changes_nothing(self, start: Starter) -> None:
        fake = start.upstream()
        running = start.router({"m": model(fake.url)}, router_type="random")
        before = running.container.snapshot
        self.rewrite(running, lambda config: config["model_configs"]["m"].update(cost=-1))
        self.until_refused(running, 1)
        assert running.container.snapshot is before and chat(start.client(running))["x-p2l-model"] == "m"

    @pytest.mark.parametrize(
        "more",
        ["name: 2024-13-45", "router: {mean_cost: 1.0, mean_cost_state: nowhere/x.sqlite}", "name: a mistake of ours"],
    )
    def test_the_next_valid_file_is_loaded(self, start: Starter, more: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(options: RouterOptions) -> Snapshot:
            if "mistake" in options.config.read_text():
                raise AssertionError("this is no error that the router raises on purpose")
            return Snapshot.of(load_config(options.config), options.api_key, options.cost_optimizer)

        monkeypatch.setattr(Snapshot, "load", load)
        running = start.router({"old": model(start.upstream().url)}, router_type="random")
        client, sound = start.client(running), running.config_path.read_text()
        self.write(running, f"{sound}\n{more}\n")
        self.until_refused(running, 1)
        assert chat(client)["x-p2l-model"] == "old"
        self.write(running, sound)
        self.until_renamed(running, "old", "new")
        assert chat(client)["x-p2l-model"] == "new"
