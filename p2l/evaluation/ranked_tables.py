"""Tables of votes with the coefficients of each prompt: ``eval_output`` files and checkpoint files."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int64, Shaped

from p2l.data.adapters import adapt
from p2l.data.battle_table import BattleTable, load_battles
from p2l.data.json_rows import infer_numbers, parse_json
from p2l.data.ranking_models import COEFS, ETA, check_named_models, check_unused_eta, coefs_column
from p2l.data.readers import read_table
from p2l.data.skip_report import UNKNOWN_MODEL
from p2l.data.text_lists import read_lists
from p2l.errors import DataError
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

log = logging.getLogger(__name__)

HIDDEN = "last_hidden_state"
_ROWS_SHOWN = 5


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """Votes with their rankings, and the same rows with the other columns, which hold the categories.

    ``costs`` is the report of predicted costs (``p2l.evaluation.cost_report``), if measured ones were given.
    """

    votes: RankedVotes
    frame: pd.DataFrame
    family: OutcomeFamily
    costs: dict[str, Any] | None = None


def read_checkpoint_file(path: str) -> pd.DataFrame:
    """Read a table written by pandas' ``to_json``, {column: {row: value}}, or any other format that p2l reads."""
    if not Path(path).is_file():
        raise DataError(f"no file at {Path(path).absolute()}")
    text = Path(path).read_text(encoding="utf-8") if path.lower().endswith(".json") else ""
    if not text.lstrip().startswith("{"):
        return read_table(path)
    try:
        columns = parse_json(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # one object a line
            return read_table(path)
        raise DataError(
            f"{path} is not complete JSON ({error.msg}, line {error.lineno}, column {error.colno})"
        ) from error
    if not columns or not all(isinstance(values, dict) for values in columns.values()):
        raise DataError(f"{path}: expected {{column: {{row: value}}}}, as pandas' to_json writes, or a list of rows")
    frame = pd.DataFrame({name: values for name, values in columns.items() if name != HIDDEN}, dtype=object)
    if frame.empty:
        raise DataError(f"{path} holds no rows")
    return infer_numbers(frame).reset_index(drop=True)


def ranked_votes(
    frame: pd.DataFrame, family: OutcomeFamily, model_list: Sequence[str], source: str, *, only_met: bool = False
) -> EvaluationData:
    """Return the votes of a table with ``betas`` (or ``coefs``) and, if the family needs it, ``eta`` in each row.

    Coefficient i belongs to entry i of ``model_list``. ``only_met`` keeps only the models of the table, sorted.
    Raises ``DataError``, naming ``source`` and rows (from 0), if a model is not in the list, if coefficients are
    missing, non-numeric, or of another length than the list, or if the table names other LLMs (``models``).
    """
    frame = adapt(frame, source=source)
    column = coefs_column(frame)
    if column is None or (family.num_eta and ETA not in frame.columns):
        needed = f"betas (or coefs){f' and eta, which family {family.name} needs' if family.num_eta else ''}"
        raise DataError(f"{source} needs columns {needed}; it has {', '.join(map(str, frame.columns))}")
    check_unused_eta(frame, family, source, "loss_type")
    check_named_models(frame, model_list, source)
    battles, others, rows = _battles(frame, model_list, source, only_met=only_met)
    frame = frame.iloc[rows]
    coefs = _numbers(frame[column], rows, len(model_list), f"{source}: {column}", "the model list names")
    eta = _numbers(frame[ETA], rows, 1, f"{source}: {ETA}", "a ranking has")[:, 0] if family.num_eta else None
    positions = {name: index for index, name in enumerate(model_list)}
    rankings, ranking_index = _distinct(coefs[:, [positions[name] for name in battles.models]], eta)
    return EvaluationData(RankedVotes(battles, rankings, ranking_index, prompt_index(others)), others, family)


def plain_votes(
    frame: pd.DataFrame, family: OutcomeFamily, model_list: Sequence[str] | None, source: str, *, only_met: bool = False
) -> EvaluationData:
    """Return the votes of a table without its rankings: all coefficients are 0.

    Without a ``model_list``, the models are those of the table.
    """
    battles, others, _ = _battles(adapt(frame, source=source), model_list, source, only_met=only_met)
    none = Ranking(torch.zeros(1, len(battles.models)), torch.zeros(1) if family.num_eta else None)
    index = np.zeros(len(battles), dtype=np.int64)
    return EvaluationData(RankedVotes(battles, none, index, prompt_index(others)), others, family)


def _battles(
    frame: pd.DataFrame, model_list: Sequence[str] | None, source: str, *, only_met: bool
) -> tuple[BattleTable, pd.DataFrame, Int64[np.ndarray, " votes"]]:
    """Return the votes, their rows without rankings, and the positions of the rows in the table."""
    others = frame.drop(columns=[*COEFS, ETA, HIDDEN], errors="ignore")
    battles, report = load_battles(others)
    rows = report.kept_rows()
    if report.skipped:
        log.warning("%s: %s", source, report)
    others = others.iloc[rows].reset_index(drop=True)
    if model_list is not None:
        _check_known(frame, model_list, rows, source)
        if not only_met:
            battles = BattleTable.from_frame(others, tuple(model_list))
    return battles, others, rows


def _check_known(frame: pd.DataFrame, model_list: Sequence[str], rows: np.ndarray, source: str) -> None:
    unknown = ~(frame["model_a"].isin(model_list) & frame["model_b"].isin(model_list)).to_numpy()[rows]
    if unknown.any():
        named = pd.concat([frame[side].iloc[rows[unknown]] for side in ("model_a", "model_b")])
        names = sorted(set(named.astype(str)) - set(model_list))
        raise DataError(
            f"{source}: {UNKNOWN_MODEL}: {_shown(names)} not in the model list ({len(model_list)} names), in "
            f"{unknown.sum():,} rows ({_shown(rows[unknown])}); give the list that the model was trained with"
        )


def _shown(values: Sequence[Any] | np.ndarray) -> str:
    return ", ".join(str(value) for value in values[:_ROWS_SHOWN]) + (", ..." if len(values) > _ROWS_SHOWN else "")


def _numbers(
    column: pd.Series, rows: Int64[np.ndarray, " votes"], width: int, name: str, expected: str
) -> Shaped[np.ndarray, "votes width"]:
    """Return lists of numbers (maybe nested in a list of one) or, for width 1, bare numbers as an array."""
    lists = [_flat(value) for value in read_lists(column)]
    lengths = np.array([len(value) for value in lists])
    _check(lengths == width, rows, lambda i: f"{name} has {lengths[i]} numbers; {expected} {width}")
    try:
        numbers = np.array(lists, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} contains a non-numeric value: {error}") from None
    finite = np.isfinite(numbers).all(axis=1)
    _check(finite, rows, lambda i: f"{name} must be finite numbers; {int((~finite).sum()):,} rows hold NaN or infinity")
    return numbers


def _check(good: Any, rows: np.ndarray, problem: Callable[[int], str]) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise DataError(f"{problem(bad[0])} (row {_shown(rows[bad])})")


def _flat(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return _flat(value[0]) if len(value) == 1 and isinstance(value[0], (list, tuple, np.ndarray)) else value
    return [np.nan if value is None else value]


def _distinct(coefs: np.ndarray, eta: np.ndarray | None) -> tuple[Ranking, Int64[np.ndarray, " votes"]]:
    """Return the distinct rankings, and the index of each row in them: votes on one prompt repeat its ranking."""
    table = np.ascontiguousarray(coefs if eta is None else np.column_stack((coefs, eta)))
    index, first = pd.factorize(np.array([blake2b(row, digest_size=16).hexdigest() for row in table], dtype=object))
    at = np.zeros(len(first), dtype=np.int64)
    at[index[::-1]] = np.arange(len(index))[::-1]
    ranking = Ranking(torch.from_numpy(coefs[at]), None if eta is None else torch.from_numpy(eta[at]))
    return ranking, index.astype(np.int64)


def prompt_index(frame: pd.DataFrame) -> Int64[np.ndarray, " votes"]:
    """Return the prompt number of each row; without a prompt column every row is a prompt of its own."""
    if "prompt" not in frame.columns:
        return np.arange(len(frame), dtype=np.int64)
    texts = [value if isinstance(value, str) else json.dumps(_plain(value)) for value in frame["prompt"]]
    return pd.factorize(np.array(texts, dtype=object))[0].astype(np.int64)


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple, np.ndarray)) else str(value)
