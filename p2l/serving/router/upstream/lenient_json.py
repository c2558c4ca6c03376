"""Read the JSON of upstreams as leniently as Python's ``json``, which official clients use; orjson is strict."""

import json
import math
from typing import Any

import orjson

from p2l.serving.http.json_text import has_long_integer


def loads(data: bytes) -> tuple[Any, bool]:
    """Return the value, and whether it is as orjson reads and writes it; ValueError if it is not JSON at all.

    In a value that is not, NaN and infinities are None, integers may be longer than 64 bits, and bytes that are not
    UTF-8 are U+FFFD. Its texts may contain lone surrogates, which ``p2l.unicode_text`` replaces.
    """
    if not has_long_integer(data):
        try:
            return orjson.loads(data), True
        except orjson.JSONDecodeError:
            pass
    text = data.decode("utf-8-sig", "replace")
    try:
        return json.loads(text, parse_float=_finite, parse_constant=lambda _: None, strict=False), False
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
