"""Drawn tables, written in every format and read back: equal, or an error that names the place."""

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2l.data.vote_table import load_votes

EXAMPLES = int(os.environ.get("P2L_ROUND_TRIPS", "40"))
OUTCOMES = ["model_a", "model_b", "tie", "tie (bothbad)"]
ODD = [
    "0613",
    "100",
    "1.50",
    "1e5",
    "nan",
    "None",
    "NULL",
    "true",
    "-0",
    "00",
    "gpt 4",
    "a;b",
    "a,b",
    "a\tb",
    '"',
    "'",
    "ü",
    "[x]",
]
# Control characters and the ends of lines are not text of names; spaces around a name are removed.
LETTERS = st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"))
NAMES = (st.sampled_from(ODD) | st.text(LETTERS, min_size=1, max_size=8)).filter(
    lambda name: name == name.strip() != ""
)
TEXTS = (
    st.sampled_from(ODD) | st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"), min_size=1)
).filter(lambda text: bool(text.strip()) and not (text.strip().startswith("[") and text.strip().endswith("]")))
IDS = st.none() | st.integers(-(2**63), 2**63 - 1)
WEIGHTS = st.floats(0, 2.0**100, width=32) | st.integers(0, 1000)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Any]]:
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique=True))
    pairs = draw(st.lists(st.sampled_from([(a, b) for a in names for b in names if a != b]), min_size=1, max_size=6))
    size = len(pairs)
    prompts = TEXTS if draw(st.booleans()) else st.lists(TEXTS, min_size=1, max_size=3)
    table: dict[str, list[Any]] = {
        "prompt": draw(st.lists(prompts, min_size=size, max_size=size)),
        "model_a": [a for a, _ in pairs],
        "model_b": [b for _, b in pairs],
        "winner": draw(st.lists(st.sampled_from(OUTCOMES), min_size=size, max_size=size)),
    }
    if draw(st.booleans()):
        table["weight"] = draw(st.lists(WEIGHTS, min_size=size, max_size=size))
    if draw(st.booleans()):
        table["conversation_id"] = draw(st.lists(IDS, min_size=size, max_size=size))
    return table


def csv_bytes(table: dict[str, list[Any]], separator: str, encoding: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow(["" if value is None else value for value in row])
    return file.getvalue().encode(encoding)


def csv_lists_as_json(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return table | {"prompt": [json.dumps(p) if isinstance(p, list) else p for p in table["prompt"]]}


def write_all(table: dict[str, list[Any]], folder: Path) -> list[Any]:
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    lines = "\n".join(map(json.dumps, rows)).encode()
    files = {
        "a.csv": csv_bytes(table, ",", "utf-8"),
        "b.csv": csv_bytes(csv_lists_as_json(table), ";", "utf-8-sig"),
        "c.tsv": csv_bytes(table, "\t", "utf-16"),
        "d.csv.gz": gzip.compress(csv_bytes(table, ",", "utf-8")),
        "e.jsonl": lines,
        "f.jsonl.gz": gzip.compress(lines),
        "g.json": json.dumps(rows, ensure_ascii=False).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    pq.write_table(pa.table(numbers_of_one_kind(table)), folder / "h.parquet")
    pd.DataFrame(table, dtype=object).to_csv(folder / "i.csv")
    return [*(str(folder / name) for name in (*files, "h.parquet", "i.csv")), rows]


def numbers_of_one_kind(table: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: list(map(float, values)) if name == "weight" else values for name, values in table.items()}


def arrived(source: Any) -> dict[str, list[Any]]:
    votes, _ = load_votes(source, max_skipped_share=0)
    found: dict[str, list[Any]] = {
        "prompt": [votes.prompts[i] for i in votes.prompt_index],
        "model_a": [votes.models[i] for i in votes.model_a],
        "model_b": [votes.models[i] for i in votes.model_b],
        "winner": [OUTCOMES[i] for i in votes.outcome_shares.argmax(axis=1)],
    }
    if "weight" in votes.frame:
        found["weight"] = votes.weight.tolist()
    if "conversation_id" in votes.frame:
        found["conversation_id"] = [None if pd.isna(i) else str(i) for i in votes.frame["conversation_id"]]
    return found


def expected(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    right = table | {"prompt": [(p,) if isinstance(p, str) else tuple(p) for p in table["prompt"]]}
    if "weight" in table:
        right["weight"] = list(map(float, table["weight"]))
    if "conversation_id" in table:
        right["conversation_id"] = [None if i is None else str(i) for i in table["conversation_id"]]
    return right


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables())
def test_every_format_gives_back_what_was_written(tmp_path: Path, table: dict[str, list[Any]]) -> None:
    right = expected(table)
    for source in write_all(table, tmp_path):
        found = arrived(source)
        if found != right:
            pytest.fail(f"{source}: {found}\nexpected {right}")
