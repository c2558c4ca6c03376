"""Every form in which a caller may give a table."""

import gzip
from collections import OrderedDict
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2l.data.count_battles import count_battles
from p2l.data.readers import _from_memory, blocked_table, read_table
from p2l.data.vote_table import load_votes
from p2l.errors import DataError
from p2l.leaderboard import fit

VOTES = [
    {"prompt": "hi", "model_a": "ant", "model_b": "bee", "winner": "model_a"},
    {"prompt": "hi", "model_a": "ant", "model_b": "bee", "winner": "model_b"},
    {"prompt": "ho", "model_a": "bee", "model_b": "ant", "winner": "tie"},
]


def sources(folder: Path) -> dict[str, object]:
    frame = pd.DataFrame(VOTES)
    frame.to_parquet(folder / "votes.parquet")
    return {
        "DataFrame": frame,
        "path": folder / "votes.parquet",
        "str": str(folder / "votes.parquet"),
        "list of dicts": VOTES,
        "tuple of mappings": tuple(OrderedDict(vote) for vote in VOTES),
        "Dataset": datasets.Dataset.from_list(VOTES),
        "DatasetDict": datasets.DatasetDict(train=datasets.Dataset.from_list(VOTES)),
    }


def test_all_give_the_same_votes_and_the_same_fit(tmp_path: Path) -> None:
    for kind, source in sources(tmp_path).items():
        assert read_table(source).to_dict("records") == VOTES, kind
        votes, report = load_votes(source)
        assert (len(votes), votes.prompts, report.kept) == (3, (("hi",), ("ho",)), 3), kind
        assert fit(source, "bt-tie").table()["elo"].tolist() == pytest.approx([0, 0], abs=1e-9), kind


@pytest.mark.parametrize(
    ("source", "got"),
    [
        (7, "7 (int)"),
        (None, "None (NoneType)"),
        ({"a": [1]}, "{'a': [1]} (dict)"),
        (["a"], "a list that holds 'a' (str)"),
    ],
)
def test_other_types_are_named_with_what_is_taken(source: object, got: str) -> None:
    with pytest.raises(DataError, match="expected a path, a DataFrame, .* or a list of dicts") as error:
        _from_memory(source, "train")
    assert str(error.value).endswith(f"got {got}")


def test_an_empty_list_and_an_unknown_split_are_errors() -> None:
    with pytest.raises(DataError, match="the vote table holds no rows"):
        read_table([])
    with pytest.raises(DataError, match=r"the DatasetDict has no split 'test'; it has \['train'\]"):
        load_votes(datasets.DatasetDict(train=datasets.Dataset.from_list(VOTES)), split="test")


@pytest.mark.parametrize("name", ["winner", "prompt", "model_b"])
def test_two_columns_of_one_name_are_an_error(name: str, tmp_path: Path) -> None:
    table = pa.table([*zip(*(vote.values() for vote in VOTES), strict=True), ["x"] * 3], names=[*VOTES[0], name])
    parquet, frame = str(tmp_path / "votes.parquet"), pd.DataFrame(VOTES)
    pq.write_table(table, parquet)
    frame.insert(0, name, "x", allow_duplicates=True)
    for source in (parquet, frame):
        with pytest.raises(DataError, match=f"has two columns named '{name}'; rename or remove one"):
            read_table(source)
    blocks = blocked_table(parquet)
    assert blocks is not None
    with pytest.raises(DataError, match=f"has two columns named '{name}'"):
        count_battles(blocks)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("suffix", ["jsonl", "json.gz", "json"])
def test_json_of_another_encoding_is_named_with_what_to_do(encoding: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"votes.{suffix}"
    pd.DataFrame(VOTES).to_json(path, orient="records", lines=suffix == "jsonl")
    content = gzip.decompress(path.read_bytes()) if suffix.endswith("gz") else path.read_bytes()
    content = content.decode().encode(encoding)
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    name = encoding.upper()
    expected = rf"{path.name} seems to be {name}.* text; expected UTF-8: convert it, .* iconv -f {name}"
    with pytest.raises(DataError, match=expected):
        read_table(str(path))
    blocks = blocked_table(str(path))
    assert blocks is not None
    with pytest.raises(DataError, match=expected):
        count_battles(blocks)
