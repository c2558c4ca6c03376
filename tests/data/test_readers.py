import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import httpx
import pandas as pd
import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import GatedRepoError

from p2l.data.readers import _read_hub, parse_json, read_table
from p2l.errors import DataError

ROWS = [
    {"prompt": "What is 1 + 1?\nSay why. \u2028", "model_a": "ada", "winner": "tie"},
    {"prompt": "None", "model_a": "NA", "winner": "model_a"},
    {"prompt": "Größe, \"quoted\", 'twice' 😀", "model_a": "null", "winner": "model_b"},
]


def write_json_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in ROWS), encoding="utf-8")


def write_json_list(path: Path) -> None:
    path.write_text(" \n" + json.dumps(ROWS, indent=2), encoding="utf-8-sig")


def write_csv(path: Path) -> None:
    pd.DataFrame(ROWS).to_csv(path, index=False)


def write_parquet(path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(path)


def write_parquet_folder(path: Path) -> None:
    path.mkdir()
    pd.DataFrame(ROWS[:1]).to_parquet(path / "part-0.parquet")
    pd.DataFrame(ROWS[1:]).to_parquet(path / "part-1.parquet")


def write_saved_dataset(path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(path)


def write_saved_splits(path: Path) -> None:
    train, test = datasets.Dataset.from_list(ROWS), datasets.Dataset.from_list(ROWS[:1])
    datasets.DatasetDict({"test": test, "train": train}).save_to_disk(path)


WRITERS = {
    "votes.jsonl": write_json_lines,
    "lines.json": write_json_lines,
    "list.json": write_json_list,
    "list.jsonl": write_json_list,
    "votes.csv": write_csv,
    "votes.csv.gz": write_csv,
    "VOTES.PARQUET": write_parquet,
    "folder": write_parquet_folder,
    "saved": write_saved_dataset,
    "splits": write_saved_splits,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows_in_order(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert read_table(str(tmp_path / name)).to_dict("records") == ROWS


def test_turns_survive_parquet_and_json(tmp_path: Path) -> None:
    rows = [{"prompt": ["first", "second"]}, {"prompt": ["only"]}]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("a.parquet", "a.jsonl"):
        assert [list(turns) for turns in read_table(str(tmp_path / name))["prompt"]] == [["first", "second"], ["only"]]


def test_half_a_surrogate_pair_does_not_stop_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a \\ud83d b"}\n{"prompt": "\\ud83d\\ude00"}\n')
    assert read_table(str(tmp_path / "a.jsonl"))["prompt"].tolist() == ["a \ufffd b", "😀"]
    assert parse_json('{"\\udc00": ["\\udc00", 1, null]}') == {"\ufffd": ["\ufffd", 1, None]}


def test_integers_too_large_for_64_bits_are_exact_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "deep": [{"n": -18446744073709551617}]}\n{"id": 2, "deep": []}\n')
    assert read_table(str(tmp_path / "a.jsonl"))["deep"].tolist() == [[{"n": -18446744073709551617}], []]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "\n\n"])
def test_json_lines_keep_what_only_the_exact_reader_knows(tmp_path: Path, ends: str) -> None:
    lines = [
        '{"id": 18446744073709551617, "n": 1, "score": NaN, "prompt": "a"}',
        '{"id": 2, "n": null, "prompt": "\\ud83d b"}',
        '{"id": 1.50, "n": 9007199254740993, "score": 0.1, "prompt": null}',
    ]
    for name, text in (("a.jsonl", ends.join(lines)), ("b.json", f"[{','.join(lines)}]")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        table = read_table(str(tmp_path / name))
        assert table["id"].tolist() == [18446744073709551617, 2, "1.50"]
        assert [None if pd.isna(value) else value for value in table["n"]] == [1, None, 9007199254740993]
        assert [None if pd.isna(value) else value for value in table["score"]] == [None, None, 0.1]
        assert [None if pd.isna(value) else value for value in table["prompt"]] == ["a", "\ufffd b", None]


def test_a_split_names_one_of_several(tmp_path: Path) -> None:
    write_saved_splits(tmp_path / "splits")
    assert len(read_table(str(tmp_path / "splits"), split="test")) == 1
    with pytest.raises(DataError, match=r"no split 'validation'.*\['test', 'train'\]"):
        read_table(str(tmp_path / "splits"), split="validation")


@pytest.mark.parametrize("pattern", ["{}-00000-of-00001.parquet", "votes_{}.parquet", "{}.parquet", "a.{}.parquet"])
def test_files_that_name_their_split_are_not_mixed(tmp_path: Path, pattern: str) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / pattern.format("train"))
    pd.DataFrame(ROWS[:1]).to_parquet(tmp_path / pattern.format("test"))
    assert len(read_table(str(tmp_path))) == 3
    assert len(read_table(str(tmp_path), split="test")) == 1
    with pytest.raises(DataError, match=r"no split 'val'.*\['test', 'train'\]"):
        read_table(str(tmp_path), split="val")


def test_a_folder_of_two_kinds_of_table_is_an_error(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"score": [1]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"not parts of one table: a.parquet .*b.parquet has \['score'\]"):
        read_table(str(tmp_path))


BROKEN_FILES = {
    "zero.parquet": (b"", "empty \\(0 bytes\\)"),
    "zero.jsonl": (b"", "empty \\(0 bytes\\)"),
    "blank.jsonl": (b"\n \n", "holds no rows"),
    "header.csv": (b"prompt,model_a\n", "holds no rows"),
    "blank.csv": (b"\n", "empty \\(no header line\\)"),
    "empty_list.json": (b"[]", "holds no rows"),
    "broken.parquet": (b"PAR1 this is not parquet", "cannot be read as parquet"),
    "broken.csv": (b'a,b\n1,2\n3,"4\n', "cannot be read as CSV: the row at line 3 .* never closes"),
    "open.csv": (b'a,b\n"1,2\n3,4\n', "cannot be read as CSV: the row at line 2 .* never closes"),
    "ragged.csv": (b"a,b\n1,2\n3,4,5\n", "cannot be read as CSV.*line 3"),
    "latin.csv": ("a\nGröße\n".encode("latin-1"), "cannot be read as CSV.*utf-8"),
    "broken.csv.gz": (b"not gzip", "cannot be read as CSV"),
    "cut.csv.gz": (gzip.compress(b"a,b\n1,2\n" * 99)[:-12], "cannot be read as CSV"),
    "broken.jsonl": (b'{"a": 1}\n\n{"a": \n', "line 3: expected one JSON object a line"),
    "numbers.jsonl": (b'{"a": 1}\n2\n', "line 2: expected one JSON object a line, found a int"),
    "broken.json": (b'[{"a": 1},\n{"a" 2}]', "line 2: not JSON"),
    "numbers.json": (b'[{"a": 1}, 2]', "item 1: expected a list of JSON objects, found a int"),
    "object.json": (b'{\n "a": 1\n}', "line 1: expected one JSON object a line, or a list of them"),
    "columns.json": (
        pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_json().encode(),
        "one JSON object .* dict of 2 val",
    ),
    "lists.json": (b'{"a": [1, 2, 3], "b": ["x", "y", "z"]}', "one JSON object with a list of 3 .*orient='records'"),
    "latin.jsonl": ('{"a": "Größe"}'.encode("latin-1"), "not UTF-8"),
    "votes.xlsx": (b"PK", "unknown kind of file '.xlsx'; p2l reads .parquet, .jsonl"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path, name: str) -> None:
    content, message = BROKEN_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"(?s){name}.*{message}|{name} {message}"):
        read_table(str(tmp_path / name))


def test_a_missing_path_is_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in ("votes", "data/votes.parquet", "./data/votes", "a/b/c"):
        with pytest.raises(DataError, match=f"no file or folder at {tmp_path / source}; p2l reads .parquet, .jsonl"):
            read_table(source)


def test_a_folder_without_a_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(DataError, match="neither a saved dataset nor parquet files"):
        read_table(str(tmp_path))


def test_a_broken_saved_dataset_is_a_data_error(tmp_path: Path) -> None:
    write_saved_dataset(tmp_path / "saved")
    for file in (tmp_path / "saved").glob("*.arrow"):
        file.write_bytes(b"broken")
    with pytest.raises(DataError, match="cannot be read as a saved dataset"):
        read_table(str(tmp_path / "saved"))


def test_a_hub_dataset_offline_says_how_to_go_on(tmp_path: Path) -> None:
    # In a process of its own, because the Hugging Face libraries read HF_HUB_OFFLINE once, on import.
    program = "from p2l.data.readers import read_table; read_table('nobody/no-such-votes')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "p2l.errors.DataError: nobody/no-such-votes is no local path" in done.stderr
    assert "hub could not be reached" in done.stderr
    assert "give the path of their folder" in done.stderr


def hub_error(error: Exception, cause: Exception | None) -> object:
    def load_dataset(source: str, split: str) -> datasets.Dataset:
        raise error from cause

    return load_dataset


def gated_error() -> GatedRepoError:
    response = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co"))
    return GatedRepoError("gated", response=response)


@pytest.mark.parametrize(
    ("error", "cause", "message"),
    [
        (DatasetNotFoundError("no"), None, "neither a local path .* nor a dataset on the Hugging Face hub"),
        (
            DatasetNotFoundError("no"),
            gated_error(),
            "is gated: accept its terms at https://huggingface.co/datasets/a/b",
        ),
        (ConnectionError("no route"), None, r"could not be reached \(no route\)"),
        (
            ValueError('Unknown split "train". Should be one of ["test"].'),
            None,
            "split 'train', cannot be read: Unknown",
        ),
    ],
)
def test_a_hub_failure_says_which(
    monkeypatch: pytest.MonkeyPatch, error: Exception, cause: Exception | None, message: str
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", hub_error(error, cause))
    with pytest.raises(DataError, match=message):
        read_table("a/b")


def test_large_integers_of_a_hub_dataset_beside_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of the hub, on a folder that is laid out like a repository of it."""
    ids = [2**60, 2**60 + 1, None, 2**60 + 3]
    (tmp_path / "owner" / "votes").mkdir(parents=True)
    pd.DataFrame({"conversation_id": pd.array(ids, "Int64"), "model_a": ["100", "0613", None, "7"]}).to_parquet(
        tmp_path / "owner" / "votes" / "train.parquet"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    frame = _read_hub("owner/votes", "train")
    assert [None if pd.isna(value) else int(value) for value in frame["conversation_id"]] == ids
    assert frame["model_a"].tolist()[:2] == ["100", "0613"]


def test_a_hub_dataset_is_read_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load_dataset(source: str, split: str) -> datasets.Dataset:
        calls.append((source, split))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_table("lmarena-ai/votes-v0.2", split="test").to_dict("records") == ROWS
    assert calls == [("lmarena-ai/votes-v0.2", "test")]
