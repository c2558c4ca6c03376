import numpy as np
import pytest
import torch

from p2l.errors import ConfigError
from p2l.new_models.extend_checkpoint import head_layers
from p2l.new_models.row_fit import fit_rows
from p2l.outcomes import BT, FAMILIES, GRK
from tests.new_models.world import KNOWN, NEW, draw_votes, make_world

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def predicted(world, found) -> np.ndarray:
    """Return the coefficients of the fitted rows on each prompt."""
    return world.features.inputs @ found.weight.T + found.bias - world.features.gamma[:, None]


@families
@pytest.mark.parametrize("rank", [None, 3])
def test_many_votes_recover_the_rows(family, rank):
    world = make_world(family, rank)
    found = fit_rows(world.head, world.known, draw_votes(world, 3_000), world.features, NEW, penalties=[1.0])
    truth = world.truth.coefs[:, KNOWN:].double().numpy()
    assert found.models == NEW
    assert np.abs(predicted(world, found) - truth).mean() < 0.2 < truth.std()
    np.testing.assert_allclose(found.coefs, predicted(world, found).mean(axis=0))
    assert (np.abs(found.coefs - truth.mean(axis=0)) < 3.5 * np.sqrt(np.diag(found.covariance))).all()


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    world = make_world(GRK)
    truth = world.truth.coefs[:, KNOWN:].double().mean(0).numpy()
    inside = []
    for seed in range(40):
        found = fit_rows(world.head, world.known, draw_votes(world, 200, seed), world.features, NEW, penalties=[1.0])
        inside += (np.abs(found.coefs - truth) < 1.96 * np.sqrt(np.diag(found.covariance))).tolist()
    assert 0.87 <= np.mean(inside) <= 1.0


def test_few_votes_do_better_with_the_prior_than_without():
    """The mean squared error of a coefficient, over draws of the world and of the votes."""
    errors = {1.0: [], 1e-4: []}
    for seed in range(10):
        world = make_world(GRK, seed=seed)
        truth, votes = world.truth.coefs[:, KNOWN:].double().numpy(), draw_votes(world, 80, seed)
        for penalty, of_penalty in errors.items():
            found = fit_rows(world.head, world.known, votes, world.features, NEW, penalties=[penalty])
            of_penalty.append(np.square(predicted(world, found) - truth).mean())
    assert np.mean(errors[1.0]) < 0.9 * np.mean(errors[1e-4])


def test_cross_validation_picks_the_penalty_of_least_held_out_loss():
    world = make_world(GRK)
    found = fit_rows(world.head, world.known, draw_votes(world, 200), world.features, NEW, penalties=[1e-3, 1.0, 1e5])
    assert set(found.held_out) == {1e-3, 1.0, 1e5}
    assert found.penalty == min(found.held_out, key=found.held_out.get) == 1.0
    assert found.log_loss < min(found.held_out.values())


def test_new_models_are_also_placed_by_votes_among_themselves():
    """The new models only met each other: votes determine their difference, and in grounded families their level."""
    world = make_world(GRK)
    votes = draw_votes(world, 3_000, between_new=True)
    found = fit_rows(world.head, world.known, votes, world.features, NEW, penalties=[1.0])
    truth = world.truth.coefs[:, KNOWN:].double().mean(0).numpy()
    np.testing.assert_allclose(found.coefs, truth, atol=0.15)


def test_a_known_model_can_be_fitted_again():
    """Votes drawn under its row recover the row, and its old row is not in the prior."""
    world = make_world(BT)
    votes, again = draw_votes(world, 3_000), (*NEW, world.known[0])
    found = fit_rows(world.head, world.known, votes, world.features, again, penalties=[1.0])
    assert found.weight.shape[0] == 3
    with torch.no_grad():
        head_layers(world.head)[1].weight[0] += 100
        head_layers(world.head)[1].bias[0] -= 100
    moved = fit_rows(world.head, world.known, votes, world.features, again, penalties=[1.0])
    np.testing.assert_allclose(moved.weight, found.weight, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalties": []}, "one or more positive penalties"),
        ({"penalties": [1.0, 0.0]}, "each of penalties must be a finite number above 0; got 0.0"),
        ({"folds": 1}, "folds must be a whole number, at least 2; got 1"),
    ],
)
def test_bad_options_are_refused(options, message):
    world = make_world(BT)
    with pytest.raises(ConfigError, match=message):
        fit_rows(world.head, world.known, draw_votes(world, 100), world.features, NEW, **options)


def test_someone_must_be_known():
    world = make_world(BT)
    with pytest.raises(ConfigError, match="no known model is left"):
        fit_rows(world.head, world.known, draw_votes(world, 100), world.features, world.models)
