"""Read a log of decisions with propensities, and the policies that it can judge."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from p2l.errors import ConfigError, DataError
from p2l.online.off_policy import LoggedRewards

FIELDS = ("decision", "models", "propensities", "scores", "costs", "chosen")
_TOLERANCE = 1e-6
NO_PROPENSITIES, NO_REWARD = "no propensities", "no reward"


@dataclass(frozen=True, eq=False)
class DecisionLog:
    """Decisions that were drawn by known probabilities; rows without propensities are left out, and counted.

    Attributes:
        ids: of the decisions.
        models: of all decisions.
        chosen: index of the chosen model.
        propensity: of each model; 0 if it could not be chosen.
        score: predicted; the mean of the others for a model that was not scored.
        cost: expected; NaN for a model that had none.
        reward: NaN if no feedback came.
        paid: actual cost; NaN if it is not known.
        cluster: of each decision.
        left_out: number of rows by reason.
    """

    ids: tuple[str, ...]
    models: tuple[str, ...]
    chosen: Int64[np.ndarray, " decisions"]
    propensity: Float64[np.ndarray, "decisions models"]
    score: Float64[np.ndarray, "decisions models"]
    cost: Float64[np.ndarray, "decisions models"]
    reward: Float64[np.ndarray, " decisions"]
    paid: Float64[np.ndarray, " decisions"]
    cluster: Int64[np.ndarray, " decisions"]
    left_out: Mapping[str, int]

    def logged(self, outcome: Float64[np.ndarray, " decisions"], predicted: np.ndarray) -> LoggedRewards:
        """Return the decisions whose outcome (``reward`` or ``paid``) is known, with a prediction of it."""
        at = self.known(outcome)
        _, cluster = np.unique(self.cluster[at], return_inverse=True)
        return LoggedRewards(self.chosen[at], self.propensity[at], outcome[at], predicted[at], cluster)

    def known(self, outcome: Float64[np.ndarray, " decisions"]) -> Int64[np.ndarray, " known"]:
        """Return the rows whose outcome is known."""
        found: Int64[np.ndarray, " known"] = np.flatnonzero(~np.isnan(outcome))
        return found

    @classmethod
    def read(cls, path: str | Path) -> "DecisionLog":
        """Read JSON lines, one object a decision.

        Fields: ``decision`` (its id), ``models``, ``propensities``, ``scores`` and ``costs`` (expected; null for a
        model that could not be chosen), ``chosen`` (name), and if known ``reward``, ``cost`` (actual) and ``cluster``
        (decisions that depend on each other share it, such as those of a session; by default each is its own).
        DataError names the line that is wrong.
        """
        rows, left_out, seen = [], Counter[str](), set[str]()
        for number, row in _objects(path):
            where = f"{path}, line {number}"
            if row.get("decision") in seen:
                raise DataError(f"{where}: decision {row['decision']!r} stands there twice; each counts once")
            seen.add(row.get("decision", ""))
            if row.get("propensities") is None:
                left_out[NO_PROPENSITIES] += 1
                continue
            _check(row, where)
            rows.append(row)
        if not rows:
            raise DataError(f"{path}: no decision has propensities: only choices drawn by known ones can judge others")
        left_out[NO_REWARD] = sum(row.get("reward") is None for row in rows)
        return cls._of(rows, left_out)

    @classmethod
    def _of(cls, rows: Sequence[Mapping[str, Any]], left_out: Mapping[str, int]) -> "DecisionLog":
        models = tuple(dict.fromkeys(name for row in rows for name in row["models"]))
        place = {name: at for at, name in enumerate(models)}
        propensity = np.zeros((len(rows), len(models)))
        score, cost = np.full_like(propensity, np.nan), np.full_like(propensity, np.nan)
        for at, row in enumerate(rows):
            columns = [place[name] for name in row["models"]]
            for table, name in ((propensity, "propensities"), (score, "scores"), (cost, "costs")):
                table[at, columns] = [np.nan if value is None else value for value in row[name]]
        propensity = np.nan_to_num(propensity)
        mean = np.nanmean(score, axis=1, keepdims=True)
        clusters = [str(row.get("cluster") or f"\0{at}") for at, row in enumerate(rows)]
        return cls(
            ids=tuple(row["decision"] for row in rows),
            models=models,
            chosen=np.array([place[row["chosen"]] for row in rows]),
            propensity=propensity,
            score=np.where(np.isnan(score), mean, score),
            cost=cost,
            reward=_column(rows, "reward"),
            paid=_column(rows, "cost"),
            cluster=np.unique(clusters, return_inverse=True)[1],
            left_out=left_out,
        )


def policies(specs: Sequence[str], log: DecisionLog) -> dict[str, Float64[np.ndarray, "decisions models"]]:
    """Return the probabilities of named policies at each decision; ConfigError for an unknown one.

    ``logged``: as it was; ``uniform``: any model that could be chosen; ``always:MODEL``; ``price:X``: the best
    score - X x cost; ``file:PATH``: JSON lines with ``decision`` and ``probabilities`` (by name), of each decision.
    """
    made = {}
    for spec in specs:
        kind, _, rest = spec.partition(":")
        if kind not in _POLICIES:
            raise ConfigError(f"unknown policy {spec!r}; known: logged, uniform, always:MODEL, price:X, file:PATH")
        made[spec] = _POLICIES[kind](log, rest)
    return made


def _always(log: DecisionLog, name: str) -> np.ndarray:
    if name not in log.models:
        raise ConfigError(f"always:{name}: the log has no such model; it has {', '.join(log.models)}")
    return np.tile(np.array(log.models) == name, (len(log.chosen), 1)).astype(np.float64)


def _at_price(log: DecisionLog, text: str) -> np.ndarray:
    try:
        price = float(text)
    except ValueError:
        price = float("nan")
    if not (np.isfinite(price) and price >= 0):
        raise ConfigError(f"price:{text}: a finite number of 0 or more is needed, in score for one unit of cost")
    cost = np.where(np.isnan(log.cost), np.inf, log.cost)
    with np.errstate(invalid="ignore"):
        value = np.where((log.propensity > 0) | np.isfinite(cost), log.score - price * np.nan_to_num(cost), -np.inf)
    return np.eye(len(log.models))[value.argmax(1)]


def _uniform(log: DecisionLog, _: str) -> np.ndarray:
    able = (log.propensity > 0).astype(np.float64)
    found: np.ndarray = able / able.sum(1, keepdims=True)
    return found


def _from_file(log: DecisionLog, path: str) -> np.ndarray:
    given = {row.get("decision"): (number, row.get("probabilities")) for number, row in _objects(path)}
    found = np.zeros_like(log.propensity)
    for at, decision in enumerate(log.ids):
        number, probabilities = given.get(decision, (0, None))
        if not isinstance(probabilities, dict) or not set(probabilities) <= set(log.models):
            raise DataError(f"{path}: decision {decision!r} needs probabilities of models of the log by name")
        found[at] = [probabilities.get(name, 0.0) for name in log.models]
        if not (found[at].min() >= 0 and abs(found[at].sum() - 1) < _TOLERANCE):
            raise DataError(f"{path}, line {number}: probabilities of 0 or more with the sum 1 are needed")
    return found


_POLICIES: dict[str, Callable[[DecisionLog, str], np.ndarray]] = {
    "logged": lambda log, _: log.propensity,
    "uniform": _uniform,
    "always": _always,
    "price": _at_price,
    "file": _from_file,
}


def _objects(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}): JSON lines are needed") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a JSON object is needed; got {line[:80]!r}")
        yield number, row


def _check(row: Mapping[str, Any], where: str) -> None:
    """Raise DataError unless a row is a decision that was drawn."""
    if missing := [name for name in FIELDS if name not in row]:
        raise DataError(f"{where}: a decision has {', '.join(FIELDS)}; it lacks {', '.join(missing)}")
    names = row["models"]
    for name in ("propensities", "scores", "costs"):
        values = row[name]
        fits = isinstance(values, list) and len(values) == len(names)
        if not fits or not all(value is None or _is_number(value) for value in values):
            raise DataError(f"{where}: {name} must have a number or null for each of the {len(names)} models")
    drawn = [value or 0.0 for value in row["propensities"]]
    if min(drawn) < 0 or abs(sum(drawn) - 1) > _TOLERANCE:
        raise DataError(f"{where}: propensities of 0 or more with the sum 1 are needed; the sum is {sum(drawn):g}")
    if row["chosen"] not in names or not drawn[names.index(row["chosen"])] > 0:
        raise DataError(f"{where}: the chosen model {row['chosen']!r} has no propensity above 0")
    for name in ("reward", "cost"):
        if row.get(name) is not None and not _is_number(row[name]):
            raise DataError(f"{where}: {name} must be a finite number or null; got {row[name]!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
