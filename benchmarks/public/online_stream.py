"""A stream of prompts through a router that sees the reward and the cost of the chosen LLM alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from p2l.online.exploration import Exploration, ExploreOptions
from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import FilterOptions, HeadFilter, HeadState
from p2l.online.influence import NO_LIMIT, KeyLimits
from p2l.online.online_head import OnlineHead
from p2l.routing import StreamBudget
from p2l.routing.stream_budget import GAIN
from p2l.routing.stream_budget_state import StreamBudgetState

BATCH = 8  # answers whose feedback comes together
KEY = "stream"
OVERDRAFT = 30.0  # of the stream, as in spend_budgets


@dataclass(frozen=True, eq=False)
class Traffic:
    """Prompts, and what each LLM would earn and cost on them."""

    features: np.ndarray
    reward: np.ndarray
    cost: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, at: slice | np.ndarray) -> "Traffic":
        return Traffic(self.features[at], self.reward[at], self.cost[at])

    def among(self, models: int) -> "Traffic":
        """Return the first LLMs alone."""
        return Traffic(self.features, self.reward[:, :models], self.cost[:, :models])


@dataclass(eq=False)
class CostModel:
    """Bayesian regression of each LLM's log cost on the features, and the ratio of actual to predicted costs."""

    mean: np.ndarray
    precision: np.ndarray
    paid: np.ndarray
    predicted: np.ndarray

    @classmethod
    def cold(cls, guess: np.ndarray, features: int, variance: float) -> "CostModel":
        """``guess``: usual cost of each LLM; ``variance`` of a feature's weight."""
        mean = np.zeros((len(guess), features))
        mean[:, 0] = np.log(guess)
        prior = np.diag(np.concatenate(([1.0], np.full(features - 1, 1 / variance))))
        return cls(mean, np.tile(prior, (len(guess), 1, 1)), guess * 5.0, guess * 5.0)

    def copy(self) -> "CostModel":
        return CostModel(*(part.copy() for part in vars(self).values()))

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.exp(features @ self.mean.T) * (self.paid / self.predicted)

    def learn(self, features: np.ndarray, model: np.ndarray, cost: np.ndarray, keep: float = 1.0) -> None:
        """``keep``: of the evidence, for each answer; the log of a cost varies by 0.2."""
        for one in np.unique(model):
            rows = model == one
            own, log = features[rows] / np.sqrt(0.2), np.log(cost[rows]) / np.sqrt(0.2)
            before = self.precision[one] @ self.mean[one]
            self.precision[one] += own.T @ own
            self.mean[one] = np.linalg.solve(self.precision[one], before + own.T @ log)
            self.paid[one] = self.paid[one] * keep ** rows.sum() + cost[rows].sum()
            guess = np.exp(features[rows] @ self.mean[one])
            self.predicted[one] = self.predicted[one] * keep ** rows.sum() + guess.sum()


@dataclass(eq=False)
class Learner:
    """The router's knowledge: the trained head, what traffic changed, and costs.

    ``base``: weights of the trained head on the features, outputs x features.
    """

    chain: HeadFilter
    state: HeadState
    base: np.ndarray
    costs: CostModel

    @classmethod
    def cold(cls, head: OnlineHead, guess: np.ndarray, options: FilterOptions) -> "Learner":
        chain = HeadFilter(head, options)
        base = np.zeros((head.num_outputs, len(head.start)))
        return cls(chain, chain.start(), base, CostModel.cold(guess, len(head.start), 1.0))

    def copy(self) -> "Learner":
        return Learner(self.chain, self.state, self.base, self.costs.copy())

    def learn(self, traffic: Traffic, model: np.ndarray) -> None:
        """Learn from the reward and the cost of one LLM a prompt."""
        rows = np.arange(len(model))
        outputs = traffic.features @ self.base.T
        score = traffic.reward[rows, model].clip(0, 1)
        given = Feedback.of_scores(traffic.features, outputs, model, score, (KEY,) * len(model))
        self.state = self.chain.update(self.state, given)
        self.costs.learn(traffic.features, model, traffic.cost[rows, model])

    def learn_all(self, traffic: Traffic) -> None:
        """Learn from every LLM's answer to each prompt."""
        for model in range(traffic.reward.shape[1]):
            self.learn(traffic, np.full(len(traffic), model))

    def settled(self, options: FilterOptions) -> "Learner":
        """Take what was learned as the trained head: from now on, forgetting leads back to it."""
        chain = HeadFilter(self.chain.head, options)
        draws = chain.start().draws
        root = np.linalg.cholesky(self.state.covariance + 1e-9 * np.eye(len(self.state.covariance)))
        normal = np.random.default_rng(options.seed).standard_normal((len(draws), len(root)))
        draws = (normal @ root.T).reshape(draws.shape)
        state = replace(self.state, mean=np.zeros_like(self.state.mean), draws=draws, keys={})
        return Learner(chain, state, self.base + self.state.mean, self.costs.copy())

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the expected score of each LLM on each prompt."""
        weights = (self.base + self.state.mean)[: len(self.chain.head.models)]
        return 1 / (1 + np.exp(-features @ weights.T))

    def draws(self, features: np.ndarray) -> np.ndarray:
        """Return draws of the scores of one prompt."""
        weights = (self.base + self.state.mean + self.state.draws)[:, : len(self.chain.head.models)]
        return 1 / (1 + np.exp(-weights @ features))

    def with_model(self, name: str, guess: float) -> "Learner":
        """Return the learner with a new LLM, the mean of the others."""
        models = len(self.chain.head.models)
        chain, state = self.chain.with_model(self.state, name)
        base = np.insert(self.base, models, self.base[:models].mean(0), axis=0)
        new = CostModel.cold(np.array([guess]), self.base.shape[1], 1.0)
        costs = CostModel(
            *(
                np.concatenate((old, one))
                for old, one in zip(vars(self.costs).values(), vars(new).values(), strict=True)
            )
        )
        return Learner(chain, state, base, costs)


@dataclass(frozen=True)
class Way:
    """What the router does: ``learns`` of the chosen LLM, ``explores`` by posterior sampling or chooses the best."""

    learns: bool = True
    explores: bool = True


Event = Callable[[Learner], Learner]  # what the operator does at a step


@dataclass(frozen=True, eq=False)
class Run:
    """The choices of a stream in its order, with their rewards and costs."""

    model: np.ndarray
    reward: np.ndarray
    cost: np.ndarray
    propensity: np.ndarray
    extra: float  # of the costs, spent on exploring


def limits() -> KeyLimits:
    return KeyLimits(NO_LIMIT)


def run(
    learner: Learner,
    traffic: Traffic,
    budget: float,
    way: Way,
    *,
    price: float | None = None,
    gain: float = GAIN,
    seed: int = 0,
    events: dict[int, Event] | None = None,
    explore: ExploreOptions | None = None,
) -> Run:
    """Route the traffic within a mean budget. ``price``: its logarithm at the start, if it is known.
    ``gain``: of the stream, by default that of a price that must be found.

    ``events``: what the operator changes before a step.
    """
    learner, rng, count = learner.copy(), np.random.default_rng(seed), len(traffic)
    account = StreamBudget(budget, overdraft=OVERDRAFT, gain=gain)
    account.state = StreamBudgetState(budget, log_price=price)
    exploration = Exploration(explore)
    chosen, propensity = np.zeros(count, dtype=int), np.zeros(count)
    for step in range(count):
        if events and step in events:
            learner = events[step](learner)
        features = traffic.features[step]
        score, cost = learner.scores(features), learner.costs.predict(features)
        able = np.ones(len(score), dtype=bool)
        if way.explores:
            policy = partial(exploration.probabilities, score, learner.draws(features), cost, budget=budget)
            spending, probabilities = account.draw(score, cost, able, policy, rng)
            propensity[step] = probabilities[spending.model]
        else:
            spending, propensity[step] = account.choose(score, cost), 1.0
        chosen[step] = spending.model
        account.settle(spending, float(traffic.cost[step, spending.model]))
        if way.learns and (step + 1) % BATCH == 0:
            last = slice(step + 1 - BATCH, step + 1)
            learner.learn(traffic.rows(last).among(len(score)), chosen[last])
    rows = np.arange(count)
    return Run(chosen, traffic.reward[rows, chosen], traffic.cost[rows, chosen], propensity, exploration.extra)
