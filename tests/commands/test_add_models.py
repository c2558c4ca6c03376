import json

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from p2l.commands.add_models import AddModelsJob, _picture
from p2l.errors import DataError
from p2l.models import load_checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.types import OUTCOMES
from tests.running import run_script

PROMPTS = [f"prompt number {i}" for i in range(40)]


def few_votes(path, known, count: int = 240) -> str:
    """The good one wins against all, the bad one is as bad as the other."""
    rng = np.random.default_rng(0)
    good = np.arange(count) % 2 == 0
    frame = pd.DataFrame(
        {
            "prompt": [PROMPTS[i % len(PROMPTS)] for i in range(count)],
            "model_a": np.where(good, "good", "bad"),
            "model_b": rng.choice(known, count),
            "winner": np.where(good, OUTCOMES[0].value, OUTCOMES[3].value),
        }
    )
    frame.to_parquet(path, index=False)
    return str(path)


def test_the_script_adds_models_and_says_where_they_stand(tiny_checkpoint, tmp_path):
    save_checkpoint(tmp_path / "old", tiny_checkpoint)
    votes, out = few_votes(tmp_path / "votes.parquet", tiny_checkpoint.models), tmp_path / "out"
    arguments = (f"model_path={tmp_path / 'old'}", f"votes={votes}", f"output_dir={out}", "precision=float32")
    status, output = run_script(*arguments, script="add_models")
    assert status == 0, output
    old, new = load_checkpoint(str(tmp_path / "old")), load_checkpoint(str(out / "checkpoint"))
    assert new.models == (*old.models, "bad", "good")
    before, after = predict(old, PROMPTS), predict(new, PROMPTS)
    torch.testing.assert_close(after.coefs[:, :4], before.coefs, rtol=0, atol=1e-5)
    assert (after.coefs[:, 5] > after.coefs[:, 4] + 1).all()
    report = json.loads((out / "report.json").read_text())
    assert {name: entry["votes"] for name, entry in report["new"].items()} == {"bad": 120.0, "good": 120.0}
    table = pd.read_csv(out / "leaderboard.csv", keep_default_na=False).set_index("model")
    for name, entry in report["new"].items():  # always the same outcome
        assert "do not bound its strength" in entry["note"] and entry["note"] == table.loc[name, "note"]
        assert entry["note"] in output and 0 < entry["held_out_log_loss"] < report["equal_chances_log_loss"]
    assert (table.loc[list(old.models), "note"] == "").all()
    assert table["new"].to_dict() == {name: name in ("good", "bad") for name in new.models}
    np.testing.assert_allclose(table.loc[list(new.models), "coef"], after.coefs.mean(0), atol=1e-4)
    known = table[~table["new"]]
    assert (known["low"] == known["high"]).all()
    assert (table[table["new"]]["low"] < table[table["new"]]["high"]).all()
    assert table.loc["good", "rank"] == 1 and (out / "leaderboard.png").stat().st_size > 10_000


def _below(figure: Figure) -> str:
    return "\n".join(legend.get_title().get_text() for legend in figure.legends)


def test_votes_that_say_nothing_are_noted_in_the_table_the_picture_and_the_report(tiny_checkpoint, tmp_path):
    """The outcome depends on the number of the prompt alone: held-out prompts are predicted badly."""
    frame = pd.read_parquet(few_votes(tmp_path / "votes.parquet", tiny_checkpoint.models))
    outcome = np.random.default_rng(1).integers(4, size=len(PROMPTS))[np.arange(len(frame)) % len(PROMPTS)]
    frame.assign(winner=[OUTCOMES[i].value for i in outcome]).to_parquet(tmp_path / "votes.parquet")
    job = AddModelsJob(str(tmp_path / "votes.parquet"), str(tmp_path), penalties=[1e-9])
    larger = job.run(tiny_checkpoint)
    table = pd.read_csv(tmp_path / "leaderboard.csv", keep_default_na=False).set_index("model")
    report = json.loads((tmp_path / "report.json").read_text())
    noted = [name for name, entry in report["new"].items() if entry["held_out_log_loss"] > np.log(4)]
    assert noted == [name for name in ("bad", "good") if "worse than equal chances (1.386)" in table.loc[name, "note"]]
    assert noted
    plain, drawn = (_below(_picture(one.reset_index(), "", 0.95)) for one in (table.assign(note=""), table))
    assert "worse than equal chances" in drawn.replace("\n", " ") and "note 1" not in plain
    figure = _picture(table.reset_index(), "", 0.95)
    assert any("(new, note 1)" in label.get_text() for label in figure.axes[0].get_yticklabels())
    assert len(larger.models) == 6


def test_votes_among_new_models_alone_are_refused(tiny_checkpoint, tmp_path):
    frame = pd.read_parquet(few_votes(tmp_path / "votes.parquet", tiny_checkpoint.models))
    frame.assign(model_a="dog", model_b="eel", winner="model_a").to_parquet(tmp_path / "votes.parquet")
    job = AddModelsJob(str(tmp_path / "votes.parquet"), str(tmp_path / "out"))
    with pytest.raises(DataError, match="no chain of votes connects dog, eel to a known model"):
        job.run(tiny_checkpoint)
    assert not (tmp_path / "out").exists()


def table_of(votes: pd.DataFrame, checkpoint, folder) -> pd.DataFrame:
    votes.to_parquet(folder / "votes.parquet")
    AddModelsJob(str(folder / "votes.parquet"), str(folder)).run(checkpoint)
    return pd.read_csv(folder / "leaderboard.csv", keep_default_na=False).set_index("model")


@pytest.mark.parametrize("case", ["one prompt", "no chain of votes", "wins only"])
def test_a_place_that_the_votes_do_not_give_is_not_identified(case, tiny_checkpoint, tmp_path, caplog):
    frame = pd.read_parquet(few_votes(tmp_path / "votes.parquet", tiny_checkpoint.models))
    rng = np.random.default_rng(3)
    frame["winner"] = [OUTCOMES[i].value for i in rng.integers(3, size=len(frame))]
    doubtful = frame["model_a"] == "bad"
    if case == "one prompt":
        frame.loc[doubtful, "prompt"] = PROMPTS[0]
    elif case == "no chain of votes":
        frame.loc[doubtful, "model_b"] = "worse"
    else:
        frame.loc[doubtful, "winner"] = "model_a"
    table = table_of(frame, tiny_checkpoint, tmp_path)
    bad = table.loc["bad"]
    assert (bad["rank_best"], bad["rank_worst"], bad["identified"]) == (1, len(table), False)
    assert bad["high"] - bad["low"] > 2 * 1.95 * 5  # at least the prior's, whose deviation is 5 nats
    assert "bad: its place is not identified" in caplog.text and bad["note"]
    assert table.loc["good", "identified"] and table.loc["good", "high"] - table.loc["good", "low"] < 3
    known = table[table["identified"]]
    assert known["elo"].mean() == pytest.approx(0, abs=1e-6)  # those without a place do not move the others
    assert len(known) < len(table)


def test_a_model_that_always_tied_has_the_interval_that_its_number_of_votes_gives(tiny_checkpoint, tmp_path):
    """The gradient of each tie is near 0, and so was the interval."""
    frame = pd.read_parquet(few_votes(tmp_path / "votes.parquet", tiny_checkpoint.models))
    frame = frame[frame["model_a"] == "good"].assign(winner="tie")
    width = []
    for times in (1, 4):
        table = table_of(pd.concat([frame] * times), tiny_checkpoint, tmp_path)
        width.append(table.loc["good", "high"] - table.loc["good", "low"])
    # information of a tie about a difference of 0: below that of a fair win or loss, 1/4
    assert width[0] > 2 * 1.96 / np.sqrt(len(frame) / 2) and width[1] == pytest.approx(width[0] / 2, rel=0.1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_refit_changes_no_other_row(tiny_checkpoint, tmp_path, precision):
    frame = pd.read_parquet(few_votes(tmp_path / "votes.parquet", ["beta", "delta", "gamma"]))
    frame.replace({"good": "alpha", "bad": "beta"}).query("model_a != model_b").to_parquet(tmp_path / "votes.parquet")
    job = AddModelsJob(str(tmp_path / "votes.parquet"), str(tmp_path), new=["alpha"], refit=True, precision=precision)
    larger = job.run(tiny_checkpoint)
    assert larger.models == tiny_checkpoint.models
    before, after = predict(tiny_checkpoint, PROMPTS), predict(larger, PROMPTS)
    torch.testing.assert_close(after.coefs[:, 1:], before.coefs[:, 1:], rtol=0, atol=1e-6)
    assert (after.coefs[:, 0] - before.coefs[:, 0]).abs().min() > 0.01
