"""Read which parameters a provider refuses, and take them out of a request.

The router chose the model, so a parameter that only some models take is not the client's error.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.thoughts import THINKING_BLOCKS
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError

# hints and sampling: an answer without them is an answer to the same question
_OPTIONAL = frozenset(
    (
        *("temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty", "logit_bias"),
        *("reasoning_effort", "verbosity", "service_tier", "prompt_cache_key", "prompt_cache_retention"),
        *("safety_identifier", "parallel_tool_calls", "disable_parallel_tool_use", "prediction", "store", "metadata"),
        *("thinking", "thinking_config", "effort", "reasoning", "cache_control", "strict", "user", "stream_options"),
        *("thinking_blocks", "reasoning_content", "extra_content", "safety_settings", "response_modalities"),
    )
)
# common words: they count as names only if the error says that a field is not known
_COMMON_WORDS = frozenset(("user", "store", "metadata", "strict", "reasoning", "effort", "seed", "prediction"))
_NOT_KNOWN = re.compile(r"unknown|unsupported|unrecognized|unexpected|not (?:permitted|supported|allowed)", re.I)
_ALIASES = {
    "budget_tokens": "thinking",
    "signature": "thinking",
    "redacted_thinking": "thinking",
    "thinking_budget": "thinking_config",
    "thinking_level": "thinking_config",
    "include_thoughts": "thinking_config",
}
_CONVERSATION = frozenset(
    ("messages", "message", "system", "contents", "content", "system_instruction", "input", "text")
)
# `name`, 'a.b', "a[0].b"; or a path before a colon; or a word with an underscore or an inner capital
_NAMED = re.compile(
    r"""[`'"]([A-Za-z_][\w.\[\]]*)[`'"]|(?:^|[\s(;])([a-z]\w*(?:[.\[]\w+\]?)*)\s?:|\b([a-z]+(?:_[a-z]+|[A-Z][a-z]+)+)\b"""
)
_THINKING = re.compile(r"\bthinking\b", re.IGNORECASE)
_SCHEMAS = frozenset(("parameters", "input_schema", "parametersJsonSchema", "responseJsonSchema", "schema"))
_OPAQUE = _SCHEMAS | {"args", "input", "arguments", "response"}  # the client's own words
_RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_LIMITS = ("max_tokens", "max_completion_tokens")


def fit_to_refusal(model: ModelConfig, request: UpstreamRequest, body: JSON, error: UpstreamError) -> UpstreamRequest:
    """Return the request without the optional parameters that the error names.

    Args:
        model: that refused the request.
        request: as it was sent.
        body: as the client sent it.
        error: the refusal.

    Raises UpstreamError: as it is if the conversation is refused, or one that the next model may not repeat.
    """
    text = error.detail or error.message
    refused = _refused(request.body, text) if error.client_fault else frozenset()
    if not refused:
        raise error
    renamed = {name for name in refused & _RENAMED.keys() if _has_another_name(name, request.body, text)}
    gone = refused - renamed
    if not gone <= _OPTIONAL:
        raise _unsuitable(model, body, gone - _OPTIONAL, error)
    sent: JSON = _stripped(request.body, gone)
    for name in renamed:
        sent[_RENAMED[name]] = sent.pop(name)
    return replace(request, body=sent, dropped=tuple(sorted({*request.dropped, *gone})))


def _has_another_name(name: str, sent: JSON, message: str) -> bool:
    """Return whether a limit is refused for its name: OpenAI tells the newer one, other servers know only the older."""
    other = _RENAMED[name]
    if name == "max_tokens":
        return other in message
    return other not in sent and _NOT_KNOWN.search(message) is not None


def refused_again(model: ModelConfig, request: UpstreamRequest, body: JSON, error: UpstreamError) -> UpstreamError:
    """Return the error of a second refusal: about parameters, the next model may not repeat it."""
    refused = _refused(request.body, error.detail or error.message) if error.client_fault else frozenset()
    return _unsuitable(model, body, refused, error) if refused else error


def _unsuitable(model: ModelConfig, body: JSON, refused: frozenset[str], error: UpstreamError) -> UpstreamError:
    own = refused & (model.extra_fields or {}).keys() - body.keys()
    limited = any(body.get(name) is not None for name in (*_LIMITS, "max_output_tokens"))
    if own or (refused.intersection(_LIMITS) and not limited):
        names = ", ".join(sorted(refused))
        return UpstreamError(
            error.reason, f"the model refused what the router sets: {names}", retryable=False, model_fault=False
        )
    return UpstreamError(
        error.reason, error.message, status=error.status, retryable=False, model_fault=False, code=error.code
    )


def _refused(sent: JSON, message: str) -> frozenset[str]:
    """Return the parameters in a body, in snake case, that a message names; empty if it is about the conversation."""
    named = {_ALIASES.get(name, name) for name in _names(message)}
    if not _NOT_KNOWN.search(message):
        named -= _COMMON_WORDS
    if _THINKING.search(message):
        named |= {"thinking", "thinking_config"}
    found = named & set(_keys(sent)) - {"model"}
    if optional := found & _OPTIONAL:
        return frozenset(optional)
    return frozenset() if found & _CONVERSATION else frozenset(found)


def _names(message: str) -> Iterator[str]:
    for groups in _NAMED.findall(message):
        yield from _parts("".join(groups))


def _parts(path: str) -> list[str]:
    return [_snake(part) for part in re.findall(r"[A-Za-z_]\w*", path)]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _keys(value: Any) -> Iterator[str]:
    """Yield the keys of a body, in snake case."""
    if isinstance(value, list):
        for item in value:
            yield from _keys(item)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield _snake(name)
            if name not in _OPAQUE:
                yield from _keys(inner)


def _stripped(value: Any, gone: frozenset[str]) -> Any:
    if isinstance(value, list):
        kept = [item for item in value if not ("thinking" in gone and _is_thought(item))]
        return [_stripped(item, gone) for item in kept]
    if not isinstance(value, dict):
        return value
    return {
        name: inner if name in _OPAQUE else _stripped(inner, gone)
        for name, inner in value.items()
        if _snake(name) not in gone
    }


def _is_thought(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") in THINKING_BLOCKS
