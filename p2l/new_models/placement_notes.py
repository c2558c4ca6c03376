"""Say which new models the votes do not place among the known ones, and refuse votes that place none."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.leaderboard.comparison_graph import components
from p2l.leaderboard.identification import bounded_beside
from p2l.leaderboard.vote_counts import gather, shares_of
from p2l.new_models.new_model_votes import votes_of_models
from p2l.outcomes import OutcomeFamily
from p2l.statistics.bootstrap import FEW_CLUSTERS

FEW_VOTES = 100

Notes = dict[str, list[str]]


class Place(NamedTuple):
    """``met``: a chain of votes connects it to a known model; ``bounded``: votes bound its level."""

    met: bool
    bounded: bool


def placement_notes(votes: VoteTable, new: Sequence[str], known: Sequence[str], family: OutcomeFamily) -> Notes:
    """Return warnings about the evidence on each new model, by its name; a model without any has an empty list.

    Raises DataError as ``places`` does.
    """
    counts = dict(zip(votes.models, votes_of_models(votes), strict=True))
    notes: Notes = {}
    for name, place in places(votes, new, known, family).items():
        notes[name] = [] if place.met and place.bounded else [_why(place)]
        if counts[name] < FEW_VOTES:
            notes[name].append(f"fewer than {FEW_VOTES} votes ({counts[name]:g}): its row is mostly prior")
    return notes


def places(votes: VoteTable, new: Sequence[str], known: Sequence[str], family: OutcomeFamily) -> dict[str, Place]:
    """Return how the votes place each new model among the known ones.

    Raises DataError if the votes place no new model: none is connected to a known one by a chain of votes, and none has
    a level of its own (grounded families, by votes with two bad answers).
    """
    rows = gather(votes.battles)
    shares = shares_of(rows.weight, family)
    fixed = np.array([name in known and name not in new for name in votes.models])
    part = components(rows, shares)
    met = np.isin(part, part[fixed & (part >= 0)])
    bounded = bounded_beside(rows, family, shares, fixed)
    at = {name: votes.models.index(name) for name in new}
    if not any(met[i] or bounded[i] for i in at.values()):
        raise DataError(
            f"no chain of votes connects {', '.join(new)} to a known model, so that nothing places them among the "
            f"known; add votes of a new model against one that the checkpoint ranks"
        )
    return {name: Place(bool(met[i]), bool(bounded[i])) for name, i in at.items()}


def _why(place: Place) -> str:
    if place.met:
        return "the votes do not bound its strength (never won, or never lost); the prior does"
    if place.bounded:
        return "met no known model: its level rests on the votes in which both answers were bad"
    return "no chain of votes connects it to a known model: its strength beside the known ones is the prior's"


def prompt_notes(num_prompts: Mapping[str, int]) -> Notes:
    """Return a warning for each new model whose votes are on few prompts."""
    notes: Notes = {name: [] for name in num_prompts}
    for name, number in num_prompts.items():
        if number == 1:
            notes[name].append("all its votes are on one prompt: nothing tells how it does on others")
        elif number < FEW_CLUSTERS:
            notes[name].append(f"votes on {number} prompts only: its interval is rough")
    return notes


def loss_notes(held_out: Mapping[str, float], family: OutcomeFamily) -> Notes:
    """Return a warning for each new model whose held-out votes are predicted worse than by equal chances."""
    uniform = math.log(len(family.outcomes))
    return {
        name: [f"held-out log loss {loss:.3f} is worse than equal chances ({uniform:.3f}): do not rely on its place"]
        if loss > uniform
        else []
        for name, loss in held_out.items()
    }
