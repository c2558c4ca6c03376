"""The logic of the page, without a browser: rank the prompts, and draw each part of the page."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from p2l.data.prompt_encoder import Prompt, turns_of
from p2l.explorer.costs import Costs, costs_view
from p2l.explorer.prices import Prices
from p2l.explorer.views import LEVEL, comparison_view, leaderboard_view, message, pair_view
from p2l.html import Html, join, tag
from p2l.models.predictor import Predictor
from p2l.ranking import Leaderboard
from p2l.ranking.leaderboard_intervals import change_intervals, outcome_intervals
from p2l.ranking.leaderboard_table import members_of
from p2l.types import Ranking

TURN_BREAK = "---"
BEST, SECOND_BEST = -1, -2  # used as the index of an LLM
_EMPTY = "Type a prompt."
_NOTHING = "Type a second prompt to see which LLMs move up or down."


@dataclass(frozen=True, eq=False)
class RankedPrompt:
    """A prompt and its leaderboard.

    Attributes:
        prompt: the prompt.
        num_tokens: tokens that the network read.
        ranking: coefs of the LLMs in the order of the checkpoint.
        table: that of the ranking, with intervals if the checkpoint has a posterior.
        order: indices of the LLMs in the rows of the table.
    """

    prompt: Prompt
    num_tokens: int
    ranking: Ranking
    table: pd.DataFrame
    order: tuple[int, ...]

    def model(self, choice: int) -> int:
        """Return the index of an LLM, given by index, ``BEST`` or ``SECOND_BEST``: the first rows of the table."""
        return choice if choice >= 0 else self.order[-choice - 1]


class Controls(NamedTuple):
    """Settings of the page: show ``top`` LLMs whose name contains ``search``; compare a and b (indices, ``BEST`` or
    ``SECOND_BEST``); the budget is in percent of the cost axis, from the cheapest LLM to the most expensive."""

    top: int = 10
    search: str = ""
    a: int = BEST
    b: int = SECOND_BEST
    budget: float = 50.0


class Views(NamedTuple):
    """The parts of the page."""

    leaderboard: Html
    pair: Html
    comparison: Html
    costs: Html


class Explorer:
    """A predictor and a price list, safe to use from many threads.

    Raises ``ConfigError`` if the price list has none of the checkpoint's LLMs.
    """

    def __init__(self, predictor: Predictor, prices: Prices | None = None) -> None:
        self.predictor = predictor
        self.prices = prices
        self._lock = threading.Lock()
        if prices is not None:
            prices.costs(predictor.models, "")

    def rank(self, prompts: Sequence[Prompt | None]) -> tuple[RankedPrompt, ...]:
        """Return the leaderboards of the prompts that are not None."""
        typed = [prompt for prompt in prompts if prompt is not None]
        if not typed:
            return ()
        encoded = self.predictor.encode(typed)
        with self._lock:
            rankings = self.predictor.forward([encoded[i] for i in range(len(encoded))])
        each = (rankings.map(lambda x: x[i]) for i in range(len(typed)))  # noqa: B023
        return tuple(
            self._ranked(prompt, int(length), ranking)
            for prompt, length, ranking in zip(typed, encoded.lengths, each, strict=True)
        )

    def _ranked(self, prompt: Prompt, num_tokens: int, ranking: Ranking) -> RankedPrompt:
        own = self.predictor
        board = Leaderboard(own.models, ranking, own.family, groups=own.groups, posterior=own.posterior)
        table = board.table(level=LEVEL)
        place = {name: i for i, name in enumerate(self.predictor.models)}
        return RankedPrompt(prompt, num_tokens, ranking, table, tuple(place[name] for name in table["model"]))

    def status(self, ranked: Sequence[RankedPrompt]) -> Html:
        """Return the numbers of turns and tokens of the prompts."""
        longest = self.predictor.encoder.format.max_length
        lines = [
            f"{_name(i, len(ranked))}: {_count(len(turns_of(one.prompt)), 'user turn')}, "
            f"{_count(one.num_tokens, 'token')}"
            + (", the maximum: earlier tokens are cut off." if one.num_tokens >= longest else ".")
            for i, one in enumerate(ranked)
        ]
        return join(tag("p.soft", line) for line in lines or [_EMPTY])

    def views(self, ranked: Sequence[RankedPrompt], controls: Controls) -> Views:
        """Return the parts of the page for one ranked prompt, for two, or for none."""
        if not ranked:
            return Views(*[Html()] * 4)
        tables = [one.table for one in ranked]
        heading = tag("h4", _name(0, len(ranked))) if len(ranked) > 1 else Html()
        return Views(
            join((heading, leaderboard_view(tables[0], controls.top, controls.search))),
            self._pair(ranked, controls),
            self._comparison(ranked, controls),
            join((heading, self._costs(ranked[0], controls.budget))),
        )

    def _comparison(self, ranked: Sequence[RankedPrompt], controls: Controls) -> Html:
        if len(ranked) < 2:
            return message(_NOTHING)
        first, second, own = *ranked, self.predictor
        ends = None
        if own.posterior is not None:
            rankings = (first.ranking, second.ranking)
            ends = change_intervals(own.models, rankings, own.posterior, LEVEL, own.groups)
        return comparison_view(first.table, second.table, controls.top, controls.search, ends)

    def _pair(self, ranked: Sequence[RankedPrompt], controls: Controls) -> Html:
        family, names = self.predictor.family, self.predictor.models
        a, b = ranked[0].model(controls.a), ranked[0].model(controls.b)
        if self.predictor.groups and len(members_of([names[a], names[b]], self.predictor.groups)) > 1:
            return message(f"{names[a]} and {names[b]} are of groups that were never compared.")
        probs = [
            family.log_probs(one.ranking.coefs[a], one.ranking.coefs[b], one.ranking.eta).exp().tolist()
            for one in ranked
        ]
        titles = [_name(i, len(ranked)) for i in range(len(ranked))]
        posterior = self.predictor.posterior
        ends = [
            outcome_intervals(one.ranking, family, posterior, a, b, LEVEL) for one in ranked if posterior is not None
        ]
        return pair_view((names[a], names[b]), family.outcomes, dict(zip(titles, probs, strict=True)), ends)

    def _costs(self, ranked: RankedPrompt, budget: float) -> Html:
        if self.prices is None:
            return message("No prices are given.")
        cost = self.prices.costs(self.predictor.models, ranked.prompt)
        costs = Costs.of(self.predictor.family, ranked.ranking, cost)
        return costs_view(self.predictor.models, costs, budget / 100)


def read_prompt(text: str | None, conversation: bool) -> Prompt | None:
    """Parse the typed text; return None if it is blank.

    In a ``conversation``, a line of three dashes separates the turns of the user; empty turns are dropped.
    """
    if not text or not text.strip():
        return None
    if not conversation:
        return text
    turns: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip() == TURN_BREAK:
            turns.append([])
        else:
            turns[-1].append(line)
    kept = [turn for turn in ("\n".join(lines).strip() for lines in turns) if turn]
    return kept or None


def _name(i: int, count: int) -> str:
    return "The prompt" if count == 1 else ("First prompt", "Second prompt")[i]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
