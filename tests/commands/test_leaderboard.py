"""Leaderboards of a file of votes, by category: files, numbers, omissions."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.commands.leaderboard import LeaderboardJob
from p2l.composition.config_objects import make
from p2l.errors import ConfigError, DataError
from p2l.leaderboard import fit
from p2l.outcomes import GRK
from p2l.types import OUTCOMES
from tests.leaderboard.voting import draw_votes, make_truth
from tests.running import compose, run_script


def write_votes(path: Path) -> pd.DataFrame:
    votes = draw_votes(GRK, make_truth(GRK, 4), 400, np.random.default_rng(0))
    names = np.array(votes.models)
    winner = np.array([outcome.value for outcome in OUTCOMES])[votes.outcome_shares.argmax(axis=1)]
    frame = pd.DataFrame({"model_a": names[votes.model_a], "model_b": names[votes.model_b], "winner": winner})
    frame = frame.assign(math=np.arange(400) % 2 == 0, language="English", length=np.sin(np.arange(400)))
    frame.to_parquet(path)
    return frame


def test_files_of_each_category(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = write_votes(tmp_path / "votes.parquet")
    cfg = compose(
        f"votes={tmp_path / 'votes.parquet'}",
        "family=grk",
        'categories=[all,math,"language=Chinese"]',
        "covariates=[length]",
        "folds=2",
        f"output_dir={tmp_path / 'out'}",
        config="leaderboard",
    )
    fits = make(cfg.job).run()
    assert list(fits) == ["all", "math"]
    expected = fit(frame[frame["math"]], "grk", covariates=["length"]).table()
    written = pd.read_csv(tmp_path / "out" / "leaderboard-math.csv")
    pd.testing.assert_frame_equal(written, expected)
    summary = json.loads((tmp_path / "out" / "leaderboards.json").read_text())
    assert summary["left_out"] == {"language=Chinese": "no vote is in it"}
    assert summary["categories"]["math"]["votes"] == 200
    assert summary["categories"]["all"]["effects"][0]["covariate"] == "length"
    for name in ("leaderboard-all.png", "leaderboard-math.png", "cross_validation.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    shown = capsys.readouterr().out
    assert "model 3" in shown and "held-out log loss" in shown and "length: " in shown


def test_what_is_not_shown_is_counted_and_unidentified_models_stand_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = write_votes(tmp_path / "votes.parquet")[["model_a", "model_b", "winner"]]
    lucky = pd.DataFrame({"model_a": ["lucky"], "model_b": ["model 0"], "winner": ["model_a"]})
    pd.concat([frame, lucky]).to_csv(tmp_path / "votes.csv", index=False)
    command = (f"votes={tmp_path / 'votes.csv'}", f"output_dir={tmp_path / 'out'}")
    make(compose(*command, "top=3", config="leaderboard").job).run()
    shown = capsys.readouterr().out
    assert "401 votes, 3 of 5 models" in " ".join(shown.split()) and "lucky  " not in shown
    make(compose(*command, config="leaderboard").job).run()
    shown = capsys.readouterr().out
    last = [line for line in shown.splitlines() if " model " in line or " lucky " in line][5]
    assert " lucky " in last and " ? " in last and "%" not in last


def test_labels_say_the_winner_in_every_category(tmp_path: Path) -> None:
    """The models of a category, and of the rows that are battles, are fewer than those that labels point into."""
    frame = write_votes(tmp_path / "votes.parquet")
    frame = frame[frame["winner"].isin(["model_a", "model_b"])]
    frame = frame.assign(
        language=np.where((frame[["model_a", "model_b"]] == "model 0").any(axis=1), "English", "Chinese")
    )
    expected = fit(frame[frame["language"] == "Chinese"], "bt").table()
    pairs = zip(frame["model_a"], frame["model_b"], frame["winner"], strict=True)
    models = ["a model", *sorted(set(frame["model_a"]))]
    labels = [[models.index(name) for name in ((a, b) if winner == "model_a" else (b, a))] for a, b, winner in pairs]
    no_battle = pd.DataFrame([{"model_a": "a model", "model_b": "a model", "labels": [0, 0], "language": "Chinese"}])
    labelled = pd.concat([no_battle, frame.drop(columns="winner").assign(labels=labels)])
    labelled.to_json(tmp_path / "labelled.jsonl", orient="records", lines=True)
    categories = ("all", "language=Chinese")
    fits = LeaderboardJob(str(tmp_path / "labelled.jsonl"), "bt", str(tmp_path / "out"), categories=categories).run()
    assert list(fits) == list(categories)
    pd.testing.assert_frame_equal(fits["language=Chinese"].table(), expected)


WEIGHTS = {
    "one": ({"weight": 1.0}, "400 votes", "votes"),
    "mixed": ({"weight": np.resize([0.5, 1.0, 2.0, 3.0], 400)}, "votes of total weight 650.0", "weight"),
    "that sum to the number": ({"weight": np.resize([0.5, 1.5], 400)}, "votes of total weight 400.0", "weight"),
    "soft": (
        {"p_model_a": 0.5, "p_model_b": 0.25, "p_tie": 0.2, "p_both_bad": 0.05},
        "votes of total weight 400.0",
        "weight",
    ),
}


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_sums_of_weights_are_not_called_votes(tmp_path, capsys, kind, stream) -> None:
    columns, size, header = WEIGHTS[kind]
    path = tmp_path / "votes.parquet"
    write_votes(path).assign(**columns).to_parquet(path)
    found = LeaderboardJob(str(path), "grk", str(tmp_path / "out"), stream=stream == "true").run()["all"]
    shown = capsys.readouterr().out
    assert f"all: grk, {size}" in shown and re.search(rf"win rate\W+{header}\b", shown)
    assert found.size == size and size in repr(found) and size in found._repr_html_()
    summary = json.loads((tmp_path / "out" / "leaderboards.json").read_text())["categories"]["all"]
    assert summary["weighted"] == (header == "weight")


def test_votes_that_count_by_pair_have_weights() -> None:
    votes = draw_votes(GRK, make_truth(GRK, 4), 100, np.random.default_rng(0))
    assert not fit(votes, "grk").weighted and fit(votes, "grk", pair_weights="uniform").weighted


def test_each_category_has_its_own_file(tmp_path: Path) -> None:
    values = ["Русский", "Ελληνικά", "a b", "a_b", "A?b", "a_b-2"]
    frame = write_votes(tmp_path / "votes.parquet").assign(language=np.resize(values, 400))
    frame.to_parquet(tmp_path / "votes.parquet")
    categories = [f"language={value}" for value in values]
    LeaderboardJob(str(tmp_path / "votes.parquet"), "bt", str(tmp_path / "out"), categories=categories).run()
    stems = ["Русский", "Ελληνικά", "a_b", "a_b-2", "A_b-3", "a_b-2-2"]
    for value, stem in zip(values, stems, strict=True):
        written = pd.read_csv(tmp_path / "out" / f"leaderboard-language_{stem}.csv")
        pd.testing.assert_frame_equal(written, fit(frame[frame["language"] == value], "bt").table())
    assert len(list((tmp_path / "out").glob("*.png"))) == 6


def test_one_script_does_it(tmp_path: Path) -> None:
    write_votes(tmp_path / "votes.parquet")
    status, output = run_script(
        f"votes={tmp_path / 'votes.parquet'}", "family=bt", f"output_dir={tmp_path / 'out'}", script="leaderboard"
    )
    assert status == 0, output
    assert "all: bt" in output and (tmp_path / "out" / "leaderboard-all.csv").exists()


def test_errors_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_votes(tmp_path / "votes.parquet")

    def run(*options: str) -> None:
        cfg = compose(f"votes={tmp_path / 'votes.parquet'}", f"output_dir={tmp_path}", *options, config="leaderboard")
        make(cfg.job).run()

    with caplog.at_level(logging.ERROR), pytest.raises(DataError, match="category language=Welsh: no vote is in it"):
        run('categories=["language=Welsh"]')
    with pytest.raises(ConfigError, match="unknown category 'maths'"):
        run("categories=[maths]")
    with pytest.raises(ConfigError, match="unknown likelihood family 'elo'"):
        run("family=elo")
    with pytest.raises(DataError, match="no column 'bold'"):
        run("covariates=[bold]")


def test_columns_and_labels_of_its_own(tmp_path: Path) -> None:
    frame = write_votes(tmp_path / "votes.parquet")
    expected = fit(frame, "grk").table()
    labels = {"model_a": "first", "model_b": "second", "tie": "0", "tie (bothbad)": "poor"}
    own = frame.assign(winner=frame["winner"].map(labels), spoilt="x")
    own = pd.concat([own, own.head(1).assign(winner="void")])
    own = own.rename(columns={"model_a": "left", "winner": "choice"})
    own.to_csv(tmp_path / "own.csv", index=False)
    options = ["first: model_a", "second: model_b", "0: tie", "poor: both_bad", "void: null"]
    cfg = compose(
        f"votes={tmp_path / 'own.csv'}",
        "family=grk",
        "columns={model_a: left, winner: choice}",
        f"winner_map={{{', '.join(options)}}}",
        f"output_dir={tmp_path / 'out'}",
        config="leaderboard",
    )
    make(cfg.job).run()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "leaderboard-all.csv"), expected)


def test_counts_of_votes_are_integers_unless_weighted(tmp_path: Path) -> None:
    frame = write_votes(tmp_path / "votes.parquet")
    for family in ("bt", "bt-tie", "rk", "grk"):
        assert fit(frame, family).table()["votes"].dtype == np.int64
    decisive = frame[frame["winner"].isin(["model_a", "model_b"])]
    counts = pd.concat([decisive["model_a"], decisive["model_b"]]).value_counts()
    assert fit(frame, "bt").table().set_index("model")["votes"].to_dict() == counts.to_dict()
    assert fit(frame.assign(weight=0.3), "bt").table()["votes"].dtype == np.float64


def test_two_spellings_of_a_name_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = write_votes(tmp_path / "votes.parquet")
    names = sorted(set(frame["model_a"]))
    new = (
        frame["model_a"]
        .replace({names[0]: "100"})
        .where(frame.index % 2 == 0, frame["model_a"].replace({names[0]: "100.0"}))
    )
    frame.assign(model_a=new, model_b=frame["model_b"].replace({names[0]: "100"})).to_csv(
        tmp_path / "votes.csv", index=False
    )
    LeaderboardJob(str(tmp_path / "votes.csv"), "grk", str(tmp_path / "out")).run()
    assert "100 and 100.0" in caplog.text and "each is a model of its own" in caplog.text


def test_errors_of_votes_name_their_file(tmp_path: Path) -> None:
    write_votes(tmp_path / "votes.parquet").assign(winner="?").to_csv(tmp_path / "votes.csv", index=False)
    with pytest.raises(DataError, match=r"votes\.csv: the table contains no valid votes"):
        LeaderboardJob(str(tmp_path / "votes.csv"), "bt", str(tmp_path / "out")).run()
