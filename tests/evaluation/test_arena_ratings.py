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
    twice = '{"full": {"ant": {"rating": 1}, "ant": {"rating": 2}}}'
    for text, message in [
        ("{", "cannot be read as JSON"),
        ("{}", "no ratings"),
        ('{"full": {"ant": 3}}', "expected"),
        ('{"full": {"ant": {"rating": true}}}', "expected"),
        (twice, "a.json: the key 'ant' stands 2 times"),
    ]:
        bad.write_text(text)
        with pytest.raises(DataError, match=message):
            ArenaRatings.read(str(bad))


@pytest.mark.parametrize("flags", [(1, 0), ("yes", "no"), ("t", "f"), ("True", "")])
def test_flags_of_style_control_are_read_as_everywhere(tmp_path, flags) -> None:
    rows = pd.DataFrame({"model_name": ["x", "y"], "category": "all", "rating": [1200, 1100], "style_control": flags})
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert ArenaRatings.read(str(tmp_path / "a.csv")).by_category == {"all": {"y": 1100}}
    rows.assign(style_control=["controlled", "no"]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="row 0: style_control must be true or false; got 'controlled'"):
        ArenaRatings.read(str(tmp_path / "a.csv"))


@pytest.mark.parametrize("gap", ["model_name", "category"])
def test_a_row_without_a_name_is_an_error(tmp_path, gap) -> None:
    rows = pd.DataFrame({"model_name": ["x", "y"], "category": "all", "rating": [1200, 1100]}).astype(object)
    rows.loc[1, gap] = None
    rows.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=f"row 1: {gap} is missing; 1 of 2 rows lack it"):
        ArenaRatings.read(str(tmp_path / "a.csv"))


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
