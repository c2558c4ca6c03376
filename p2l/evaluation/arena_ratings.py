"""Arena's published ratings as leaderboards."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from p2l.data.column_values import as_text, flag_of, is_gap, required_numbers
from p2l.data.json_rows import DuplicateKeyError, parse_json
from p2l.data.readers import read_table
from p2l.errors import DataError
from p2l.types import Ranking

log = logging.getLogger(__name__)

RATING_OF_ZERO = 1000
# nats for an Elo point. 400 points are a factor of 10 in the odds: (rating - 1000) ln 10 / 400. Published code divides
# by 400 ln 10 instead, so its coefficients are 5.3 times too small. Orders are the same.
NATS_PER_POINT = {"elo": math.log(10) / 400, "published": 1 / (400 * math.log(10))}


@dataclass(frozen=True)
class ArenaRatings:
    """Ratings by category and model, in Elo points."""

    by_category: dict[str, dict[str, float]]

    @classmethod
    def read(cls, path: str) -> "ArenaRatings":
        """Read a table, or Arena's JSON ``{category: {model: {"rating": ...}}}``.

        A table (CSV, say) has the columns model_name, category, rating and, optionally, style_control: rows with a true
        style_control are left out. Raises ``DataError`` if the file is neither, or a row lacks a name.
        """
        ratings = _from_json(path) if path.lower().endswith(".json") else _from_table(read_table(path), path)
        if not ratings:
            raise DataError(f"{path} holds no ratings")
        return cls(ratings)

    def leaderboard(self, category: str, models: tuple[str, ...], scale: str = "elo") -> Ranking:
        """Return coefficients in nats, NaN for a model without a rating; no eta, since ratings do not cover ties."""
        ratings = self.by_category[category]
        points = np.array([ratings.get(name, np.nan) for name in models], dtype=np.float64)
        return Ranking(torch.from_numpy((points - RATING_OF_ZERO) * NATS_PER_POINT[scale]), None)


def _from_table(frame: pd.DataFrame, path: str) -> dict[str, dict[str, float]]:
    missing = [name for name in ("model_name", "category", "rating") if name not in frame.columns]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}; Arena ratings need model_name, category, rating "
            f"(and may have style_control)"
        )
    if "style_control" in frame.columns:
        flags = [False if is_gap(value) else flag_of(value) for value in frame["style_control"]]
        if None in flags:
            row = flags.index(None)
            value = frame["style_control"].iloc[row]
            raise DataError(f"{path}, row {row}: style_control must be true or false; got {value!r}")
        frame = frame[~np.array(flags, dtype=bool)]
    for name in ("model_name", "category", "rating"):
        if not (gaps := frame[name].map(is_gap)).any():
            continue
        problem = f"{path}, row {gaps.idxmax()}: {name} is missing; {gaps.sum():,} of {len(gaps):,} rows lack it"
        if name != "rating":
            raise DataError(problem)
        log.warning("%s, and their models count as not rated", problem)
    frame = frame.assign(model_name=as_text(frame["model_name"]), category=as_text(frame["category"]))
    twice = frame.duplicated(["model_name", "category"])
    if twice.any():
        row = frame[twice].iloc[0]
        raise DataError(f"{path} rates {row['model_name']!r} twice in {row['category']!r}")
    rating = required_numbers(frame["rating"], path)
    return {
        str(category): dict(zip(rows["model_name"], rating[rows.index], strict=True))
        for category, rows in frame.groupby("category")
    }


def _from_json(path: str) -> dict[str, dict[str, float]]:
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
    except DuplicateKeyError as error:
        raise DataError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if isinstance(content, list):
        return _from_table(read_table(path), path)
    try:
        ratings = {
            category: {model: _number(entry["rating"]) for model, entry in models.items()}
            for category, models in content.items()
        }
    except (AttributeError, TypeError, KeyError, ValueError):
        raise DataError(f'{path}: expected {{category: {{model: {{"rating": number}}}}}}') from None
    for category, of_category in ratings.items():
        for model, rating in of_category.items():
            if not math.isfinite(rating):
                raise DataError(f"{path}: the rating of {model} in {category} must be a finite number; got {rating}")
    return ratings


def _number(rating: object) -> float:
    if not isinstance(rating, (int, float, str)) or isinstance(rating, bool):
        raise TypeError
    return float(rating)
