"""What the model's choice is worth by measured scores."""

import numpy as np
import pytest

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import DataError
from p2l.evaluation.choice_of_best import choice_of_best


def scores(score: list[list[float]]) -> MeasuredScores:
    values = np.array(score)
    known = np.isfinite(values)
    prompts = tuple((str(i),) for i in range(len(values)))
    return MeasuredScores(("ant", "bee"), prompts, np.where(known, values, 0), known.astype(float), values * 0)


def test_the_choice_beside_the_best_single_model_and_the_oracle() -> None:
    measured = scores([[1.0, 0.0], [0.2, 0.8], [0.5, 0.1], [0.4, 0.9]])
    coefs = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    found = choice_of_best(coefs, measured, np.array([0.6, 0.5]))
    assert found.model == "ant" and found.num_prompts == 4
    assert found.chosen == pytest.approx((1.0 + 0.8 + 0.1 + 0.4) / 4)
    assert found.best_single == pytest.approx((1.0 + 0.2 + 0.5 + 0.4) / 4)
    assert found.oracle == pytest.approx((1.0 + 0.8 + 0.5 + 0.9) / 4)
    gains = np.array([0.0, 0.6, -0.4, 0.0])
    assert found.gain == pytest.approx(gains.mean()) and found.gain_low < found.gain < found.gain_high


def test_prompts_whose_choice_was_not_scored_do_not_count() -> None:
    measured = scores([[1.0, 0.0], [0.2, np.nan], [0.5, 0.6]])
    found = choice_of_best(np.array([[0.0, 1.0]] * 3), measured, np.array([0.6, 0.5]))
    assert found.num_prompts == 2 and found.chosen == pytest.approx(0.3) and found.best_single == pytest.approx(0.75)


def test_a_model_that_was_never_scored_is_not_chosen() -> None:
    measured = scores([[1.0, np.nan], [0.2, np.nan]])
    assert choice_of_best(np.array([[0.0, 1.0]] * 2), measured, np.array([0.6, np.nan])).gain == 0


def test_too_few_prompts_are_an_error() -> None:
    with pytest.raises(DataError, match="fewer than two"):
        choice_of_best(np.zeros((1, 2)), scores([[1.0, 0.0]]), np.array([0.6, 0.5]))
