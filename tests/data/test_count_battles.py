"""A table counted in blocks has the counts, the report and the errors of the table read whole."""

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from p2l.data.battle_counts import BattleCounts, NeedsEachVoteError
from p2l.data.battle_table import load_battles
from p2l.data.categories import Category
from p2l.data.count_battles import count_battles
from p2l.data.readers import blocked_table, read_table
from p2l.errors import DataError

BLOCK_ROWS = 3
NAMES = ["ant", "bee", " cat ", "dog"]


def draw(rows: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a = rng.integers(len(NAMES), size=rows)
    b = (a + rng.integers(1, len(NAMES), size=rows)) % len(NAMES)
    winners = np.array(["model_a", "model_b", "tie", "tie (bothbad)"], dtype=object)[rng.integers(4, size=rows)]
    names = np.array(NAMES, dtype=object)
    return pd.DataFrame({"model_a": names[a], "model_b": names[b], "winner": winners})


def with_values(frame: pd.DataFrame, column: str, values: dict[int, object]) -> pd.DataFrame:
    changed = frame[column].astype(object).tolist() if column in frame else [None] * len(frame)
    for row, value in values.items():
        changed[row] = value
    return frame.assign(**{column: pd.Series(changed, dtype=object)})


def soft(frame: pd.DataFrame) -> pd.DataFrame:
    shares = np.random.default_rng(3).dirichlet(np.ones(4), len(frame))
    shares[::3] = np.nan  # hard votes
    shares[4] = [0.5, 0.5, 0.5, 0.5]
    shares[5] = [np.nan, 0.5, 0.5, 0.0]
    shares[7] = [0.0, 1.0, 0.0, 0.0]
    return frame.assign(**dict(zip(("p_model_a", "p_model_b", "p_tie", "p_both_bad"), shares.T)))


PLAIN = draw()
WEIGHTS = {3: np.nan, 5: -1.0, 8: np.inf, 9: 1e39, 11: 0.0, 12: 2.5}
WEIGHTED = PLAIN.assign(weight=[WEIGHTS.get(row, 1.0) for row in range(40)])
NUMBERED = PLAIN.assign(model_a=np.arange(40))
GAPS = with_values(with_values(PLAIN, "winner", {2: None, 30: " "}), "model_a", {5: None, 7: ""})
TABLES: dict[str, tuple[pd.DataFrame, dict[str, object]]] = {
    "plain": (PLAIN, {}),
    "gaps and a model against itself": (
        with_values(GAPS, "model_b", {9: PLAIN["model_a"][9]}),
        {"max_skipped_share": 0.2},
    ),
    "too many gaps": (with_values(PLAIN, "winner", dict.fromkeys(range(4, 39), None)), {}),
    "no vote at all": (with_values(PLAIN, "winner", dict.fromkeys(range(40), None)), {}),
    "scores, the tie in the last row": (
        PLAIN.assign(winner=[*np.resize(["1", "0", "1.0"], 39), "0.5"]),
        {},
    ),
    "scores without a tie": (PLAIN.assign(winner=np.resize(["1", "0"], 40)), {}),
    "unknown labels": (with_values(PLAIN, "winner", {0: "who?", 20: "who?", 21: " nobody", 22: "0.5"}), {}),
    "unknown labels, reported": (with_values(PLAIN, "winner", {0: "who?", 20: "who?"}), {"max_skipped_share": 1.0}),
    "spellings": (PLAIN.assign(winner=np.resize(["A", " right ", "Draw", "both_bad", "tie (both bad)"], 40)), {}),
    "the winner's name": (PLAIN.assign(winner=PLAIN["model_b"]), {}),
    "the name of a model that did not play": (PLAIN.assign(winner="ant"), {"max_skipped_share": 1.0}),
    "a label that is a model on the other side": (
        with_values(with_values(PLAIN, "model_b", {17: "A"}), "winner", {17: "A"}),
        {},
    ),
    "a map of labels": (
        PLAIN.assign(winner=np.resize(["first", "second", "skipped", "tie"], 40)),
        {"winner_map": {"first": "model_a", "second": "model_b", "skipped": None}, "max_skipped_share": 0.5},
    ),
    "other names of columns": (
        PLAIN.rename(columns={"model_a": "left", "winner": "choice"}).assign(winner="nonsense"),
        {"columns": {"model_a": "left", "winner": "choice"}},
    ),
    "a column that is not there": (PLAIN, {"columns": {"model_a": "left"}}),
    "no winner": (PLAIN.drop(columns="winner"), {}),
    "half of a soft vote": (PLAIN.assign(p_model_a=0.5), {}),
    "known models": (PLAIN, {"models": ["dog", "ant", "cat"], "max_skipped_share": 0.9}),
    "weights": (WEIGHTED, {"max_skipped_share": 0.5}),
    "weights of 1": (PLAIN.assign(weight=1.0), {}),
    "weights and gaps in one row": (
        with_values(WEIGHTED, "winner", {3: None, 5: "?", 8: None}),
        {"max_skipped_share": 1.0},
    ),
    "soft votes": (soft(PLAIN), {"max_skipped_share": 0.5}),
    "soft votes without a winner": (soft(PLAIN).drop(columns="winner"), {"max_skipped_share": 0.5}),
    "soft votes with weights": (
        soft(PLAIN).assign(weight=[WEIGHTS.get(row, 0.1 * row) for row in range(40)]),
        {"max_skipped_share": 0.5},
    ),
    "one-hot winners": (
        pd.DataFrame(
            {
                **{side: PLAIN[side] for side in ("model_a", "model_b")},
                "prompt": "hi",
                **{f"winner_{name}": (PLAIN["winner"] == name).astype(int) for name in ("model_a", "model_b", "tie")},
            }
        ),
        {"max_skipped_share": 0.5},
    ),
    "judges": (PLAIN.drop(columns="winner").assign(p_b=np.linspace(0, 1, 40)), {}),
    "judges with a winner and gaps": (
        with_values(PLAIN.assign(p_b=0.25), "p_b", {3: None, 4: 2.0}),
        {"max_skipped_share": 0.1},
    ),
    "numbers as names": (with_values(NUMBERED, "model_a", {6: None}), {"max_skipped_share": 0.1}),
}


def whole(path: Path, options: dict) -> tuple[BattleCounts, str, dict] | str:
    try:
        battles, report = load_battles(path, **options)
    except DataError as error:
        return str(error)
    return BattleCounts.of(battles), str(report), report.details


def in_blocks(path: Path, options: dict) -> tuple[BattleCounts, str, dict] | str:
    table = blocked_table(path, text=[*options.get("columns", {}).values()])
    try:
        counts, report = count_battles(replace(table, block_rows=BLOCK_ROWS, json_bytes=200), **options)
    except DataError as error:
        return str(error)
    return counts["all"], str(report), report.details


def check_equal(found: tuple[BattleCounts, str, dict] | str, expected: tuple[BattleCounts, str, dict] | str) -> None:
    if isinstance(expected, str):
        assert found == expected
        return
    assert not isinstance(found, str), found
    (counts, *report), (same, *expected_report) = found, expected
    assert report == expected_report
    assert (counts.models, counts.num_votes) == (same.models, same.num_votes)
    assert counts.model_a.tolist() == same.model_a.tolist() and counts.model_b.tolist() == same.model_b.tolist()
    np.testing.assert_allclose(counts.weight, same.weight, rtol=1e-12)
    np.testing.assert_allclose(counts.moments, same.moments, rtol=1e-12)
    assert (counts.hard is None) == (same.hard is None)
    assert counts.hard is None or counts.hard.tolist() == same.hard.tolist()


@pytest.mark.parametrize("name", TABLES)
def test_parquet(name: str, tmp_path: Path) -> None:
    frame, options = TABLES[name]
    frame.to_parquet(tmp_path / "votes.parquet", row_group_size=7)
    check_equal(in_blocks(tmp_path / "votes.parquet", options), whole(tmp_path / "votes.parquet", options))


@pytest.mark.parametrize("name", TABLES)
def test_json_lines(name: str, tmp_path: Path) -> None:
    frame, options = TABLES[name]
    path = tmp_path / "votes.jsonl.gz"
    frame.to_json(path, orient="records", lines=True)
    check_equal(in_blocks(path, options), whole(path, options))


@pytest.mark.parametrize("name", ["plain", "gaps and a model against itself", "soft votes with weights"])
def test_categories_of_pandas(name: str, tmp_path: Path) -> None:
    """Categories keep values that no row has; a label 0.5 that nobody gave makes no scores of 0 and 1."""
    frame, options = TABLES[name]
    columns = {side: frame[side].astype("category").cat.add_categories(["0.5", "zebra"]) for side in frame.columns[:3]}
    frame.assign(**columns).to_parquet(tmp_path / "votes.parquet", row_group_size=7)
    check_equal(in_blocks(tmp_path / "votes.parquet", options), whole(tmp_path / "votes.parquet", options))


VOTE = '{"model_a": "ant", "model_b": "bee", "winner": "A"}'
BACK = '{"model_a": "bee", "model_b": "ant", "winner": "B"}'
LINES = {
    "a column that comes late": [VOTE] * 9 + [BACK.replace("}", ', "weight": 2}')],
    "numbers as they are written": [
        *(VOTE.replace('"ant"', number) for number in ("1.50", "-0", "0", "1.5", "2", '"0613"', "1e3")),
        BACK.replace('"B"', "0.5"),
        BACK.replace('"B"', "1"),
    ],
    "half a character, a byte order mark, blank lines": [
        "\ufeff" + VOTE,
        "",
        " ",
        BACK.replace("ant", "\\ud800"),
    ],
    "a line that is no object": [*[VOTE] * 9, "[1]"],
    "a line that is cut off": [*[VOTE] * 9, VOTE[:20]],
    "other ends of lines": [f"{VOTE}\r{BACK}\r\n{BACK}\r"],
    "ids too large for floats": [VOTE.replace('"ant"', str(2**53 + 1)), BACK.replace('"ant"', str(2**64 + 1))],
    "a list": ["[" + VOTE, ",", BACK + "]"],
    "rows of no fields": ["{}", VOTE, "{}"],
    "a key that stands twice": [*[VOTE] * 9, VOTE.replace("}", ', "winner": "B"}')],
}


@pytest.mark.parametrize("name", LINES)
def test_lines_of_json_by_hand(name: str, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text("\n".join(LINES[name]), encoding="utf-8", newline="")
    options = {"max_skipped_share": 1.0}
    check_equal(in_blocks(path, options), whole(path, options))


@pytest.mark.parametrize("kind", ["text", "gzip"])
def test_files_that_are_damaged(kind: str, tmp_path: Path) -> None:
    content = f"{VOTE}\n{BACK}\n".encode() * 500
    path = tmp_path / ("votes.jsonl" if kind == "text" else "votes.jsonl.gz")
    path.write_bytes(content[:20000] + b"\xff" + content[20000:] if kind == "text" else gzip.compress(content)[:-20])
    problem = {"text": "is not UTF-8 text: 'utf-8' codec can't decode byte 0xff", "gzip": "cannot be read as gzip: "}
    found, expected = in_blocks(path, {}), whole(path, {})
    assert isinstance(found, str) and isinstance(expected, str)
    assert found.startswith(f"{path} {problem[kind]}") and expected.startswith(f"{path} {problem[kind]}")


def test_bad_rows_are_named_with_their_file(tmp_path: Path) -> None:
    frame = with_values(PLAIN, "winner", {2: None, 25: None, 26: "?"})
    for part, rows in enumerate((slice(0, 10), slice(10, 20), slice(20, 40))):
        frame.iloc[rows].to_parquet(tmp_path / f"part-{part}.parquet")
    counts, report = count_battles(blocked_table(tmp_path), max_skipped_share=1.0)
    assert len(counts["all"]) == 37
    assert str(report).splitlines() == [
        "40 rows, 37 kept, 3 skipped (7.50%)",
        "  missing value: 2 (row 2 of part-0.parquet, 5 of part-2.parquet): 'winner' 2",
        "  unknown winner: 1 (row 6 of part-2.parquet): '?' 1",
    ]


def test_parts_with_other_columns_are_no_table(tmp_path: Path) -> None:
    PLAIN.to_parquet(tmp_path / "a.parquet")
    PLAIN.assign(more=1).to_parquet(tmp_path / "b.parquet")
    errors = []
    for read in (lambda: count_battles(blocked_table(tmp_path)), lambda: read_table(tmp_path)):
        with pytest.raises(DataError, match="are not parts of one table") as error:
            read()
        errors.append(str(error.value))
    assert errors[0] == errors[1]


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """Files behind fsspec, as in an object store."""
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/votes", recursive=True)


def test_object_stores_patterns_and_folders_give_the_same_votes(
    tmp_path: Path, store: fsspec.AbstractFileSystem
) -> None:
    for part, rows in enumerate((slice(0, 10), slice(10, 40))):
        PLAIN.iloc[rows].to_parquet(tmp_path / f"part-{part}.parquet")
        PLAIN.iloc[rows].to_json(tmp_path / f"part-{part}.jsonl", orient="records", lines=True)
        for suffix in ("parquet", "jsonl"):
            store.pipe(f"/votes/{suffix}/part-{part}.{suffix}", (tmp_path / f"part-{part}.{suffix}").read_bytes())
    expected = BattleCounts.of(load_battles(PLAIN)[0])
    sources = [
        f"{tmp_path}/part-*.parquet",
        f"{tmp_path}/part-?.jsonl",
        "memory://votes/parquet",
        "memory://votes/*/*.jsonl",
    ]
    for source in sources:
        counts, report = count_battles(blocked_table(source))
        check_equal((counts["all"], str(report)), (expected, "40 rows, 40 kept, 0 skipped (0.00%)"))
        assert read_table(source)["winner"].tolist() == PLAIN["winner"].tolist(), source
    with pytest.raises(DataError, match="no parquet or JSON-lines file at memory://votes/nothing"):
        read_table("memory://votes/nothing/*.parquet")
    with pytest.raises(DataError, match="nostore://votes cannot be listed: .*nostore"):
        read_table("nostore://votes")


def test_categories_are_counted_apart(tmp_path: Path) -> None:
    tags = [{"math_v0.1": {"math": row % 4 == 0}} for row in range(40)]
    frame = PLAIN.assign(lang=np.resize(["English", "Polish"], 40), category_tag=tags, complexity=np.arange(40) % 2)
    frame.to_parquet(tmp_path / "votes.parquet", row_group_size=7)
    categories = (
        Category("language=Polish", ("language",), value="Polish"),
        Category("math", ("nothing", "category_tag.math_v0.1.math")),
        Category("at least", ("complexity+complexity",), "at_least", 2),
        Category("none", ("language",), value="Dutch"),
        Category("unknown", ("missing",)),
        Category("no flags", ("language",)),
    )
    columns = {"language": "lang"}
    counts, _ = count_battles(replace(blocked_table(tmp_path), block_rows=5), columns=columns, categories=categories)
    for category, rows in zip(categories, (slice(1, None, 2), slice(0, None, 4), slice(1, None, 2)), strict=False):
        check_equal((counts[category.name],), (BattleCounts.of(load_battles(frame.iloc[rows])[0]),))
    assert "expected flags (true and false, 1 and 0, yes and no; an empty" in str(counts["no flags"])
    assert str(counts["none"]) == "no vote is in it" and str(counts["unknown"]) == "the table has no column missing"


def test_what_needs_the_whole_table_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PLAIN.drop(columns="winner").assign(labels=[[0, 1]] * 40).to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(NeedsEachVoteError, match="labels are positions among all models"):
        count_battles(blocked_table(tmp_path / "labels.parquet"))
    monkeypatch.setattr("p2l.data.battle_cells.MOST_CELLS", 100)
    PLAIN.assign(winner=[f"answer {row}" for row in range(40)]).to_parquet(tmp_path / "texts.parquet")
    with pytest.raises(NeedsEachVoteError, match="with 40 labels of winners .'answer 0'.* are too many to count"):
        count_battles(blocked_table(tmp_path / "texts.parquet"))


@pytest.mark.parametrize("files", [1, 2])
def test_soft_votes_against_their_winner_are_counted_in_blocks_as_in_memory(
    files: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"model_a": "x", "model_b": "y", "winner": "model_a", "p_tie": 0.0, "p_both_bad": 0.0}
    agree, against = ({**row, "p_model_a": share, "p_model_b": 1 - share} for share in (0.5, 0.3))
    swapped = {**against, "model_a": "y", "model_b": "x", "winner": "B", "p_model_a": 0.6, "p_model_b": 0.4}
    itself = {**against, "model_b": "x"}  # left out
    hard = {**row, "p_model_a": None, "p_model_b": None, "p_tie": None, "p_both_bad": None}
    frame = pd.DataFrame([*[agree] * 30, against, against, swapped, itself, hard])
    for part, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        frame.iloc[rows].to_parquet(tmp_path / f"{part}.parquet")
    said = r"3 of 34 votes name a winner that is not the most probable outcome of their soft vote%s; the soft votes are"
    load_battles(frame)
    assert said % ", such as model_a with p_model_a 0.3, p_model_b 0.7, p_tie 0, p_both_bad 0" in caplog.text
    for each in (None, map):
        caplog.clear()
        count_battles(blocked_table(str(tmp_path)), each=each)
        assert said % "" in caplog.text
