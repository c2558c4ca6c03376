"""The candidates of an evaluation: the rankings of a P2L model, or one leaderboard for all prompts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from p2l.data.battle_table import BattleTable
from p2l.evaluation.category_metrics import rated_models
from p2l.evaluation.proper_metrics import Baseline
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.evaluation.simple_metrics import UndefinedError
from p2l.leaderboard import aggregate, aggregate_subsets, fit_subsets, fit_votes
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

GROUND_TRUTHS = ("marginal-gt", "marginal", "arena")
MODEL_TYPES = ("p2l", *GROUND_TRUTHS)

OfSubsets = Callable[[Int[Tensor, "subsets size"]], Ranking]

RIDGE = 1e-6  # almost none, as in the published fits; keeps a model that never lost finite


@dataclass(frozen=True, eq=False)
class Leaderboards:
    """The leaderboards that ignore the prompt, for the votes of one category; each is fitted on first use.

    Attributes:
        train: training votes; they may cover more models than the evaluated votes.
        arena: ratings of the models of the votes, or the reason why there are none.
    """

    votes: RankedVotes
    family: OutcomeFamily
    train: BattleTable | None
    arena: Ranking | str

    def of(self, kind: str) -> Ranking:
        """Return one of ``GROUND_TRUTHS``; raises ``UndefinedError`` if its input was not given."""
        return {"marginal-gt": self._of_votes, "marginal": self._of_train, "arena": self._of_arena}[kind]()

    def baseline(self) -> Baseline:
        """Return the marginal fit of the training votes if there are any, else of the votes themselves."""
        if self.train is not None:
            return Baseline(self.of("marginal"), "training votes")
        return Baseline(self.of("marginal-gt"), "the votes it is scored on, which favours it (train_path takes others)")

    def _of_votes(self) -> Ranking:
        return self._fitted

    @cached_property
    def _fitted(self) -> Ranking:
        if not self.votes.targets(self.family).sum() > 0:
            raise UndefinedError(f"no vote carries evidence under {self.family.name}")
        return fit_votes(self.votes.battles, self.family, ridge=RIDGE)

    def _of_train(self) -> Ranking:
        if self.train is None:
            raise UndefinedError("there are no training votes; give train_path or hf_train_dataset")
        leaderboard = fit_votes(self.train, self.family, ridge=RIDGE)
        at = [self.train.models.index(name) for name in self.votes.models]
        return Ranking(leaderboard.coefs[at], leaderboard.eta)

    def _of_arena(self) -> Ranking:
        if isinstance(self.arena, str):
            raise UndefinedError(self.arena)
        return self.arena


@dataclass(frozen=True, eq=False)
class Candidate:
    """Votes with the rankings that predict them, the candidate's leaderboard, and that of subsets of the votes.

    ``of_subsets`` is None if the leaderboard does not depend on the votes.
    """

    votes: RankedVotes
    leaderboard: Ranking
    of_subsets: OfSubsets | None = None


def make_candidate(model_type: str, boards: Leaderboards) -> Candidate:
    """Return the candidate that ``model_type`` names; Arena's ratings are scored on votes between two rated models."""
    votes, family = boards.votes, boards.family
    if model_type == "p2l":
        row_of_vote = torch.from_numpy(votes.ranking_index)
        return Candidate(
            votes,
            aggregate(votes.rankings, family, weight=votes.counts()),
            lambda rows: aggregate_subsets(votes.rankings, family, row_of_vote[rows]),
        )
    leaderboard = boards.of(model_type)
    of_subsets: OfSubsets | None = None
    if model_type == "marginal-gt":
        of_subsets = lambda rows: fit_subsets(votes.battles, family, rows, ridge=RIDGE)  # noqa: E731
    rated = rated_models(leaderboard)
    scored = votes if rated.all() else votes.between_models(np.asarray(rated))
    if not len(scored):
        raise UndefinedError("no vote is between two models that Arena rates")
    return Candidate(scored.predicted_by(leaderboard), leaderboard, of_subsets)
