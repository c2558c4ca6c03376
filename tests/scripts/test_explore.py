"""scripts/explore.py: options reach the page, and errors are one line."""

import logging
import sys
from pathlib import Path

import pytest

from p2l.commands.explore import ExplorerJob
from p2l.composition.hydra_task import HydraTask
from p2l.errors import ConfigError
from p2l.models import Checkpoint, save_checkpoint
from tests.running import compose

page = pytest.importorskip("p2l.explorer.page", reason="needs the extra ui")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What would have been served: predictor and prices, host and port."""
    calls: list[tuple] = []
    monkeypatch.setattr(page, "build_page", lambda predictor, prices: (predictor, prices))
    monkeypatch.setattr(page, "serve", lambda built, host, port: calls.append((*built, host, port)))
    return calls


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_checkpoint: Checkpoint) -> str:
    save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)
    return f"model_path={tmp_path / 'checkpoint'}"


def call(*overrides: str) -> int:
    """Exit status of the script, run in this process."""
    try:
        HydraTask("explore")(compose(*overrides, config="explore"))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_options_reach_the_page(checkpoint: str, served: list[tuple], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    assert call(checkpoint, "host=0.0.0.0", "port=null", "device=cpu") == 0
    assert call(checkpoint, "+prices.alpha=[1,2]", "output_tokens=10", "port=8123") == 0
    (predictor, no_prices, *where), (_, prices, *other) = served
    assert predictor.models == ("alpha", "beta", "delta", "gamma")
    assert no_prices is None and where == ["0.0.0.0", None]
    assert prices.dollars == {"alpha": [1, 2]} and prices.output_tokens == 10 and other == ["127.0.0.1", 8123]


ERRORS = {
    "other LLMs": (["prices=mmlu_pro"], "none of the checkpoint's LLMs (alpha, beta, delta, ...) is in the list"),
    "half a price": (["+prices.alpha=[1]"], "[input, output], each 0 or more; alpha has [1]"),
    "no answer": (["+prices.alpha=[1,1]", "output_tokens=-1"], "output_tokens must be a finite number"),
    "no checkpoint": (["model_path=nowhere/at/all"], "nowhere/at/all"),
}


@pytest.mark.parametrize(("overrides", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_line(checkpoint: str, caplog: pytest.LogCaptureFixture, overrides, message: str) -> None:
    assert call(checkpoint, *overrides) == 2
    (error,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert message in error.getMessage() and error.exc_info is None and "\n" not in error.getMessage()


def test_without_gradio(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "p2l.explorer.page", None)
    with pytest.raises(ConfigError, match=r"needs Gradio: run pip install -e '\.\[ui\]'"):
        ExplorerJob().run(tiny_checkpoint)
