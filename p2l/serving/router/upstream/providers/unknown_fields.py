"""Name the fields of a request, at every level, that a provider's translation does not carry."""

from collections.abc import Iterator, Mapping
from typing import Union

from p2l.serving.router.chat_request import JSON

Fields = Mapping[str, Union["Fields", None]]
"""The fields that a translation reads, and those in them; None: everything in it is carried."""

_HANDLED_BY_ROUTER: Fields = {"model": None, "messages": None, "stream": None, "stream_options": None, "n": None}
# values that ask for what happens without the field: dropping them changes no answer
_DEFAULTS: dict[str, tuple[object, ...]] = {
    "detail": ("auto",),
    "filename": ("document",),  # of a file that its sender did not name
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto",),
    "store": (False,),
    "strict": (False,),
    "tool_choice": ("auto", "none"),
    "top_logprobs": (0,),
    "type": ("function", "message"),
    "verbosity": ("medium",),
}


def unknown_fields(body: JSON, known: Fields) -> tuple[str, ...]:
    """Return the fields of the client that are set and not in ``known``, as ``messages.content.cache_control``."""
    return tuple(sorted(set(_unknown(body, {**_HANDLED_BY_ROUTER, **known}, ""))))


def _unknown(value: object, known: Fields, where: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _unknown(item, known, where)
    elif isinstance(value, dict):
        for name, inner in value.items():
            path = f"{where}{name}"
            if name not in known:
                if asks_for_something(name, inner):
                    yield path
            elif (fields := known[name]) is not None:
                yield from _unknown(inner, fields, f"{path}.")


def asks_for_something(name: str, value: object) -> bool:
    """Return whether the value of a field changes an answer."""
    empty = value is None or (isinstance(value, (str, list)) and not value)
    return not empty and not any(value == default for default in _DEFAULTS.get(name, ()))
