"""What an answer has delivered so far: what its cost is computed from."""

from dataclasses import dataclass, field

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


@dataclass
class AnswerTally:
    """Counts an answer chunk by chunk.

    Attributes:
        usage: the last one that the provider reported; some report it with every chunk.
        characters: length of text, reasoning and tool calls.
        choices: indices of the choices that have begun.
    """

    usage: TokenUsage | None = None
    characters: int = 0
    choices: set[int] = field(default_factory=set)

    def add(self, part: JSON, usage: object, *, characters: bool) -> None:
        """Count a completion or chunk with the usage in it; ``characters``: whether to measure its text."""
        self.usage = TokenUsage.parse(usage) or self.usage
        self.choices.update(_choice_indices(part))
        if characters:
            self.characters += output_characters(part)

    @property
    def credible_usage(self) -> TokenUsage | None:
        """The usage, unless it denies an output that was delivered: some servers report zeros."""
        denies = self.usage is not None and not self.usage.completion and self.characters > 0
        return None if denies else self.usage


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
