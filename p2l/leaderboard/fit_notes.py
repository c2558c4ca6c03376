"""Warnings about a fit and its votes, in sentences: what is not identified, and why."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from p2l.data.group_ids import GroupIds
from p2l.leaderboard.covariance import FEW_VOTES
from p2l.leaderboard.covariate_identification import EffectIdentification
from p2l.leaderboard.identification import Identification
from p2l.outcomes import OutcomeFamily
from p2l.statistics.bootstrap import FEW_CLUSTERS

OUTWEIGHED, _PULLED = 0.5, 0.02  # share of the ridge in the curvature: above the first, the votes determine nothing
FEW_RESAMPLES = 40  # at 95 %, one of them lies beyond each end of an interval


def fit_notes(
    models: tuple[str, ...],
    family: OutcomeFamily,
    component: np.ndarray,
    found: Identification,
    *,
    converged: bool,
    at_least_eta: bool,
) -> tuple[str, ...]:
    """Return the warnings about a fit and its votes."""

    def names(mask: Bool[np.ndarray, " models"]) -> str:
        return _names([models[i] for i in np.flatnonzero(mask)])

    notes = [] if converged else ["the fit did not converge; a larger ridge may help"]
    if (component < 0).any():
        silent = names(component < 0)
        notes.append(f"no vote with evidence under {family.name} on {silent}: left out of the leaderboard")
    if component.max() > 0 and family.shift_invariant:
        notes.append(
            f"the votes fall into {component.max() + 1} parts that never met; coefficients compare within a part only, "
            f"outside the largest are {names(component > 0)}"
        )
    notes += _strengths(models, family, found)
    notes += _eta(found, at_least_eta)
    if found.no_level:
        notes.append(
            "the level of the coefficients is not identified: the ridge alone bounds the mean model against the "
            "threshold of a usable answer, differences of models do not depend on it"
        )
    return tuple(notes)


def resampling_notes(
    clusters: GroupIds | None, bootstrap: int, few: Sequence[str], tied: Sequence[str]
) -> tuple[str, ...]:
    """Return the warnings about intervals that are too narrow: few clusters, resamples, or votes of ``few`` models.

    ``tied`` are models without a win and without a loss.
    """
    notes = []
    if clusters is not None and (number := len(clusters.ids)) < FEW_CLUSTERS:
        notes.append(f"only {number} clusters: intervals are too narrow with fewer than {FEW_CLUSTERS}")
    if clusters is not None and (doubt := clusters.largest_doubt()):
        notes.append(f"intervals may be wrong by much: {doubt}")
    if 0 < bootstrap < FEW_RESAMPLES:
        notes.append(f"only {bootstrap} resamples: intervals at 95 % are too narrow with fewer than {FEW_RESAMPLES}")
    if bootstrap and few:
        notes.append(f"fewer than {FEW_VOTES} votes, so that resamples vary too little: {_names(list(few))}")
    if bootstrap and tied:
        notes.append(f"no vote is won or lost, so that resamples do not vary: {_names(list(tied))}")
    return tuple(notes)


def ridge_notes(models: tuple[str, ...], pull: Float64[np.ndarray, " models"], ridge: float) -> Iterator[str]:
    """Yield the warnings about models whose votes weigh little beside the ridge, which has the share ``pull``."""
    advice = "scale the weights, so that one vote weighs about 1, or lower the ridge"
    if names := _names(_of(models, pull > OUTWEIGHED)):
        yield (
            f"the votes of {names} weigh so little that the ridge of {ridge:g} outweighs them, and pulls the "
            f"coefficients to 0: {advice}"
        )
    rest = (pull > _PULLED) & (pull <= OUTWEIGHED)
    if names := _names(_of(models, rest)):
        by = f"by about {pull[rest].max():.0%}"
        yield f"the ridge of {ridge:g} pulls the coefficients of {names} to 0, {by}: {advice}"


def effect_notes(covariates: tuple[str, ...], models: tuple[str, ...], found: EffectIdentification) -> tuple[str, ...]:
    """Return the warnings about effects of covariates that the votes do not determine."""
    silent, collinear, by_ridge = (_names(_of(covariates, m)) for m in (found.silent, found.collinear, found.by_ridge))
    notes = [f"0 in every vote with evidence, so that it has no effect to estimate: {silent}"] if silent else []
    if collinear:
        notes.append(
            f"collinear with other covariates or with the models of the votes, so that these effects are not "
            f"identified: {collinear}; leave one of them out"
        )
    if found.models.any():
        notes.append(
            f"a covariate replaces the strength of {_names(_of(models, found.models))}, which is not identified"
        )
    if by_ridge:
        notes.append(
            f"the ridge alone bounds the effect of {by_ridge}: it tells every winner, varies too little (give it in "
            "units of its standard deviation), or is almost collinear"
        )
    return tuple(notes)


def reference_note(identified: Bool[np.ndarray, " models"]) -> tuple[str, ...]:
    """Return the note that some models with votes are left out of what the others are compared with."""
    number = int(identified.sum())
    if not 0 < number < len(identified):
        return ()
    return (
        f"Elo points and win rates are relative to the {number} of {len(identified)} models whose strength the votes "
        "bound",
    )


def _strengths(models: tuple[str, ...], family: OutcomeFamily, found: Identification) -> Iterator[str]:
    loose = _of(models, found.loose)
    if not loose:
        return
    if found.only_ties:
        yield f"the votes do not identify the strength of {_names(loose)}: ties and one-sided wins fit any margin"
    elif family.shift_invariant:
        yield f"won or lost every vote against the rest, so that only the ridge bounds them: {_names(loose)}"
    else:
        yield f"the votes do not bound the strength of {_names(loose)} against the rest; the ridge alone does"
    for mask, why in ((found.never_lost, "without a loss"), (found.never_won, "without a win")):
        if mask.any():
            yield f"{why}: {_names(_of(models, mask))}"


def _eta(found: Identification, at_least_eta: bool) -> Iterator[str]:
    if at_least_eta:
        yield "ties are so rare that the margin of a tie lies on its lower bound: eta has no interval"
    elif found.no_ties:
        yield "no vote is a tie: eta is not identified, the ridge alone bounds it"
    elif found.only_ties:
        yield "eta is not identified: a larger margin of a tie fits the votes as well; the ridge alone bounds it"


def _of(models: tuple[str, ...], mask: Bool[np.ndarray, " models"]) -> list[str]:
    return [models[i] for i in np.flatnonzero(mask)]


def _names(models: list[str], shown: int = 5) -> str:
    return ", ".join(models[:shown]) + (f" and {len(models) - shown} more" if len(models) > shown else "")
