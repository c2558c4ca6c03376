"""P2L heads on cached states, fitted to measured scores through the grounded Rao-Kupper likelihood.

A score is a vote: against no answer at all (coefficient minus infinity) an LLM wins with probability sigmoid(coef), and
both are bad otherwise. A score s in [0, 1] is a soft vote, a win with share s. Pairs of LLMs on a prompt (``PairRule``)
may be added. The penalty shrinks toward the marginal leaderboard: what LLMs have in common (a prompt is hard) by
``ridge``, what sets an LLM apart by ``ridge x own``.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import numpy as np
import torch
from predictions import Error, Predictions, UnitRange, fold_numbers

from p2l.data.measured_scores import MeasuredScores
from p2l.data.score_votes import PairRule
from p2l.heads import RankingHead
from p2l.losses import NegativeLogLikelihood
from p2l.outcomes import GRK
from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.routing import fit_shrinkage
from p2l.routing.shrinkage import Shrinkage
from p2l.types import Battle, Ranking

NO_ANSWER = -30.0  # coefficient of no answer at all, nats
RIDGES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
OWN, PAIRS, TEMPERATURES = (3.0, 10.0), (0.3, 1.0, 3.0), (0.05, 0.2)
MOST_PAIRS = 12  # on a prompt
MAX_STEPS = 60


@dataclass(frozen=True)
class HeadOptions:
    """How a head is fitted; ``pairs`` is the weight of the pairs of LLMs beside the scores, 0 for none."""

    ridge: float
    own: float = 1.0
    pairs: float = 0.0
    temperature: float = 0.2


@dataclass(frozen=True, eq=False)
class Evidence:
    """Soft votes; the last "model" stands for giving no answer."""

    battle: Battle
    targets: torch.Tensor
    weight: torch.Tensor

    @classmethod
    def of(cls, measured: MeasuredScores, options: HeadOptions) -> "Evidence":
        scaled, known = UnitRange.of(measured)(measured.score), measured.weight > 0
        prompt, model = np.nonzero(known)
        share = scaled[known]
        votes = [
            (prompt, model, np.full_like(model, known.shape[1]), np.stack((share, 0 * share, 0 * share, 1 - share), 1))
        ]
        weight = [measured.weight[known]]
        if options.pairs > 0:
            table = PairRule(MOST_PAIRS, options.temperature).votes(replace(measured, score=scaled))
            used = np.flatnonzero(known.sum(axis=1) >= 2)
            votes.append((used[table.prompt_index], table.model_a, table.model_b, table.outcome_shares))
            weight.append(np.full(len(table), options.pairs * (known.shape[1] - 1) / len(table) * len(used) / 2))
        columns = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*votes, strict=True)]
        targets = columns[3].float() @ GRK.target_matrix(columns[3].float())
        return cls(Battle(*columns[:3]), targets, torch.from_numpy(np.concatenate(weight)).float())

    def on(self, prompts: np.ndarray, total: int) -> "Evidence":
        """Return the votes on these of ``total`` prompts, numbered by their place among them."""
        place = torch.full((total,), -1)
        place[torch.from_numpy(prompts)] = torch.arange(len(prompts))
        index = place[self.battle.ranking_index]
        kept = index >= 0
        battle = Battle(index[kept], self.battle.model_a[kept], self.battle.model_b[kept])
        return Evidence(battle, self.targets[kept], self.weight[kept])

    def loss(self, ranking: Ranking) -> torch.Tensor:
        """Return the sum over a prompt's votes, as a mean over prompts, in nats."""
        nothing = ranking.coefs.new_full((len(ranking.coefs), 1), NO_ANSWER)
        log_probs = battle_log_probs(GRK, Ranking(torch.cat((ranking.coefs, nothing), 1), ranking.eta), self.battle)
        return NegativeLogLikelihood()(log_probs, self.targets, self.weight).sum() / len(ranking.coefs)


class Loss(Protocol):
    """What a head is fitted to."""

    def loss(self, ranking: Ranking) -> torch.Tensor: ...


def fit_head(states: torch.Tensor, evidence: Loss, options: HeadOptions, start: RankingHead) -> RankingHead:
    """Fit a copy of ``start`` by L-BFGS."""
    head = RankingHead(states.shape[1], start.num_models, GRK, init="zeros")
    head.load_state_dict(start.state_dict())
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=MAX_STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-5
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = evidence.loss(head(states)) + options.ridge * spread(head, options.own)
        loss.backward()
        return loss

    optimizer.step(closure)
    return head


def spread(head: RankingHead, own: float) -> torch.Tensor:
    """Return the squared weights: their mean over LLMs, ``own`` times what sets each apart, and those of eta."""
    weight, eta = dict(head.named_parameters())["head.weight"], dict(head.named_parameters())["eta_head.weight"]
    mean = weight.mean(0)
    return len(weight) * mean.square().sum() + own * (weight - mean).square().sum() + eta.square().sum()


def usable(head: RankingHead, states: torch.Tensor) -> np.ndarray:
    """Return P(usable answer) of each prompt and LLM: the scores that ``simple-lp`` routes by."""
    with torch.no_grad():
        return torch.sigmoid(head(states).coefs).double().numpy()


class HeadSearch:
    """Cross-fits heads with many options on the prompts to fit; ``raw`` is what the best one predicts of the tests."""

    def __init__(self, states: torch.Tensor, measured: MeasuredScores, error: Error) -> None:
        self.states, self.measured, self.error = states, measured, error
        self.folds, self.scale = fold_numbers(len(measured)), UnitRange.of(measured).score
        self.found: dict[HeadOptions, tuple[float, np.ndarray]] = {}
        self.is_shrunk: dict[HeadOptions, bool] = {}
        self.raw: dict[str, np.ndarray] = {}
        self._starts: dict[int, RankingHead] = {}

    def try_options(self, options: HeadOptions) -> float:
        """Return the error of the cross-fitted predictions, shrunk or as fitted, whichever is less."""
        if options not in self.found:
            evidence = Evidence.of(self.measured, options)
            predicted = np.zeros(self.measured.score.shape)
            for fold in range(self.folds.max() + 1):
                train, held_out = np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)
                head = fit_head(self.states[train], evidence.on(train, len(self.states)), options, self.start(fold))
                self._starts[fold] = head
                predicted[held_out] = usable(head, self.states[held_out])
            shrunk, fitted = (self.error(to_score(predicted)) for to_score in (self._shrinkage(predicted), self.scale))
            error = min(shrunk, fitted)
            self.found[options] = (error, predicted)
            self.is_shrunk[options] = shrunk <= fitted
            print(f"  {asdict(options)}: {error:.4f}", flush=True)
        return self.found[options][0]

    @property
    def best(self) -> HeadOptions:
        """The options with the least error of those tried."""
        return min(self.found, key=lambda options: self.found[options][0])

    def _candidates(self) -> Iterator[list[HeadOptions]]:
        yield [HeadOptions(ridge) for ridge in RIDGES]
        at = self.best
        yield [replace(at, ridge=at.ridge * scale, own=own) for own in OWN for scale in (1.0, 0.3)]
        at = self.best
        yield [replace(at, pairs=pairs, temperature=t) for pairs in PAIRS for t in TEMPERATURES]

    def start(self, fold: int) -> RankingHead:
        if fold not in self._starts:
            self._starts[fold] = RankingHead(self.states.shape[1], len(self.measured.models), GRK, init="zeros")
        return self._starts[fold]

    def _shrinkage(self, predicted: np.ndarray) -> Shrinkage:
        return fit_shrinkage("simple-lp", predicted, self.measured)

    def predictions(self, tests: dict[str, torch.Tensor]) -> Predictions:
        """Search one option after the other, fit the best head to all prompts, and predict the tests.

        The predictions are shrunk by what cross-fitting showed, if that lowers the error. It lowers squared errors, but
        the LLM with the best prediction may become another, worse one.
        """
        for candidates in self._candidates():
            for one in candidates:
                self.try_options(one)
        options, predicted = self.best, self.found[self.best][1]
        to_score = self._shrinkage(predicted) if self.is_shrunk[options] else self.scale
        head = fit_head(self.states, Evidence.of(self.measured, options), options, self.start(0))
        self.raw = {name: usable(head, states) for name, states in tests.items()}
        found = {name: to_score(one) for name, one in self.raw.items()}
        return Predictions(to_score(predicted), found, {**asdict(options), "shrunk": self.is_shrunk[options]})
