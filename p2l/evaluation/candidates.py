"""What is evaluated: the rankings of a P2L model, or one leaderboard for all prompts."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from p2l.data.battle_table import BattleTable
from p2l.errors import ConfigError
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

RIDGE = 1e-6  # next to none, as in the published fits; a model that never lost stays finite


def check_choice(option: str, value: str, choices: Collection[str]) -> None:
    """``ConfigError`` where the value of an option is none of its choices."""
    if value not in choices:
        raise ConfigError(f"{option} must be one of {', '.join(choices)}; got {value!r}")


@dataclass(frozen=True, eq=False)
class Leaderboards:
    """The leaderboards that ignore the prompt, for the votes of one category; each is made when it is asked for.

    Attributes:
        train: training votes, perhaps over more models than the votes that are evaluated.
        arena: ratings of the models of the votes, or why there are none.
    """

    votes: RankedVotes
    family: OutcomeFamily
    train: BattleTable | None
    arena: Ranking | str

    def of(self, kind: str) -> Ranking:
        """One of ``GROUND_TRUTHS``; ``UndefinedError`` where what it needs was not given."""
        return {"marginal-gt": self._of_votes, "marginal": self._of_train, "arena": self._of_arena}[kind]()

    def baseline(self) -> Baseline:
        """The marginal of the training votes where there are some, else of the votes themselves."""
        if self.train is not None:
            return Baseline(self.of("marginal"), "training votes")
        return Baseline(self.of("marginal-gt"), "the votes it is scored on, which favours it")

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
    """Votes with the rankings that are scored on them, the leaderboard of all, and that of subsets of the votes.

    ``of_subsets`` is None where the leaderboard does not depend on the votes.
    """

    votes: RankedVotes
    leaderboard: Ranking
    of_subsets: OfSubsets | None = None


def make_candidate(model_type: str, boards: Leaderboards) -> Candidate:
    """What ``model_type`` names. Arena's rankings are scored on votes between two models that it rates."""
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
