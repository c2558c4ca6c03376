"""Files and uploads."""

import json
from typing import Any

import pytest
from huggingface_hub import HfApi

from p2l.errors import CheckpointError, ConfigError
from p2l.evaluation import EvaluationOutput
from p2l.evaluation.evaluation_output import rounded

RESULTS = {"params": {"seed": 0}, "models": {"p2l-all": {"simple_metrics": {"Loss": 0.123456, "Mean-BT": -1e-9}}}}


class FakeHub(HfApi):
    """Records uploads; ``fails`` like an unreachable hub."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.fails, self.files = fails, {}

    def create_repo(self, repo_id: str, **options: Any) -> None:
        if self.fails:
            raise OSError("no network\nand more")

    def upload_file(self, *, path_or_fileobj: bytes, path_in_repo: str, repo_id: str, repo_type: str) -> None:
        self.files[repo_id, path_in_repo, repo_type] = path_or_fileobj


def test_numbers_are_rounded_as_published() -> None:
    assert (
        json.dumps(rounded([0.123456, {"a": (1, -0.00001)}, "x", None, True]))
        == '[0.1235, {"a": [1, 0.0]}, "x", null, true]'
    )


def test_the_file_is_whole_and_the_upload_the_same(tmp_path, monkeypatch) -> None:
    hub = FakeHub()
    monkeypatch.setattr("p2l.evaluation.evaluation_output.HfApi", lambda: hub)
    EvaluationOutput(str(tmp_path), "me/results", "one").save(RESULTS, "one")
    text = (tmp_path / "one.json").read_text()
    assert json.loads(text)["models"]["p2l-all"]["simple_metrics"] == {"Loss": 0.1235, "Mean-BT": 0.0}
    assert hub.files == {("me/results", "one.json", "model"): text.encode()}
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(monkeypatch) -> None:
    monkeypatch.setattr("p2l.evaluation.evaluation_output.HfApi", lambda: FakeHub(fails=True))
    with pytest.raises(CheckpointError, match=r"could not upload one\.json to me/results: no network \(logged in"):
        EvaluationOutput(None, "me/results", "one").save(RESULTS, "one")


def test_bad_options_are_errors() -> None:
    with pytest.raises(ConfigError, match="give output_dir"):
        EvaluationOutput(None, None, "one")
    with pytest.raises(ConfigError, match="a name twice: one, one"):
        EvaluationOutput("x", None, ["one", "one"])
