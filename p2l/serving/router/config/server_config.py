"""The schema of the router's configuration: dataclasses that check themselves."""

import math
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from p2l.errors import ConfigError
from p2l.routing.shrinkage import Shrinkage

ProviderType = Literal["openai", "openai-reasoning", "openai-o1", "anthropic", "gemini", "litellm"]

# environment variables that the vendors' own SDKs read if no key is configured
_VENDOR_KEYS: dict[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "litellm": (),
}
_OPENAI_KEYS = ("OPENAI_API_KEY",)
_PLACEHOLDER = re.compile(r"^<.*>$")


@dataclass(frozen=True)
class Capabilities:
    """What a model can do. None: not declared, and assumed to be supported.

    Attributes:
        other_parts: content parts beside text, images, audio and files.
        other_tools: tools beside functions.
        context_length: tokens of prompt and answer.
        responses: the Responses API; only for type ``openai``, and assumed only if declared.
    """

    tools: bool | None = None
    images: bool | None = None
    audio: bool | None = None
    files: bool | None = None
    json_schema: bool | None = None
    logprobs: bool | None = None
    several_choices: bool | None = None
    other_parts: bool | None = None
    other_tools: bool | None = None
    context_length: int | None = None
    responses: bool | None = None

    def __post_init__(self) -> None:
        if self.context_length is not None and self.context_length < 1:
            raise ConfigError(f"context_length must be a positive number of tokens; got {self.context_length}")


@dataclass(frozen=True)
class Prices:
    """Price of a million tokens, in the unit of ``cost``."""

    input: float
    output: float

    def __post_init__(self) -> None:
        _check_not_negative(self.input, "input")
        _check_not_negative(self.output, "output")


@dataclass(frozen=True)
class ModelConfig:
    """How to call one model, and what its answers cost. The published keys, and base_url, capabilities and prices.

    Attributes:
        name: sent to the provider.
        cost: estimate that budgets are compared with.
        api_key: may be ``${NAME}`` of an environment variable, as every text may.
        system_prompt, temp, top_p, top_k, max_tokens: defaults for what the client leaves out.
        extra_fields: sent with every request.
        prices: for the actual cost, from the usage of an answer.
    """

    name: str
    type: ProviderType
    cost: float
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    system_prompt: str | None = field(default=None, repr=False)
    temp: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    extra_fields: dict[str, Any] | None = field(default=None, repr=False)
    capabilities: Capabilities = field(default_factory=Capabilities)
    prices: Prices | None = None

    def __post_init__(self) -> None:
        _check_not_negative(self.cost, "cost")
        if not (self.api_key or "").strip().isprintable():
            raise ConfigError("api_key contains a line end or another non-printable character")
        if self.base_url is not None and not _is_plain_url(self.base_url):
            raise ConfigError("base_url must start with http:// or https://, name a host, and hold no user or password")
        try:
            orjson.dumps([self.name, self.system_prompt, self.extra_fields, self.max_tokens, self.top_k])
        except orjson.JSONEncodeError as error:
            raise ConfigError(f"what is sent to the model must be JSON, extra_fields above all ({error})") from None
        if self.type == "gemini" and not isinstance((self.extra_fields or {}).get("generationConfig") or {}, dict):
            raise ConfigError("extra_fields.generationConfig must hold keys and values")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be positive; got {self.max_tokens}")

    @property
    def key(self) -> str | None:
        """The key to send; by default the vendor's environment variable, but only to the vendor's own URL."""
        own = (self.api_key or "").strip()
        if own or self.base_url is not None:
            return own or None
        names = _VENDOR_KEYS.get(self.type, _OPENAI_KEYS)
        return next((key for name in names if (key := os.environ.get(name, "").strip())), None)


@dataclass(frozen=True)
class KeyConfig:
    """A client's key and its limits.

    Attributes:
        budget: highest cost of all answers in a period; None: no limit.
        period: seconds of a budget period; None: the budget is for all time.
        models: that the key may use; None: all.
    """

    name: str
    key: str = field(repr=False)
    budget: float | None = None
    period: float | None = None
    requests_per_minute: int | None = None
    models: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.key:
            raise ConfigError(f"key {self.name!r} is empty")
        for name in ("budget", "period", "requests_per_minute"):
            if getattr(self, name) is not None:
                _check_not_negative(getattr(self, name), name)

    def may_use(self, model: str) -> bool:
        """Return whether the key may use the model of this name."""
        return self.models is None or model in self.models


@dataclass(frozen=True)
class CallConfig:
    """Limits of retry, fallback and cooldown. Times in seconds.

    Attributes:
        max_attempts: for one request, over all models.
        backoff: wait before the first retry; doubles up to ``max_backoff``.
        read_timeout: longest silence of a model, before its first byte or within a stream.
        cooldown_after: consecutive failures that start a cooldown.
    """

    max_attempts: int = 4
    attempts_per_model: int = 2
    backoff: float = 0.25
    max_backoff: float = 4.0
    connect_timeout: float = 10.0
    read_timeout: float = 120.0
    total_timeout: float = 600.0
    cooldown_after: int = 3
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_attempts", "attempts_per_model", "cooldown_after"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("connect_timeout", "read_timeout", "total_timeout"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a finite number of seconds above 0; got {getattr(self, name)}")
        for name in ("backoff", "max_backoff", "cooldown"):
            _check_not_negative(getattr(self, name), name)


@dataclass(frozen=True)
class RouterConfig:
    """How models are selected.

    Attributes:
        aliases: names of the router in ``/v1/models``.
        opponents: how often each model is met, for ``optimal-lp``; None: all alike.
        default_model: answers if prompts cannot be scored; None: an error.
        seed: of random scores and of the optimiser's draws.
        session_ttl: seconds that an idle session stays with its model.
        session_from_user: whether the field ``user`` names the session.
        mean_cost: target of the mean cost over all traffic (a stream budget).
        mean_cost_state: SQLite file that keeps the stream budget across restarts; None: that of ``--state``.
        shrinkage: file of a ``Shrinkage`` that is applied to all scores.
    """

    aliases: tuple[str, ...] = ("p2l-router",)
    opponents: dict[str, float] | None = None
    default_model: str | None = None
    seed: int | None = None
    session_ttl: float = 3600.0
    session_from_user: bool = False
    mean_cost: float | None = None
    mean_cost_state: str | None = None
    shrinkage: str | None = None

    def __post_init__(self) -> None:
        if self.mean_cost is not None and not (math.isfinite(self.mean_cost) and self.mean_cost > 0):
            raise ConfigError(f"mean_cost must be a finite number above 0; got {self.mean_cost}")
        if self.mean_cost_state is not None and self.mean_cost is None:
            raise ConfigError("mean_cost_state needs mean_cost")
        _check_not_negative(self.session_ttl, "session_ttl")
        for name, weight in (self.opponents or {}).items():
            _check_not_negative(weight, f"opponents.{name}")
        if self.opponents is not None and not any(self.opponents.values()):
            raise ConfigError("opponents: at least one weight above 0 is needed; leave opponents out for all alike")


@dataclass(frozen=True)
class ServerConfig:
    """The whole file. ``name`` has no effect."""

    model_configs: dict[str, ModelConfig]
    name: str | None = None
    embedding_configs: dict[str, ModelConfig] = field(default_factory=dict)
    keys: tuple[KeyConfig, ...] = ()
    calls: CallConfig = field(default_factory=CallConfig)
    router: RouterConfig = field(default_factory=RouterConfig)

    def __post_init__(self) -> None:
        if not self.model_configs:
            raise ConfigError("model_configs: at least one model is needed")
        distinct = min(len({key.key for key in self.keys}), len({key.name for key in self.keys}))
        if distinct < len(self.keys):
            raise ConfigError("keys: every name and every key must differ from the others")
        named = [name for key in self.keys for name in key.models or ()]
        if self.router.default_model is not None:
            named.append(self.router.default_model)
        for name in named:
            if name not in self.model_configs:
                raise ConfigError(f"{name!r} is not in model_configs; these are: {', '.join(self.model_configs)}")
        for name, model in self.embedding_configs.items():
            if model.type != "openai":
                raise ConfigError(f"embedding_configs.{name}: only type openai is passed through; got {model.type}")

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Every key in the file. Nothing that leaves the server may contain one."""
        models = (*self.model_configs.values(), *self.embedding_configs.values())
        found = {model.key for model in models if model.key} | {key.key for key in self.keys}
        return tuple(secret for secret in found if len(secret) >= 6)

    @cached_property
    def shrinkage(self) -> Shrinkage | None:
        """The shrinkage, as the file was at the first call; ConfigError if it lacks a configured model."""
        if self.router.shrinkage is None:
            return None
        found = Shrinkage.load(self.router.shrinkage)
        if lacking := [name for name in self.model_configs if name not in found.models]:
            raise ConfigError(
                f"router.shrinkage: {self.router.shrinkage} lacks {', '.join(lacking)} of model_configs; "
                f"it has {', '.join(found.models)}"
            )
        return found

    def placeholders(self) -> list[str]:
        """Return the models whose key is still ``<your-api-key>``."""
        return [name for name, model in self.model_configs.items() if _PLACEHOLDER.match(model.api_key or "")]


def _is_plain_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return plain and text.isprintable() and parts.scheme in ("http", "https") and "@" not in parts.netloc


def _check_not_negative(value: float, name: str) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name} must be a finite number of 0 or more; got {value}")
