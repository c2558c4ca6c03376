"""A model that is not better than the marginal leaderboard warns, and so does everything that is made of it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from p2l.commands.insight import InsightJob
from p2l.commands.predict import PredictionJob
from p2l.commands.publish import PublishJob
from p2l.composition.build_run import make_trainer
from p2l.leaderboard import aggregate, rank_prompts
from p2l.models import Checkpoint, load_checkpoint
from p2l.new_models.extend_checkpoint import extend_checkpoint, head_layers
from p2l.training.marginal_verdict import absurd_loss, doubt_about, warning_about
from tests.running import compose, on_votes, run

NOT_BETTER = "not better than one leaderboard for all prompts"
PROMPTS = ["What is 1+1?", "Write a poem."]


@pytest.mark.parametrize(
    ("difference", "warns"), [(-0.3, False), (-1e-9, False), (0.0, True), (0.2, True), (math.nan, True)]
)
def test_who_is_warned(difference: float, warns: bool) -> None:
    warning = warning_about({"val/log_loss": 1.5, "val/log_loss_minus_marginal": difference})
    assert (warning is not None) == warns
    assert warning_about({"train/loss": 1.0, "test/log_loss": 9.0}) is None


def test_the_warning_has_both_losses() -> None:
    warning = warning_about({"val/log_loss": 1.426, "val/log_loss_minus_marginal": 0.272})
    assert warning is not None and warning.startswith(NOT_BETTER)
    assert warning.endswith("its log loss is 1.4260, that of the marginal leaderboard 1.1540 (+0.2720 nats a vote)")


def test_models_that_the_votes_do_not_bound_are_named_on_everything_that_is_made(tmp_path: Path, caplog) -> None:
    """One model won all of its votes; two met nobody else."""
    on_votes(tmp_path)
    votes = pd.read_json(tmp_path / "votes.jsonl", lines=True)[["prompt", "model_a", "model_b", "winner"]]
    known = sorted(set(votes["model_a"]))[0]
    prompt = votes["prompt"].iloc[0]
    apart = [("unbeaten", known)] * 3 + [("isle 1", "isle 2"), ("isle 2", "isle 1")]
    more = pd.DataFrame([{"prompt": prompt, "model_a": a, "model_b": b, "winner": "model_a"} for a, b in apart])
    pd.concat([votes, more]).to_json(tmp_path / "votes.jsonl", orient="records", lines=True)
    named = "no judge of isle 1, isle 2, unbeaten, whose strength the training votes do not bound"
    finished = run(tmp_path, "trainer.max_steps=1", "callbacks=none")
    assert finished.datamodule.unbounded == ("isle 1", "isle 2", "unbeaten")
    checkpoint = load_checkpoint(str(finished.folder / "checkpoint"))
    assert named in (checkpoint.warning or "") and named in caplog.text
    assert checkpoint.rank("hello").table().attrs["warning"] == checkpoint.warning
    published = PublishJob(str(finished.folder), str(tmp_path / "published"), checkpoint="last.ckpt").run()
    assert named in (load_checkpoint(str(published)).warning or "")


def test_the_warnings_of_loss_and_models_stand_together() -> None:
    warning = warning_about({"val/log_loss": 1.5, "val/log_loss_minus_marginal": 0.1}, ["ant"])
    assert warning is not None and warning.startswith(NOT_BETTER) and "; it is no judge of ant, whose" in warning
    assert warning_about({}, ["ant"]) is not None and warning_about({}, []) is None


def test_the_marginal_is_not_computed_from_a_huge_loss() -> None:
    warning = warning_about({"val/log_loss": 1.25e36, "val/log_loss_minus_marginal": 1.25e36})
    assert warning is not None and warning.startswith(NOT_BETTER)
    assert warning.endswith("1.25e+36, and that of the marginal leaderboard smaller by 1.25e+36 nats a vote")


@pytest.mark.parametrize(
    ("difference", "error", "doubts"), [(-0.019, 0.01, True), (-0.021, 0.01, False), (0.1, 0.2, False)]
)
def test_a_difference_below_two_standard_errors_may_be_chance(difference: float, error: float, doubts: bool) -> None:
    metrics = {"val/log_loss_minus_marginal": difference, "val/log_loss_minus_marginal_error": error}
    doubt = doubt_about(metrics)
    assert (doubt is not None) == doubts
    assert doubt is None or ("by 0.0190 nats" in doubt and "may be chance" in doubt and "0.0100" in doubt)
    assert doubt_about({"val/log_loss_minus_marginal": difference}) is None
    same = doubt_about({"val/log_loss_minus_marginal": -8.9e-9, "val/log_loss_minus_marginal_error": 1e-10})
    assert same is not None and same.startswith("no different from one leaderboard")


def test_the_end_of_training_says_what_may_be_chance(tmp_path, caplog) -> None:
    finished = run(tmp_path, "head.init=zeros", "optimizer.lr=0", "optimizer.head_lr=0.05", "trainer.max_epochs=3")
    metrics = finished.metrics
    assert 0 < -metrics["val/log_loss_minus_marginal"] < 2 * metrics["val/log_loss_minus_marginal_error"]
    assert "may be chance" in caplog.text and NOT_BETTER not in caplog.text


@pytest.mark.parametrize(
    ("metrics", "absurd"),
    [
        ({"val/log_loss": 27.7}, False),  # bad, and said
        ({"val/log_loss": 27.8}, True),
        ({"val/log_loss": 1.2, "train/loss": 1e9}, False),
        ({"train/loss": 4e31}, True),
        ({"train/loss": 2.0}, False),
        ({}, False),
    ],
)
def test_what_is_absurd(metrics: dict[str, float], absurd: bool) -> None:
    assert (absurd_loss(metrics, 4) is not None) == absurd


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Path:
    """The folder of a run whose rates are far too high."""
    folder = tmp_path_factory.mktemp("bad")
    finished = run(folder, "optimizer.lr=1")
    assert finished.metrics["val/log_loss_minus_marginal"] > 0
    return finished.folder


def test_the_end_of_training_warns(tmp_path, caplog, capsys) -> None:
    run(tmp_path, "optimizer.lr=1", "trainer.max_steps=3")
    last = [record for record in caplog.records if record.name.startswith("p2l.training")][-1]
    assert last.levelname == "WARNING" and NOT_BETTER in last.getMessage() and "p2l leaderboard" in last.getMessage()
    assert "Warning: this model is not better than one" in " ".join(capsys.readouterr().out.split())


def test_without_validation_nothing_is_known_and_that_is_logged(tmp_path, caplog) -> None:
    run(tmp_path, "data.val=null", "trainer.max_steps=1")
    assert "there are no validation votes" in caplog.text and NOT_BETTER not in caplog.text


def test_the_folder_says_so(bad: Path, caplog) -> None:
    assert NOT_BETTER in json.loads((bad / "checkpoint" / "training_config.json").read_text())["warning"]
    assert f"> **Warning.** This model is {NOT_BETTER}" in (bad / "checkpoint" / "README.md").read_text()
    checkpoint = load_checkpoint(bad / "checkpoint")
    assert checkpoint.warning is not None and checkpoint.warning in caplog.text


def test_so_does_a_folder_that_is_published_later(bad: Path, tmp_path) -> None:
    folder = PublishJob(str(bad), str(tmp_path / "later"), checkpoint="best.ckpt").run()
    assert load_checkpoint(folder).warning == load_checkpoint(bad / "checkpoint").warning is not None
    assert NOT_BETTER in (folder / "README.md").read_text()


def test_leaderboards_of_it_show_the_warning(bad: Path, tmp_path) -> None:
    checkpoint = load_checkpoint(bad / "checkpoint")
    boards = checkpoint.rank(PROMPTS)
    for board in (boards[0], checkpoint.rank("hi"), aggregate(boards), boards[:1][0]):
        assert all(NOT_BETTER in text for text in (str(board), repr(board), board._repr_html_()))
        assert NOT_BETTER in " ".join(board.plot()._suptitle.get_text().split())
    assert NOT_BETTER in repr(boards) and NOT_BETTER in " ".join(boards.plot()._suptitle.get_text().split())
    assert NOT_BETTER in pd.read_csv(boards[0].save(tmp_path / "board.csv"))["warning"][0]
    assert NOT_BETTER in pd.read_parquet(boards.save(tmp_path / "boards.parquet"))["warning"][3]
    assert NOT_BETTER in rank_prompts(checkpoint, PROMPTS)[1].attrs["warning"]


def test_it_stays_when_models_are_added(bad: Path) -> None:
    checkpoint = load_checkpoint(bad / "checkpoint")
    rows = head_layers(checkpoint.model.head)[1]
    weight, bias = (value[:1].detach().double().numpy() for value in (rows.weight, rows.bias))
    assert extend_checkpoint(checkpoint, ["new"], weight, bias).warning == checkpoint.warning is not None


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_predictions_and_the_report_on_them_show_it(bad: Path, suffix: str, tmp_path) -> None:
    checkpoint, table = load_checkpoint(bad / "checkpoint"), tmp_path / "prompts.csv"
    pd.DataFrame({"prompt": [f"{prompt} {i}" for i in range(6) for prompt in PROMPTS]}).to_csv(table, index=False)
    trainer = make_trainer(compose("trainer=cpu", "logger=none").trainer, [])
    ranked = PredictionJob(str(table), str(tmp_path / f"ranked.{suffix}")).run(checkpoint, trainer, "bad")
    assert NOT_BETTER in ranked.read_bytes().decode("utf-8", "replace")
    models = {"models": str(bad / "checkpoint"), "family": "grk", "embedding": None}
    page = InsightJob(str(ranked), str(tmp_path / "report"), **models).run(None)
    assert f"Warning: the P2L model is {NOT_BETTER}" in page.read_text()
    assert NOT_BETTER in pd.read_csv(page.parent / "leaderboards.csv")["warning"][0]


def test_nothing_warns_of_a_checkpoint_that_is_better(tiny_checkpoint: Checkpoint, tmp_path) -> None:
    board = tiny_checkpoint.rank("hi")
    assert "arning" not in str(board) + repr(board) + board._repr_html_() and board.plot()._suptitle is None
    assert "warning" not in pd.read_csv(board.save(tmp_path / "board.csv"))


def test_the_explorer_shows_it(tiny_checkpoint: Checkpoint) -> None:
    page = pytest.importorskip("p2l.explorer.page", reason="extra: ui")
    from p2l.explorer import Explorer
    from p2l.models.predictor import Predictor

    warned = replace(tiny_checkpoint, recipe={"warning": f"{NOT_BETTER} <b>"})
    assert f"Warning: this model is {NOT_BETTER} &lt;b&gt;" in str(page.header(Explorer(Predictor(warned))))
    assert "Warning" not in str(page.header(Explorer(Predictor(tiny_checkpoint))))
