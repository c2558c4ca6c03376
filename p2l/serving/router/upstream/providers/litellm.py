"""Any other provider, through LiteLLM's library (``pip install litellm``), which is imported where a model needs it."""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

from p2l.errors import ConfigError
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers.openai_chat import with_system
from p2l.serving.router.upstream.providers.translation import first_set, without_none
from p2l.serving.router.upstream.upstream_errors import UpstreamError
from p2l.serving.router.upstream.upstream_request import JSON

# all that a client may set: LiteLLM takes hosts, keys and models among its arguments
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


def check_installed() -> None:
    """``ConfigError`` if LiteLLM is not there."""
    if find_spec("litellm") is None:
        raise ConfigError("a model of type litellm needs LiteLLM: pip install litellm")


def arguments(model: ModelConfig, body: JSON) -> JSON:
    """The arguments of ``litellm.acompletion``."""
    chosen = {name: body[name] for name in _ALLOWED if body.get(name) is not None}
    chosen["messages"] = with_system(model, body["messages"])
    limit = first_set(body.get("max_completion_tokens"), body.get("max_tokens"))
    defaults = {
        "temperature": first_set(body.get("temperature"), model.temp),
        "top_p": first_set(body.get("top_p"), model.top_p),
        "max_tokens": model.max_tokens if limit is None else body.get("max_tokens"),
    }
    ours = {
        "model": model.name,
        "api_key": model.key,
        "base_url": model.base_url,
        "num_retries": 0,
        "drop_params": True,
    }
    return without_none({**(model.extra_fields or {}), **chosen, **defaults, **ours})


async def complete(model: ModelConfig, body: JSON, timeout: float) -> JSON:
    """A chat completion."""
    answer = await _call({**arguments(model, body), "timeout": timeout})
    payload: JSON = answer.model_dump()
    return payload


async def stream(model: ModelConfig, body: JSON, timeout: float) -> AsyncIterator[JSON]:
    """The chunks of a chat completion, its usage last."""
    options = {"stream": True, "stream_options": {"include_usage": True}, "timeout": timeout}
    chunks = await _call({**arguments(model, body), **options})
    try:
        async for chunk in chunks:
            yield chunk.model_dump()
    except Exception as error:
        raise _failure(error) from None


async def _call(options: JSON) -> Any:
    import litellm

    try:
        return await litellm.acompletion(**options)
    except Exception as error:
        raise _failure(error) from None


def _failure(error: Exception) -> UpstreamError:
    """LiteLLM's exceptions carry the status; their text may hold a key, so it is not passed on."""
    status = getattr(error, "status_code", None)
    if status in (400, 413, 422):
        return UpstreamError("refused", "the model refused the request", status=400, client_fault=True)
    return UpstreamError(f"http_{status}", "the model failed", retryable=status not in (401, 403, 404))
