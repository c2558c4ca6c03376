import numpy as np
import pandas as pd
import pytest

from p2l.scaling import Observations, errors, hold_out
from p2l.scaling.held_out import by_nearest, by_power, by_votes
from tests.scaling.simulated import simulate


def observations(*rows: tuple[float, float, float]) -> Observations:
    return Observations(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))


@pytest.fixture(scope="module")
def predicted() -> pd.DataFrame:
    return hold_out(simulate())


def test_the_nearest_smaller_run() -> None:
    known = observations((1, 1, 9.0), (1, 8, 5.0), (4, 1, 3.0))
    asked = observations((4, 8, 0.0), (1, 4, 0.0), (0.5, 0.5, 0.0))
    # (4, 8): from (1, 8) it is log 4, from (4, 1) log 8; nothing is smaller than (0.5, 0.5), and (1, 1) is nearest
    assert by_nearest(known, asked).tolist() == [5.0, 9.0, 9.0]


def test_powers_without_a_constant_are_found_again() -> None:
    sizes, votes, _ = simulate()
    known = Observations(sizes, votes, 3 * sizes**-0.02 * votes**-0.05)
    far = Observations(np.array([1e9]), np.array([1e6]), np.array([0.0]))
    assert by_power(known, far) == pytest.approx(3 * 1e9**-0.02 * 1e6**-0.05)
    of_votes = known._replace(log_loss=3 * votes**-0.05)
    assert by_votes(of_votes, far) == pytest.approx(3 * 1e6**-0.05)


def test_a_law_predicts_its_own_points_and_each_is_held_out_once(predicted: pd.DataFrame) -> None:
    seen = simulate()
    assert predicted["held_out"].value_counts().to_dict() == {
        "each in turn": 16,
        "largest size": 4,
        "most votes": 4,
        "largest point": 1,
    }
    in_turn = predicted[predicted["held_out"] == "each in turn"]
    assert in_turn["observed"].tolist() == seen.log_loss.tolist()
    largest = predicted[predicted["held_out"] == "largest point"]
    assert (largest["parameters"].item(), largest["votes"].item()) == (10.7e6, 8e4)
    found = errors(predicted).set_index(["held_out", "prediction"])["rmse"]
    for way in ("largest point", "largest size", "most votes", "each in turn"):
        assert found[way, "law"] < 2e-3
        assert found[way, "law"] < found[way, "nearest smaller"]


def test_errors_by_hand(predicted: pd.DataFrame) -> None:
    predicted = predicted.query("held_out == 'most votes'").assign(observed=1.0, law=[1.1, 0.9, 1.0, 1.2])
    row = errors(predicted).query("prediction == 'law'").iloc[0]
    assert row["points"] == 4
    assert row["rmse"] == pytest.approx(np.sqrt(0.06 / 4))
    assert row["mean_error"] == pytest.approx(0.05)


def test_ways_that_leave_too_little_are_left_out() -> None:
    seen = simulate()
    three_sizes = seen.select(seen.parameters < 6e6)
    assert set(hold_out(three_sizes)["held_out"]) == {"largest point", "most votes", "each in turn"}
