"""Votes from measured scores: which pairs meet, and what their scores say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data import PairRule, ScoreVotes, VoteTable
from p2l.data.measured_scores import MeasuredScores, MeasuredSource
from p2l.data.vote_evidence import with_evidence
from p2l.errors import ConfigError, DataError
from p2l.outcomes import get_family
from p2l.run_page.run_votes import doubts

NAMES = ("ant", "bee", "cat")


def measured(*scores: tuple[float | None, ...]) -> MeasuredScores:
    score = np.array(scores, dtype=np.float64)
    known = np.isfinite(score)
    prompts = tuple((f"prompt {i}",) for i in range(len(scores)))
    return MeasuredScores(NAMES, prompts, np.where(known, score, 0.0), known.astype(np.float64), score * 0)


def outcomes(table: VoteTable) -> dict[tuple[str, frozenset[str]], str]:
    """The winner by name, or the kind of tie, of each prompt and pair."""
    rows = table.frame.itertuples()
    return {
        (row.prompt[0], frozenset((row.model_a, row.model_b))): getattr(row, row.winner, row.winner) for row in rows
    }


def pair(*names: str) -> frozenset[str]:
    return frozenset(names)


def test_the_better_score_wins_equal_ones_tie_and_two_bad_ones_are_bad() -> None:
    got = outcomes(PairRule(bad_below=0.5).votes(measured((0.9, 0.9, 0.2), (0.1, 0.4, None))))
    assert got == {
        ("prompt 0", pair("ant", "bee")): "tie",
        ("prompt 0", pair("ant", "cat")): "ant",
        ("prompt 0", pair("bee", "cat")): "bee",
        ("prompt 1", pair("ant", "bee")): "tie (bothbad)",
    }


def test_without_a_threshold_no_pair_is_bad_and_near_scores_can_tie() -> None:
    got = outcomes(PairRule(tie_within=0.1).votes(measured((0.1, 0.15, 0.4))))
    assert got[("prompt 0", pair("ant", "bee"))] == "tie"
    assert got[("prompt 0", pair("ant", "cat"))] == got[("prompt 0", pair("bee", "cat"))] == "cat"


def test_soft_votes_are_the_logistic_of_the_difference_whichever_stands_first() -> None:
    table = PairRule(temperature=0.1).votes(measured(*[(0.7, 0.5, None)] * 50))
    first_is_better = table.model_a == NAMES.index("ant")
    assert 0 < first_is_better.sum() < 50
    right = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(np.where(first_is_better, *table.outcome_shares[:, :2].T), right, rtol=1e-6)
    assert not table.outcome_shares[:, 2:].any()


def test_large_differences_and_a_small_temperature_stay_finite() -> None:
    shares = PairRule(temperature=1e-12).votes(measured((1e9, -1e9, None))).outcome_shares
    assert sorted(shares[0].tolist()) == [0, 0, 0, 1]


def test_drawn_pairs_are_different_and_among_the_scored_ones() -> None:
    table = PairRule(pairs=2, seed=3).votes(measured(*[(1.0, 0.5, 0.0)] * 200, (1.0, None, 0.0)))
    drawn = table.frame.assign(pair=[frozenset(p) for p in zip(table.frame.model_a, table.frame.model_b)])
    by_prompt = drawn.groupby(table.prompt_index)["pair"]
    assert (by_prompt.count() == [2] * 200 + [1]).all() and (by_prompt.nunique() == by_prompt.count()).all()
    assert drawn["pair"].iloc[-1] == pair("ant", "cat")
    shares = drawn["pair"].value_counts(normalize=True)
    assert shares.between(0.25, 0.42).all() and len(shares) == 3


def test_many_prompts_in_parts_give_what_one_part_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    table = measured(*[(i % 3, i % 2, i % 5) for i in range(100)])
    whole = outcomes(PairRule().votes(table))
    monkeypatch.setattr("p2l.data.score_votes._CHUNK", 30)
    assert outcomes(PairRule().votes(table)) == whole


def test_the_frame_says_the_same_as_the_arrays() -> None:
    table = PairRule(temperature=0.3, bad_below=0.4).votes(measured((0.9, 0.1, 0.3), (0.1, 0.8, 0.8)))
    again = VoteTable.from_frame(table.frame, table.models)
    assert again.prompts == table.prompts
    for name in ("prompt_index", "model_a", "model_b", "outcome_shares"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))


def test_no_pair_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="scores of two models"):
        PairRule().votes(measured((1.0, None, None)))


@pytest.mark.parametrize(
    "wrong",
    [{"pairs": 0}, {"pairs": "some"}, {"temperature": -1.0}, {"tie_within": float("nan")}, {"bad_below": float("inf")}],
)
def test_options_are_checked(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"data.rule.{next(iter(wrong))}"):
        PairRule(**wrong)


def write(path: Path, rows: list[tuple], columns: str = "prompt model score") -> str:
    pd.DataFrame(rows, columns=columns.split()).to_csv(path, index=False)
    return str(path)


def test_a_table_of_prompt_model_and_score_is_enough(tmp_path: Path) -> None:
    rows = [("p", "ant", 1.0), ("p", "bee", 0.0), ("q", "ant", 0.0), ("q", "bee", 1.0), ("q", "cat", None)]
    splits = ScoreVotes(write(tmp_path / "s.csv", rows), PairRule()).load()
    assert outcomes(splits.train) == {("p", pair("ant", "bee")): "ant", ("q", pair("ant", "bee")): "bee"}
    assert splits.val is None and splits.train.models == ("ant", "bee")


def test_prompts_are_held_out_whole(tmp_path: Path) -> None:
    rows = [(f"p{i}", name, float(i % 2 == len(name) % 2)) for i in range(40) for name in ("ant", "bee", "hawk")]
    splits = ScoreVotes(write(tmp_path / "s.csv", rows), PairRule(), val_share=0.25).load()
    assert splits.val is not None and len(splits.val.prompts) == 10
    assert not set(splits.val.prompts) & set(splits.train.prompts)


@pytest.mark.parametrize("rule", [{"bad_below": 50}, {"tie_within": 1}])
def test_a_rule_on_another_scale_than_the_scores_is_refused(tmp_path: Path, rule: dict[str, float]) -> None:
    scores = write(tmp_path / "s.csv", [("p", "ant", 0.2), ("p", "bee", 0.9), ("q", "ant", 0.4), ("q", "bee", 0.1)])
    with pytest.raises(DataError, match=r"100.0% of the pairs are ties or both bad.*scores are 0.1 to 0.9") as error:
        ScoreVotes(scores, PairRule(**rule)).load()
    assert "{}={:g}".format(*next(iter(rule.items()))) in str(error.value)


def test_a_rule_that_leaves_few_winners_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(f"p{i}", name, score + (9 if i == 0 else 0)) for i in range(20) for name, score in (("a", 0.2), ("b", 1))]
    ScoreVotes(write(tmp_path / "s.csv", rows), PairRule(bad_below=5)).load()
    assert "train: 95.0% of the pairs are ties or both bad" in caplog.text


def test_one_prompt_under_many_keys_lies_on_one_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As repeated runs of a benchmark write it; case and spaces make no other prompt."""
    rows = [
        (i, f"{' ' * (i // 10)}Prompt {i % 10}", name, len(name) * i % 7 + ord(name[0]))
        for i in range(40)
        for name in NAMES
    ]
    source = write(
        tmp_path / "s.csv",
        [(i, p.upper() if i % 3 else p, m, s) for i, p, m, s in rows],
        "prompt_id prompt model score",
    )
    splits = ScoreVotes(source, PairRule(), val_share=0.3).load()
    sides = [{prompt[0].strip().lower() for prompt in part.prompts} for part in (splits.train, splits.val)]
    assert list(map(len, sides)) == [7, 3] and not sides[0] & sides[1]
    assert "trained on too" not in caplog.text


def test_the_advice_of_shared_prompts_names_only_options_that_were_given(tmp_path, caplog) -> None:
    rows = [(f"p{i}", name, float(i % 2 == NAMES.index(name))) for i in range(10) for name in NAMES]
    train, again = write(tmp_path / "s.csv", rows), write(tmp_path / "again.csv", rows)
    ScoreVotes(train, PairRule(), test=again, val_share=0.3).load()
    assert "test: 7 of 10 prompts" in caplog.text and "in place of data.val" not in caplog.text
    ScoreVotes(train, PairRule(), val=again).load()
    assert "or data.val_share in place of data.val" in caplog.text


def test_validation_scores_have_the_list_of_the_training_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = write(tmp_path / "t.csv", [("p", "ant", 1), ("p", "bee", 0), ("p", "cat", 0)])
    val = write(tmp_path / "v.csv", [("q", "dog", 1), ("q", "cat", 1), ("q", "ant", 0)])
    splits = ScoreVotes(train, PairRule(), val=val).load()
    assert splits.val is not None and splits.val.models == NAMES
    assert outcomes(splits.val) == {("q", pair("ant", "cat")): "cat"} and "dog" in caplog.text


@pytest.mark.parametrize("held_out", ["val", "test"])
@pytest.mark.parametrize(("shared", "said"), [(18, True), (0, False)])
def test_held_out_scores_of_trained_prompts_are_doubted(
    held_out: str, shared: int, said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def rows(start: int) -> list[tuple]:
        return [(f"p{i}", model, score) for i in range(start, start + 30) for model, score in (("ant", 1), ("bee", 0))]

    train, other = write(tmp_path / "train.csv", rows(0)), write(tmp_path / "other.csv", rows(30 - shared))
    with caplog.at_level("WARNING", "p2l"):
        splits = with_evidence(ScoreVotes(train, PairRule(), **{held_out: other}).load(), get_family("bt"))
    on_page = " ".join(doubts(dict(splits.items()), splits.advice))
    assert "split_by" not in on_page and ("give the scores of other prompts" in on_page) == said
    doubt = f"{held_out}: 18 of 30 prompts (60 % of the votes) are trained on too"
    assert (doubt in caplog.text) == ("give the scores of other prompts" in caplog.text) == said
    assert "split_by" not in caplog.text  # no option of scores


def test_one_key_with_two_prompts_is_an_error(tmp_path: Path) -> None:
    rows = [("1", "p", "ant", 1), ("1", "other", "bee", 0)]
    source = write(tmp_path / "s.csv", rows, "prompt_id prompt model score")
    with pytest.raises(DataError, match="prompt_id '1' has different prompts"):
        ScoreVotes(source, PairRule()).load()


def test_what_is_left_out_or_averaged_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("p", "ant", 1.0), ("p", "ant", 0.0), ("p", "bee", 0.4), ("p", "cat", None)]
    found = MeasuredSource(write(tmp_path / "s.csv", rows), key=None, with_costs=False).load()
    assert found.score.tolist() == [[0.5, 0.4]]
    assert "1 rows without a score" in caplog.text and "1 repeated rows" in caplog.text


def test_conversations_are_prompts(tmp_path: Path) -> None:
    rows = [{"prompt": ["a", "b"], "model": name, "score": i} for i, name in enumerate(NAMES)]
    path = tmp_path / "s.jsonl"
    pd.DataFrame(rows).to_json(path, orient="records", lines=True)
    assert ScoreVotes(str(path), PairRule()).load().train.prompts == (("a", "b"),)


def test_the_same_file_for_training_and_validation_needs_a_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data.split"):
        ScoreVotes("s.csv", PairRule(), val="s.csv")
