"""Measured scores and costs from tables, price lists and votes."""

import numpy as np
import pandas as pd
import pytest

from p2l.data.measured_scores import MeasuredSource, measured_votes
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    """Two prompts for testing and one for training; y did not answer the second."""
    prompts = pd.DataFrame({"prompt_id": ["a", "b", "c"], "prompt": ["x" * 8, "y" * 4, "z"]})
    prompts["split"] = ["test", "test", "train"]
    rows = [
        ("a", "x", 1.0, 0.1, 40.0),
        ("a", "y", 0.0, 0.3, np.nan),
        ("b", "x", 0.0, 0.1, 80.0),
        ("b", "x", 1.0, 0.3, 80.0),
        ("c", "y", 1.0, 9.0, np.nan),
    ]
    scores = pd.DataFrame(rows, columns=["prompt_id", "model", "score", "cost", "output_chars"])
    paths = {"scores": str(tmp_path / "scores.parquet"), "prompts": str(tmp_path / "prompts.parquet")}
    scores.to_parquet(paths["scores"])
    prompts.to_parquet(paths["prompts"])
    return paths


def test_a_table_of_scores_and_one_of_prompts(files):
    measured = MeasuredSource(**files, split="test", per=10).load()
    assert measured.models == ("x", "y") and measured.prompts == (("x" * 8,), ("y" * 4,))
    np.testing.assert_allclose(measured.score, [[1, 0], [0.5, 0]])  # the repeated row is averaged
    np.testing.assert_allclose(measured.weight, [[1, 1], [1, 0]])
    np.testing.assert_allclose(measured.cost, [[1, 3], [2, 3]])
    np.testing.assert_allclose(measured.mean_score(), [0.75, 0])
    assert measured.among(["y"]).score.tolist() == [[0], [0]]


def test_what_is_averaged_or_missing_is_said(files, caplog):
    MeasuredSource(**files, split="test").load()
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "1 repeated rows of a prompt and a model were averaged" in told
    assert "1 of 4 scores are missing" in told and "1 of 4 costs are missing; the LLM's mean counts" in told


def test_costs_by_a_price_list(files):
    """Prompt "a" is 8 characters, 2 tokens; x answers in 40 characters, 10 tokens: 2 x 3 + 10 x 15 millionths."""
    measured = MeasuredSource(**files, split="test", cost_column=None, prices={"x": (3, 15)}, per=1e6).load()
    assert measured.models == ("x",)
    np.testing.assert_allclose(measured.cost[:, 0], [2 * 3 + 10 * 15, 1 * 3 + 20 * 15])


def test_missing_columns_are_reported(files):
    with pytest.raises(DataError, match="no column colour"):
        MeasuredSource(**files, score_column="colour").load()
    with pytest.raises(DataError, match="no scored prompt is left"):
        MeasuredSource(**files, split="nowhere").load()
    with pytest.raises(DataError, match="no output_chars"):
        MeasuredSource(**files, prices={"y": (1, 1)}).load()
    with pytest.raises(ConfigError, match="costs are needed"):
        MeasuredSource(**files, cost_column=None)


def test_votes_tell_win_rates():
    rows = [
        ("p", "x", "y", "model_a"),
        ("p", "y", "x", "tie"),
        ("q", "x", "z", "model_b"),
        ("q", "x", "z", "tie (bothbad)"),
    ]
    votes = VoteTable.from_frame(pd.DataFrame(rows, columns=["prompt", "model_a", "model_b", "winner"]))
    measured = measured_votes(votes, {"z": 3.0, "x": 1.0, "unknown": 9.0})
    assert measured.models == ("x", "z")
    np.testing.assert_allclose(measured.score, [[0.75, 0], [0.25, 0.75]])
    np.testing.assert_allclose(measured.weight, [[2, 0], [2, 2]])
    np.testing.assert_allclose(measured.cost, [[1, 3], [1, 3]])
    with pytest.raises(ConfigError, match="none of unknown"):
        measured_votes(votes, {"unknown": 1.0})


@pytest.mark.parametrize("column", ["score", "cost"])
@pytest.mark.parametrize("value", ["$0.001", "inf", "-inf", "1,5"])
def test_scores_and_costs_are_finite_numbers(files, tmp_path, column, value):
    frame = pd.read_parquet(files["scores"]).astype({column: str})
    frame.to_csv(tmp_path / "text.csv", index=False)
    sound = MeasuredSource(str(tmp_path / "text.csv"), files["prompts"], split="test").load()
    np.testing.assert_allclose(sound.score, [[1, 0], [0.5, 0]])
    frame.loc[[1, 3], column] = value
    frame.to_csv(tmp_path / "text.csv", index=False)
    message = rf"{column}: expected finite numbers( of at least 0)?; row 1 holds .* \(2 such rows\)"
    with pytest.raises(DataError, match=message):
        MeasuredSource(str(tmp_path / "text.csv"), files["prompts"], split="test").load()


@pytest.mark.parametrize("value", ["-0.001", "-1", "inf"])
def test_costs_and_lengths_are_not_negative(files, tmp_path, value):
    frame = pd.read_parquet(files["scores"]).astype({"cost": str})
    frame.loc[1, "cost"] = value
    frame.to_csv(tmp_path / "text.csv", index=False)
    with pytest.raises(DataError, match=f"column cost: expected finite numbers of at least 0; row 1 holds '{value}'"):
        MeasuredSource(str(tmp_path / "text.csv"), files["prompts"], split="test").load()
    frame.assign(output_chars=frame["cost"]).drop(columns="cost").to_csv(tmp_path / "text.csv", index=False)
    prices = dict.fromkeys(frame["model"], (1, 2))
    with pytest.raises(DataError, match="column output_chars: expected finite numbers of at least 0"):
        MeasuredSource(str(tmp_path / "text.csv"), files["prompts"], split="test", prices=prices).load()


@pytest.mark.parametrize("price", [[1, float("inf")], [float("nan"), 1], [-1, 1], [1], "12", [True, 1], None])
def test_prices_are_two_finite_numbers(price):
    with pytest.raises(ConfigError, match="prices: dollars per million tokens are needed, .* x has"):
        MeasuredSource("scores.csv", prices={"x": price})


def test_other_numbers_are_checked():
    with pytest.raises(ConfigError, match="per must be a finite number above 0; got 0"):
        MeasuredSource("scores.csv", per=0)
    row = {"prompt": ["p"], "model_a": ["x"], "model_b": ["y"], "winner": ["tie"]}
    for cost in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="costs: x must be a finite number of at least 0"):
            measured_votes(VoteTable.from_frame(pd.DataFrame(row)), {"x": cost})


SCORES = pd.DataFrame(
    [("1", "x", 1.0), ("1", "y", 0.0), ("2", "x", 1.0), ("2", "y", 1.0), ("3", "x", 0.0)],
    columns=["prompt_id", "model", "score"],
)


def source_of(scores: pd.DataFrame, prompts: pd.DataFrame | None, folder, **options) -> MeasuredSource:
    """The tables as JSON lines, which hold all values."""
    scores.to_json(folder / "scores.jsonl", orient="records", lines=True)
    if prompts is not None:
        prompts.to_json(folder / "prompts.jsonl", orient="records", lines=True)
        options["prompts"] = str(folder / "prompts.jsonl")
    return MeasuredSource(str(folder / "scores.jsonl"), with_costs=False, **options)


def test_scores_whose_key_has_no_prompt_are_counted(tmp_path, caplog):
    prompts = pd.DataFrame(
        {"prompt_id": ["1", "02", "3"], "prompt": ["a", "b", "c"], "split": ["test", "test", "train"]}
    )
    measured = source_of(SCORES, prompts, tmp_path).load()
    assert measured.prompts == (("a",), ("c",))
    assert (
        "2 of 5 rows were left out: their prompt_id has no prompt in " in caplog.text and "such as '2'" in caplog.text
    )
    caplog.clear()
    assert len(source_of(SCORES, prompts, tmp_path, split="test").load()) == 1
    assert "2 of 5 rows were left out" in caplog.text  # those of another split are not counted
    caplog.clear()
    source_of(SCORES, prompts.assign(prompt_id=["1", "2", "3"]), tmp_path, split="test").load()
    assert "left out" not in caplog.text


@pytest.mark.parametrize("blank", ["  ", "", None, [], [" "], ["a", None], [["a"]], float("nan")])
@pytest.mark.parametrize("where", ["prompts", "scores", "key"])
def test_scores_without_a_prompt_are_left_out_and_counted(blank, where, tmp_path, caplog):
    texts = {"1": "a", "2": blank, "3": "c"}
    if where == "prompts":
        prompts = pd.DataFrame({"prompt_id": list(texts), "prompt": list(texts.values())})
        measured = source_of(SCORES, prompts, tmp_path).load()
    else:
        scores = SCORES.assign(prompt=SCORES["prompt_id"].map(texts))
        if where == "key":
            scores = scores.drop(columns="prompt_id")
        measured = source_of(scores, None, tmp_path, key="prompt_id" if where == "scores" else None).load()
    assert measured.prompts == (("a",), ("c",)) and measured.score.tolist() == [[1, 0], [0, 0]]
    assert "rows without a prompt were left out: " in caplog.text
    assert "1 (row 1)" in caplog.text if where == "prompts" else "2 (row 2, 3)" in caplog.text
    assert ("2 of 5 rows were left out: their prompt_id has no prompt" in caplog.text) == (where != "key")


def test_models_without_a_price_are_named(files, caplog):
    MeasuredSource(**files, split="test", cost_column=None, prices={"x": (3, 15), "z": (1, 1)}).load()
    assert "models without a price were left out: y" in caplog.text


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("$0.5", "write it without units, such as 0.001"),
        ("1,5", "write it without units, such as 0.001"),
        ("3 points", "write it without units, such as 0.001"),
        ("inf", "leave it empty if it is unknown"),
        ("-Infinity", "leave it empty if it is unknown"),
        ("good", "leave it empty if it is unknown"),
        ("1e999", "leave it empty if it is unknown"),
    ],
)
def test_the_advice_fits_the_value(tmp_path, value, advice) -> None:
    path = tmp_path / "s.csv"
    pd.DataFrame([("p", "x", "0.5"), ("p", "y", value)], columns=["prompt", "model", "score"]).to_csv(path, index=False)
    with pytest.raises(DataError) as error:
        MeasuredSource(str(path), key=None, with_costs=False).load()
    assert repr(value) in str(error.value) and str(error.value).endswith(f"; {advice}")
