"""Say which new models the votes do not place among the known ones, and refuse votes that place none."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from p2l.data.vote_table import VoteTable
from p2l.errors import DataError
from p2l.leaderboard.comparison_graph import components
from p2l.leaderboard.identification import bounded_beside
from p2l.leaderboard.vote_counts import gather, shares_of
from p2l.new_models.new_model_votes import votes_of_models
from p2l.outcomes import OutcomeFamily

FEW_VOTES = 100

Notes = dict[str, list[str]]


def placement_notes(votes: VoteTable, new: Sequence[str], known: Sequence[str], family: OutcomeFamily) -> Notes:
    """Return warnings about the evidence on each new model, by its name; a model without any has an empty list.

    Raises DataError if the votes place no new model: none is connected to a known one by a chain of votes, and none has
    a level of its own (grounded families, by votes with two bad answers).
    """
    rows = gather(votes.battles)
    shares = shares_of(rows.weight, family)
    fixed = np.array([name in known and name not in new for name in votes.models])
    part = components(rows, shares)
    met = np.isin(part, part[fixed & (part >= 0)])
    bounded = bounded_beside(rows, family, shares, fixed)
    if not any(met[i] or bounded[i] for i in map(votes.models.index, new)):
        raise DataError(
            f"no chain of votes connects {', '.join(new)} to a known model, so that nothing places them among the "
            f"known; add votes of a new model against one that the checkpoint ranks"
        )
    counts = dict(zip(votes.models, votes_of_models(votes), strict=True))
    notes: Notes = {}
    for name in new:
        at = votes.models.index(name)
        notes[name] = [_note_of_place(bool(met[at]), bool(bounded[at]))] if not (met[at] and bounded[at]) else []
        if counts[name] < FEW_VOTES:
            notes[name].append(f"fewer than {FEW_VOTES} votes ({counts[name]:.0f}): its row is mostly prior")
    return notes


def _note_of_place(met: bool, bounded: bool) -> str:
    if met:
        return "the votes do not bound its strength (never won, or never lost); the prior does"
    if bounded:
        return "met no known model: its level rests on the votes in which both answers were bad"
    return "no chain of votes connects it to a known model: its strength beside the known ones is the prior's"


def loss_notes(held_out: Mapping[str, float], family: OutcomeFamily) -> Notes:
    """Return a warning for each new model whose held-out votes are predicted worse than by equal chances."""
    uniform = math.log(len(family.outcomes))
    return {
        name: [f"held-out log loss {loss:.3f} is worse than equal chances ({uniform:.3f}): do not rely on its place"]
        if loss > uniform
        else []
        for name, loss in held_out.items()
    }
