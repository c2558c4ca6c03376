"""Learning rates over the steps of a run."""

import pytest
import torch

from p2l.errors import ConfigError
from p2l.training import Schedule


def rates(schedule, num_steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule.build(optimizer, num_steps)
    found = []
    for _ in range(num_steps):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule("constant"), [1, 1, 1, 1]),
        (Schedule("constant", warmup=0.5), [0, 0.5, 1, 1]),
        (Schedule("linear"), [1, 0.75, 0.5, 0.25]),
        (Schedule("linear", warmup=0.5), [0, 0.5, 1, 0.5]),
        (Schedule("cosine"), [1, 0.853553, 0.5, 0.146447]),
    ],
    ids=str,
)
def test_rates(schedule, expected):
    assert rates(schedule, 4) == pytest.approx(expected, abs=1e-6)


def test_warmup_is_a_share():
    with pytest.raises(ConfigError, match="share of all steps"):
        Schedule("linear", warmup=100)


def test_an_unknown_schedule():
    with pytest.raises(ConfigError, match="unknown scheduler.name 'liner'"):
        rates(Schedule("liner"), 2)
