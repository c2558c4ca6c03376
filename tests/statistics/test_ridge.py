"""Ridge regression: the closed form against fits without each row."""

import numpy as np
import pytest

from p2l.statistics import ridge as module
from p2l.statistics.ridge import PENALTIES, ridge


def fitted(features: np.ndarray, target: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Solve the normal equations with an intercept that is not shrunk."""
    mean, centre = features.mean(axis=0), target.mean()
    gram = (features - mean).T @ (features - mean) + penalty * np.eye(features.shape[1])
    weight = np.linalg.solve(gram, (features - mean).T @ (target - centre))
    return weight, float(centre - weight @ mean)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_predictions_of_left_out_rows_are_those_of_fits_without_them(
    monkeypatch: pytest.MonkeyPatch, penalty: float
) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    targets = features @ rng.normal(size=(4, 2)) + rng.normal(size=(30, 2))
    monkeypatch.setattr(module, "PENALTIES", (penalty,))
    found = ridge(features, targets)
    for target in range(2):
        weight, bias = fitted(features, targets[:, target], penalty * 30)
        np.testing.assert_allclose(found.weight[target], weight)
        np.testing.assert_allclose(found.bias[target], bias)
    for row in range(30):
        others = np.arange(30) != row
        weight, bias = fitted(features[others], targets[others, 0], penalty * 30)
        assert found.left_out[row, 0] == pytest.approx(features[row] @ weight + bias)


def test_the_penalty_is_that_with_the_least_error() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 150))
    signal = 3 * features[:, 0]
    targets = np.stack([signal, rng.normal(size=200)], axis=1)
    found = ridge(features, targets)
    assert np.corrcoef(found.left_out[:, 0], signal)[0, 1] > 0.99
    assert np.abs(found.weight[1]).max() < 0.05  # nothing to learn
    assert np.isinf(PENALTIES[-1])


def test_few_rows_give_the_mean() -> None:
    found = ridge(np.arange(10.0)[:, None], np.arange(10.0)[:, None])
    assert found.weight.tolist() == [[0.0]] and found.bias.tolist() == [4.5]
    assert found.left_out[0, 0] == pytest.approx(5.0)
