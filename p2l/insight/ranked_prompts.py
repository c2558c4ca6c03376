"""Prompts with their rankings: ranked by a checkpoint, or read from a table of ``scripts/predict.py``."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32

from p2l.data.prompt_cells import read_prompt_column
from p2l.data.prompt_encoder import text_turns_of, turns_of
from p2l.data.ranking_models import check_named_models, check_unused_eta
from p2l.data.text_lists import parse_list, read_lists
from p2l.errors import DataError, PromptError
from p2l.head_posterior import HeadPosterior
from p2l.insight.embeddings import HIDDEN, Vectors, embed
from p2l.models import Checkpoint
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

log = logging.getLogger(__name__)

Labels = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RankedPrompts:
    """Distinct prompts and their rankings.

    Attributes:
        prompts: the user turns of each.
        rankings: coefs (prompts, models), eta (prompts,) or None.
        models: the LLMs.
        family: likelihood family of the rankings.
        categories: by category column, the labels (none, one or several) of each prompt.
        embedding: a vector for each prompt, for clusters and the map; None for neither.
        warning: of the checkpoint, see ``p2l.models.Checkpoint.warning``; None for none.
        posterior: of the head that ranked, for its error; None: not known, as for rankings that were read.
    """

    prompts: tuple[tuple[str, ...], ...]
    rankings: Ranking
    models: tuple[str, ...]
    family: OutcomeFamily
    categories: Mapping[str, Sequence[Labels]]
    embedding: Vectors | None = None
    warning: str | None = None
    posterior: HeadPosterior | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def texts(self) -> list[str]:
        """Return each prompt as one text, with blank lines between its turns."""
        return ["\n\n".join(turns) for turns in self.prompts]


@dataclass(frozen=True)
class Columns:
    """Names of the prompt column and of category columns (text, or lists of texts)."""

    prompt: str = "prompt"
    categories: tuple[str, ...] = ()


def rank_table(
    frame: pd.DataFrame,
    checkpoint: Checkpoint,
    columns: Columns,
    *,
    embedding: str | None = None,
    token_budget: int = 16384,
    source: str = "the table",
) -> RankedPrompts:
    """Rank the distinct prompts of a table; rows without a prompt are skipped and logged.

    Raises DataError if a column is missing or no row has a prompt.
    """
    frame, prompts = _distinct(frame, columns, source)
    rankings, hidden = rank_with_hidden_states(checkpoint, prompts, token_budget=token_budget)
    _check_finite(rankings, source)
    categories = {name: _labels(frame[name]) for name in columns.categories}
    vectors = embed(embedding, prompts, hidden.numpy(), token_budget) if embedding else None
    about = (checkpoint.warning, checkpoint.posterior)
    return RankedPrompts(tuple(prompts), rankings, checkpoint.models, checkpoint.family, categories, vectors, *about)


def read_rankings(
    frame: pd.DataFrame,
    models: Sequence[str],
    family: OutcomeFamily,
    columns: Columns,
    *,
    embedding: str | None = None,
    token_budget: int = 16384,
    source: str = "the table",
) -> RankedPrompts:
    """Read prompts and rankings from a table of ``scripts/predict.py``: ``coefs``, and ``eta`` if the family has one.

    ``embedding="hidden"`` reads ``last_hidden_state``. Raises DataError if a column is missing, if rankings are not
    numbers, if their length is not that of ``models``, or if the table names other LLMs.
    """
    frame, prompts = _distinct(frame, columns, source)
    needed = ["coefs", *(["eta"] if family.num_eta else []), *(["last_hidden_state"] if embedding == HIDDEN else [])]
    _check_columns(frame, needed, source, "scripts/predict.py writes them (last_hidden_state with hidden=true)")
    check_unused_eta(frame, family, source, "family")
    check_named_models(frame, models, source)
    coefs = _matrix(frame["coefs"], source)
    if coefs.shape[1] != len(models):
        raise DataError(f"{source} ranks {coefs.shape[1]} LLMs, but {len(models)} are named; give its own checkpoint")
    eta = torch.tensor(_numbers(frame["eta"], source)) if family.num_eta else None
    rankings = Ranking(torch.from_numpy(coefs), eta)
    _check_finite(rankings, source)
    hidden = _matrix(frame["last_hidden_state"], source) if embedding == HIDDEN else None
    vectors = embed(embedding, prompts, hidden, token_budget) if embedding else None
    categories = {name: _labels(frame[name]) for name in columns.categories}
    noted = frame["warning"].dropna().to_list() if "warning" in frame.columns else []
    warning = str(noted[0]) if noted else None
    return RankedPrompts(tuple(prompts), rankings, tuple(models), family, categories, vectors, warning)


def _distinct(frame: pd.DataFrame, columns: Columns, source: str) -> tuple[pd.DataFrame, list[tuple[str, ...]]]:
    """Return the first row of each prompt, and the prompts; the same text in other categories is another prompt."""
    _check_columns(frame, [columns.prompt, *columns.categories], source, "give column= and categories=[...]")
    column = read_prompt_column(frame[columns.prompt], f"{source}, column {columns.prompt}")
    first: dict[tuple[object, ...], int] = {}
    bad = []
    values = [_labels(frame[name]) for name in columns.categories]
    for row, value in enumerate(column):
        try:
            turns = text_turns_of(value)
        except PromptError:
            bad.append(row)
            continue
        first.setdefault((turns, *(labels[row] for labels in values)), row)
    if not first:
        raise DataError(f"{source}: no row of column {columns.prompt!r} holds a prompt (a text, or a list of texts)")
    if bad:
        log.warning("%d of %d rows hold no prompt (row %d first) and are left out", len(bad), len(frame), bad[0])
    log.info("%s: %d rows, %d distinct prompts", source, len(frame), len(first))
    prompts = [turns_of(column.iloc[row]) for row in first.values()]
    return frame.iloc[list(first.values())].reset_index(drop=True), prompts


def _check_columns(frame: pd.DataFrame, needed: Sequence[str], source: str, what_to_do: str) -> None:
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        has = ", ".join(map(str, frame.columns))
        raise DataError(f"{source} has no column {', '.join(missing)}; {what_to_do}. It has: {has}")


def _labels(column: pd.Series) -> list[Labels]:
    return [_labels_of(value) for value in column]


def _labels_of(value: object) -> Labels:
    if isinstance(value, str) and (items := parse_list(value)) is not None:  # a cell of a CSV file
        value = items
    if isinstance(value, (list, tuple, np.ndarray)):
        labels = [str(item).strip() for item in value if item is not None]
        return tuple(dict.fromkeys(label for label in labels if label))
    return () if pd.isna(value) or str(value).strip() == "" else (str(value).strip(),)


def _matrix(column: pd.Series, source: str) -> Float32[np.ndarray, "prompts values"]:
    column = read_lists(column)
    sizes = {len(value) if isinstance(value, (list, np.ndarray)) else -1 for value in column}
    if -1 in sizes or len(sizes) > 1:
        found = "rows without one" if -1 in sizes else f"the lengths {sorted(sizes)}"
        raise DataError(f"{source}: column {column.name!r} must hold lists of numbers, of one length; found {found}")
    try:
        return np.stack(column.to_list()).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: column {column.name!r} holds something other than numbers: {error}") from error


def _numbers(column: pd.Series, source: str) -> Float32[np.ndarray, " prompts"]:
    try:
        return column.to_numpy(dtype=np.float32, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: column {column.name!r} holds something other than numbers: {error}") from error


def _check_finite(rankings: Ranking, source: str) -> None:
    fine = rankings.is_finite()
    if not fine.all():
        bad = torch.nonzero(~fine)[:, 0]
        raise DataError(
            f"{source}: the rankings of {len(bad)} of {len(fine)} prompts hold NaN or infinity, prompt {int(bad[0])} "
            f"first; rank them again in float32"
        )


def align(other: RankedPrompts, to: RankedPrompts, source: str = "the other table") -> RankedPrompts:
    """Return ``to`` with the rankings of ``other``.

    Raises DataError if ``other`` lacks a prompt or ranks other LLMs.
    """
    if other.models != to.models or other.family != to.family:
        raise DataError(
            f"{source} must hold rankings of the same LLMs in the same family; give those of such a checkpoint"
        )
    position = {turns: i for i, turns in enumerate(other.prompts)}
    missing = [turns for turns in to.prompts if turns not in position]
    if missing:
        raise DataError(f"{source} lacks {len(missing)} of the {len(to)} prompts, {missing[0][0][:60]!r} first")
    at = torch.tensor([position[turns] for turns in to.prompts])
    return replace(to, rankings=other.rankings.map(lambda x: x[at]), posterior=other.posterior)
