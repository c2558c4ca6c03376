"""Drawn tables, written in every format and read back: equal, or an error that names the place."""

import csv
import gzip
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2l.data.vote_table import load_votes
from p2l.errors import DataError

EXAMPLES = int(os.environ.get("P2L_ROUND_TRIPS", "40"))
OUTCOMES = ["model_a", "model_b", "tie", "tie (bothbad)"]
Table = dict[str, list[Any]]
ODD = [
    *("0613", "100", "1.50", "1e5", "nan", "None", "NULL", "NA", "true", "-0", "00", "inf", "1_000", "٣"),
    *(
        "gpt 4",
        "a;b",
        "a,b",
        "a\tb",
        "a\nb",
        "a\rb",
        "a\r\nb",
        "a\0b",
        "\x1bc",
        "a\x1ab",
        "a\x85b",
        "a\u2028b",
        "\ufeffb",
    ),
    *('"', "'", "ü", "u\u0308", "[x]", "model_a", "A", "tie", "both_bad", "#x", "=1+1", "\\n", "a\\", '""'),
]
FLAW, OTHER, NOTHING = "cannot be read", "holds text, but no turns", "holds no text"
SPELT: dict[str, Any] = {  # the turns that a text spells, or why it spells none
    **{'["a", "b"]': ["a", "b"], "['a']": ["a"], ' ["a"] ': ["a"], "('a', 'b')": ["a", "b"], '["[1]"]': ["[1]"]},
    **{'[{"role": "user", "content": "x"}]': ["x"], "{'role': 'User', 'content': 'x'}": ["x"]},
    **{"[{'from': 'human', 'value': 'x'}, {'from': 'gpt', 'value': 'y'}]": ["x"]},
    **{'{"messages": [{"role": "user", "content": "x"}]}': ["x"]},
    **dict.fromkeys(['["a"', "['a', 'b", '[{"role": "user", "content": "x', "['a', 'b'...", "b'a'", "{'a'}"], FLAW),
    **dict.fromkeys(["['a' 'b']", "['a'\n 'b']", "[{'role': 'user', 'content': 'x'} {'role': 'user'}]"], FLAW),
    **dict.fromkeys(["[array(['a'], dtype=object)]", "['a', nan]", "['a' ... 'z']", "c('a')", '"[\\"a\\"]"'], FLAW),
    **dict.fromkeys(['[null, "a"]', '[["a"]]', "['a', 1]", '[{"text": "a"}]'], OTHER),
    **dict.fromkeys(["[]", "[1, 2]", "[null]", "(1, 2)", "()"], NOTHING),
}
PROSE = ["[INST] x [/INST]", "['a', 'b'] what?", "[1, 2] sort", "['a'].x", "(a) b", '{"a": 1}', '"a" b', "{1, 2}", "[x"]
LISTS = list(SPELT)
LIKE_A_LIST = re.compile(r"""\s*(?:[\[({"]|array\(|c\(|b['"])""")
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",))).filter(lambda text: not LIKE_A_LIST.match(text))
SURROGATES = ["\ud800", "a\udfffb", "\ud83d", "\ude00\ud83d"]


def blank(text: str) -> bool:
    return not text.strip()


NAMES = (st.sampled_from(ODD) | ANY_TEXT.filter(lambda text: len(text) < 9)).filter(lambda name: not blank(name))
TEXTS = st.sampled_from([*ODD, *LISTS, *PROSE, "", " ", "\n"]) | ANY_TEXT | st.sampled_from(LISTS)
TURNS = [text for text, value in SPELT.items() if isinstance(value, list)]
IDS = st.none() | st.integers(-(2**63), 2**63 - 1)
WEIGHTS = st.floats(0, 2.0**100, width=32) | st.integers(0, 1000) | st.sampled_from([None, math.nan, math.inf, -1.0])
LABELS = st.none() | st.sampled_from(ODD) | NAMES


def sometimes(draw: st.DrawFn, values: list[Any], gap: Any) -> list[Any]:
    """Put gaps into a column, seldom."""
    holes = draw(st.lists(st.integers(0, 5), max_size=2)) if draw(st.integers(0, 3)) == 0 else []
    return [gap if row in holes else value for row, value in enumerate(values)]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    numbers = st.integers(-(2**63), 2**63 - 1)
    kinds = st.lists(NAMES, min_size=2, max_size=5, unique_by=str.strip)
    names = draw(kinds if draw(st.integers(0, 4)) else st.lists(numbers, min_size=2, max_size=5, unique=True))
    pairs = draw(st.lists(st.sampled_from([(a, b) for a in names for b in names]), min_size=1, max_size=6))
    size = len(pairs)
    texts = TEXTS | st.sampled_from(SURROGATES) if draw(st.integers(0, 9)) == 0 else TEXTS
    turns = texts.filter(lambda text: not blank(text))
    spelt = st.sampled_from(TURNS) | st.sampled_from(draw(st.sampled_from([TURNS, LISTS, PROSE, [""]])))
    prompts = draw(st.sampled_from([texts, spelt, st.lists(turns, min_size=1, max_size=3)]))
    winners = draw(st.lists(st.sampled_from(OUTCOMES), min_size=size, max_size=size))
    table: Table = {
        "prompt": sometimes(draw, draw(st.lists(prompts, min_size=size, max_size=size)), None),
        "model_a": sometimes(draw, [a for a, _ in pairs], None),
        "model_b": sometimes(draw, [b for _, b in pairs], None),
        "winner": sometimes(draw, winners, None),
    }
    for name, values in (("weight", WEIGHTS), ("conversation_id", IDS), ("language", LABELS)):
        if draw(st.booleans()):
            table[name] = draw(st.lists(values, min_size=size, max_size=size))
    return table


def well_formed(value: Any) -> Any:
    """Replace half surrogate pairs, as JSON readers and every exporter to UTF-8 do."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return [well_formed(item) for item in value] if isinstance(value, list) else value


def rows_of(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def csv_bytes(table: Table, encoding: str, **dialect: Any) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, **dialect)
    writer.writerow(table)
    writer.writerows(["" if value is None else value for value in row.values()] for row in rows_of(table))
    return file.getvalue().encode(encoding)


def csv_lists_as_json(table: Table) -> Table:
    return table | {"prompt": [json.dumps(p) if isinstance(p, list) else p for p in table["prompt"]]}


def has_bare_cr(table: Table) -> bool:
    """Whether a cell holds a carriage return: Python and pandas leave it unquoted, where it is the end of a row."""
    return any(isinstance(value, str) and "\r" in value for column in table.values() for value in column)


def write_csv(table: Table, folder: Path) -> list[str]:
    quoting = csv.QUOTE_ALL if has_bare_cr(table) else csv.QUOTE_MINIMAL
    files = {
        "a.csv": csv_bytes(table, "utf-8"),
        "b.csv": csv_bytes(csv_lists_as_json(table), "utf-8-sig", delimiter=";", quoting=csv.QUOTE_ALL),
        "c.tsv": csv_bytes(table, "utf-16", delimiter="\t", lineterminator="\n", quoting=quoting),
        "d.csv.gz": gzip.compress(csv_bytes(table, "utf-8", lineterminator="\n", quoting=quoting)),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    pd.DataFrame(table, dtype=object).to_csv(folder / "i.csv", quoting=quoting)
    return [str(folder / name) for name in (*files, "i.csv")]


def write_json(table: Table, folder: Path) -> list[str]:
    rows = rows_of(table)
    lines = "\n".join(map(json.dumps, rows)).encode()
    files = {"e.jsonl": lines, "f.jsonl.gz": gzip.compress(lines), "g.json": json.dumps(rows).encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


def write_arrow(table: Table, folder: Path) -> list[Any]:
    floats = [None if weight is None else float(weight) for weight in table.get("weight", [])]
    arrow = pa.table(table | ({"weight": pa.array(floats, pa.float64())} if floats else {}))
    arrow = pa.table({n: c.cast(pa.string()) if c.type == pa.null() else c for n, c in zip(arrow.column_names, arrow)})
    pq.write_table(arrow, folder / "h.parquet")
    dataset = datasets.Dataset(arrow)
    shutil.rmtree(folder / "saved", ignore_errors=True)
    dataset.save_to_disk(folder / "saved")
    return [str(folder / "h.parquet"), str(folder / "saved"), dataset]


def in_memory(source: Any, turns: list[str]) -> list[str]:
    """Half surrogate pairs in memory may stay until a prompt is encoded; files can't hold them."""
    return turns if isinstance(source, str) else well_formed(turns)


def text_of(value: Any) -> str | None:
    return None if value is None or blank(str(value)) else str(value).strip()


def arrived(source: Any) -> dict[str, Any]:
    votes, report = load_votes(source, max_skipped_share=0.999)
    found: dict[str, Any] = {
        "prompt": [tuple(in_memory(source, list(votes.prompts[i]))) for i in votes.prompt_index],
        "model_a": [votes.models[i] for i in votes.model_a],
        "model_b": [votes.models[i] for i in votes.model_b],
        "winner": [OUTCOMES[i] for i in votes.outcome_shares.argmax(axis=1)],
        "rows": report.kept_rows().tolist(),
    }
    if "weight" in votes.frame:
        found["weight"] = votes.weight.tolist()
    for name in ("conversation_id", "language"):
        if name in votes.frame:
            found[name] = [None if pd.isna(i) else str(i) for i in votes.frame[name]]
    return found


def is_vote(row: dict[str, Any]) -> bool:
    a, b, prompt = text_of(row["model_a"]), text_of(row["model_b"]), row["prompt"]
    weight = row.get("weight", 1)
    no_prompt = prompt is None or (isinstance(prompt, str) and blank(prompt))
    bad_weight = weight is None or not 0 <= weight < math.inf
    return not (None in (a, b, row["winner"]) or a == b or no_prompt or bad_weight)


def expected(table: Table) -> dict[str, Any]:
    kept = [(number, row) for number, row in enumerate(rows_of(table)) if is_vote(row)]
    right: dict[str, Any] = {
        "prompt": [(p,) if isinstance(p := row["prompt"], str) else tuple(p) for _, row in kept],
        "model_a": [text_of(row["model_a"]) for _, row in kept],
        "model_b": [text_of(row["model_b"]) for _, row in kept],
        "winner": [row["winner"] for _, row in kept],
        "rows": [number for number, _ in kept],
    }
    if "weight" in table:
        right["weight"] = [float(row["weight"]) for _, row in kept]
    if "conversation_id" in table:
        right["conversation_id"] = [text_of(row["conversation_id"]) for _, row in kept]
    if "language" in table:
        right["language"] = [row["language"] for _, row in kept]
    return right


def meaning(table: Table) -> Table | None:
    """Return what the texts of prompts mean: lists if most spell lists of turns, or all any; None for an error."""
    texts = [prompt for prompt in table["prompt"] if isinstance(prompt, str) and not blank(prompt)]
    found = [SPELT[text] for text in texts if text in SPELT]
    turns = [value for value in found if value != NOTHING]
    if not found or not (len(turns) > len(texts) / 2 or len(found) == len(texts)):
        return table
    if FLAW in turns or len(found) < len(texts):
        return None
    read = {text: value if isinstance(value, list) else None for text, value in SPELT.items()}
    return table | {"prompt": [read.get(p, p) if isinstance(p, str) else p for p in table["prompt"]]}


def is_ambiguous(row: dict[str, Any]) -> bool:
    """Whether the label of the winner is also the name of a model on the other side, or of any model if it is a tie."""
    sides = [side for side in ("model_a", "model_b") if text_of(row[side]) == row["winner"]]
    return row["winner"] is not None and bool(sides) and sides[0] != row["winner"]


def check(source: Any, table: Table | None) -> None:
    try:
        found = arrived(source)
    except DataError as error:
        message = " ".join(str(error).split())
        if table is None:
            assert "column prompt" in message and "write each prompt as a list of texts" in message, message
        elif clashes := [number for number, row in enumerate(rows_of(table)) if is_ambiguous(row)]:
            assert re.match(rf"row ({'|'.join(map(str, clashes))}): the winner .* may mean", message), message
        elif rows := expected(table)["rows"]:
            weights = expected(table).get("weight", [1.0])
            assert not any(weights) and "all votes have weight 0" in message, f"{source}, rows {rows}: {message}"
        else:
            assert "no valid votes" in message, f"{source}: {message}"
        return
    assert table is not None, f"{source}: no error for lists that cannot be read"
    assert not any(map(is_ambiguous, rows_of(table))), f"{source}: no error for a label that names another model"
    right = expected(table)
    if found != right:
        pytest.fail(f"{source}: {found}\nexpected {right}")


@pytest.fixture(autouse=True)
def no_progress_bars() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 40,  # a long run draws other tables each time, or those of --hypothesis-seed
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables())
def test_every_format_gives_back_what_was_written(tmp_path: Path, table: Table) -> None:
    clean = {name: well_formed(values) for name, values in table.items()}
    for source in write_json(table, tmp_path):
        check(source, meaning(clean))
    for source in write_csv(clean, tmp_path):
        check(source, meaning(clean))
    for source in write_arrow(clean, tmp_path):
        check(source, meaning(clean))
    check(rows_of(table), meaning(clean))
    check(pd.DataFrame(table, dtype=object), meaning(clean))
