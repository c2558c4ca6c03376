"""Load tables of measured scores (prompt, model, score, and cost if known) as a part to fit and parts to test."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from p2l.data.column_values import required_numbers
from p2l.data.measured_scores import MeasuredScores, MeasuredSource
from p2l.data.prompt_encoder import turns_of
from p2l.data.readers import read_table
from p2l.errors import DataError
from p2l.files import whole_file

FIT, TEST, SPLIT, GROUP = "fit", "test", "split", "group"
FITTED = ("train", "fit", "val", "validation", "dev")  # values of the column split: pooled, tuned by cross-fitting
TEST_SHARE = 0.3  # of the prompts, if a table names no test prompts
NO_GROUP = "all"
NEEDED = ("prompt", "model", "score")


@dataclass(frozen=True, eq=False)
class Part:
    """Some prompts of a table, and the task that each belongs to."""

    measured: MeasuredScores
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.measured)

    def drawn(self, share: float) -> "Part":
        """Return this share of the prompts, always the same ones."""
        at = np.sort(np.random.default_rng(0).permutation(len(self))[: round(share * len(self))])
        return Part(self.measured.rows(at), self.group[at])

    def balanced(self) -> MeasuredScores:
        """Return the scores with weights that count each task as much as any other, on average 1 a prompt."""
        names, task, size = np.unique(self.group, return_inverse=True, return_counts=True)
        weight = len(self) / (len(names) * size[task])
        return replace(self.measured, weight=self.measured.weight * weight[:, None])


@dataclass(frozen=True, eq=False)
class PublicTable:
    """What is fitted and tuned (train and validation together), and the parts to test; all over the same LLMs."""

    name: str
    fit: Part
    tests: Mapping[str, Part]
    left_out: Mapping[str, int]  # prompts of each test that were fitted

    @property
    def models(self) -> tuple[str, ...]:
        return self.fit.measured.models

    @property
    def has_costs(self) -> bool:
        return all(np.isfinite(part.measured.cost).all() for part in (self.fit, *self.tests.values()))


def read_parts(train: str, val: str | None, test: str | None) -> dict[str, pd.DataFrame]:
    """Read files of any format that p2l reads; a single file is split by its column ``split``, else by prompt."""
    frames = {path: read_table(path) for path in (train, val, test) if path is not None}
    for path, frame in frames.items():
        if missing := [name for name in NEEDED if name not in frame]:
            raise DataError(f"{path} has no column {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    fit = pd.concat([frames[path] for path in (train, val) if path is not None], ignore_index=True)
    if test is not None:
        return {FIT: fit, TEST: frames[test]}
    if SPLIT in fit:
        return split_by_column(fit)
    return held_out(fit, fit["prompt"].map(hash_of))


def held_out(frame: pd.DataFrame, key: pd.Series) -> dict[str, pd.DataFrame]:
    """Hold out the rows of three tenths of the keys, always the same, as the test."""
    known = np.array(sorted(key.unique()), dtype=object)
    drawn = np.random.default_rng(0).permutation(known)[: round(TEST_SHARE * len(known))]
    tested = key.isin(drawn)
    return {FIT: frame[~tested], TEST: frame[tested]}


def split_by_column(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the fitted rows as one part and every other value of ``split`` as a test."""
    fitted = frame[SPLIT].isin(FITTED)
    if not fitted.any() or fitted.all():
        raise DataError(
            f"the column {SPLIT} needs rows to fit ({', '.join(FITTED)}) and others to test; it has "
            f"{', '.join(map(str, frame[SPLIT].unique()))}"
        )
    tests = {str(name): rows for name, rows in frame[~fitted].groupby(SPLIT, sort=False)}
    return {FIT: frame[fitted], **tests}


def hash_of(prompt: object) -> str:
    """Return a key of a prompt, whether it is a text or a list of turns."""
    return "\x1f".join(turns_of(prompt))


def load_table(name: str, parts: Mapping[str, pd.DataFrame], work: Path) -> PublicTable:
    """Load the parts over the LLMs that all of them have; test prompts that were fitted are left out.

    Each part is written to ``work`` and read back as ``data=scores`` reads a table.
    """
    fitted = set(map(hash_of, parts[FIT]["prompt"]))
    loaded, left_out = {FIT: _load(parts[FIT], work / f"{FIT}.parquet")}, {}
    for test, frame in parts.items():
        if test == FIT:
            continue
        seen = frame["prompt"].map(hash_of).isin(fitted)
        left_out[test] = frame["prompt"][seen].map(hash_of).nunique()
        loaded[test] = _load(frame[~seen], work / f"{test}.parquet")
    shared = set.intersection(*(set(part.measured.models) for part in loaded.values()))
    models = [model for model in loaded[FIT].measured.models if model in shared]
    if len(models) < 2:
        raise DataError(f"two LLMs or more with scores in every part are needed; there are {len(models)}")
    if left := sorted(set().union(*(part.measured.models for part in loaded.values())) - shared):
        print(f"LLMs without scores in some part are left out: {', '.join(left)}")
    found = {part: _answered(part, Part(one.measured.among(models), one.group)) for part, one in loaded.items()}
    return PublicTable(name, found.pop(FIT), found, left_out)


def _answered(name: str, part: Part) -> Part:
    """Leave out the prompts that none of the LLMs answered: they would count as a score of 0."""
    kept = np.flatnonzero((part.measured.weight > 0).any(axis=1))
    if not len(kept):
        raise DataError(f"{name}: no prompt has a score of an LLM that every part has")
    if len(kept) < len(part):
        print(f"{name}: {len(part) - len(kept)} prompts without a score of the LLMs that every part has are left out")
    return Part(part.measured.rows(kept), part.group[kept])


def _load(frame: pd.DataFrame, path: Path) -> Part:
    group = frame[GROUP].astype(str) if GROUP in frame else pd.Series(NO_GROUP, index=frame.index)
    groups = dict(zip(map(hash_of, frame["prompt"]), group, strict=True))
    has_costs = "cost" in frame and bool(frame["cost"].notna().any())
    kept = frame[[name for name in ("prompt_id", *NEEDED, *(["cost"] if has_costs else [])) if name in frame]]
    numbers = {name: required_numbers(kept[name], path.stem) for name in ("score", "cost") if name in kept}
    with whole_file(path) as part:
        kept.assign(**numbers).to_parquet(part)
    measured = MeasuredSource(str(path), key=None, per=1.0, with_costs=has_costs).load()
    return Part(measured, np.array([groups[hash_of(prompt)] for prompt in measured.prompts]))
