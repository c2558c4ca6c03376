"""Summarise the leaderboards of many prompts in one: the closest to all of theirs in cross-entropy.

The average over prompts q and pairs i < j of the cross-entropy of P(outcome | leaderboard) to P(outcome | ranking of q)
is linear in the prompts' probabilities, so that the fit needs only their mean for each pair: prompts are read once, and
memory does not grow with them. Source: Frick et al. 2025 (arXiv:2502.14855), section 2.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

from p2l.errors import ConfigError, DataError
from p2l.leaderboard.likelihood import PairLikelihood
from p2l.leaderboard.newton import minimise
from p2l.outcomes import OutcomeFamily
from p2l.ranking import Leaderboard, Leaderboards
from p2l.types import Ranking

# Ridge of the fit; it only fixes directions in which no probability changes.
_RIDGE = 1e-9
_PAIRS, _PROMPTS = 256, 500  # of a block, which stays in the cache
_FITS = 4_000_000  # most numbers in a block of fits
_LARGEST_FOR_ODDS = 40.0  # nats; e^80 is well inside float32


@overload
def aggregate(rankings: Leaderboards, *, weight: Float[Tensor, " prompts"] | None = ...) -> Leaderboard: ...


@overload
def aggregate(
    rankings: Ranking | Iterable[Ranking], family: OutcomeFamily, *, weight: Float[Tensor, " prompts"] | None = ...
) -> Ranking: ...


def aggregate(
    rankings: Leaderboards | Ranking | Iterable[Ranking],
    family: OutcomeFamily | None = None,
    *,
    weight: Float[Tensor, " prompts"] | None = None,
) -> Leaderboard | Ranking:
    """Summarise the leaderboards of many prompts in one: the closest to all of theirs in cross-entropy.

    Args:
        rankings: what ``rank`` returned for many prompts, which gives a ``Leaderboard``; or a ``Ranking`` of all
            prompts or an iterable of batches, with their ``family``, which gives a ``Ranking``: coefs (models,), eta
            () or None, float64; mean 0 if the family is shift-invariant.
        family: of a ``Ranking``; ``Leaderboards`` have their own.
        weight: counts each prompt that many times; not for an iterable of batches.

    Raises:
        DataError: there is no prompt, there are fewer than two models, or a coefficient is not finite.
    """
    if isinstance(rankings, Leaderboards):
        ranking = _aggregate([rankings.rankings], rankings.family, weight)
        return Leaderboard(rankings.models, ranking, rankings.family, warning=rankings.warning, groups=rankings.groups)
    if family is None:
        raise ConfigError("aggregate needs the family of a Ranking: aggregate(rankings, checkpoint.family)")
    return _aggregate([rankings] if isinstance(rankings, Ranking) else rankings, family, weight)


@torch.no_grad()
def _aggregate(batches: Iterable[Ranking], family: OutcomeFamily, weight: Float[Tensor, " prompts"] | None) -> Ranking:
    probs, centre, total = torch.zeros(()), torch.zeros(()), 0.0
    for batch in batches:
        _check(batch)
        weights = batch.coefs.new_ones(len(batch.coefs)) if weight is None else weight
        probs = probs + mean_probs(batch, family, weights[:, None])
        centre = centre + weights.double() @ _parameters(batch, family)
        total += float(weights.sum())
    if not total > 0:
        raise DataError("no prompt to aggregate: expected at least one of positive weight")
    return _project(probs / total, (centre / total)[None], family).map(lambda x: x[0])


@torch.no_grad()
def aggregate_subsets(rankings: Ranking, family: OutcomeFamily, subsets: Int[Tensor, "subsets size"]) -> Ranking:
    """Aggregate each subset of prompts (their positions): coefs (subsets, models), eta (subsets,) or None."""
    _check(rankings)
    size, num_models = subsets.shape[1], rankings.coefs.shape[1]
    at_once = max(1, min(_PROMPTS // size, _FITS // (12 * num_models**2)))
    found = [_project(*_means_of(rankings, family, block), family) for block in subsets.split(at_once)]
    eta = torch.cat([part.eta for part in found if part.eta is not None]) if family.num_eta else None
    return Ranking(torch.cat([part.coefs for part in found]), eta)


def _means_of(
    rankings: Ranking, family: OutcomeFamily, subsets: Int[Tensor, "subsets size"]
) -> tuple[Float[Tensor, "subsets pairs outcomes"], Float[Tensor, "subsets parameters"]]:
    """Return the mean probabilities and parameters of each subset."""
    drawn = rankings.map(lambda x: x[subsets.flatten()])
    weights = torch.eye(len(subsets), dtype=drawn.coefs.dtype).repeat_interleave(subsets.shape[1], 0) / subsets.shape[1]
    return mean_probs(drawn, family, weights), weights.T.double() @ _parameters(drawn, family)


def mean_probs(
    rankings: Ranking, family: OutcomeFamily, weights: Float[Tensor, "prompts sets"]
) -> Float[Tensor, "sets pairs outcomes"]:
    """Return the weighted sum over prompts of P(outcome) of every pair i < j, in ``torch.triu_indices`` order."""
    num_prompts, num_models = rankings.coefs.shape
    model_a, model_b = torch.triu_indices(num_models, num_models, 1)
    sums = torch.zeros(len(family.outcomes), len(model_a), weights.shape[1], dtype=torch.float64)
    batches = [
        (_pair_probs(rankings.map(lambda x: x[rows]), family), weights[rows])  # noqa: B023
        for rows in torch.arange(num_prompts).split(_PROMPTS)
    ]

    def add(first: int) -> None:
        pairs = slice(first, first + _PAIRS)
        for probs_of, weight in batches:
            for outcome, probs in enumerate(probs_of(model_a[pairs], model_b[pairs])):
                sums[outcome, pairs] += probs @ weight.to(probs.dtype)

    # Blocks run in threads of this pool, each with one thread of torch: torch's own threads wait for each other at
    # every operation, which takes twenty times as long on a busy machine.
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(torch.inference_mode()(add), range(0, len(model_a), _PAIRS)))
    torch.set_num_threads(threads)  # the initializer changed a setting that all threads share
    return sums.permute(2, 1, 0).contiguous()


def _pair_probs(batch: Ranking, family: OutcomeFamily) -> Callable[[Tensor, Tensor], Iterable[Tensor]]:
    """Return a function of pairs of models (rows): P(outcome) under each ranking (columns), for each outcome."""
    if max(float(x.abs().max()) for x in (batch.coefs, batch.eta) if x is not None) <= _LARGEST_FOR_ODDS:
        odds = batch.coefs.T.float().exp()
        eta = None if batch.eta is None else batch.eta.float()
        return lambda a, b: family.probs_from_odds(odds[a], odds[b], eta)
    coefs = batch.coefs.T.double()
    return lambda a, b: family.log_probs(coefs[a], coefs[b], batch.eta).exp().unbind(-1)


def _project(
    probs: Float[Tensor, "sets pairs outcomes"], start: Float[Tensor, "sets parameters"], family: OutcomeFamily
) -> Ranking:
    num_models = start.shape[1] - family.num_eta
    model_a, model_b = torch.triu_indices(num_models, num_models, 1)
    likelihood = PairLikelihood(family, model_a, model_b, num_models)
    start = likelihood.centred(start)
    found = minimise(likelihood, probs, ridge=_RIDGE * len(model_a), start=start).parameters
    return likelihood.ranking(likelihood.centred(found))


def _parameters(batch: Ranking, family: OutcomeFamily) -> Float[Tensor, "prompts parameters"]:
    coefs = batch.coefs.double()
    return torch.cat((coefs, batch.eta.double()[:, None]), dim=1) if batch.eta is not None and family.num_eta else coefs


def _check(rankings: Ranking) -> None:
    num_prompts, num_models = rankings.coefs.shape
    if num_prompts == 0 or num_models < 2:
        raise DataError(
            f"a leaderboard needs prompts and at least two models; got {num_prompts} prompts, {num_models} models"
        )
    finite = rankings.is_finite()
    if not finite.all():
        bad = torch.nonzero(~finite)[:, 0]
        raise DataError(
            f"coefficients are not finite for {len(bad):,} of {num_prompts:,} prompts, first for prompt {int(bad[0])}"
        )
