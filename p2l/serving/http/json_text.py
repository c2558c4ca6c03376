"""Read and write JSON: fast, and also what orjson lacks (integers beyond 64 bits, half characters)."""

import json
import re
from typing import Any

import orjson

from p2l.unicode_text import replace_surrogates

_LONG_INTEGER = re.compile(rb"(?:^|[\s:,\[])-?[0-9]{19}")  # orjson reads one beyond 64 bits as a float
_ZEROS_FOR_DIGITS = bytes.maketrans(b"123456789", b"000000000")


def load_json(data: bytes) -> Any:
    """Return the value of strict JSON, integers with all their digits; ValueError for anything else."""
    value = orjson.loads(data)
    if not has_long_integer(data):
        return value
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def has_long_integer(data: bytes) -> bool:
    """Return whether a JSON text may hold an integer beyond 64 bits; looks at digits alone first, ten times as fast."""
    return b"0" * 19 in data.translate(_ZEROS_FOR_DIGITS) and _LONG_INTEGER.search(data) is not None


def dump_json(value: Any) -> bytes:
    """Return strict JSON; NumPy arrays become lists, NaN and infinities null, half characters U+FFFD.

    Raises TypeError or ValueError for what JSON cannot hold, or what is nested too deeply.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        return replace_surrogates(_dump_slowly(value)).encode()


def _dump_slowly(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
