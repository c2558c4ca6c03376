"""Recognise encodings, and replace halves of surrogate pairs, which JSON and some chats hold and UTF-8 does not."""

import json
import re
from collections.abc import Callable
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def encoding_of(start: bytes) -> str:
    """Return the encoding of a text by its first bytes, which begin with ASCII characters or a byte order mark.

    UTF-8 is "utf-8-sig", which reads both. UTF-16 and UTF-32 without a mark are known by the zeros beside ASCII.
    """
    encoding = json.detect_encoding(start)
    return "utf-8-sig" if encoding == "utf-8" else encoding


def replace_surrogates(text: str) -> str:
    """Return the text with the halves of a pair joined, and U+FFFD in place of those without another half."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_surrogates(value: Any) -> Any:
    """Return a value of strings, lists and dicts with ``replace_surrogates`` applied to all its texts."""
    return map_texts(value, replace_surrogates)


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return the value with all its texts changed, the names of fields too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [map_texts(one, change) for one in value]
    if isinstance(value, dict):
        return {change(name): map_texts(one, change) for name, one in value.items()}
    return value
