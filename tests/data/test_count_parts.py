"""Files of a table that are counted apart, as on other machines, have the counts of the whole table."""

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from p2l.data.categories import Category
from p2l.data.count_battles import count_battles
from p2l.data.readers import blocked_table
from p2l.errors import DataError
from tests.data.test_count_battles import LINES, PLAIN, TABLES, check_equal

CATEGORIES = (
    Category("all"),
    Category("first", ("tag",), value=0),
    Category("none", ("missing",)),
    Category("no flags", ("text",)),
)


def apart(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call the function as other processes would: what goes in and out is pickled."""
    copy = pickle.loads(pickle.dumps(function))
    return [pickle.loads(pickle.dumps(copy(pickle.loads(pickle.dumps(item))))) for item in items]


def check_parts(folder: Path, options: dict[str, Any]) -> None:
    found = []
    for each in (None, apart):
        try:
            counts, report = count_battles(blocked_table(folder), each=each, **options)
        except DataError as error:
            found.append(str(error))
            continue
        found.append((counts, str(report), report.details))
    whole, parts = found
    if isinstance(whole, str):
        assert parts == whole
        return
    assert parts[1:] == whole[1:]
    for name, expected in whole[0].items():
        if isinstance(expected, DataError):
            assert str(parts[0][name]) == str(expected)
        else:
            check_equal((parts[0][name],), (expected,))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
@pytest.mark.parametrize("name", TABLES)
def test_counts_and_reports(name: str, suffix: str, tmp_path: Path) -> None:
    frame, options = TABLES[name]
    frame = frame.assign(tag=np.arange(40) % 2, text=["yes"] * 20 + ["so"] * 20)
    for part, rows in enumerate((slice(0, 3), slice(3, 3), slice(3, 25), slice(25, 40))):
        path = tmp_path / f"part-{part}.{suffix}"
        if suffix == "parquet":
            frame.iloc[rows].to_parquet(path)
        else:
            frame.iloc[rows].to_json(path, orient="records", lines=True)
    check_parts(tmp_path, {**options, "categories": CATEGORIES})


@pytest.mark.parametrize("name", LINES)
def test_lines_of_json_by_hand(name: str, tmp_path: Path) -> None:
    for part in range(2):  # the second file may have columns of its own
        (tmp_path / f"part-{part}.jsonl").write_text("\n".join(LINES[name][part * 4 :]), encoding="utf-8", newline="")
    check_parts(tmp_path, {"max_skipped_share": 1.0})


def test_a_table_of_no_rows(tmp_path: Path) -> None:
    for part in range(2):
        PLAIN.iloc[:0].to_parquet(tmp_path / f"part-{part}.parquet")
    check_parts(tmp_path, {})
    with pytest.raises(DataError, match="holds no rows"):
        count_battles(blocked_table(tmp_path), each=apart)


def test_models_that_only_one_file_knows(tmp_path: Path) -> None:
    """A label that is a model's name counts in a cell of its own or in one of all names, which depends on the order."""
    vote = {"model_a": "ant", "model_b": "bee", "winner": "dog"}
    pd.DataFrame([vote, {**vote, "winner": "ant"}]).to_parquet(tmp_path / "part-0.parquet")
    pd.DataFrame([{**vote, "model_a": "dog"}, vote]).to_parquet(tmp_path / "part-1.parquet")
    check_parts(tmp_path, {"max_skipped_share": 1.0})
    counts, report = count_battles(blocked_table(tmp_path), max_skipped_share=1.0, each=apart)
    assert report.counts == {"unknown winner": 2} and counts["all"].weight.sum() == 2
