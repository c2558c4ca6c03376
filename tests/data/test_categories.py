"""Categories by the value of a column, nested or not."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from omegaconf import OmegaConf

from p2l.data.categories import Category, find_category
from p2l.errors import ConfigError, DataError
from tests.running import ROOT

KNOWN = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "category" / "arena.yaml"))
CRITERIA = (
    "complexity",
    "creativity",
    "domain_knowledge",
    "problem_solving",
    "real_world",
    "specificity",
    "technical_accuracy",
)


def tags(math: bool, criteria: int) -> dict[str, dict[str, bool]]:
    return {
        "math_v0.1": {"math": math},
        "criteria_v0.1": {name: i < criteria for i, name in enumerate(CRITERIA)},
        "creative_writing_v0.1": {"creative_writing": not math},
    }


NESTED = pd.DataFrame(
    {
        "language": ["Chinese", "English", None, "Chinese"],
        "is_code": [True, False, False, None],
        "category_tag": [tags(True, 7), tags(False, 6), tags(True, 5), None],
        "turn": [1, 2, 1, 2],
    }
)
FLAT = pd.DataFrame({"math": [True, False, True, False]}).assign(
    **{name: pd.Series([i < n for n in (7, 6, 5, 0)], dtype="boolean") for i, name in enumerate(CRITERIA)}
)


@pytest.mark.parametrize(
    ("name", "expected", "arena"),
    [
        ("all", [0, 1, 2, 3], "full"),
        ("math", [0, 2], "math"),
        ("creative_writing", [1], "creative_writing"),
        ("complexity", [0, 1, 2], None),
        ("hard", [0, 1], "hard_6"),
        ("is_code", [0], "coding"),
        ("is_code=False", [1, 2], None),
        ("is_code=True", [0], "coding"),
        ("language=Chinese", [0, 3], "chinese"),
        ("language=Finnish", [], "finnish"),
        ("turn=2", [1, 3], None),
        ("category_tag.math_v0.1.math=true", [0, 2], None),
    ],
)
def test_rows_of_published_tables(name, expected, arena) -> None:
    category = find_category(name, KNOWN)
    assert category.rows(NESTED).nonzero()[0].tolist() == expected
    assert (category.name, category.arena) == (name, arena)


def test_plain_columns_of_flags_do_as_well() -> None:
    assert find_category("math", KNOWN).rows(FLAT).tolist() == [True, False, True, False]
    assert find_category("hard", KNOWN).rows(FLAT).tolist() == [True, True, False, False]


@pytest.mark.parametrize("write", [json.dumps, str])
def test_a_dict_may_be_text(write: Callable[[object], str]) -> None:
    text = pd.DataFrame({"category_tag": [write(tags(True, 6)), None, "{}", write(tags(False, 7))]})
    assert find_category("math", KNOWN).rows(text).tolist() == [True, False, False, False]
    assert find_category("hard", KNOWN).rows(text).tolist() == [True, False, False, True]
    criteria = pd.DataFrame({"criteria": [write({"a": True, "b": False}), write({"a": True, "b": True})]})
    both = Category("both", ("criteria",), kind="at_least", value=2)
    assert both.rows(criteria).tolist() == [False, True]


def test_text_that_is_no_dict_is_said() -> None:
    with pytest.raises(DataError, match=r"expected a dict, as JSON or as Python writes it; got \"{'math': array"):
        find_category("math", KNOWN).rows(pd.DataFrame({"category_tag": ["{'math': array([1])}"]}))


def test_a_category_of_ones_own() -> None:
    category = find_category("long", {"long": {"columns": ["words"], "kind": "at_least", "value": 100}})
    assert category == Category("long", ("words",), "at_least", 100)
    for words in ([99, 100, None], ["99", "100.0", None], ["true", "1e2", " "]):
        assert category.rows(pd.DataFrame({"words": words})).tolist() == [False, True, False]
    with pytest.raises(DataError, match="category long, column words: expected numbers .*got 'many', 'nan'"):
        category.rows(pd.DataFrame({"words": ["many", "1", "nan", "many"]}))


def test_a_table_without_the_column_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no column category_tag\.math_v0\.1\.math or math"):
        find_category("math", KNOWN).rows(pd.DataFrame({"prompt": ["x"]}))


def test_unknown_categories_and_entries_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"unknown category 'maths'; known: all, .*column=value"):
        find_category("maths", KNOWN)
    with pytest.raises(ConfigError, match=r"category x: .*column"):
        find_category("x", {"x": {"column": "y"}})


@pytest.mark.parametrize("space", [" ", "\t", "\u00a0", "\u3000"])
def test_spaces_around_labels_do_not_count(space: str) -> None:
    labels = ["de", f"de{space}", f"{space}de", "d e", space, None]
    frame = pd.DataFrame({"language": labels, "flag": [f"True{space}", "true", " TRUE", "no", "", None]})
    assert find_category("language=de", KNOWN).rows(frame).tolist() == [True] * 3 + [False] * 3
    assert Category("c", ("language",), value=f"de{space}").rows(frame).tolist() == [True] * 3 + [False] * 3
    assert Category("c", ("flag",)).rows(frame).tolist() == [True] * 3 + [False] * 3
    assert Category("c", ("flag",), "at_least", 1).rows(frame).tolist() == [True] * 3 + [False] * 3
    tags = pd.DataFrame({"tag": [f'{space}{{"math": "yes{space}"}}', "{'math': 'yes'}", '{"math": "no"}']})
    assert Category("c", ("tag.math",), value="yes").rows(tags).tolist() == [True, True, False]


FLAGS = {
    "numbers": [1, 0, None],
    "floats": [1.0, 0.0, float("nan")],
    "text of numbers": ["1", "0", None],
    "text of floats": ["1.0", "0.0", ""],
    "words": ["Yes", "no", " "],
    "letters": ["t", "F", None],
    "first letters": ["Y", "n", None],
    "decimals of SQL": [Decimal("1"), Decimal("0"), None],
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_in_the_spellings_of_files(name: str) -> None:
    frame = pd.DataFrame({column: pd.Series(FLAGS[name], dtype=object) for column in ("math", "is_code", "own")})
    for column in frame:
        for wanted in ("true", "True"):
            assert find_category(f"{column}={wanted}", KNOWN).rows(frame).tolist() == [True, False, False]
        assert find_category(f"{column}=false", KNOWN).rows(frame).tolist() == [False, True, False]
    assert find_category("math", KNOWN).rows(frame).tolist() == [True, False, False]
    assert find_category("is_code=1", KNOWN) == replace(find_category("is_code", KNOWN), name="is_code=1")


def test_a_column_that_mixes_spellings_loses_no_flag() -> None:
    mixed = pd.DataFrame({"math": [True, "true", 1, "1", "1.0", "yes", False, "0", None]})
    assert find_category("math", KNOWN).rows(mixed).tolist() == [True] * 6 + [False] * 3
    assert find_category("math=no", KNOWN).rows(mixed).tolist() == [False] * 6 + [True] * 2 + [False]


def test_values_that_are_no_flags_are_an_error() -> None:
    frame = pd.DataFrame({"math": ["true", "maybe", 2, "maybe"]})
    with pytest.raises(DataError, match=r"category math, column .*math: expected flags .*got 'maybe', '2'"):
        find_category("math", KNOWN).rows(frame)
    criteria = FLAT.assign(complexity=["yes", "high", "no", "low"])
    with pytest.raises(DataError, match=r"category hard, .*got 'high', 'low'"):
        find_category("hard", KNOWN).rows(criteria)


@pytest.mark.parametrize("no", [False, "false", "0", None, float("nan"), "No"])
def test_a_dict_counts_only_the_flags_that_are_set(no: object) -> None:
    flags = {name: True if i < 5 else no for i, name in enumerate(CRITERIA)}
    frame = pd.DataFrame({"category_tag": [{"criteria_v0.1": flags}]})
    assert find_category("hard", KNOWN).rows(frame).tolist() == [False]
