"""Cost and score of synthetic agent sessions: pinned to one model, never switching, following the scorer, and ours.

A session has turns of the user, each with a loop of requests; all that was sent stays in the prompt. Drawn are:
tokens of system prompt and tools, lognormal, median 15,000 (sigma 0.4); turns, geometric, mean 4; requests of a
turn, geometric, mean 8; tokens that a request adds, lognormal, median 800 (1.2); answers, lognormal, median 250
(0.8); seconds before a request, lognormal, median 8 (0.8), before a turn median 120 (1.5). A session ends at
150,000 tokens. Prices are list prices of four models; a cache lasts 300 seconds, and all of a prompt is marked for
it. A model succeeds with probability sigmoid(strength - difficulty); difficulty is normal, with deviation 0.7
between sessions and 1 between turns. The scorer sees it with an error of deviation 1 (--noise) for each turn.

Each policy chooses the largest score - price x cost. The price runs over a grid, so each policy is a curve, and
curves are compared at the score that never switching has at three prices. Intervals: 95 %, bootstrap over sessions.

    python benchmarks/agent_sessions.py [--sessions 600] [--seed 0] [--horizon 2] [--picture docs/agent_sessions.png]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from p2l.drawing import finish, log_scale, new_figure, plain, tidy
from p2l.routing import CachePrices, PrefixPrices
from p2l.routing.evaluation.dot_names import write_names


class Model(NamedTuple):
    """Dollars a million tokens (input, written to the cache, read from it, output), and strength in nats."""

    name: str
    input: float
    entered: float
    cached: float
    output: float
    strength: float


MODELS = (
    Model("claude-opus-4-5", 5.0, 6.25, 0.5, 25.0, 2.4),
    Model("claude-sonnet-4-5", 3.0, 3.75, 0.3, 15.0, 1.8),
    Model("claude-haiku-4-5", 1.0, 1.25, 0.1, 5.0, 0.9),
    Model("gpt-5-mini", 0.25, 0.25, 0.025, 2.0, 0.3),
)
STRENGTH = np.array([one.strength for one in MODELS])
PREFIX = PrefixPrices.of([CachePrices(one.input / 1e6, one.entered / 1e6, one.cached / 1e6) for one in MODELS])
NEW_TOKENS, ANSWER = 1600.0, 350.0  # means, from which the cost of an exchange is computed
OWN_COSTS = np.array([(NEW_TOKENS * one.entered + ANSWER * one.output) / 1e6 for one in MODELS])
TTL, LONGEST = 300.0, 150_000
PRICES = np.geomspace(0.1, 100.0, 19)  # score that a dollar must gain
COMPARED = (6, 9, 12)  # of these: 1, 3.16 and 10
LEVEL, RESAMPLES = 0.95, 1000


class Request(NamedTuple):
    """One request: tokens that it adds, of its answer, seconds before it, and scores, true, by turn and by request."""

    added: int
    answer: int
    pause: float
    is_turn: bool
    true: np.ndarray
    seen: np.ndarray
    seen_otherwise: np.ndarray


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def draw_session(rng: np.random.Generator, noise: float) -> list[Request]:
    """Draw the requests of one session; see the head of this file."""
    requests: list[Request] = []
    length = rng.lognormal(np.log(15_000), 0.4)
    own = rng.normal(0, 0.7)
    for _ in range(rng.geometric(1 / 4)):
        difficulty = own + rng.normal()
        seen = sigmoid(STRENGTH - difficulty - noise * rng.normal())
        for step in range(rng.geometric(1 / 8)):
            added, answer = rng.lognormal(np.log(800), 1.2), rng.lognormal(np.log(250), 0.8)
            pause = rng.lognormal(np.log(8 if step else 120), 0.8 if step else 1.5)
            first = 0.0 if requests else length
            if sum(one.added + one.answer for one in requests) + first + added > LONGEST:
                return requests
            otherwise = sigmoid(STRENGTH - difficulty - noise * rng.normal())
            tokens = int(added + first), int(answer) + 1
            requests.append(Request(*tokens, pause, step == 0, sigmoid(STRENGTH - difficulty), seen, otherwise))
    return requests


@dataclass
class Replay:
    """The caches of one session, and what it has cost so far."""

    tokens: int = 0  # of the last prompt
    history: int = 0  # of it and its answer
    time: float = 0.0
    held: dict[int, tuple[int, float]] = field(default_factory=dict)
    cost: float = 0.0
    switches: int = 0
    last: int | None = None

    def warm(self) -> list[tuple[int, int]]:
        return [(at, tokens) for at, (tokens, used) in self.held.items() if self.time - used < TTL]

    def send(self, model: int, request: Request) -> None:
        """Charge a request at a model by its list prices, and keep its prompt in the model's cache."""
        prompt, held = self.history + request.added, dict(self.warm()).get(model, 0)
        one = MODELS[model]
        self.cost += (held * one.cached + (prompt - held) * one.entered + request.answer * one.output) / 1e6
        self.held[model] = prompt, self.time
        self.switches += self.last not in (None, model)
        self.tokens, self.history, self.last = prompt, prompt + request.answer, model


Policy = Callable[[Replay, Request, float], int]


def never(replay: Replay, request: Request, price: float) -> int:
    """Choose for the first request of a session."""
    return best(request.seen, OWN_COSTS, price) if replay.last is None else replay.last


def follow(replay: Replay, request: Request, price: float) -> int:
    """Choose by the scores of each turn, as if each request were the first."""
    return best(request.seen, OWN_COSTS, price)


def follow_other_texts(replay: Replay, request: Request, price: float) -> int:
    """The same where the text that is read differs from request to request, so that its errors do too."""
    return best(request.seen_otherwise, OWN_COSTS, price)


def ours(mode: str, horizon: float) -> Policy:
    """Choose with the costs of the conversation, for each turn of the user or for each request."""

    def choose(replay: Replay, request: Request, price: float) -> int:
        if replay.last is not None and mode == "sticky_tools" and not request.is_turn:
            return replay.last
        costs = OWN_COSTS + PREFIX.costs(replay.tokens, replay.warm()).per_request(horizon)
        return best(request.seen, costs, price)

    return choose


def pinned(model: int) -> Policy:
    return lambda replay, request, price: model


def best(score: np.ndarray, costs: np.ndarray, price: float) -> int:
    return int((score - price * costs).argmax())


class Curve(NamedTuple):
    """Cost, score and switches of each session (rows) at each price (columns)."""

    cost: np.ndarray
    score: np.ndarray
    switches: np.ndarray


def replay_all(sessions: list[list[Request]], policy: Policy, prices: np.ndarray = PRICES) -> Curve:
    found = np.empty((3, len(sessions), len(prices)))
    for row, requests in enumerate(sessions):
        for column, price in enumerate(prices.tolist()):
            replay, scores = Replay(), []
            for request in requests:
                replay.time += request.pause
                model = policy(replay, request, price)
                replay.send(model, request)
                scores.append(request.true[model])
            found[:, row, column] = replay.cost, np.mean(scores), replay.switches
    return Curve(*found)


def cost_at(curve: Curve, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean cost of a session at which the curve reaches the scores; NaN outside; one row of weights each."""
    costs, scores = weights @ curve.cost, weights @ curve.score
    order = np.argsort(scores, axis=1)
    found = []
    for own, wanted, by in zip(costs, score, order):
        rising = scores[len(found)][by]
        inside = rising[0] <= wanted <= rising[-1]
        found.append(np.exp(np.interp(wanted, rising, np.log(own[by]))) if inside else np.nan)
    return np.array(found)


def relative(curve: Curve, base: Curve, at: int, seed: int) -> tuple[float, float, float]:
    """Return the cost at the score of ``base`` at a price, over the cost of ``base``, with its interval."""
    count = len(base.cost)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
    weights = np.vstack([np.full(count, 1 / count), drawn])
    ratio = cost_at(curve, weights @ base.score[:, at], weights) / (weights @ base.cost[:, at])
    low, high = np.nanquantile(ratio[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(ratio[0]), float(low), float(high)


def described(curve: Curve, at: int) -> str:
    cost, score = mean_error(curve.cost[:, at]), mean_error(curve.score[:, at])
    return f"{cost} dollars a session, score {score}, {curve.switches[:, at].mean():.2f} switches"


def mean_error(values: np.ndarray) -> str:
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


def draw(curves: dict[str, Curve], dots: dict[str, Curve], path: Path) -> None:
    figure = new_figure(8.0, 4.6)
    axis = figure.subplots()
    for name, curve in curves.items():
        axis.plot(curve.cost.mean(0), curve.score.mean(0), ".-", linewidth=1.2, label=plain(name))
    places = {name: (float(curve.cost.mean()), float(curve.score.mean())) for name, curve in dots.items()}
    axis.plot(*zip(*places.values()), "o", color="black", markersize=4, linestyle="none")
    log_scale(axis, "x", "{x:g}")
    axis.set(xlabel="dollars a session", ylabel="share of requests that succeed")
    axis.set_title("Synthetic agent sessions: each line is a policy, from a low to a high price of cost", fontsize=9)
    axis.legend(fontsize=8, loc="lower right")
    tidy(axis)
    figure.draw_without_rendering()
    write_names(figure, axis, places)
    finish(figure).savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=1.0, help="deviation of the scorer's error, in nats")
    parser.add_argument("--horizon", type=float, nargs="+", default=[2.0], help="several: one row for each")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    sessions = [draw_session(rng, arguments.noise) for _ in range(arguments.sessions)]
    policies = {"never switching": never, "following the scorer": follow}
    policies |= {"following it, other texts read": follow_other_texts}
    policies |= {"ours, without the price of a switch": ours("per_turn", np.inf)}
    for horizon in arguments.horizon:
        suffix = f" (horizon {horizon:g})" if len(arguments.horizon) > 1 else ""
        policies |= {f"ours, {mode}{suffix}": ours(mode, horizon) for mode in ("sticky_tools", "per_turn")}
    curves = {name: replay_all(sessions, policy) for name, policy in policies.items()}
    dots = {f"pinned to {one.name}": replay_all(sessions, pinned(at), PRICES[:1]) for at, one in enumerate(MODELS)}
    requests = sum(map(len, sessions)) / len(sessions)
    print(f"{len(sessions)} sessions of {requests:.1f} requests, seed {arguments.seed}, noise {arguments.noise:g}")
    for at in COMPARED:
        print(f"\nA dollar must gain {PRICES[at]:.3g} of score; cost at the score of never switching, over its cost:")
        for name, curve in curves.items():
            ratio, low, high = relative(curve, curves["never switching"], at, arguments.seed)
            print(f"  {name}: {described(curve, at)}; {ratio:.3f} [{low:.3f}, {high:.3f}]")
    print()
    for name, curve in dots.items():
        print(f"{name}: {described(curve, 0)}")
    if arguments.picture is not None:
        draw(curves, dots, arguments.picture)


if __name__ == "__main__":
    main()
