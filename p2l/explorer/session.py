"""What the page does, without a browser: rank what was typed, and draw every part of the page from it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from p2l.data.prompt_encoder import Prompt, turns_of
from p2l.explorer.costs import Costs, costs_view
from p2l.explorer.prices import Prices
from p2l.explorer.views import comparison_view, leaderboard_view, message, pair_view
from p2l.html import Html, join, tag
from p2l.leaderboard import leaderboard_table
from p2l.models.predict import Predictor
from p2l.types import Ranking

TURN_BREAK = "---"
BEST, SECOND_BEST = -1, -2  # instead of the index of an LLM
_EMPTY = "Type a prompt."
_NOTHING = "Type a second prompt to see who moves up or down."


@dataclass(frozen=True, eq=False)
class RankedPrompt:
    """A prompt and its leaderboard.

    Attributes:
        prompt: what was ranked.
        num_tokens: that the network read.
        ranking: of the LLMs in the order of the checkpoint.
        table: the same as ``leaderboard_table``.
    """

    prompt: Prompt
    num_tokens: int
    ranking: Ranking
    table: pd.DataFrame

    def model(self, choice: int) -> int:
        """The index of an LLM, which may be given as ``BEST`` or ``SECOND_BEST``."""
        return choice if choice >= 0 else int(self.ranking.coefs.argsort(descending=True, stable=True)[-choice - 1])


class Controls(NamedTuple):
    """What is set on the page: ``top`` LLMs whose name has ``search``, the pair a and b (indices, ``BEST`` or
    ``SECOND_BEST``), and the budget as a share of the way from the cheapest LLM to the dearest, in percent."""

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
    """A predictor and a price list, asked from many threads.

    Raises ``ConfigError`` where the price list has none of the checkpoint's LLMs.
    """

    def __init__(self, predictor: Predictor, prices: Prices | None = None) -> None:
        self.predictor = predictor
        self.prices = prices
        self._lock = threading.Lock()
        if prices is not None:
            prices.costs(predictor.models, "")

    def rank(self, prompts: Sequence[Prompt | None]) -> tuple[RankedPrompt, ...]:
        """The leaderboards of the prompts that are not None."""
        typed = [prompt for prompt in prompts if prompt is not None]
        if not typed:
            return ()
        encoded = self.predictor.encode(typed)
        with self._lock:
            rankings = self.predictor.forward([encoded[i] for i in range(len(encoded))])
        etas = [None] * len(typed) if rankings.eta is None else list(rankings.eta)
        return tuple(
            self._ranked(prompt, int(length), Ranking(coefs, eta))
            for prompt, length, coefs, eta in zip(typed, encoded.lengths, rankings.coefs, etas)
        )

    def _ranked(self, prompt: Prompt, num_tokens: int, ranking: Ranking) -> RankedPrompt:
        table = leaderboard_table(self.predictor.models, ranking, self.predictor.family)
        return RankedPrompt(prompt, num_tokens, ranking, table)

    def status(self, ranked: Sequence[RankedPrompt]) -> Html:
        """How the prompts were read."""
        longest = self.predictor.encoder.format.max_length
        lines = [
            f"{_name(i, len(ranked))}: {_count(len(turns_of(one.prompt)), 'user turn')}, "
            f"{_count(one.num_tokens, 'token')}"
            + (", the most that are read: what comes before them is cut off." if one.num_tokens >= longest else ".")
            for i, one in enumerate(ranked)
        ]
        return join(tag("p.soft", line) for line in lines or [_EMPTY])

    def views(self, ranked: Sequence[RankedPrompt], controls: Controls) -> Views:
        """The parts of the page for one ranked prompt, for two, or for none."""
        if not ranked:
            return Views(*[Html()] * 4)
        tables = [one.table for one in ranked]
        heading = tag("h4", _name(0, len(ranked))) if len(ranked) > 1 else Html()
        return Views(
            join((heading, leaderboard_view(tables[0], controls.top, controls.search))),
            self._pair(ranked, controls),
            self._comparison(tables, controls),
            join((heading, self._costs(ranked[0], controls.budget))),
        )

    def _comparison(self, tables: Sequence[pd.DataFrame], controls: Controls) -> Html:
        if len(tables) < 2:
            return message(_NOTHING)
        return comparison_view(tables[0], tables[1], controls.top, controls.search)

    def _pair(self, ranked: Sequence[RankedPrompt], controls: Controls) -> Html:
        a, b = ranked[0].model(controls.a), ranked[0].model(controls.b)
        family, names = self.predictor.family, self.predictor.models
        probs = [
            family.log_probs(one.ranking.coefs[a], one.ranking.coefs[b], one.ranking.eta).exp().tolist()
            for one in ranked
        ]
        titles = [_name(i, len(ranked)) for i in range(len(ranked))]
        return pair_view((names[a], names[b]), family.outcomes, dict(zip(titles, probs, strict=True)))

    def _costs(self, ranked: RankedPrompt, budget: float) -> Html:
        if self.prices is None:
            return message("Prices are not given.")
        cost = self.prices.costs(self.predictor.models, ranked.prompt)
        costs = Costs.of(self.predictor.family, ranked.ranking, cost)
        return costs_view(self.predictor.models, costs, budget / 100)


def read_prompt(text: str | None, conversation: bool) -> Prompt | None:
    """The prompt that was typed; None for blanks.

    In a ``conversation`` a line of three dashes parts the turns of the user; empty turns are left out.
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
