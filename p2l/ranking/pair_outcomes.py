"""Outcome probabilities of two models of a leaderboard, by name."""

from collections.abc import Sequence
from difflib import get_close_matches

from p2l.errors import ConfigError
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking


def pair_outcomes(
    models: Sequence[str], ranking: Ranking, family: OutcomeFamily, model_a: str, model_b: str
) -> dict[str, float]:
    """Return P(outcome) of ``model_a`` against ``model_b`` by the name of the outcome; the values sum to 1.

    Args:
        models: names, in the order of the coefficients.
        ranking: coefs (models,) and eta () or None.
        family: gives the outcomes and their probabilities.
        model_a: name in ``models``.
        model_b: name in ``models``.

    Raises:
        ConfigError: a name is not in ``models``; names the nearest one.

    >>> import math, torch
    >>> from p2l.outcomes import BT
    >>> ranking = Ranking(torch.tensor([math.log(3.0), 0.0]), None)
    >>> {outcome: round(p, 3) for outcome, p in pair_outcomes(["ant", "bee"], ranking, BT, "ant", "bee").items()}
    {'a wins': 0.75, 'b wins': 0.25}
    """
    a, b = (find_model(models, name) for name in (model_a, model_b))
    eta = None if ranking.eta is None else ranking.eta.detach().double().reshape(())
    coefs = ranking.coefs.detach().double()
    probs = family.log_probs(coefs[a], coefs[b], eta).exp()
    return dict(zip(family.outcomes, probs.tolist(), strict=True))


def find_model(models: Sequence[str], name: str) -> int:
    """Return the position of a model; ``ConfigError`` with the nearest name if there is none."""
    if name in models:
        return list(models).index(name)
    near = get_close_matches(str(name), models, n=1, cutoff=0.4)
    known = f"did you mean {near[0]!r}?" if near else f"the models are {_shortened(models)}"
    raise ConfigError(f"no model {name!r} on this leaderboard of {len(models)} models; {known}")


def _shortened(models: Sequence[str], shown: int = 8) -> str:
    return ", ".join(models[:shown]) + (f" and {len(models) - shown} more" if len(models) > shown else "")
