"""The components of the Gradio page, without a server."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from p2l.errors import ConfigError
from p2l.explorer import Explorer, Prices, read_prompt
from p2l.models.predictor import Predictor
from tests.explorer.conftest import PRICES

gr = pytest.importorskip("gradio")
fastapi = pytest.importorskip("fastapi")
explorer_page = pytest.importorskip("p2l.explorer.page")


def in_a_loop(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return the result of a call in an event loop: without one, Gradio makes its own and never closes it."""

    async def call() -> Any:
        return function(*arguments, **options)

    return asyncio.run(call())


def build(predictor: Predictor, prices: Prices | None = None) -> Any:
    return in_a_loop(explorer_page.build_page, predictor, prices)


def components(page: object) -> dict[str, dict]:
    """Return the components of the page, by label."""
    found = [part["props"] for part in page.get_config_file()["components"]]
    return {props["label"]: props for props in found if props.get("label")}


def test_every_llm_can_be_chosen(predictor: Predictor) -> None:
    parts = components(build(predictor, Prices(PRICES)))
    expected = [("best", -1), ("alpha", 0), ("beta", 1), ("delta", 2), ("gamma", 3)]
    assert [tuple(choice) for choice in parts["LLM a"]["choices"]] == expected
    assert parts["LLM b"]["value"] == -2 and parts["LLMs shown"]["maximum"] == 4
    assert any("Budget" in label for label in parts)


def test_it_sends_nothing_home(predictor: Predictor) -> None:
    page = build(predictor)
    assert page.analytics_enabled is False
    assert "http" not in explorer_page.header(Explorer(predictor))


def test_it_can_be_mounted(predictor: Predictor) -> None:
    page = build(predictor)
    app = in_a_loop(
        gr.mount_gradio_app, fastapi.FastAPI(), page, "/explorer", theme=explorer_page.theme(), ssr_mode=False
    )
    assert any(getattr(route, "path", "") == "/explorer" for route in app.routes)


def test_a_port_that_is_taken(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(**_: object) -> None:
        raise OSError("Cannot find empty port in range: 80-80")  # the text of Gradio's error

    page = build(predictor)
    monkeypatch.setattr(page, "launch", launch)
    with pytest.raises(ConfigError, match="cannot listen at 127.0.0.1:80, which is taken or not ours"):
        explorer_page.serve(page, "127.0.0.1", 80)


def test_a_price_list_of_other_llms(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="none of the checkpoint's LLMs"):
        build(predictor, Prices({"elk": [1, 1]}))


def test_examples_are_read(explorer: Explorer) -> None:
    for first, second, conversation in explorer_page.EXAMPLES.values():
        ranked = explorer.rank([read_prompt(first, conversation), read_prompt(second, conversation)])
        assert len(ranked) == 1 + bool(second)
        assert isinstance(ranked[0].prompt, str) is not conversation
