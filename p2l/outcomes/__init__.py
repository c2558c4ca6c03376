"""Likelihood families: P(outcome | coefs of a, coefs of b, eta). No parameters, no labels, no torch.nn.

To add a family:

1. Write its log-probabilities in ``p2l/outcomes/formulas.py``: a function of the two coefficients (and of eta) that
   returns one column an outcome, a wins first, b wins second. Use logsumexp forms; no ``1 - rest``, no clamp.
2. Make one ``OutcomeFamily`` below, with a row of ``targets`` for each outcome of a vote. List it in ``FAMILIES``.
   ``replace`` makes a variant of a family. Set ``shift_invariant=False`` if a constant added to all coefficients
   changes a probability.
3. Copy ``conf/head/bt.yaml`` to ``conf/head/<name>.yaml`` and set ``family: <name>``; ``head=<name>`` then trains it.
4. Add its definition to ``naive`` in ``tests/outcomes/test_outcomes.py``. The laws there run over ``FAMILIES``.

Losses, metrics, fits, aggregation, routing scores and plots follow. If the aggregation of many prompts is too slow,
give ``formula_from_odds`` too: the same probabilities from e^coefs, which the tests compare with the first form.
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


def get_family(name: str) -> OutcomeFamily:
    """Return the family of a published name or alias; ConfigError for any other."""
    try:
        return FAMILIES[ALIASES.get(name, name)]
    except KeyError:
        known = ", ".join((*FAMILIES, *ALIASES))
        raise ConfigError(f"unknown likelihood family {name!r}; known: {known}") from None


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
