"""What an answer has delivered so far: what its cost is computed from."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.chat_request import JSON

# keys that lead to the model's text in completions, chunks, responses and their events
_TEXT_KEYS = frozenset(
    (
        *("choices", "message", "delta", "output"),
        *("content", "text", "refusal", "summary"),
        *("reasoning_content", "reasoning", "thinking"),
        *("tool_calls", "function_call", "function", "name", "arguments"),
    )
)


_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")

Coverage = Literal["prompt", "thoughts", "text", "all"]
"""What a usage counts: the prompt; its thoughts, too; all text so far, too; or the whole answer, whatever follows."""

ReportUsage = Callable[[object, Coverage], None]


@dataclass
class AnswerTally:
    """Counts an answer chunk by chunk.

    Attributes:
        usage: the last one that the provider reported; some report it with every chunk.
        characters: length of text, reasoning and tool calls.
        uncounted: of these, the characters that came after the last usage that counts text.
        choices: indices of the choices that have begun.
    """

    usage: TokenUsage | None = None
    characters: int = 0
    uncounted: float = 0
    choices: set[int] = field(default_factory=set)
    _reasoning: int = 0  # of ``uncounted``

    def add(self, part: JSON, usage: object, *, characters: bool) -> None:
        """Count a completion or chunk with the usage in it; ``characters``: whether to measure its text."""
        self.choices.update(_choice_indices(part))
        if characters:
            added = output_characters(part)
            self.characters += added
            self.uncounted += added
            self._reasoning += _reasoning_characters(part)
        if usage is not None:
            self.report(usage, "text")

    def report(self, usage: object, coverage: Coverage) -> None:
        """Keep a usage that the provider has reported, here or beside the chunks; ignore one in no known form."""
        parsed = TokenUsage.parse(usage)
        if parsed is None:
            return
        self.usage = parsed
        if coverage == "all":
            self.uncounted = -math.inf
        elif coverage == "thoughts":
            self.uncounted, self._reasoning = self.uncounted - self._reasoning, 0
        elif coverage == "text" and parsed.completion:
            self.uncounted, self._reasoning = min(self.uncounted, 0), 0


def _choice_indices(part: JSON) -> list[int]:
    choices = part.get("choices")
    given = choices if isinstance(choices, list) else []
    found = [(choice.get("index", at), at) for at, choice in enumerate(given) if isinstance(choice, dict)]
    return [index if isinstance(index, int) else at for index, at in found]


def output_characters(part: object) -> int:
    """Count the characters of text, reasoning and tool calls in a completion or chunk; skip any unknown form."""
    if isinstance(part, list):
        return sum(map(output_characters, part))
    if not isinstance(part, dict):
        return 0
    return sum(
        len(value) if isinstance(value, str) else output_characters(value)
        for key, value in part.items()
        if key in _TEXT_KEYS and not (key == "reasoning" and "reasoning_content" in part)  # the same text twice
    )


def _reasoning_characters(part: JSON) -> int:
    """Count the characters of reasoning in a chunk or completion of chat completions."""
    choices = part.get("choices")
    count = 0
    for choice in choices if isinstance(choices, list) else ():
        message = (choice.get("delta") or choice.get("message")) if isinstance(choice, dict) else None
        if isinstance(message, dict):
            text = next((message[name] for name in _REASONING_KEYS if message.get(name)), None)
            count += len(text) if isinstance(text, str) else 0
    return count
