"""Read any file, folder, hub dataset or table in memory as one pandas DataFrame, rows in their order."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from gzip import BadGzipFile
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import datasets
import pandas as pd
import pyarrow as pa
from datasets.exceptions import DatasetNotFoundError, DatasetsError
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from p2l.errors import DataError

FORMATS = (
    ".parquet, .jsonl, .json, .csv, .csv.gz, a folder written by datasets' save_to_disk, "
    "a folder of parquet files, or a Hugging Face dataset id owner/name"
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILE_OF_SPLIT = re.compile(r"(?:.*[._-])?(train|validation|valid|val|dev|test|eval)(?:-\d{5}-of-\d{5})?\.parquet")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


TableSource: TypeAlias = (
    str | Path | pd.DataFrame | datasets.Dataset | Mapping[str, datasets.Dataset] | Sequence[Mapping[str, Any]]
)


def read_table(source: TableSource, split: str = "train") -> pd.DataFrame:
    """Read one table, rows in the order of the file.

    Args:
        source: a table in memory (a DataFrame, which is returned as it is, a ``datasets.Dataset`` or ``DatasetDict``,
            a list of dicts), or the path of a file or folder (.parquet; .jsonl or .json, as lines or as one list;
            .csv; .csv.gz; a folder written by ``datasets``' ``save_to_disk``; a folder of parquet files), or, if no
            such path exists, a Hugging Face dataset id ``owner/name``.
        split: picks one of several: a split of the hub, of a ``DatasetDict``, or, in a folder whose parquet files all
            name a split (``votes_train.parquet``, ``test-00000-of-00002.parquet``), the files of that name. A single
            table has no splits and ignores it.

    Raises:
        DataError: the table is missing, empty, of an unknown kind, unreadable (with the line, if known), or on the
            hub but out of reach, unknown or gated.

    >>> read_table([{"prompt": "What is 1+1?", "score": 2}])
             prompt  score
    0  What is 1+1?      2
    """
    if isinstance(source, pd.DataFrame):
        return source
    frame = _read_path(str(source), split) if isinstance(source, (str, Path)) else _from_memory(source, split)
    if frame.empty:
        raise DataError(f"{source_name(source)} holds no rows")
    return frame


def source_name(source: TableSource) -> str:
    """Return how messages name a source: its path or hub id, or "the vote table"."""
    return str(source) if isinstance(source, (str, Path)) else "the vote table"


def _read_path(source: str, split: str) -> pd.DataFrame:
    path = Path(source).expanduser()
    if path.is_dir():
        return _read_folder(path, split)
    if path.is_file():
        return _read_file(path)
    if _HUB_ID.fullmatch(source) and _file_reader(path) is None:
        return _read_hub(source, split)
    raise DataError(f"no file or folder at {path.absolute()}; p2l reads {FORMATS}")


def _from_memory(source: object, split: str) -> pd.DataFrame:
    if isinstance(source, datasets.DatasetDict):
        source = _split_of(source, split, "the DatasetDict")
    if isinstance(source, datasets.Dataset):
        return source.to_pandas()
    if isinstance(source, (list, tuple)) and all(isinstance(row, Mapping) for row in source):
        return pd.DataFrame([dict(row) for row in source])
    raise DataError(
        f"expected a path, a DataFrame, a datasets.Dataset or a list of dicts (one a row); got {describe(source)}"
    )


def describe(value: object) -> str:
    """Show a value that was not expected, with its type; of a list, the first item of an odd type."""
    name = type(value).__name__
    if isinstance(value, (list, tuple)) and value:
        odd = next((item for item in value if not isinstance(item, type(value[0]))), value[0])
        return f"a {name} that holds {repr(odd)[:80]} ({type(odd).__name__})"
    return f"{repr(value)[:80]} ({name})"


def parse_json(text: str) -> Any:
    """Decode JSON to valid Unicode: half a surrogate pair, which occurs in real chats, becomes U+FFFD."""
    value = json.loads(text)
    return _well_formed(value) if _SURROGATE_ESCAPE.search(text) else value


def _well_formed(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_well_formed(item) for item in value]
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(item) for key, item in value.items()}
    return value


def _file_reader(path: Path) -> Callable[[Path], pd.DataFrame] | None:
    readers = {
        ".parquet": _read_parquet,
        ".jsonl": _read_json,
        ".json": _read_json,
        ".csv": _read_csv,
        ".csv.gz": _read_csv,
    }
    return next((reader for suffix, reader in readers.items() if path.name.lower().endswith(suffix)), None)


def _read_file(path: Path) -> pd.DataFrame:
    reader = _file_reader(path)
    if reader is None:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; p2l reads {FORMATS}")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")
    return reader(path)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}") from error


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # Only an empty cell is missing: "None", "NA" and "null" are prompts that people do send.
        return pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty (no header line)") from error
    except (pd.errors.ParserError, UnicodeDecodeError, BadGzipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as CSV: {str(error).strip()}") from error


def _read_json(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig") as file:
            rows = _json_list(file, path) if _first_character(file) == "[" else _json_lines(file, path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    return pd.DataFrame(rows)


def _first_character(file: TextIO) -> str:
    first_line = next((line for line in file if line.strip()), "")
    file.seek(0)
    return first_line.lstrip()[:1]


def _json_lines(file: TextIO, path: Path) -> list[dict[str, object]]:
    rows = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}, line {number}: expected one JSON object a line, or a list of them as the whole file "
                f"({error.msg}, column {error.colno})"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: expected one JSON object a line, found a {type(row).__name__}")
        rows.append(row)
    return rows


def _json_list(file: TextIO, path: Path) -> list[dict[str, object]]:
    try:
        rows = parse_json(file.read())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not JSON ({error.msg}, column {error.colno})") from error
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: expected a list of JSON objects, found a {type(row).__name__}")
    return rows


def _read_folder(path: Path, split: str) -> pd.DataFrame:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _read_saved_dataset(path, split)
    files = _files_of_split(sorted(path.rglob("*.parquet")), path, split)
    frames = [_read_parquet(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        if set(frame.columns) != set(frames[0].columns):
            raise DataError(
                f"the parquet files of {path} are not parts of one table: {files[0].name} has the columns "
                f"{list(frames[0].columns)} and {file.name} has {list(frame.columns)}; name one file instead"
            )
    return pd.concat(frames, ignore_index=True)


def _files_of_split(files: list[Path], path: Path, split: str) -> list[Path]:
    """Return the files of the split if every file name ends in the name of a split, else all files."""
    if not files:
        raise DataError(f"{path} holds neither a saved dataset nor parquet files; p2l reads {FORMATS}")
    matches = [_FILE_OF_SPLIT.fullmatch(file.name) for file in files]
    splits = [match[1] for match in matches if match is not None]
    if len(splits) < len(files):
        return files
    if split not in splits:
        raise DataError(f"{path} has no split {split!r}; it has {sorted(set(splits))}")
    return [file for file, name in zip(files, splits, strict=True) if name == split]


def _read_saved_dataset(path: Path, split: str) -> pd.DataFrame:
    try:
        saved = datasets.load_from_disk(str(path))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a saved dataset: {error}") from error
    if isinstance(saved, datasets.Dataset):
        return saved.to_pandas()
    return _split_of(saved, split, str(path)).to_pandas()


def _split_of(splits: Mapping[str, Any], split: str, name: str) -> Any:
    if split not in splits:
        raise DataError(f"{name} has no split {split!r}; it has {sorted(map(str, splits))}")
    return splits[split]


def _read_hub(source: str, split: str) -> pd.DataFrame:
    try:
        return datasets.load_dataset(source, split=split).to_pandas()
    except DatasetNotFoundError as error:
        raise DataError(_not_found_message(source, error)) from error
    except ConnectionError as error:
        raise DataError(
            f"{source} is no local path ({Path(source).absolute()}) and the Hugging Face hub could not be reached "
            f"({error}); with no network, copy the dataset's parquet files here and give the path of their folder"
        ) from error
    except (DatasetsError, HfHubHTTPError, FileNotFoundError, ValueError) as error:
        raise DataError(f"the Hugging Face dataset {source}, split {split!r}, cannot be read: {error}") from error


def _not_found_message(source: str, error: DatasetNotFoundError) -> str:
    if isinstance(error.__cause__, GatedRepoError):
        return (
            f"the Hugging Face dataset {source} is gated: accept its terms at "
            f"https://huggingface.co/datasets/{source}, then log in with `hf auth login`"
        )
    return (
        f"{source} is neither a local path ({Path(source).absolute()}) nor a dataset on the Hugging Face hub that you "
        "can see; check the name, and log in with `hf auth login` if it is private"
    )
