import json
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from p2l.errors import DataError
from p2l.scaling import ScalingPoint, points_table, read_points
from tests.scaling.simulated import points, simulate

POINTS = points(simulate())


def test_a_folder_and_a_table_give_the_points_back_in_order(tmp_path: Path) -> None:
    for i, point in enumerate(reversed(POINTS)):
        point.write(tmp_path / "sweep" / str(i) / "result.json")
    assert read_points(tmp_path / "sweep") == POINTS
    points_table(POINTS).to_csv(tmp_path / "points.csv", index=False)
    read = points_table(read_points(tmp_path / "points.csv"))
    pd.testing.assert_frame_equal(read, points_table(POINTS), rtol=1e-15)  # pandas 2 may miss the last bit


def test_a_point_without_test_votes(tmp_path: Path) -> None:
    point = replace(POINTS[0], test_log_loss=None, val_log_loss=1.2)
    point.write(tmp_path / "result.json")
    assert ScalingPoint.read(tmp_path / "result.json") == point
    assert (point.log_loss("val"), point.log_loss("test")) == (1.2, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"votes": None}, "expected a number for votes; found None"),
        ({"votes": "many"}, "expected a number for votes; found 'many'"),
        ({"seconds": float("nan")}, "expected a number for seconds; found nan"),
        ({"test_log_loss": float("inf")}, "expected a number for test_log_loss; found inf"),
        ({"votes": 0}, "votes must be above 0; found 0"),
        ({"parameters": -5}, "parameters must be above 0; found -5"),
        ({"test_log_loss": 0.0}, "test_log_loss must be above 0; found 0.0"),
        ({"val_marginal": -1.0}, "val_marginal must be above 0; found -1.0"),
        ({"flops": -1.0}, "flops must be 0 or more; found -1.0"),
        ({"votes": 12.5}, "votes must be a whole number; found 12.5"),
    ],
)
def test_a_point_that_is_none(tmp_path: Path, change: dict, message: str) -> None:
    (tmp_path / "result.json").write_text(json.dumps(asdict(POINTS[0]) | change))
    with pytest.raises(DataError, match=message):
        read_points(tmp_path)


def test_files_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no result.json under .*experiment=scaling_law"):
        read_points(tmp_path)
    for missing in ("nowhere", "nowhere.csv"):
        with pytest.raises(DataError, match="expected the folder of a sweep or a .csv file"):
            read_points(tmp_path / missing)
    for text, message in (
        ('{"votes": ', "is not valid JSON .*; remove it"),
        ("[]", "must hold a JSON object; found a list"),
    ):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(DataError, match=message):
            read_points(tmp_path)
