"""Check the values of options at the boundary: numbers, levels, seeds and choices, each with a clear error."""

import math
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from p2l.errors import ConfigError


def check_level(level: object, name: str = "level") -> None:
    """Raise ConfigError unless the level of an interval lies between 0 and 1, both excluded."""
    if not _is_finite(level) or not 0 < level < 1:  # type: ignore[operator]
        meant = f"; did you mean {level / 100:g}?" if _is_finite(level) and 1 < level < 100 else ""  # type: ignore[operator]
        raise ConfigError(f"{name} must lie between 0 and 1, say 0.95; got {level!r}{meant}")


def check_number(
    name: str, value: object, *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> None:
    """Raise ConfigError unless the value is a finite number, at least ``least``, above ``above``, below ``below``."""
    if _is_finite(value) and value >= least and above < value < below:  # type: ignore[operator]
        return
    bound = f" of at least {least:g}" if least > -math.inf else f" above {above:g}" if above > -math.inf else ""
    end = f"{' and' if bound else ''} below {below:g}" if below < math.inf else ""
    raise ConfigError(f"{name} must be a finite number{bound}{end}; got {value!r}")


def check_share(name: str, value: object) -> None:
    """Raise ConfigError unless the value lies in [0, 1]."""
    if not _is_finite(value) or not 0 <= value <= 1:  # type: ignore[operator]
        raise ConfigError(f"{name} must be a share from 0 to 1; got {value!r}")


def check_count(name: str, value: object, *, least: int = 1, most: float = math.inf, of: str = "") -> None:
    """Raise ConfigError unless the value is a whole number in [least, most]; ``of`` says what bounds it."""
    if isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most:
        return
    wanted = f"at least {least}" if most == math.inf else f"from {least} to {most:,.0f}"
    raise ConfigError(f"{name} must be a whole number, {wanted}{of and f' ({of})'}; got {value!r}")


def check_count_or_none(name: str, value: object, *, least: int, zero_is: str) -> None:
    """Raise ConfigError unless the value is 0 (``zero_is`` says what it turns off) or at least ``least``."""
    if value != 0 or isinstance(value, bool):
        check_count(name, value, least=least, of=f"or 0 for {zero_is}")


def check_seed(seed: object, name: str = "seed") -> None:
    """Raise ConfigError unless the seed is a whole number from 0 to 2^32 - 1, which every generator accepts."""
    check_count(name, seed, least=0, most=2**32 - 1)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise ConfigError if the value is not one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def check_any(name: str, values: Collection[object]) -> None:
    """Raise ConfigError if a list is empty that needs at least one entry."""
    if not values:
        raise ConfigError(f"{name} is empty; name at least one, or leave the option out")


def check_prices(prices: Mapping[Any, Any]) -> None:
    """Raise ConfigError unless each name is text, with two finite numbers of 0 or more: input and output."""
    for name, price in prices.items():
        if not isinstance(name, str):
            raise ConfigError(f"prices: {name!r} is a number to YAML; quote the name, as in '0613': [1, 2]")
        pair = isinstance(price, Sequence) and not isinstance(price, str) and len(price) == 2
        if not pair or not all(_is_finite(dollars) and dollars >= 0 for dollars in price):
            raise ConfigError(
                f"prices: dollars per million tokens are needed, [input, output], each 0 or more; {name} has {price!r}"
            )


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
