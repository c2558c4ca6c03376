"""Arena's ratings from its JSON and from tables."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from p2l.errors import DataError
from p2l.evaluation import ArenaRatings

JSON = {
    "full": {"ant": {"rating": 1400, "rating_q975": 1410}, "bee": {"rating": 1000}},
    "math": {"ant": {"rating": 900}},
}
ROWS = [
    {"model_name": "ant", "category": "full", "rating": 1400, "style_control": False},
    {"model_name": "ant", "category": "full", "rating": 1300, "style_control": True},
    {"model_name": "bee", "category": "full", "rating": 1000, "style_control": False},
    {"model_name": "ant", "category": "math", "rating": 900, "style_control": False},
]


@pytest.fixture(params=["json", "csv"])
def ratings(request, tmp_path) -> ArenaRatings:
    path = tmp_path / f"arena.{request.param}"
    if request.param == "json":
        path.write_text(json.dumps(JSON))
    else:
        pd.DataFrame(ROWS).to_csv(path, index=False)
    return ArenaRatings.read(str(path))


def test_four_hundred_points_are_a_factor_of_ten_in_the_odds(ratings) -> None:
    board = ratings.leaderboard("full", ("ant", "bee", "cat"))
    assert board.eta is None
    np.testing.assert_allclose(board.coefs, [math.log(10), 0, math.nan])


def test_the_published_scale_is_smaller_by_the_square_of_ln_10(ratings) -> None:
    coefs = ratings.leaderboard("full", ("ant", "bee"), "published").coefs
    np.testing.assert_allclose(coefs, [400 / (400 * math.log(10)), 0])
    np.testing.assert_allclose(ratings.leaderboard("full", ("ant",)).coefs[0] / coefs[0], math.log(10) ** 2)


def test_bad_files_are_errors(tmp_path) -> None:
    csv, bad = tmp_path / "a.csv", tmp_path / "a.json"
    pd.DataFrame(ROWS).drop(columns="rating").to_csv(csv, index=False)
    with pytest.raises(DataError, match="no column rating"):
        ArenaRatings.read(str(csv))
    pd.DataFrame(ROWS).drop(columns="style_control").to_csv(csv, index=False)
    with pytest.raises(DataError, match="rates 'ant' twice in 'full'"):
        ArenaRatings.read(str(csv))
    for text, message in [("{", "cannot be read as JSON"), ("{}", "no ratings"), ('{"full": {"ant": 3}}', "expected")]:
        bad.write_text(text)
        with pytest.raises(DataError, match=message):
            ArenaRatings.read(str(bad))


@pytest.mark.parametrize("rating", ["inf", "-Infinity", "NaN", "12 000"])
def test_ratings_are_finite_numbers(tmp_path, rating) -> None:
    csv, as_json = tmp_path / "a.csv", tmp_path / "a.json"
    csv.write_text(f"model_name,category,rating\nant,full,1000\nbee,full,{rating}\n")
    as_json.write_text(json.dumps({"full": {"bee": {"rating": rating}}}))
    for path in (csv, as_json):
        with pytest.raises(
            DataError, match="(rating of bee in full must be a finite|expected) (finite )?number|expected {"
        ):
            ArenaRatings.read(str(path))
    csv.write_text("model_name,category,rating\nant,full,1000\nbee,full,\n")
    assert math.isnan(ArenaRatings.read(str(csv)).by_category["full"]["bee"])
