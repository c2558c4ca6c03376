"""A request for a completion, parsed from whichever API it came through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from p2l.serving.http.api_error import invalid
from p2l.serving.router.token_estimates import num_choices

JSON = dict[str, Any]
Api = Literal["chat", "responses", "messages"]

# a gateway behind this one would read these fields as another model, host or key
FORBIDDEN_FIELDS = frozenset(
    [
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "base_url",
        "callbacks",
        "cluster",
        "custom_llm_provider",
        "deployment_id",
        "extra_body",
        "extra_headers",
        "extra_query",
        "fallbacks",
        "headers",
        "host",
        "metadata_headers",
        "mock_response",
        "model_list",
        "models",
        "organization",
        "project",
        "proxies",
        "proxy",
        "router_outputs",
        "user_config",
    ]
)
FORBIDDEN_PREFIXES = ("litellm_", "aws_", "azure_", "vertex_", "context_window_fallback")


@dataclass(frozen=True)
class Thought:
    """What to send back with a tool call: with the first of an answer of Anthropic, with its own call at Gemini.

    Attributes:
        model: the provider's name of the model that thought; other models cannot read it.
        content: ``layout``, the order of Anthropic's blocks, or ``signature``, Gemini's.
    """

    model: str
    content: JSON


Thoughts = Mapping[str, Thought]
"""By the id of the tool call."""


@dataclass(frozen=True)
class ChatRequest:
    """One request for a completion.

    Attributes:
        body: the request in the form of ``api``, without the router's own fields; a provider of that API gets it.
        as_chat: the request in the form of chat completions; selection, pricing and all other providers read it.
        turns: text of each user message that has text; the prompt that is scored.
        budget: highest cost of the answer; None: no limit.
        direct_model: model that the client asks for by name.
        stream: whether the client wants chunks.
        include_usage: whether a stream ends with its usage.
        session: names the conversation that stays with one model.
        api: form of ``body``.
        untranslated: paths of the fields that ``as_chat`` does not hold; named if a provider of another API answers.
        headers: sent on to a provider of the same API.
        previous_response: id of the response that this request continues.
        thoughts: behind the tool calls of the history, as far as they are known.
    """

    body: JSON
    as_chat: JSON
    turns: tuple[str, ...]
    budget: float | None
    direct_model: str | None
    stream: bool
    include_usage: bool
    session: str | None
    api: Api = "chat"
    untranslated: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    previous_response: str | None = None
    thoughts: Thoughts = field(default_factory=dict)

    @property
    def messages(self) -> list[JSON]:
        messages: list[JSON] = self.as_chat["messages"]
        return messages

    @property
    def num_choices(self) -> int:
        """How many choices the client asks for; each costs as much as an answer."""
        return num_choices(self.as_chat)

    @property
    def budget_per_choice(self) -> float | None:
        """The budget of each choice, which the cost of a model is compared with; None: no limit."""
        return None if self.budget is None else self.budget / self.num_choices


def reject_forbidden_fields(body: Mapping[str, Any]) -> None:
    """Raise ApiError 400 for a field that could select another model, host or key behind the router."""
    for name in body:
        if name in FORBIDDEN_FIELDS or name.startswith(FORBIDDEN_PREFIXES):
            raise invalid(f"the field {name[:64]!r} is not accepted: models and keys are set by the router", name[:64])
