"""Any other provider, through the library LiteLLM (``pip install litellm``); imported when a model needs it."""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

from p2l.serving.http.api_error import invalid
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.chat_request import JSON, Thoughts
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.token_estimates import max_output_tokens, num_choices
from p2l.serving.router.upstream.chat_answer import ChatStream, check_completion, cut_off
from p2l.serving.router.upstream.providers.openai_chat import with_signatures, with_system
from p2l.serving.router.upstream.providers.openai_messages import (
    arguments_of,
    first_set,
    json_value,
    merge_tools,
    without_none,
)
from p2l.serving.router.upstream.providers.unknown_fields import unknown_fields
from p2l.serving.router.upstream.split_characters import SplitCharacters
from p2l.serving.router.upstream.thoughts import THINKING_BLOCKS, ThoughtNumbers, call_ids
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError
from p2l.unicode_text import without_surrogates

# the only fields that a client may set: LiteLLM's arguments also select hosts, keys and models
_ALLOWED = (
    *("messages", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"),
    *("temperature", "top_p", "n", "stop", "max_tokens", "max_completion_tokens", "seed", "user"),
    *("presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs"),
    *("reasoning_effort", "thinking", "verbosity", "modalities", "audio", "prediction", "web_search_options"),
    *("service_tier", "prompt_cache_key", "safety_identifier", "store"),
)
# LiteLLM drops these itself (``drop_params``) if the provider does not take them
_FINISH_REASONS = ("received_finish_reason", "intermittent_finish_reason", "received_any_finish_reason")
_OPTIONAL = frozenset(_ALLOWED) - {"messages", "n", "tools", "max_tokens", "max_completion_tokens", "response_format"}


def build_request(
    model: ModelConfig, body: JSON, stream: bool, want_usage: bool, thoughts: Thoughts | None = None
) -> UpstreamRequest:
    """Return a request whose body is the arguments of ``litellm.acompletion``; LiteLLM knows the URL.

    Raises ApiError 400 for what LiteLLM would leave out although the answer depends on it, and for a stream of several
    choices: LiteLLM passes on the first alone.
    """
    if stream and num_choices(body) > 1:
        raise invalid("LiteLLM does not support n > 1 in a stream; ask for one choice, or without a stream", "n")
    taken = _taken_fields(model)
    if taken is not None and (lacking := [name for name in _needs(body) if name not in taken]):
        raise invalid(f"LiteLLM does not send {', '.join(lacking)} to this model", lacking[0], "unsupported")
    out = arguments(model, body)
    out["messages"] = _with_thoughts(
        with_signatures(out["messages"], model.name, thoughts or {}), model, thoughts or {}
    )
    if stream:
        out |= {"stream": True, "stream_options": {"include_usage": True}}
    return UpstreamRequest("", {}, out, dropped_fields(model, body))


def arguments(model: ModelConfig, body: JSON) -> JSON:
    """Return the arguments of ``litellm.acompletion``, without its time limit and stream."""
    extra = model.extra_fields or {}
    sent = {name: body[name] for name in _ALLOWED if body.get(name) is not None}
    sent["messages"] = [_with_json_arguments(message) for message in with_system(model, body["messages"])]
    if isinstance(extra.get("tools"), list) and body.get("tools"):
        sent["tools"] = merge_tools(extra["tools"], body["tools"])
    sent.pop("max_completion_tokens", None)
    defaults = {
        "temperature": first_set(body.get("temperature"), model.temp),
        "top_p": first_set(body.get("top_p"), model.top_p),
        # LiteLLM gives this name's value to each provider under the provider's own name, and drops the newer name
        "max_tokens": first_set(max_output_tokens(body), model.max_tokens),
    }
    fixed = {
        "model": model.name,
        "api_key": model.key,
        "base_url": model.base_url,
        "num_retries": 0,
        "drop_params": True,
    }
    return without_none({**extra, **sent, **defaults, **fixed})


def dropped_fields(model: ModelConfig, body: JSON) -> tuple[str, ...]:
    """Return the client's fields that do not reach the provider: unknown to this translation, or to LiteLLM for it."""
    names, taken = set(unknown_fields(body, dict.fromkeys(_ALLOWED))), _taken_fields(model)
    if taken is not None:
        names |= set(unknown_fields({n: v for n, v in body.items() if n in _OPTIONAL}, dict.fromkeys(taken)))
    return tuple(sorted(names))


def _taken_fields(model: ModelConfig) -> list[str] | None:
    """Return the fields that LiteLLM sends to this model, the others it drops; None if it does not know the name."""
    import litellm

    try:
        taken: list[str] | None = litellm.get_supported_openai_params(model=model.name)
    except Exception:  # its call reports it
        return None
    return taken


def _needs(body: JSON) -> Iterator[str]:
    """Yield the fields without which the answer would be to another question."""
    yield from (name for name in ("tools", "functions", "logprobs") if body.get(name))
    if (body.get("response_format") or {}).get("type") in ("json_schema", "json_object"):
        yield "response_format"
    if num_choices(body) > 1:
        yield "n"
    if body.get("web_search_options") is not None:
        yield "web_search_options"
    if any(kind != "text" for kind in body.get("modalities") or ()):
        yield "modalities"


def _with_json_arguments(message: JSON) -> JSON:
    """Return the message with arguments that are JSON objects: LiteLLM parses them for some providers."""
    calls = message.get("tool_calls")
    if not calls or all(_is_object(call) for call in calls):
        return message
    return {**message, "tool_calls": [call if _is_object(call) else _wrapped(call) for call in calls]}


def _is_object(call: JSON) -> bool:
    given = (call.get("function") or {}).get("arguments")
    return not given or (isinstance(given, str) and isinstance(json_value(given), dict))


def _wrapped(call: JSON) -> JSON:
    arguments = dump_json(arguments_of(call)[1]).decode()
    return {**call, "function": {**call["function"], "arguments": arguments}}


def _with_thoughts(messages: list[JSON], model: ModelConfig, thoughts: Thoughts) -> list[JSON]:
    """Put the signed thoughts back that a client has lost; LiteLLM sends them before the text of a message."""
    return [_with_thought(message, model, thoughts) for message in messages] if thoughts else messages


def _with_thought(message: JSON, model: ModelConfig, thoughts: Thoughts) -> JSON:
    thought = thoughts.get(next(call_ids([message]), ""))
    if thought is None or thought.model != model.name or message.get("thinking_blocks"):
        return message
    blocks = [block for block in thought.content.get("layout") or () if block["type"] in THINKING_BLOCKS]
    return {**message, "thinking_blocks": blocks} if blocks else message


async def complete(request: UpstreamRequest, timeout: float) -> JSON:
    """Return a chat completion."""
    answer = await _call({**request.body, "timeout": timeout})
    completion: JSON = without_surrogates(answer.model_dump())
    if not (completion.get("usage") or {}).get("total_tokens"):  # LiteLLM writes zeros if the provider reports none
        completion.pop("usage", None)
    return check_completion(completion)


async def stream(request: UpstreamRequest, timeout: float) -> AsyncGenerator[JSON, None]:
    """Yield the chunks of a chat completion, its usage last."""
    chunks = await _call({**request.body, "timeout": timeout})
    choices, characters, thoughts = ChatStream(), SplitCharacters(), ThoughtNumbers()
    try:
        async for chunk in chunks:
            yield characters.join(choices.check(thoughts.number(_as_sent(chunk.model_dump(), chunks))))
    except UpstreamError:
        raise
    except Exception as error:
        raise _upstream_error(error) from None
    choices.finish(saw_done=False, num_choices=request.num_choices)


def _as_sent(chunk: JSON, stream: Any) -> JSON:
    """Return a chunk without what LiteLLM makes up at the end of a stream: a "stop", and a usage that it estimates.

    Raises UpstreamError if the provider gave no finish reason, so that the stream was cut off.
    """
    if any(choice.get("finish_reason") for choice in chunk.get("choices") or ()):
        given = [getattr(stream, name) for name in _FINISH_REASONS if hasattr(stream, name)]
        if given and not any(given):
            raise cut_off()
    if chunk.get("usage") and not any(getattr(sent, "usage", None) for sent in getattr(stream, "chunks", (True,))):
        del chunk["usage"]
    return chunk


async def _call(options: JSON) -> Any:
    import litellm

    try:
        return await litellm.acompletion(**options)
    except Exception as error:
        raise _upstream_error(error) from None


def _upstream_error(error: Exception) -> UpstreamError:
    """Return the error by the status of LiteLLM's exception; its text may hold a key, so no client sees it."""
    status = getattr(error, "status_code", None)
    if status in (400, 413, 422):
        shown = "the model refused the request"
        return UpstreamError("refused", shown, status=400, client_fault=True, detail=str(error))
    return UpstreamError(f"http_{status}", "the model failed", retryable=status not in (401, 403, 404))
