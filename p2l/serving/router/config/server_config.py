"""The schema of the router's configuration: dataclasses that check themselves."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import orjson

from p2l.errors import ConfigError
from p2l.routing.shrinkage import Shrinkage
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.near_names import suggestion
from p2l.serving.router.config.router_config import RouterConfig
from p2l.serving.router.config.token_prices import Prices, PromptCache
from p2l.serving.router.config.value_checks import check_between, check_not_negative, check_variables, is_plain_url

ProviderType = Literal["openai", "openai-reasoning", "openai-o1", "anthropic", "gemini", "litellm"]

# environment variables that the vendors' own SDKs read if no key is configured
_VENDOR_KEYS: dict[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "litellm": (),
}
_OPENAI_KEYS = ("OPENAI_API_KEY",)
_RESPONSES_TYPES = ("openai", "openai-reasoning")
_KEPT = frozenset(("messages", "input", "model", "stream", "tools", "response_format", "n"))  # no answer without them
_PLACEHOLDER = re.compile(r"^<.*>$")


@dataclass(frozen=True)
class Capabilities:
    """What a model can do. None: not declared, and assumed to be supported.

    Attributes:
        other_parts: content parts beside text, images, audio and files.
        other_tools: tools beside functions.
        audio_output, image_output: ``modalities`` beside text.
        web_search: ``web_search_options``.
        legacy_functions: ``functions``, which ``tools`` replaced.
        context_length: tokens of prompt and answer.
        responses: OpenAI's own Responses API; only for types ``openai`` and ``openai-reasoning``, and only if declared.
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
    audio_output: bool | None = None
    image_output: bool | None = None
    web_search: bool | None = None
    legacy_functions: bool | None = None
    context_length: int | None = None
    responses: bool | None = None

    def __post_init__(self) -> None:
        if self.context_length is not None and self.context_length < 1:
            raise ConfigError(f"context_length must be a positive number of tokens; got {self.context_length}")


@dataclass(frozen=True)
class ModelConfig:
    """How to call one model, and what its answers cost. The published keys, and base_url, capabilities and prices.

    Attributes:
        name: sent to the provider.
        cost: of one answer (each of ``n`` choices is one); the estimate that budgets are compared with. "predicted": by
            the P2L model, for each prompt.
        api_key: may be ``${NAME}``, ``${NAME:-default}`` or ``os.environ/NAME``, as every text may.
        system_prompt, temp, top_p, top_k, max_tokens: defaults for what the client leaves out.
        extra_fields: sent with every request; its tools beside the client's.
        drop_params: the client's fields that are not sent to this model.
        prices: for the actual cost, from the usage of an answer.
        prompt_cache: how long the provider keeps prompts, for the price of a switch between models.
    """

    name: str
    type: ProviderType
    cost: float | Literal["predicted"]
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    system_prompt: str | None = field(default=None, repr=False)
    temp: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    extra_fields: dict[str, Any] | None = field(default=None, repr=False)
    drop_params: tuple[str, ...] = ()
    capabilities: Capabilities = field(default_factory=Capabilities)
    prices: Prices | None = None
    prompt_cache: PromptCache = field(default_factory=PromptCache)

    def __post_init__(self) -> None:
        if not self.predicts_cost:
            check_not_negative(self.fixed_cost, "cost")
        if not (self.api_key or "").strip().isprintable():
            raise ConfigError("api_key contains a line end or another non-printable character")
        for name, text in (("api_key", self.api_key), ("base_url", self.base_url), ("name", self.name)):
            check_variables(text or "", name)
        if self.base_url is not None and not is_plain_url(self.base_url):
            raise ConfigError("base_url must start with http:// or https://, name a host, and hold no user or password")
        try:
            orjson.dumps([self.name, self.system_prompt, self.extra_fields, self.max_tokens, self.top_k])
        except orjson.JSONEncodeError as error:
            raise ConfigError(f"what is sent to the model must be JSON, extra_fields above all ({error})") from None
        if self.type == "gemini" and not isinstance((self.extra_fields or {}).get("generationConfig") or {}, dict):
            raise ConfigError("extra_fields.generationConfig must hold keys and values")
        if kept := _KEPT.intersection(self.drop_params):
            raise ConfigError(f"drop_params: {', '.join(sorted(kept))} cannot be dropped; capabilities exclude a model")
        for name, own in (("temperature", self.temp), ("top_p", self.top_p), ("top_k", self.top_k)):
            if own is not None and name in self.drop_params:
                raise ConfigError(f"drop_params: {name} is set by this configuration; leave one of them out")
        if self.capabilities.responses and self.type not in _RESPONSES_TYPES:
            raise ConfigError(f"responses: only models of type {' or '.join(_RESPONSES_TYPES)} have this API")
        if not self.name.strip():
            raise ConfigError("name is empty; it is what the provider calls the model")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens must be positive; got {self.max_tokens}")
        check_between(self.temp, "temp", 0.0, 2.0)
        check_between(self.top_p, "top_p", 0.0, 1.0)
        if self.top_k is not None and self.top_k < -1:  # some servers take -1 for all
            raise ConfigError(f"top_k must be a whole number of 0 or more, or -1; got {self.top_k}")

    @property
    def predicts_cost(self) -> bool:
        """Whether the P2L model predicts the cost of each answer."""
        return self.cost == "predicted"

    @property
    def fixed_cost(self) -> float:
        """The cost of an answer; a model whose cost is predicted gets one for each prompt, by ``with_cost``."""
        assert not isinstance(self.cost, str), "the cost of this model is predicted for each prompt"
        return self.cost

    def with_cost(self, cost: float) -> "ModelConfig":
        """Return this model with the cost of its answer to one prompt."""
        return replace(self, cost=cost)

    @property
    def key(self) -> str | None:
        """The key to send; by default the vendor's environment variable, but only to the vendor's own URL."""
        own = (self.api_key or "").strip()
        if own or self.base_url is not None:
            return own or None
        names = _VENDOR_KEYS.get(self.type, _OPENAI_KEYS)
        return next((key for name in names if (key := os.environ.get(name, "").strip())), None)


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
            check_not_negative(getattr(self, name), name)


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
        for place, name in self._references():
            if name not in self.model_configs:
                hint = suggestion(name, self.model_configs) or f"; these are: {', '.join(self.model_configs)}"
                raise ConfigError(f"{place}: {name!r} is not in model_configs{hint}")
        self._check_names()
        for name, model in self.embedding_configs.items():
            if model.type != "openai":
                raise ConfigError(f"embedding_configs.{name}: only type openai is passed through; got {model.type}")
            if model.predicts_cost:
                raise ConfigError(f"embedding_configs.{name}: the cost of embeddings is not predicted; give a number")
        self._check_units()

    def _check_units(self) -> None:
        """Raise ConfigError if predicted costs stand beside fixed ones whose unit is not stated."""
        fixed = [name for name in self.model_configs if name not in self.predicted]
        if fixed and self.predicted and self.router.cost_unit is None:
            raise ConfigError(
                f"model_configs: the cost of {self.predicted[0]} is predicted and that of {fixed[0]} is a number; give "
                "the unit of the numbers, which must be that of the predictions, as router.cost_unit (say, dollars)"
            )

    @cached_property
    def predicted(self) -> list[str]:
        """The models whose cost is predicted."""
        return [name for name, model in self.model_configs.items() if model.predicts_cost]

    def _references(self) -> Iterator[tuple[str, str]]:
        """Yield the places that name a model, each with the name."""
        for key in self.keys:
            yield from ((f"keys: models of {key.name}", name) for name in key.models or ())
        if self.router.default_model is not None:
            yield "router.default_model", self.router.default_model

    def _check_names(self) -> None:
        """Raise ConfigError for an empty name, or one with two meanings in ``/v1/models``."""
        for section, names in (("model_configs", self.model_configs), ("embedding_configs", self.embedding_configs)):
            if any(not name.strip() for name in names):
                raise ConfigError(f"{section}: a model has an empty name")
        for name in self.router.aliases:
            if name in self.model_configs or name in self.embedding_configs:
                raise ConfigError(f"router.aliases: {name!r} is a model, too; give one of them another name")
        if both := [name for name in self.embedding_configs if name in self.model_configs]:
            raise ConfigError(f"embedding_configs: {both[0]!r} is in model_configs, too; give one another name")

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
            hint = suggestion(lacking[0], found.models) or f"; it has {', '.join(found.models)}"
            raise ConfigError(
                f"router.shrinkage: {self.router.shrinkage} lacks {', '.join(lacking)} of model_configs{hint}"
            )
        return found

    def placeholders(self) -> list[str]:
        """Return the models whose key is still ``<your-api-key>``."""
        return [name for name, model in self.model_configs.items() if _PLACEHOLDER.match(model.api_key or "")]
