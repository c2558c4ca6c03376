"""Any other provider, through the library LiteLLM (``pip install litellm``); imported when a model needs it."""

from collections.abc import AsyncIterator
from typing import Any

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers.openai_chat import with_system
from p2l.serving.router.upstream.providers.openai_messages import first_set, without_none
from p2l.serving.router.upstream_error import UpstreamError

# the only fields that a client may set: LiteLLM's arguments also select hosts, keys and models
_ALLOWED = [
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "temperature",
    "top_p",
    "n",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "user",
    "reasoning_effort",
    "modalities",
    "audio",
    "prediction",
]


def arguments(model: ModelConfig, body: JSON) -> JSON:
    """Return the arguments of ``litellm.acompletion``."""
    sent = {name: body[name] for name in _ALLOWED if body.get(name) is not None}
    sent["messages"] = with_system(model, body["messages"])
    limit = first_set(body.get("max_completion_tokens"), body.get("max_tokens"))
    defaults = {
        "temperature": first_set(body.get("temperature"), model.temp),
        "top_p": first_set(body.get("top_p"), model.top_p),
        "max_tokens": model.max_tokens if limit is None else body.get("max_tokens"),
    }
    fixed = {
        "model": model.name,
        "api_key": model.key,
        "base_url": model.base_url,
        "num_retries": 0,
        "drop_params": True,
    }
    return without_none({**(model.extra_fields or {}), **sent, **defaults, **fixed})


async def complete(model: ModelConfig, body: JSON, timeout: float) -> JSON:
    """Return a chat completion."""
    answer = await _call({**arguments(model, body), "timeout": timeout})
    payload: JSON = answer.model_dump()
    return payload


async def stream(model: ModelConfig, body: JSON, timeout: float) -> AsyncIterator[JSON]:
    """Yield the chunks of a chat completion, its usage last."""
    options = {"stream": True, "stream_options": {"include_usage": True}, "timeout": timeout}
    chunks = await _call({**arguments(model, body), **options})
    try:
        async for chunk in chunks:
            yield chunk.model_dump()
    except Exception as error:
        raise _upstream_error(error) from None


async def _call(options: JSON) -> Any:
    import litellm

    try:
        return await litellm.acompletion(**options)
    except Exception as error:
        raise _upstream_error(error) from None


def _upstream_error(error: Exception) -> UpstreamError:
    """Return the error by the status of LiteLLM's exception; drop its text, which may hold a key."""
    status = getattr(error, "status_code", None)
    if status in (400, 413, 422):
        return UpstreamError("refused", "the model refused the request", status=400, client_fault=True)
    return UpstreamError(f"http_{status}", "the model failed", retryable=status not in (401, 403, 404))
