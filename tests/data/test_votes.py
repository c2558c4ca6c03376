import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.data.skip_report import SkipReport
from p2l.data.vote_table import VoteTable, load_votes, validate_votes
from p2l.errors import DataError
from p2l.types import OUTCOMES

GOOD = {"prompt": "hello", "model_a": "ant", "model_b": "bee", "winner": "model_a"}
SOFT = {"p_model_a": 0.25, "p_model_b": 0.25, "p_tie": 0.5, "p_both_bad": 0.0}


def table(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


BAD_ROWS = {
    "missing value": [
        {"prompt": None},
        {"prompt": float("nan")},
        {"model_a": None},
        {"model_b": " "},
        {"winner": None},
    ],
    "non-string turn": [{"prompt": ["hello", None]}, {"prompt": [1, 2]}, {"prompt": 7}, {"prompt": [{"role": "user"}]}],
    "empty prompt": [{"prompt": ""}, {"prompt": " \n\t"}, {"prompt": []}, {"prompt": ["", " "]}],
    "model against itself": [{"model_b": "ant"}],
    "unknown winner": [{"winner": "model_c"}, {"winner": "Tie"}, {"winner": 1}],
    "unknown model": [{"model_a": "cow"}, {"model_b": "cow"}],
    "bad weight": [
        {"weight": -1.0},
        {"weight": float("nan")},
        {"weight": float("inf")},
        {"weight": 1e39},
        {"weight": "heavy"},
    ],
    "bad soft vote": [
        {"p_tie": 0.6},
        {"p_tie": None},
        {"p_model_a": -0.25, "p_tie": 1.0},
        {"p_model_a": float("inf")},
    ],
}


@pytest.mark.parametrize(("reason", "change"), [(reason, row) for reason, rows in BAD_ROWS.items() for row in rows])
def test_a_bad_row_is_skipped_under_its_reason(reason: str, change: dict[str, object]) -> None:
    good = {**GOOD, **SOFT, "weight": 1.0}
    frame = table(good, {**good, **change}, good)
    kept, report = validate_votes(frame, max_skipped_share=0.5, models=["ant", "bee"])
    assert report.skipped == {reason: [1]}
    assert (report.total, report.kept, report.share) == (3, 2, pytest.approx(1 / 3))
    assert kept.index.tolist() == [0, 1]


def test_what_is_not_a_fault_is_kept() -> None:
    rows = [
        {"prompt": "x" * 2_000_000},
        {"prompt": ["", "a later turn"]},
        {"prompt": ("a", "b")},
        {"prompt": np.array(["a", "b"], dtype=object)},
        {"weight": 0.0},
        {"model_a": "cow"},
        *({"winner": outcome.value} for outcome in OUTCOMES),
        {"p_model_a": None, "p_model_b": None, "p_tie": None, "p_both_bad": None},
        {"p_tie": 0.5 + 1e-7},
    ]
    frame = table(*({**GOOD, **SOFT, "weight": 1.0, **row} for row in rows))
    kept, report = validate_votes(frame, max_skipped_share=0.0)
    assert report == SkipReport(total=len(rows), kept=len(rows), skipped={})
    pd.testing.assert_frame_equal(kept, frame)


def test_a_row_is_counted_once_and_order_is_kept() -> None:
    worst = {"prompt": "", "model_a": "bee", "winner": "?"}
    frame = table(*({**GOOD, "row": row, **(worst if row % 2 else {})} for row in range(10)))
    kept, report = validate_votes(frame, max_skipped_share=0.5)
    assert report.skipped == {"empty prompt": [1, 3, 5, 7, 9]}
    assert kept["row"].tolist() == [0, 2, 4, 6, 8]


def test_too_many_skipped_rows_are_an_error_with_the_report() -> None:
    frame = table(*[GOOD] * 18, *[{**GOOD, "winner": "?"}] * 2)
    assert len(validate_votes(frame, max_skipped_share=0.1)[0]) == 18
    with pytest.raises(DataError, match=r"(?s)my\.csv: more than 5\.00%.*unknown winner: 2 \(row 18, 19\)"):
        validate_votes(frame, source="my.csv")


def test_a_table_without_votes_is_an_error() -> None:
    with pytest.raises(DataError, match="the table contains no valid votes"):
        validate_votes(table({**GOOD, "winner": "?"}), max_skipped_share=1.0)
    with pytest.raises(DataError, match="the table contains no valid votes"):
        validate_votes(table(GOOD)[:0])


def test_missing_columns_are_named_with_those_present() -> None:
    with pytest.raises(DataError, match=r"no column prompt, winner; .* It has: model_a, model_b, judge"):
        validate_votes(table({"model_a": "a", "model_b": "b", "judge": "me"}))
    with pytest.raises(DataError, match="no column p_tie, p_both_bad"):
        validate_votes(table({**GOOD, "p_model_a": 0.5, "p_model_b": 0.5}))


def test_the_report_reads_well() -> None:
    report = SkipReport(total=2000, kept=1992, skipped={"empty prompt": [0], "unknown winner": [3, 4, 5, 6, 7, 8, 9]})
    assert str(report) == (
        "2,000 rows, 1,992 kept, 8 skipped (0.40%)\n"
        "  empty prompt: 1 (row 0)\n"
        "  unknown winner: 7 (row 3, 4, 5, 6, 7, ...)"
    )
    assert SkipReport(total=0, kept=0, skipped={}).share == 0.0


def test_a_vote_table_by_hand() -> None:
    frame = table(
        {"prompt": "b", "model_a": "cat", "model_b": "ant", "winner": "model_b"},
        {"prompt": ["a", "b"], "model_a": "ant", "model_b": "bee", "winner": "tie (bothbad)"},
        {"prompt": ["b"], "model_a": "bee", "model_b": "cat", "winner": "tie"},
        {"prompt": ("a", "b"), "model_a": "ant", "model_b": "cat", "winner": "model_a"},
    ).assign(weight=[1, 0.5, 2, 1])
    votes = VoteTable.from_frame(frame)
    assert votes.prompts == (("b",), ("a", "b"))
    assert votes.models == ("ant", "bee", "cat")
    assert votes.prompt_index.tolist() == [0, 1, 0, 1]
    assert votes.model_a.tolist() == [2, 0, 1, 0]
    assert votes.model_b.tolist() == [0, 1, 2, 2]
    assert votes.outcome_shares.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert votes.weight.tolist() == [1, 0.5, 2, 1]
    dtypes = [
        array.dtype.name
        for array in (votes.prompt_index, votes.model_a, votes.model_b, votes.outcome_shares, votes.weight)
    ]
    assert dtypes == ["int64", "int64", "int64", "float32", "float32"]
    assert len(votes) == len(votes.frame) == 4


def test_soft_and_hard_votes_in_one_table() -> None:
    none = dict.fromkeys(SOFT)
    votes = VoteTable.from_frame(table({**GOOD, **SOFT}, {**GOOD, **none}, {**GOOD, **SOFT, "p_tie": 0.5004}))
    assert votes.outcome_shares[:2].tolist() == [[0.25, 0.25, 0.5, 0], [1, 0, 0, 0]]
    assert votes.outcome_shares.sum(axis=1).tolist() == pytest.approx([1, 1, 1])


def test_given_models_keep_their_order_and_must_cover_the_votes() -> None:
    votes = VoteTable.from_frame(table(GOOD), models=["zoe", "bee", "ant"])
    assert votes.models == ("zoe", "bee", "ant")
    assert (votes.model_a.tolist(), votes.model_b.tolist()) == ([2], [1])
    with pytest.raises(DataError, match=r"unknown model: 1 \(row 0\)"):
        VoteTable.from_frame(table(GOOD), models=["ant"])


def test_model_names_that_look_like_numbers() -> None:
    votes = VoteTable.from_frame(table({**GOOD, "model_a": 10, "model_b": 9}, {**GOOD, "model_a": 9, "model_b": 2}))
    assert votes.models == ("10", "2", "9")
    assert votes.model_a.tolist() == [0, 2]


PROMPTS = st.one_of(st.sampled_from("xyz"), st.lists(st.sampled_from("xyz"), min_size=1, max_size=2))
ROWS = st.tuples(PROMPTS, st.permutations("abcd"), st.sampled_from([outcome.value for outcome in OUTCOMES]))


@given(st.lists(ROWS, min_size=1, max_size=12), st.data())
def test_selecting_rows_keeps_every_vote_what_it_was(rows: list[tuple], data: st.DataObject) -> None:
    frame = table(*({"prompt": p, "model_a": m[0], "model_b": m[1], "winner": w} for p, m, w in rows))
    votes = VoteTable.from_frame(frame)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20))
    part = votes.select(np.array(chosen, dtype=np.int64))
    assert [part.prompts[i] for i in part.prompt_index] == [votes.prompts[votes.prompt_index[i]] for i in chosen]
    assert part.prompts == tuple(dict.fromkeys(part.prompts[i] for i in part.prompt_index))
    assert part.models == votes.models
    assert part.frame["winner"].tolist() == [rows[i][2] for i in chosen]
    assert [part.models[i] for i in part.model_a] == [rows[i][1][0] for i in chosen]
    assert [OUTCOMES[i].value for i in part.outcome_shares.argmax(axis=1)] == [rows[i][2] for i in chosen]
    assert len(part) == len(part.frame) == len(part.weight) == len(chosen)


ANY_CELL = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.floats(),
    st.integers(),
    st.lists(st.one_of(st.none(), st.text(max_size=2)), max_size=2),
)


@given(st.lists(st.tuples(ANY_CELL, ANY_CELL), max_size=8))
def test_every_row_is_either_kept_or_reported(cells: list[tuple[object, object]]) -> None:
    rows = [{**GOOD, "row": row, "prompt": prompt, "weight": weight} for row, (prompt, weight) in enumerate(cells)]
    frame = pd.DataFrame([{**GOOD, "row": -1, "weight": 1.0}, *rows]).astype({"weight": object})
    kept, report = validate_votes(frame, max_skipped_share=1.0)
    reported = [row for rows in report.skipped.values() for row in rows]
    assert sorted([row + 1 for row in kept["row"]] + reported) == list(range(len(frame)))
    assert report.kept == len(kept)
    VoteTable.from_frame(kept)


def test_load_votes_from_file_to_arrays(tmp_path: Path) -> None:
    rows = [GOOD] * 30 + [{**GOOD, "winner": "both_bad"}, {**GOOD, "model_b": "cow"}]
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    votes, report = load_votes(str(path), models=("ant", "bee"))
    assert (len(votes), votes.models, votes.prompts) == (31, ("ant", "bee"), (("hello",),))
    assert votes.outcome_shares[-1].tolist() == [0, 0, 0, 1]
    assert report.skipped == {"unknown model": [31]}
    with pytest.raises(DataError, match=r"votes\.jsonl: more than 1\.00%"):
        load_votes(str(path), models=("ant", "bee"), max_skipped_share=0.01)


def test_load_votes_without_prompts_says_so(tmp_path: Path) -> None:
    table(GOOD).drop(columns="prompt").to_parquet(tmp_path / "votes.parquet")
    with pytest.raises(DataError, match=r"votes\.parquet has no column prompt"):
        load_votes(str(tmp_path / "votes.parquet"))
