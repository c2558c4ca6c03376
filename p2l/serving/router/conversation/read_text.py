"""Read the text that models are chosen by: some turns of the user, without what a harness wrote, up to a bound."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from p2l.serving.router.config.harness_rules import HarnessRule
from p2l.serving.router.config.text_config import TextConfig
from p2l.serving.router.token_estimates import BYTES_PER_TOKEN

_BEGINNING = 200  # characters of a turn that a pattern sees, so that none takes long on a long text
EARLIER_TURNS, OVER_LIMIT = "earlier_turns", "over_limit"

Instead = Literal["earlier_turn", "whole_turns"]


@dataclass(frozen=True)
class ReadText:
    """What was read of a request.

    Attributes:
        turns: the prompt that is scored.
        left_out: characters that were not, by the rule that left them out.
        instead: what is read because the rules leave nothing of what is to be read: ``earlier_turn``, the last turn of
            which they leave something; ``whole_turns``, as they came, if there is no such turn. None: neither.
    """

    turns: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    instead: Instead | None = None

    @property
    def characters(self) -> int:
        return sum(map(len, self.turns))


class _Span(NamedTuple):
    """Part of a text, and the rule that leaves it out."""

    start: int
    end: int
    rule: str


class _Pair(NamedTuple):
    """Where a tag begins and ends, and where the tag that closes it does."""

    start: int
    first: int
    last: int
    end: int


class HarnessText:
    """Removes what harnesses wrote, in one pass over the text, whatever it holds."""

    def __init__(self, rules: Mapping[str, HarnessRule]) -> None:
        self._rules = rules
        self._removed = {name for rule in rules.values() for name in rule.remove}
        names = sorted(self._removed.union(*(rule.keep for rule in rules.values())))
        self._tag = re.compile(f"<(/?)({'|'.join(map(re.escape, names))})(?:\\s[^<>]*)?>") if names else None

    def remove(self, text: str, left_out: Counter[str]) -> str:
        """Return the user's part of a turn, "" if there is none; count the characters of the rest by rule."""
        spans = sorted(self._spans(text))
        if not spans:
            return text
        pieces, at = [], 0
        for start, end, rule in spans:
            if end > at:
                pieces.append(text[at : max(start, at)].strip())
                left_out[rule] += end - max(start, at)
                at = end
        pieces.append(text[at:].strip())
        return "\n".join(piece for piece in pieces if piece)

    def _spans(self, text: str) -> Iterator[_Span]:
        """Yield the parts of a turn that are not the user's."""
        inside = self._inside(text)
        beginning = text[: 2 * _BEGINNING].lstrip()[:_BEGINNING]
        for name, rule in self._rules.items():
            found = [_Span(pair.start, pair.end, name) for tag in rule.remove for pair in inside.get(tag, ())]
            is_dropped = any(pattern.match(beginning) for pattern in rule.patterns)
            kept = _merged((pair.first, pair.last) for tag in rule.keep for pair in inside.get(tag, ()))
            if kept and (found or is_dropped):
                edges = [0, *(edge for pair in kept for edge in pair), len(text)]
                yield from (_Span(start, end, name) for start, end in zip(edges[::2], edges[1::2]))
            elif is_dropped:
                yield _Span(0, len(text), name)
            yield from found

    def _inside(self, text: str) -> dict[str, list[_Pair]]:
        """Return the pairs of each tag. A tag that is never closed has none, so the text behind it stays.

        What stands in a pair that is removed is the harness's text, whatever tags it names.
        """
        opening: list[tuple[int, int, str]] = []
        closing: dict[str, list[tuple[int, int]]] = {}
        for match in self._tag.finditer(text) if self._tag is not None else ():
            closes, name = match.groups()
            if closes:
                closing.setdefault(name, []).append(match.span())
            else:
                opening.append((*match.span(), name))
        at_line = {name: [span for span in spans if _begins_line(text, span[0])] for name, spans in closing.items()}
        pairs: dict[str, list[_Pair]] = {}
        gone = kept = 0  # where the last pair ends
        for start, first, name in opening:
            if name not in closing or start < (gone if name in self._removed else max(gone, kept)):
                continue
            if (close := _close(text, first, closing[name], at_line[name])) is not None:
                pairs.setdefault(name, []).append(_Pair(start, first, *close))
                gone, kept = (close[1], kept) if name in self._removed else (gone, close[1])
        return pairs


def _close(
    text: str, first: int, closing: list[tuple[int, int]], at_line: list[tuple[int, int]]
) -> tuple[int, int] | None:
    """Return the tag that closes one whose content begins at ``first``.

    A tag that ends its line is closed by one that begins a line, so that the text may name both; else by the next.
    """
    ends_line = text[first : first + 1] in ("\n", "\r")
    return (_next(at_line, first) if ends_line else None) or _next(closing, first)


def _begins_line(text: str, place: int) -> bool:
    return text[place - 1 : place] == "\n"


def _next(spans: list[tuple[int, int]], place: int) -> tuple[int, int] | None:
    at = bisect_left(spans, (place, 0))
    return spans[at] if at < len(spans) else None


def _merged(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the union of intervals, in order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def read_text(config: TextConfig, turns: Sequence[str]) -> ReadText:
    """Return what is read of the user's turns; of no turns, none."""
    if not turns:
        return ReadText(())
    left_out: Counter[str] = Counter()
    harness = _harness_text(config)
    if config.turns == "last":
        kept, instead = _last_turn(turns, harness, left_out)
    else:
        kept = tuple(filter(None, (harness.remove(turn, left_out) for turn in turns))) if harness else tuple(turns)
        instead = None
    if not kept:
        left_out.clear()
        kept, instead = (turns[-1:] if config.turns == "last" else turns), "whole_turns"
    if config.max_tokens is not None:
        kept = last_characters(kept, config.max_tokens * BYTES_PER_TOKEN, left_out)
    return ReadText(tuple(kept), dict(+left_out), instead)


def says_something(config: TextConfig, turns: Sequence[str]) -> bool:
    """Return whether the rules leave something of these turns."""
    harness = _harness_text(config)
    return any(turn if harness is None else harness.remove(turn, Counter()) for turn in turns)


def _last_turn(
    turns: Sequence[str], harness: HarnessText | None, left_out: Counter[str]
) -> tuple[Sequence[str], Instead | None]:
    """Return the last turn of which the rules leave something; no turn if there is none."""
    for at in range(len(turns) - 1, -1, -1):
        if text := turns[at] if harness is None else harness.remove(turns[at], left_out):
            left_out[EARLIER_TURNS] += sum(map(len, turns[:at]))
            return (text,), None if at == len(turns) - 1 else "earlier_turn"
    return (), None


def last_characters(turns: Sequence[str], room: int, left_out: Counter[str]) -> Sequence[str]:
    """Return the last characters of a conversation, and count the others."""
    kept: list[str] = []
    for turn in reversed(turns):
        if room <= 0:
            break
        kept.append(turn[-room:])
        room -= len(turn)
    if over := sum(map(len, turns)) - sum(map(len, kept)):
        left_out[OVER_LIMIT] += over
    return kept[::-1]


def _harness_text(config: TextConfig) -> HarnessText | None:
    return _made(tuple(config.active_rules.items())) if config.active_rules else None


@lru_cache(maxsize=8)
def _made(rules: tuple[tuple[str, HarnessRule], ...]) -> HarnessText:
    return HarnessText(dict(rules))
