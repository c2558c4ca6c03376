"""How much an answer says, which it is billed by where its usage is missing."""

# where the model's own words stand, in chat completions, their chunks, responses and their events
_PLACES = frozenset(
    (
        *("choices", "message", "delta", "output"),
        *("content", "text", "refusal", "summary"),
        *("reasoning_content", "reasoning", "thinking"),
        *("tool_calls", "function_call", "function", "name", "arguments"),
    )
)


def characters(answer: object) -> int:
    """Characters of text, thoughts and calls in an answer or a chunk of one; whatever its form, it is no error."""
    if isinstance(answer, list):
        return sum(map(characters, answer))
    if not isinstance(answer, dict):
        return 0
    return sum(
        len(value) if isinstance(value, str) else characters(value)
        for place, value in answer.items()
        if place in _PLACES and not (place == "reasoning" and "reasoning_content" in answer)  # the same twice
    )
