"""Fit one leaderboard to many votes: maximum likelihood in any family, with intervals."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from tqdm import tqdm

from p2l.data.battle_counts import BattleCounts
from p2l.data.battle_table import BattleTable
from p2l.data.group_ids import GroupIds
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.leaderboard.comparison_graph import centring, components, outside_parts
from p2l.leaderboard.covariance import have_few_votes, sandwich
from p2l.leaderboard.covariate_identification import EffectIdentification, identify_effects
from p2l.leaderboard.fit_input import Column, Votes, read_fit_votes
from p2l.leaderboard.fit_notes import (
    OUTWEIGHED,
    effect_notes,
    fit_notes,
    reference_note,
    resampling_notes,
    ridge_notes,
)
from p2l.leaderboard.identification import Identification, identify
from p2l.leaderboard.leaderboard_fit import LeaderboardFit
from p2l.leaderboard.likelihood import PairLikelihood
from p2l.leaderboard.newton import Minimum, minimise
from p2l.leaderboard.vote_counts import PairWeights, VoteRows, gather, resampled_weights, shares_of
from p2l.options import check_choice, check_count_or_none, check_number, check_seed
from p2l.outcomes import OutcomeFamily, get_family
from p2l.types import OUTCOMES, Ranking

log = logging.getLogger(__name__)

RIDGE = 1e-3
MANY_RESAMPLES = 50  # a progress bar from here on
_AT_BOUND = 0.1  # of eta: closer than this to its bound, the margin of a tie is the smallest within 1 %
_CURVATURE = 0.25  # of the likelihood along a coefficient, at most, for a weight of 1 under "bt"
_BLOCK = 2_000_000  # numbers in a block of fits: bounds their memory


def fit(
    votes: Votes,
    family: OutcomeFamily | str = "bt",
    *,
    ridge: float = RIDGE,
    pair_weights: PairWeights = "votes",
    covariates: Mapping[str, Column] | Sequence[str] | str = (),
    cluster: Column | str | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> LeaderboardFit:
    """Fit one leaderboard to votes, with intervals.

    Minimises -sum_v w_v log P(outcome of v | coefs, eta) + ridge / 2 |parameters|^2 by Newton's method, in float64.
    The ridge keeps the answer finite for models that never lost and for parts of the graph that never met. The
    covariance counts it as evidence of its own small size, so that their intervals are wide.

    Args:
        votes: a vote table, a table of battles or their counts (without covariates and clusters), or any table with
            model_a, model_b and winner that ``read_table`` takes: a DataFrame, a ``datasets.Dataset``, a list of dicts,
            a path or a hub id. Up to 5 % of the rows may be invalid; these are logged. Files of more than 2 million
            votes or 500 MB are counted in blocks, if no cluster and no covariate is given.
        family: the likelihood family, or its published name: see ``p2l.outcomes.FAMILIES``.
        ridge: see above.
        pair_weights: "uniform" divides the weight of a vote by the number of votes of its pair, so that every pair of
            models that met counts alike, however often it was sampled (inverse propensity).
        covariates: for each vote, by name, how much more of something (style, say) model a's answer had than model
            b's; or the name of a column of the table, or several. They are not scaled: standardise them to compare
            their effects.
        cluster: for each vote, or the name of a column: votes of one cluster (prompt, user, session) are not treated
            as independent.
        bootstrap: number of resamples (of votes, or of clusters) for percentile intervals; 0: sandwich only.
        seed: of the resamples.

    Raises:
        ConfigError: an option is not one of its choices, or out of its range.
        DataError: no vote carries evidence in the family, there is not one covariate or cluster for each vote, or all
            votes are of one cluster.

    >>> votes = [{"model_a": "ant", "model_b": "bee", "winner": winner} for winner in ["model_a"] * 3 + ["model_b"]]
    >>> leaderboard = fit(votes, family="bt")
    >>> leaderboard
    LeaderboardFit(2 models, bt, 4 votes: 1 ant +95, 2 bee -95)
    >>> round(leaderboard.predict("ant", "bee")["a wins"], 2)
    0.75
    """
    check_fit_options(ridge, pair_weights, bootstrap, seed)
    family = family if isinstance(family, OutcomeFamily) else get_family(family)
    battles, columns = read_fit_votes(votes, bootstrap, each_vote=cluster is not None or bool(covariates))
    clusters = None if cluster is None else columns.clusters(cluster)
    codes = None if clusters is None else clusters.codes
    rows = gather(battles, {name: columns.get(column) for name, column in _named(covariates).items()}, pair_weights)
    likelihood, shares = rows.likelihood(family), _evidence(rows, family)
    minimum = _minimum(likelihood, shares, ridge)
    component = components(rows, shares)
    found = _identify(rows, family, shares, component, minimum, ridge)
    gauge = centring(component, found.models, likelihood.num_parameters, family.shift_invariant)
    start, parameters = minimum.parameters[0], gauge @ minimum.parameters[0]
    resamples = _progress(resampled_weights(battles, rows, codes, bootstrap, seed), bootstrap)
    samples = (_fit_many(rows, likelihood, resamples, ridge, start) @ gauge.T).numpy() if bootstrap else None
    return LeaderboardFit(
        family=family,
        models=rows.models,
        ranking=likelihood.ranking(parameters),
        covariance=(gauge @ sandwich(rows, likelihood, minimum, ridge, codes) @ gauge.T).numpy(),
        samples=samples,
        effects=_effects(rows, parameters, found),
        votes=_votes_of_models(rows, shares),
        component=component,
        identified=found.models & ~outside_parts(component, family.shift_invariant),
        log_loss=float(likelihood.value(minimum.parameters, shares[None]) / shares.sum()),
        converged=bool(minimum.converged[0]),
        notes=_notes(rows, likelihood, minimum, component, found, ridge) + _weakness(rows, family, clusters, bootstrap),
        weighted=pair_weights == "uniform" or not battles.is_hard,
    )


def _named(covariates: Mapping[str, Column] | Sequence[str] | str) -> Mapping[str, Column | str]:
    """Return each covariate by name; a text is the name of one column."""
    if isinstance(covariates, Mapping):
        return covariates
    return {name: name for name in ([covariates] if isinstance(covariates, str) else covariates)}


@dataclass(frozen=True)
class _Identified:
    """What the votes determine; ``pull`` is the share of the ridge in the evidence on each model."""

    strengths: Identification
    pull: Float64[np.ndarray, " models"]
    effects: EffectIdentification

    @property
    def models(self) -> Bool[np.ndarray, " models"]:
        return ~(self.strengths.loose | (self.pull > OUTWEIGHED) | self.effects.models)


def _identify(
    rows: VoteRows, family: OutcomeFamily, shares: Tensor, component: np.ndarray, minimum: Minimum, ridge: float
) -> _Identified:
    votes = _votes_of_models(rows, shares)
    pull = np.divide(ridge, ridge + _CURVATURE * votes, out=np.zeros_like(votes), where=component >= 0)
    effects = identify_effects(rows, (shares.sum(-1) > 0).numpy(), minimum.hessian[0].numpy(), ridge)
    return _Identified(identify(rows, family, shares, component), pull, effects)


def _effects(rows: VoteRows, parameters: Tensor, found: _Identified) -> dict[str, float]:
    """Return the effects by name; NaN if the votes do not determine one."""
    values = parameters[len(parameters) - len(rows.covariate_names) :].numpy()
    return dict(zip(rows.covariate_names, np.where(found.effects.unknown, np.nan, values).tolist(), strict=True))


def _notes(
    rows: VoteRows,
    likelihood: PairLikelihood,
    minimum: Minimum,
    component: np.ndarray,
    found: _Identified,
    ridge: float,
) -> tuple[str, ...]:
    family, converged = likelihood.family, bool(minimum.converged[0])
    at_least_eta = _at_least_eta(likelihood, minimum)
    return (
        *fit_notes(rows.models, family, component, found.strengths, converged=converged, at_least_eta=at_least_eta),
        *ridge_notes(rows.models, found.pull, ridge),
        *effect_notes(rows.covariate_names, rows.models, found.effects),
        *reference_note(found.models[component >= 0]),
    )


def check_fit_options(ridge: float, pair_weights: str, bootstrap: int, seed: int) -> None:
    """Raise ConfigError for options that ``fit`` does not take."""
    check_number("ridge", ridge, least=0)
    check_choice("pair_weights", pair_weights, get_args(PairWeights))
    check_count_or_none("bootstrap", bootstrap, least=2, zero_is="no bootstrap")
    check_seed(seed)


def fit_votes(votes: VoteTable | BattleTable | BattleCounts, family: OutcomeFamily, *, ridge: float = RIDGE) -> Ranking:
    """Fit a leaderboard without intervals: coefs (models,), eta () or None, float64."""
    rows = gather(votes.battles if isinstance(votes, VoteTable) else votes)
    likelihood = rows.likelihood(family)
    minimum = _minimum(likelihood, shares_of(rows.weight, family), ridge)
    if not minimum.converged.all():
        log.warning("the fit of one leaderboard to the votes did not converge")
    return likelihood.ranking(likelihood.centred(minimum.parameters[0]))


def fit_subsets(
    votes: BattleTable, family: OutcomeFamily, subsets: Int[Tensor, "subsets size"], *, ridge: float = RIDGE
) -> Ranking:
    """Fit a leaderboard to each subset of votes (their positions): coefs (subsets, models), eta (subsets,) or None.

    A model without votes in a subset gets 0.
    """
    rows = gather(votes)
    likelihood = rows.likelihood(family)
    weights = (rows.weight_of(drawn) for drawn in subsets.numpy())
    return likelihood.ranking(likelihood.centred(_fit_many(rows, likelihood, weights, ridge, None)))


def _minimum(likelihood: PairLikelihood, shares: Float[Tensor, "rows outcomes"], ridge: float) -> Minimum:
    """Minimise for one set of votes; if eta ends on the bound of its family, with eta fixed there.

    The bound is a kink, which Newton's method cannot step over.
    """
    found = minimise(likelihood, shares[None], ridge=ridge)
    if found.converged.all() or not _at_least_eta(likelihood, found):
        return found
    family, at = likelihood.family, likelihood.num_models
    eta = torch.tensor(family.least_eta, dtype=shares.dtype)
    fixed = replace(family, num_eta=0, formula=lambda a, b: family.formula(a, b, eta), formula_from_odds=None)
    rest = torch.tensor([i for i in range(likelihood.num_parameters) if i != at])
    minimum = minimise(replace(likelihood, family=fixed), shares[None], ridge=ridge, start=found.parameters[:, rest])
    hessian = torch.eye(likelihood.num_parameters, dtype=shares.dtype)[None].clone()
    hessian[:, rest[:, None], rest] = minimum.hessian
    parameters = found.parameters.index_copy(1, rest, minimum.parameters)
    parameters[:, at] = eta
    return Minimum(parameters, hessian, minimum.converged)


def _at_least_eta(likelihood: PairLikelihood, found: Minimum) -> bool:
    least = likelihood.family.least_eta
    return least is not None and float(found.parameters[0, likelihood.num_models]) <= least + _AT_BOUND


def _evidence(rows: VoteRows, family: OutcomeFamily) -> Float[Tensor, "rows outcomes"]:
    """Return the shares of the rows; ``DataError`` if all are zero."""
    shares = shares_of(rows.weight, family)
    if not shares.sum() > 0:
        counts = ", ".join(f"{outcome.value} {n:g}" for outcome, n in zip(OUTCOMES, rows.weight.sum(0), strict=True))
        raise DataError(f"no vote carries evidence under {family.name}: {counts}; another family may use these votes")
    return shares


def _progress(resamples: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    return iter(tqdm(resamples, total=count, desc="bootstrap", disable=count < MANY_RESAMPLES or None, leave=False))


def _fit_many(
    rows: VoteRows, likelihood: PairLikelihood, weights: Iterator[np.ndarray], ridge: float, start: Tensor | None
) -> Float[Tensor, "subsets parameters"]:
    """Fit the parameters to each subset of the votes, given as weights of the rows, in blocks."""
    found = []
    at_once = max(1, _BLOCK // max(rows.weight.size, likelihood.num_parameters**2))
    while block := list(islice(weights, at_once)):
        shares = shares_of(np.stack(block), likelihood.family)
        begin = None if start is None else start.expand(len(block), -1)
        found.append(minimise(likelihood, shares, ridge=ridge, start=begin).parameters)
    return torch.cat(found)


def _weakness(rows: VoteRows, family: OutcomeFamily, clusters: GroupIds | None, bootstrap: int) -> tuple[str, ...]:
    few = have_few_votes(rows, family).numpy()
    decisive = torch.from_numpy(rows.weight[:, :2])
    decided, voted = (_votes_of_models(rows, weight) for weight in (decisive, shares_of(rows.weight, family)))
    tied = (decided == 0) & (voted > 0) & ~few
    return resampling_notes(clusters, bootstrap, *([rows.models[i] for i in np.flatnonzero(m)] for m in (few, tied)))


def _votes_of_models(rows: VoteRows, shares: Tensor) -> Float64[np.ndarray, " models"]:
    votes, num_models = shares.sum(-1).numpy(), len(rows.models)
    return np.bincount(rows.model_a, votes, num_models) + np.bincount(rows.model_b, votes, num_models)
