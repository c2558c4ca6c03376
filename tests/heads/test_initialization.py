import pytest
import torch
from torch import nn

from p2l.errors import ConfigError
from p2l.heads import INITIALIZATIONS, initialize_linear

FAN_IN, FAN_OUT = 300, 400
# standard deviations of the published schemes
STDS = {
    "reset_parameters": (1 / (3 * FAN_IN)) ** 0.5,
    "he_unif": (1 / FAN_IN) ** 0.5,
    "xavier_unif": (2 / (FAN_IN + FAN_OUT)) ** 0.5,
    "tiny_normal": (2 / FAN_IN) ** 0.5,
    "zeros": 0.0,
}


def test_every_scheme_has_its_number() -> None:
    assert set(STDS) == set(INITIALIZATIONS)


@pytest.mark.parametrize("init", STDS)
def test_standard_deviation_is_as_published(init: str) -> None:
    layer = nn.Linear(FAN_IN, FAN_OUT)
    torch.manual_seed(0)
    initialize_linear(layer, init)
    assert layer.weight.std().item() == pytest.approx(STDS[init], rel=0.01)  # 120,000 draws
    assert not layer.bias.any()
    if init.endswith("unif") or init == "reset_parameters":
        assert layer.weight.abs().max().item() == pytest.approx(3**0.5 * STDS[init], rel=0.01)


def test_names() -> None:
    initialize_linear(nn.Linear(2, 2), "reset_params")  # as the published configs call it
    with pytest.raises(ConfigError, match="unknown head.init 'he'; known: reset_parameters, he_unif"):
        initialize_linear(nn.Linear(2, 2), "he")
