"""Scores of one vote by hand."""

import math

import pytest
import torch

from p2l.evaluation.scoring_rules import accuracy, brier, log_loss, squared_error, two_sided

LOG_PROBS = torch.tensor([[0.5, 0.2, 0.3]], dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ((1, 0, 0), (math.log(2), 1, 0.25 + 0.04 + 0.09, 0.25)),
        ((0, 0, 1), (-math.log(0.3), 0, 0.25 + 0.04 + 0.49, 0.49)),
        ((0.5, 0.5, 0), (-math.log(0.1) / 2, 0.5, 0.09 + 0.09, 0.65**2)),
        ((0, 0, 0), (0, 0, 0, 1)),
    ],
)
def test_by_hand(targets: tuple[float, ...], expected: tuple[float, ...]) -> None:
    shares = torch.tensor([targets], dtype=torch.float64)
    found = [float(score(LOG_PROBS, shares)) for score in (log_loss, accuracy, brier, squared_error)]
    assert found == pytest.approx(expected)


def test_an_event_and_its_opposite_are_two_outcomes() -> None:
    yes, no = torch.tensor([0.3]).log(), torch.tensor([0.7]).log()
    assert float(log_loss(two_sided(yes, no), torch.tensor([[1.0, 0.0]]))) == pytest.approx(-math.log(0.3))
