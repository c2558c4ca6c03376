"""Read any file, folder, hub dataset or table in memory as one pandas DataFrame, rows in their order."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from p2l.data.collector import paused_collector
from p2l.data.csv_table import read_csv
from p2l.data.folder_files import files_of_split, find_files
from p2l.data.hub_dataset import HubDataset, is_dataset, is_dataset_dict
from p2l.data.json_rows import frame_of_rows, parse_json, read_json
from p2l.data.table_blocks import BlockedTable, concatenated, parquet_errors
from p2l.data.table_files import check_distinct_columns, check_same_columns, is_pattern
from p2l.errors import DataError

__all__ = ["TableSource", "blocked_table", "describe", "parse_json", "read_table", "source_name"]

FORMATS = (
    ".parquet, .jsonl, .json, .csv or .tsv (separated by , ; | or tab), each of the text formats also as .gz, a folder "
    "written by datasets' save_to_disk, "
    "a folder of parquet or .jsonl files, a pattern of these such as 'votes/part-*.parquet', the URL of these in an "
    "object store such as s3://bucket/votes, or a Hugging Face dataset id owner/name"
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# Numbers in these columns are names: they keep their literal text.
TEXT_COLUMNS = (
    *("prompt", "model_a", "model_b", "winner", "conversation_id", "evaluation_session_id", "question_id", "id"),
    *("prompt_id", "model", "model_name", "category", "language", "split"),
)

TableSource: TypeAlias = str | Path | pd.DataFrame | HubDataset | Mapping[str, HubDataset] | Sequence[Mapping[str, Any]]


@paused_collector()
def read_table(source: TableSource, split: str = "train", *, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read one table, rows in the order of the file.

    No value changes: CSV cells are text and an empty cell is missing, 64-bit integers beside gaps stay integers, and a
    JSON number in a column of names (``TEXT_COLUMNS``) such as 1.50 keeps its text.

    Args:
        source: a table in memory (a DataFrame, which is returned as it is, a ``datasets.Dataset`` or ``DatasetDict``,
            a list of dicts), or the path of a file or folder (.parquet; .jsonl or .json, as lines or as one list;
            .csv or .tsv, separated by comma, semicolon, tab or vertical bar; these also as .gz; a folder written by
            ``datasets``' ``save_to_disk``; a folder of parquet or .jsonl files), a glob pattern or a URL that fsspec
            knows of parquet or JSON-lines files, or, if no such path exists, a Hugging Face dataset id ``owner/name``.
        split: picks one of several: a split of the hub, of a ``DatasetDict``, or, in a folder or pattern whose files
            all name a split (``votes_train.parquet``, ``test-00000-of-00002.parquet``, ``test/0.jsonl``), the files of
            that name. A single table has no splits and ignores it.
        text: further columns of names or prompts.

    Raises:
        DataError: the table is missing, empty, of an unknown kind, unreadable (with the line, if known), or on the
            hub but out of reach, unknown or gated.

    >>> read_table([{"prompt": "What is 1+1?", "score": 2}])
             prompt  score
    0  What is 1+1?      2
    """
    if isinstance(source, pd.DataFrame):
        check_distinct_columns(source_name(source), source.columns.tolist())
        return source
    frame = (
        _read_path(str(source), split, (*TEXT_COLUMNS, *text))
        if isinstance(source, (str, Path))
        else _from_memory(source, split)
    )
    if frame.empty:
        raise DataError(f"{source_name(source)} holds no rows")
    return frame


def source_name(source: TableSource) -> str:
    """Return how messages name a source: its path or hub id, or "the vote table"."""
    return str(source) if isinstance(source, (str, Path)) else "the vote table"


def text_columns(columns: Mapping[str, str] | None) -> list[str]:
    """Return the names that a table gives its columns of names; ``columns`` as in ``p2l.data.load_votes``."""
    return [name for meaning, name in (columns or {}).items() if meaning in TEXT_COLUMNS]


def blocked_table(source: object, split: str = "train", *, text: Sequence[str] = ()) -> BlockedTable | None:
    """Return the table of parquet or JSON-lines files, which can be read in blocks; None for any other source."""
    if not isinstance(source, (str, Path)):
        return None
    name, path = str(source), Path(source).expanduser()
    if not is_pattern(name) and (not path.exists() or _is_saved_dataset(path)):
        return None
    files = find_files(name)
    if len(files) > 1 or (files and path.is_dir()):
        files = files_of_split(files, name, split)
    return BlockedTable(name, tuple(files), (*TEXT_COLUMNS, *text)) if files else None


def _read_path(source: str, split: str, text: Sequence[str]) -> pd.DataFrame:
    path = Path(source).expanduser()
    if is_pattern(source):
        return _read_files(source, split, text)
    if path.is_dir():
        return _read_folder(path, split, text)
    if path.is_file():
        return _read_file(path, text)
    if _HUB_ID.fullmatch(source) and _file_reader(path, text) is None and not path.parent.is_dir():
        return _read_hub(source, split)
    raise DataError(f"no file or folder at {path.absolute()}; p2l reads {FORMATS}")


def _from_memory(source: object, split: str) -> pd.DataFrame:
    if is_dataset_dict(source):
        source = _split_of(source, split, "the DatasetDict")
    if is_dataset(source):
        return _frame_of_dataset(source)
    if isinstance(source, (list, tuple)) and all(isinstance(row, Mapping) for row in source):
        return frame_of_rows([dict(row) for row in source])
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


def _file_reader(path: Path, text: Sequence[str]) -> Callable[[Path], pd.DataFrame] | None:
    json_reader = partial(read_json, text_columns=text)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".parquet": _read_parquet,
        **dict.fromkeys((".jsonl", ".jsonl.gz", ".json", ".json.gz"), json_reader),
        **dict.fromkeys((".csv", ".csv.gz", ".tsv", ".tsv.gz"), read_csv),
    }
    return next((reader for suffix, reader in readers.items() if path.name.lower().endswith(suffix)), None)


def _read_file(path: Path, text: Sequence[str]) -> pd.DataFrame:
    reader = _file_reader(path, text)
    if reader is None:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; p2l reads {FORMATS}")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")
    return reader(path)


def _read_parquet(path: Path) -> pd.DataFrame:
    with parquet_errors(path):
        names = pyarrow.parquet.read_schema(path).names
    check_distinct_columns(str(path), names)
    with parquet_errors(path):
        return pd.read_parquet(path, to_pandas_kwargs={"integer_object_nulls": True})


def _read_files(source: str, split: str, text: Sequence[str]) -> pd.DataFrame:
    table = blocked_table(source, split, text=text)
    if table is None:
        raise DataError(f"no parquet or JSON-lines file at {source}; p2l reads {FORMATS}")
    return concatenated(table)


def _read_folder(path: Path, split: str, text: Sequence[str]) -> pd.DataFrame:
    if _is_saved_dataset(path):
        return _read_saved_dataset(path, split)
    table = blocked_table(path, split, text=text)
    if table is None:
        raise DataError(f"{path} holds neither a saved dataset nor parquet files nor .jsonl files; p2l reads {FORMATS}")
    if not table.files[0].is_parquet:
        return concatenated(table)
    frames = [_read_parquet(Path(file.path)) for file in table.files]
    check_same_columns(str(path), [(file.name, list(frame)) for file, frame in zip(table.files, frames, strict=True)])
    return pd.concat(frames, ignore_index=True)


def _is_saved_dataset(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _read_saved_dataset(path: Path, split: str) -> pd.DataFrame:
    from datasets import load_from_disk

    try:
        saved = load_from_disk(str(path))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a saved dataset: {error}") from error
    if is_dataset(saved):
        return _frame_of_dataset(saved)
    return _frame_of_dataset(_split_of(saved, split, str(path)))


def _frame_of_dataset(dataset: HubDataset) -> pd.DataFrame:
    """Convert as ``to_pandas`` does, but keep integers beside gaps."""
    gaps = [
        name
        for name, kind in dataset.features.items()
        if pa.types.is_integer(getattr(kind, "pa_type", None) or pa.null())
    ]
    frame = dataset.to_pandas()
    for name in gaps:
        if pd.api.types.is_float_dtype(frame[name]):  # rounded
            table = dataset.select_columns([name]).with_format("arrow")[:]
            frame[name] = table.to_pandas(integer_object_nulls=True)[name]
    return frame


def _split_of(splits: Mapping[str, Any], split: str, name: str) -> Any:
    if split not in splits:
        raise DataError(f"{name} has no split {split!r}; it has {sorted(map(str, splits))}")
    return splits[split]


def _read_hub(source: str, split: str) -> pd.DataFrame:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _frame_of_dataset(load_dataset(source, split=split))
    except DatasetNotFoundError as error:
        raise DataError(_not_found_message(source, error)) from error
    except ConnectionError as error:
        raise DataError(
            f"{source} is no local path ({Path(source).absolute()}) and the Hugging Face hub could not be reached "
            f"({error}); with no network, copy the dataset's parquet files here and give the path of their folder"
        ) from error
    except (DatasetsError, HfHubHTTPError, FileNotFoundError, ValueError) as error:
        raise DataError(f"the Hugging Face dataset {source}, split {split!r}, cannot be read: {error}") from error


def _not_found_message(source: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error.__cause__, GatedRepoError):
        return (
            f"the Hugging Face dataset {source} is gated: accept its terms at "
            f"https://huggingface.co/datasets/{source}, then log in with `hf auth login`"
        )
    return (
        f"{source} is neither a local path ({Path(source).absolute()}) nor a dataset on the Hugging Face hub that you "
        "can see; check the name, and log in with `hf auth login` if it is private"
    )
