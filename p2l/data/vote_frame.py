"""Read the columns of a vote table from any source, under the names that the source gives them."""

from collections.abc import Mapping

import pandas as pd

from p2l.data.adapters import adapt
from p2l.data.column_meanings import warn_of_unread_columns
from p2l.data.readers import TableSource, read_table, source_name, text_columns
from p2l.data.winner_labels import WinnerMap


def read_vote_frame(
    source: TableSource,
    split: str = "train",
    *,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
    prompts: bool = True,
) -> pd.DataFrame:
    """Read a table and convert it to the columns of a vote table; options as in ``load_votes`` and ``adapt``."""
    frame = read_named(source, split, columns)
    warn_of_unread_columns(frame.columns, columns, source_name(source))
    return adapt(frame, columns=columns, winner_map=winner_map, source=source_name(source), prompts=prompts)


def read_named(source: TableSource, split: str, columns: Mapping[str, str] | None) -> pd.DataFrame:
    """Read a table as it is; the columns that ``columns`` gives as names and prompts are read as such."""
    return read_table(source, split, text=text_columns(columns))
