"""Every row of a folder is read once, as the split that it belongs to, or an error or a warning says what is not."""

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from p2l.data.readers import blocked_table, read_table
from p2l.data.table_blocks import concatenated
from p2l.errors import DataError

Read = Callable[..., pd.DataFrame]


def in_blocks(path: str, split: str = "train") -> pd.DataFrame:
    table = blocked_table(path, split)
    assert table is not None
    return concatenated(table)


both_readers = pytest.mark.parametrize("read", [read_table, in_blocks])


def write(path: Path, number: int = 1) -> None:
    """Write a table whose rows hold the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({"prompt": [path.name] * number})
    if path.name.endswith(".parquet"):
        frame.to_parquet(path)
    elif ".json" in path.name:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)


@both_readers
@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (("a.parquet", "b.jsonl"), "a.parquet, b.jsonl"),
        (("a.parquet", "deep/b.csv"), "a.parquet, b.csv"),
        (("a.jsonl", "b.tsv.gz"), "a.jsonl, b.tsv.gz"),
        (("a.csv", "b.jsonl.gz", "c.parquet"), "c.parquet, b.jsonl.gz, a.csv"),
    ],
)
def test_a_folder_of_several_kinds_is_refused(read: Read, names: tuple[str, ...], kinds: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name)
    with pytest.raises(DataError, match=f"holds tables of several kinds .{kinds}.; give a pattern of one kind"):
        read(str(tmp_path))


@both_readers
def test_json_files_beside_a_table_are_said(read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "a.jsonl")
    write(tmp_path / "b.json")
    (tmp_path / "readme.md").write_text("no table")
    with caplog.at_level(logging.WARNING, "p2l"):
        assert read(str(tmp_path))["prompt"].tolist() == ["a.jsonl"]
    assert "not read" in caplog.text and "b.json" in caplog.text and "readme" not in caplog.text


@both_readers
@pytest.mark.parametrize("hidden", [".ipynb_checkpoints/a-checkpoint", ".a", "deep/.cache/x/a", "_temporary/0/a"])
@pytest.mark.parametrize(("suffix", "pattern"), [(".parquet", ""), (".jsonl", ""), (".parquet", "/**/*.parquet")])
def test_hidden_copies_do_not_count(
    read: Read, hidden: str, suffix: str, pattern: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / ".data"  # the user named it
    write(root / f"a{suffix}")
    write(root / f"{hidden}{suffix}")
    with caplog.at_level(logging.WARNING, "p2l"):
        assert len(read(f"{root}{pattern}")) == 1
    assert "not read, because hidden" in caplog.text and f"{hidden}{suffix}" in caplog.text


@both_readers
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("votes_train.jsonl", "votes_test.jsonl"),
        ("train_votes.parquet", "test_votes.parquet"),
        ("train_0.parquet", "test_0.parquet"),
        ("train/0.jsonl", "test/0.jsonl"),
        ("Train.jsonl", "TEST.jsonl"),
        ("x/train-00000-of-00001.parquet", "y/test-00000-of-00001.parquet"),
        ("train.jsonl", "test2.jsonl"),
    ],
)
def test_a_file_of_another_split_is_not_read(read: Read, train: str, test: str, tmp_path: Path) -> None:
    write(tmp_path / train)
    write(tmp_path / test, 2)
    assert read(str(tmp_path))["prompt"].tolist() == [Path(train).name]
    assert read(str(tmp_path), "test")["prompt"].tolist() == [Path(test).name] * 2
    with pytest.raises(DataError, match=r"no split 'val'.*\['test', 'train'\]"):
        read(str(tmp_path), "val")
    write(tmp_path / f"extra{Path(train).suffix}")
    for split in ("train", "test"):
        with pytest.raises(DataError, match=r"names a split \(test, train\), and .*extra.* does not.*Rename it"):
            read(str(tmp_path), split)


@both_readers
def test_names_without_a_split_are_one_table(read: Read, tmp_path: Path) -> None:
    for name in ("contest.parquet", "trained.parquet", "2024/latest.parquet"):
        write(tmp_path / "test" / name)
    assert len(read(str(tmp_path / "test"))) == 3
    assert len(read(str(tmp_path))) == 3


def test_the_files_of_a_split_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "train.jsonl")
    write(tmp_path / "test.jsonl")
    with caplog.at_level(logging.INFO, "p2l"):
        read_table(str(tmp_path))
    assert "the split 'train' is 1 of 2 files" in caplog.text


@both_readers
@pytest.mark.parametrize("pattern", ["", "/*/*.parquet"])
def test_columns_in_the_names_of_folders_are_refused(read: Read, pattern: str, tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["hi", "ho"], "language": ["German", "Thai"]}).to_parquet(
        tmp_path / "votes", partition_cols=["language"]
    )
    with pytest.raises(DataError, match="'language=German'.*holds the value of a column.*pandas.read_parquet"):
        read(f"{tmp_path}/votes{pattern}")
    one = pd.DataFrame(pd.read_parquet(tmp_path / "votes"))
    one.to_parquet(tmp_path / "votes.parquet")
    assert set(read(str(tmp_path / "votes.parquet"))["language"]) == {"German", "Thai"}
    assert len(read(str(tmp_path / "votes" / "language=Thai"))) == 1  # named by the user


@both_readers
def test_what_is_not_the_rows_alone_is_refused(read: Read, tmp_path: Path) -> None:
    write(tmp_path / "delta" / "part-0.parquet")
    write(tmp_path / "delta" / "_delta_log" / "0.json")
    with pytest.raises(DataError, match="is a Delta table"):
        read(str(tmp_path / "delta"))
    write(tmp_path / "copies" / "a.jsonl")
    write(tmp_path / "copies" / "a.jsonl.gz")
    with pytest.raises(DataError, match=r"a\.jsonl and its compressed copy .*a\.jsonl\.gz; remove one"):
        read(str(tmp_path / "copies"))
