"""Hot reload of the configuration."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
import yaml

from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, Running, chat, delta, model, stream
from tests.waiting import wait_until


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
        wait_until(lambda: new in running.container.snapshot.config.model_configs)

    def until_refused(self, running: Running, times: int) -> None:
        expected = f'p2l_router_reloads_total{{result="refused"}} {times}.0'.encode()
        wait_until(lambda: expected in running.container.metrics.exposition())

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

    @pytest.mark.parametrize("change", [lambda c: c.pop("keys"), lambda c: c["keys"][0].update(key="-")])
    def test_a_closed_router_does_not_become_open(self, start: Starter, change: Callable[[Any], None]) -> None:
        keys = [{"name": "a", "key": "sk-a-0000000"}]
        running = start.router({"m": model(start.upstream().url)}, {"keys": keys}, router_type="random", api_key="-")
        self.rewrite(running, change)
        self.until_refused(running, 1)
        assert chat(start.client(running, "sk-a-0000000"))["x-p2l-model"] == "m"
        with pytest.raises(openai.AuthenticationError):
            chat(start.client(running, "-"))

    def test_keys_may_go_while_the_option_holds_one(self, start: Starter) -> None:
        keys = [{"name": "a", "key": "sk-a-0000000"}]
        running = start.router({"old": model(start.upstream().url)}, {"keys": keys}, router_type="random")
        self.rewrite(running, lambda config: config.pop("keys"))
        self.until_renamed(running, "old", "new")
        assert chat(start.client(running))["x-p2l-model"] == "new"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"router": {"opponents": {"n": 1.0}}}, "router.opponents.n"),
            ({"model_configs": {"x": {"name": "x", "type": "openai", "cost": 1.0}}}, "ranks none of these models"),
        ],
    )
    def test_a_file_that_does_not_fit_the_p2l_model_changes_nothing(
        self, start: Starter, change: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        running = start.router({"m": model(start.upstream().url)})
        chat(start.client(running))
        self.rewrite(running, lambda config: config.update(change))
        self.until_refused(running, 1)
        assert chat(start.client(running))["x-p2l-model"] == "m"
        refused = next(record for record in caplog.records if "the old one stays" in record.message)
        assert reason in refused.fields["reason"]

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
