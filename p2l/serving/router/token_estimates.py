"""Estimates of token counts, without a tokenizer."""

from collections.abc import Mapping
from typing import Any

BYTES_PER_TOKEN = 4
TOKENS_PER_IMAGE = 1000

_IMAGE_PARTS = ("image_url", "input_image")


def estimate_prompt_tokens(as_chat: Mapping[str, Any]) -> int:
    """Estimate the tokens of a prompt from below: four bytes of text each, and a thousand for an image."""
    size, images = 0, 0
    for message in as_chat["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            size += len(content)  # characters: never more than bytes
        elif content:
            size += sum(len(part["text"]) for part in content if isinstance(part.get("text"), str))
            images += sum(part["type"] in _IMAGE_PARTS for part in content)
    return size // BYTES_PER_TOKEN + images * TOKENS_PER_IMAGE


def estimate_input_tokens(given: object) -> int:
    """Estimate the tokens of an input of embeddings: text, tokens, or a list of either."""
    if isinstance(given, str):
        return len(given) // BYTES_PER_TOKEN
    if not isinstance(given, list):
        return 0
    return sum(1 if isinstance(one, int) else estimate_input_tokens(one) for one in given)


def max_output_tokens(as_chat: Mapping[str, Any]) -> int | None:
    """Return the client's limit on the tokens of each choice; None without a limit."""
    tokens = as_chat.get("max_completion_tokens") or as_chat.get("max_tokens")
    return tokens if isinstance(tokens, int) else None


def num_choices(as_chat: Mapping[str, Any]) -> int:
    """Return how many choices the client asks for; each is an answer of its own, and is charged as one."""
    return as_chat.get("n") or 1
