"""scripts/insight.py: options reach the job, and errors are one line."""

import json
import logging

import pytest

from p2l.composition.hydra_task import HydraTask
from p2l.models import save_checkpoint
from tests.insight.rankings import needs_extra
from tests.running import compose

pytestmark = needs_extra


@pytest.fixture
def arguments(tmp_path, tiny_checkpoint) -> list[str]:
    """A checkpoint, prompts and a folder for the page."""
    save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)
    rows = [{"prompt": f"question {i}", "topic": ["even", "odd"][i % 2]} for i in range(12)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    paths = {"model_path": "checkpoint", "dataset": "prompts.jsonl", "output_dir": "out"}
    return [*(f"{name}={tmp_path / path}" for name, path in paths.items()), "categories=[topic]", "embedding=hidden"]


def call(*overrides: str) -> int:
    """Exit status of the script, run in this process."""
    try:
        HydraTask("insight")(compose(*overrides, config="insight"))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_checkpoint_and_prompts_make_a_page(arguments, tmp_path) -> None:
    asked = ["focus=[beta,gamma]", "old=alpha", "new=beta", f"reference={tmp_path / 'prompts.jsonl'}", "seed=1"]
    assert call(*arguments, *asked) == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "beta: rank" in page and "By topic" in page and "beta against alpha" in page
    assert call(*arguments, "focus=gamma", "num_clusters=2") == 0


ERRORS = {
    "an unknown LLM": (["new=betta", "old=alpha"], "no LLM 'betta'; did you mean beta"),
    "a missing column": (["column=question"], "has no column question; give column="),
    "one version": (["new=beta"], "needs old=<LLM> and new=<LLM>"),
    "too many clusters": (["num_clusters=50"], "num_clusters=50, but there are 12 different prompts"),
    "no checkpoint": (["model_path=null"], "holds no rankings"),
    "no data": (["dataset=nowhere.csv"], "no file or folder at"),
    "no encoder": (["embedding=package:nowhere/model"], "needs the Python package 'nowhere'"),
}


@pytest.mark.parametrize(("overrides", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_line(arguments, tmp_path, caplog, overrides, message) -> None:
    assert call(*arguments, *overrides) == 2
    (error,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert message in error.getMessage() and error.exc_info is None
    assert not (tmp_path / "out" / "report.html").exists()
