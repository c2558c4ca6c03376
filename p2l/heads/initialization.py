"""The published initialisations of a head; biases start at zero."""

from collections.abc import Callable

from torch import Tensor, nn

from p2l.errors import ConfigError


def _reset_parameters(weight: Tensor) -> None:
    nn.init.kaiming_uniform_(weight, a=5**0.5)  # what nn.Linear.reset_parameters does: uniform +-1/sqrt(fan_in)


def _he_uniform(weight: Tensor) -> None:
    nn.init.kaiming_uniform_(weight, nonlinearity="sigmoid")


INITIALIZATIONS: dict[str, Callable[[Tensor], object]] = {
    "reset_parameters": _reset_parameters,
    "he_unif": _he_uniform,
    "xavier_unif": nn.init.xavier_uniform_,
    "tiny_normal": nn.init.kaiming_normal_,
    "zeros": nn.init.zeros_,  # not published: training starts from one leaderboard for all prompts
}


def initialize_linear(layer: nn.Linear, init: str) -> None:
    """Draw the weights of ``layer`` by the named scheme and set its bias to zero; ConfigError for an unknown name."""
    name = {"reset_params": "reset_parameters"}.get(init, init)
    if name not in INITIALIZATIONS:
        raise ConfigError(f"unknown head.init {init!r}; known: {', '.join(INITIALIZATIONS)}")
    INITIALIZATIONS[name](layer.weight)
    nn.init.zeros_(layer.bias)
