"""Likelihood families: P(outcome | coefs of a, coefs of b, eta). No parameters, no labels, no torch.nn.

``docs/extending.md`` lists the steps to add a family.
"""

from dataclasses import replace
from functools import partial

from p2l.errors import ConfigError
from p2l.outcomes.family import A_WINS, B_WINS, BOTH_BAD, TIE, OutcomeFamily, merge_ties
from p2l.outcomes.formulas import (
    RK_LEAST_ETA,
    bradley_terry,
    bradley_terry_from_odds,
    grounded_rao_kupper,
    grounded_rao_kupper_from_odds,
    rao_kupper,
    rao_kupper_from_odds,
)

_WIN, _LOSE, _NONE, _HALF = (1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5)
_BA_MIN_THETA = 1.02  # of the published "ba" checkpoints

# targets: a row for each outcome of a vote, in the order model_a, model_b, tie, tie (bothbad)
BT = OutcomeFamily("bt", (A_WINS, B_WINS), 0, (_WIN, _LOSE, _NONE, _NONE), bradley_terry, bradley_terry_from_odds)
BT_TIE = replace(BT, name="bt-tie", targets=(_WIN, _LOSE, _HALF, _HALF))
RK = OutcomeFamily(
    "rk",
    (A_WINS, B_WINS, TIE),
    1,
    ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1)),
    rao_kupper,
    rao_kupper_from_odds,
    least_eta=RK_LEAST_ETA,
)
GRK = OutcomeFamily(
    "grk",
    (A_WINS, B_WINS, TIE, BOTH_BAD),
    1,
    ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)),
    grounded_rao_kupper,
    grounded_rao_kupper_from_odds,
    shift_invariant=False,
)
RK_REPARAM = merge_ties(GRK, "rk-reparam")
BA = replace(
    GRK,
    name="ba",
    formula=partial(grounded_rao_kupper, min_theta=_BA_MIN_THETA),
    formula_from_odds=partial(grounded_rao_kupper_from_odds, min_theta=_BA_MIN_THETA),
    has_threshold=True,
)

FAMILIES: dict[str, OutcomeFamily] = {f.name: f for f in (BT, BT_TIE, RK, RK_REPARAM, GRK, BA)}
ALIASES = {"bag": "grk", "bt_tie": "bt-tie", "rk_reparam": "rk-reparam"}


def get_family(name: object) -> OutcomeFamily:
    """Return the family of a published name or alias; ConfigError for any other."""
    if isinstance(name, str) and (family := FAMILIES.get(ALIASES.get(name, name))) is not None:
        return family
    known = ", ".join((*FAMILIES, *ALIASES))
    raise ConfigError(f"unknown likelihood family {name!r}; known: {known}")


__all__ = [
    "BA",
    "BT",
    "BT_TIE",
    "FAMILIES",
    "GRK",
    "RK",
    "RK_REPARAM",
    "OutcomeFamily",
    "get_family",
    "merge_ties",
]
