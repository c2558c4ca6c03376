"""Files of a table that cannot be one: of several kinds, empty, damaged."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from p2l.data import load_votes
from p2l.data.count_battles import count_battles
from p2l.data.readers import blocked_table, read_table
from p2l.errors import DataError
from tests.data.test_count_battles import PLAIN


def test_a_pattern_of_several_kinds_is_refused(tmp_path: Path) -> None:
    """Rows of the other kind would be missing without a word."""
    PLAIN[:20].to_parquet(tmp_path / "part-0.parquet")
    PLAIN[20:].to_json(tmp_path / "part-1.jsonl", orient="records", lines=True)
    PLAIN[20:].to_csv(tmp_path / "part-2.csv", index=False)
    (tmp_path / "part-3.txt").write_text("no table")
    for pattern, names in (("part-*", "part-0.parquet, part-1.jsonl, part-2.csv"), ("part-[12]*", "part-1.*part-2")):
        with pytest.raises(DataError, match=f"matches tables of several kinds .{names}.*a pattern of one kind"):
            read_table(f"{tmp_path}/{pattern}")
    with pytest.raises(DataError, match="no parquet or JSON-lines file at"):
        read_table(f"{tmp_path}/*.csv")
    assert len(read_table(f"{tmp_path}/part-[03]*")) == 20
    with pytest.raises(DataError, match="holds tables of several kinds .part-0.parquet, part-1.jsonl, part-2.csv"):
        read_table(tmp_path)


def test_an_empty_file_has_the_same_error_in_blocks(tmp_path: Path) -> None:
    (tmp_path / "votes.parquet").write_bytes(b"")
    for read in (load_votes, lambda path: count_battles(blocked_table(path))):
        with pytest.raises(DataError, match=r"votes\.parquet is empty \(0 bytes\)"):
            read(tmp_path / "votes.parquet")


def test_a_parquet_file_whose_names_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    PLAIN.assign(prompt="hi").to_parquet(path)
    path.write_bytes(path.read_bytes().replace(b"model_a", b"model_\xa3"))
    for read in (load_votes, lambda path: count_battles(blocked_table(path))):
        with pytest.raises(DataError, match=r"votes\.parquet cannot be read as parquet"):
            read(path)


@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv.gz"])
def test_compressed_bytes_that_are_damaged(suffix: str, tmp_path: Path) -> None:
    names = np.random.default_rng(0).integers(10**9, size=(2000, 2)).astype(str)
    frame = PLAIN.loc[np.arange(2000) % 40].assign(prompt="hi", model_a=names[:, 0], model_b=names[:, 1])
    text = frame.to_csv(index=False) if suffix == "csv.gz" else frame.to_json(orient="records", lines=True)
    content = bytearray(gzip.compress(text.encode()))
    content[5000:5100] = bytes(100)
    path = tmp_path / f"votes.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"votes\.{suffix} cannot be read as"):
        load_votes(path)
    if (table := blocked_table(path)) is not None:
        with pytest.raises(DataError, match=rf"votes\.{suffix} cannot be read as"):
            count_battles(table)
