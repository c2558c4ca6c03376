import numpy as np
import pytest

from p2l.new_models.row_prior import RowPrior

MEAN = np.array([0.3, -1.0, 2.0, 0.1])


def known_rows(num_models: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(num_models, 4)), rng.normal(size=num_models)


@pytest.mark.parametrize("num_models", [1, 2, 4, 12])
def test_every_known_row_is_one_of_its_rows(num_models):
    weight, bias = known_rows(num_models)
    prior = RowPrior.of_rows(weight, bias, MEAN)
    apart = np.column_stack([weight, bias]) - prior.centre
    coordinates = np.linalg.lstsq(prior.directions, apart.T)[0]
    np.testing.assert_allclose(prior.rows(coordinates.T), np.column_stack([weight, bias]), atol=1e-10)
    if num_models == 12:  # each coordinate but the level has variance 1 over the known rows
        np.testing.assert_allclose((coordinates[1:] ** 2).sum(axis=1), num_models - 1, rtol=1e-8)
        np.testing.assert_allclose(coordinates[1:].mean(axis=1), 0, atol=1e-10)


def test_the_first_coordinate_is_how_far_the_mean_coefficient_lies_above_the_known_mean():
    weight, bias = known_rows()
    prior = RowPrior.of_rows(weight, bias, MEAN)
    coordinates = np.random.default_rng(1).normal(size=(3, prior.num_coordinates))
    rows = prior.rows(coordinates)
    levels = rows[:, :-1] @ MEAN + rows[:, -1]
    np.testing.assert_allclose(levels, (weight @ MEAN + bias).mean() + coordinates[:, 0])


def test_rows_that_change_with_strength_are_expected_to():
    """If each known row is its level times one direction, so is the row of a new model."""
    level, slope = np.linspace(-1, 1, 8), np.array([0.5, 0.0, -1.0, 0.2])
    weight = level[:, None] * slope
    prior = RowPrior.of_rows(weight, level - weight @ MEAN, MEAN)
    assert prior.num_coordinates == 1
    np.testing.assert_allclose(prior.rows(np.array([[3.0]]))[0, :-1], 3 * slope)


def test_one_known_model_gives_its_row_and_a_level():
    weight, bias = known_rows(1)
    prior = RowPrior.of_rows(weight, bias, MEAN)
    np.testing.assert_allclose(prior.rows(np.array([[0.7]]))[0], [*weight[0], bias[0] + 0.7])


def test_a_feature_that_is_almost_always_zero_hides_no_other():
    """Weights of 1e30 on a feature of 1e-32 are as good as those of another scale."""
    weight, bias = known_rows()
    scale = np.array([1.0, 1e30, 1e-6, 1.0])
    plain, scaled = RowPrior.of_rows(weight, bias, MEAN), RowPrior.of_rows(weight * scale, bias, MEAN / scale)
    assert scaled.num_coordinates == plain.num_coordinates == 5
    covariance, other = (prior.directions[:-1] @ prior.directions[:-1].T for prior in (plain, scaled))
    np.testing.assert_allclose(other / np.outer(scale, scale), covariance, rtol=1e-9, atol=1e-12)
