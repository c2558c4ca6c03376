"""Parameters that a model refuses: fitted before the call, or dropped and named after a refusal."""

from typing import Any

import openai
import pytest

from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers.anthropic_request import build_request as for_claude
from p2l.serving.router.upstream.providers.gemini_request import build_request as for_gemini
from p2l.serving.router.upstream.providers.openai_chat import build_request as for_openai
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Reply, Seen, chat, completion, delta, model, stream

HELLO: list[Any] = [{"role": "user", "content": "hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
CLAUDE_SAYS = {"type": "message", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn", "usage": {}}


def claude(name: str, body: dict[str, Any], **keys: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = for_claude(ModelConfig(name, "anthropic", 1.0, **keys), {"messages": HELLO, **body}, False, False)
    return request.body, request.dropped


def gemini(name: str, body: dict[str, Any], **keys: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = for_gemini(ModelConfig(name, "gemini", 1.0, **keys), {"messages": HELLO, **body}, False, False)
    return request.body["generationConfig"], request.dropped


class TestClaude:
    @pytest.mark.parametrize(
        ("name", "kept"),
        [
            ("claude-3-5-sonnet-20241022", {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
            ("claude-opus-4-20250514", {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
            ("claude-opus-4-1-20250805", {"temperature": 0.5, "top_k": 5}),
            ("claude-sonnet-4-5", {"temperature": 0.5, "top_k": 5}),
            ("claude-opus-4-7", {}),
            ("anthropic.claude-fable-5-1", {}),
            ("a-proxys-name", {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
        ],
    )
    def test_sampling_by_family(self, name: str, kept: dict[str, Any]) -> None:
        wanted = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}
        body, dropped = claude(name, wanted)
        assert {field: body[field] for field in wanted if field in body} == kept
        assert set(dropped) == wanted.keys() - kept.keys()

    @pytest.mark.parametrize(
        ("name", "effort", "thinking", "output"),
        [
            ("claude-3-5-haiku-latest", "high", None, None),
            ("claude-3-7-sonnet-latest", "low", {"type": "enabled", "budget_tokens": 1024}, None),
            ("claude-sonnet-4-5", "high", {"type": "enabled", "budget_tokens": 24576}, None),
            ("claude-sonnet-4-5", "none", None, None),
            ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, {"effort": "max"}),
            ("claude-opus-4-7", "xhigh", {"type": "adaptive"}, {"effort": "xhigh"}),
            ("claude-opus-5", "minimal", {"type": "adaptive"}, {"effort": "low"}),
            ("claude-opus-5", "none", {"type": "disabled"}, None),
        ],
    )
    def test_reasoning_effort(self, name: str, effort: str, thinking: Any, output: Any) -> None:
        body, dropped = claude(name, {"reasoning_effort": effort})
        assert (body.get("thinking"), body.get("output_config")) == (thinking, output)
        assert dropped == (("reasoning_effort",) if "3-5" in name else ())

    def test_the_clients_thinking_goes_before_its_effort_and_that_before_the_configuration(self) -> None:
        budget = {"type": "enabled", "budget_tokens": 2000}
        configured = {"extra_fields": {"thinking": {"type": "enabled", "budget_tokens": 1500}}}
        body, dropped = claude("claude-sonnet-4-5", {"reasoning_effort": "medium"}, **configured)
        assert body["thinking"]["budget_tokens"] == 8192 and not dropped
        assert "thinking" not in claude("claude-sonnet-4-5", {"reasoning_effort": "none"}, **configured)[0]
        for effort in ("none", "high"):
            body, dropped = claude("claude-sonnet-4-5", {"reasoning_effort": effort, "thinking": budget}, **configured)
            assert body["thinking"] == budget and dropped == ("reasoning_effort",)
        body, dropped = claude("claude-opus-4-6", {"reasoning_effort": "low", "thinking": budget}, **configured)
        assert body["thinking"] == budget and body["output_config"] == {"effort": "low"} and not dropped

    def test_thinking_leaves_room_for_the_answer(self) -> None:
        extra = {"extra_fields": {"thinking": {"type": "enabled", "budget_tokens": 8000}}}
        body, dropped = claude("claude-sonnet-4-5", {}, **extra)
        assert body["max_tokens"] == 12096 and body["thinking"]["budget_tokens"] == 8000 and not dropped
        body, dropped = claude("claude-sonnet-4-5", {"max_tokens": 4000}, **extra)
        assert body["max_tokens"] == 4000 and body["thinking"]["budget_tokens"] == 2000
        assert dropped == ("thinking.budget_tokens",)
        body, dropped = claude("claude-sonnet-4-5", {"max_tokens": 500}, **extra)
        assert body["max_tokens"] == 500 and "thinking" not in body and dropped == ("thinking",)

    @pytest.mark.parametrize("thinking", [{"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}])
    def test_sampling_beside_thinking(self, thinking: dict[str, Any]) -> None:
        wanted = {"temperature": 0, "top_p": 0.5, "top_k": 3, "thinking": thinking}
        body, dropped = claude("claude-opus-4-6", wanted)
        assert body["thinking"] == thinking and dropped == ("temperature", "top_k", "top_p")
        assert not {"temperature", "top_p", "top_k"} & body.keys()
        assert claude("claude-opus-4-6", {"temperature": 1, "thinking": thinking})[1] == ()

    def test_a_forced_tool_turns_thinking_off(self) -> None:
        wanted = {"tools": TOOLS, "tool_choice": "required", "reasoning_effort": "low"}
        body, dropped = claude("claude-sonnet-4-5", wanted)
        assert body["tool_choice"] == {"type": "any"} and "thinking" not in body and dropped == ("thinking",)

    def test_a_budget_for_a_model_without_one(self) -> None:
        body, dropped = claude("claude-opus-4-7", {"thinking": {"type": "enabled", "budget_tokens": 2000}})
        assert body["thinking"] == {"type": "adaptive"} and dropped == ("thinking.budget_tokens",)
        body, dropped = claude("claude-3-5-sonnet-20241022", {"thinking": {"type": "enabled", "budget_tokens": 2000}})
        assert "thinking" not in body and dropped == ("thinking",)

    def test_a_temperature_above_its_scale_is_named(self) -> None:
        body, dropped = claude("claude-3-5-sonnet-20241022", {"temperature": 1.8})
        assert body["temperature"] == 1 and dropped == ("temperature",)

    def test_the_service_tier(self) -> None:
        assert claude("c", {"service_tier": "default"})[0]["service_tier"] == "standard_only"
        assert claude("c", {"service_tier": "flex"})[1] == ("service_tier",)


class TestStructuredOutput:
    def wanted(self, schema: Any) -> dict[str, Any]:
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}

    def test_claude_has_it(self) -> None:
        inner = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "description": "years"}}}
        schema = {"type": "object", "properties": {"people": {"type": "array", "items": inner, "maxItems": 5}}}
        body, dropped = claude("claude-sonnet-4-5", self.wanted(schema))
        got = body["output_config"]["format"]
        items = got["schema"]["properties"]["people"]["items"]
        assert got["type"] == "json_schema" and got["schema"]["additionalProperties"] is False
        assert items["properties"]["age"] == {"type": "integer", "description": "years (minimum: 0)"}
        assert items["additionalProperties"] is False
        assert got["schema"]["properties"]["people"]["description"] == "maxItems: 5"
        assert dropped == ("response_format.json_schema.schema.maxItems", "response_format.json_schema.schema.minimum")

    def test_it_stays_beside_effort_and_what_is_configured(self) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        extra = {"extra_fields": {"output_config": {"effort": "low", "x": 1}}}
        config = claude("claude-opus-5", {**self.wanted(schema), "reasoning_effort": "high"}, **extra)[0][
            "output_config"
        ]
        assert config["effort"] == "high" and config["x"] == 1 and config["format"]["type"] == "json_schema"

    def test_who_lacks_it_is_not_chosen(self, start: Starter) -> None:
        old, new = start.upstream(), start.upstream(lambda seen: Reply(body=CLAUDE_SAYS))
        running = start.router(
            {
                "old": model(old.url, type="anthropic", name="claude-3-5-sonnet-20241022"),
                "new": model(new.url, type="anthropic", name="claude-sonnet-4-5"),
            }
        )
        client = start.client(running)
        wanted = self.wanted({"type": "object", "properties": {"a": {"type": "string"}}})
        assert chat(client, extra_body=wanted)["x-p2l-model"] == "new" and not old.seen
        with pytest.raises(openai.BadRequestError, match="old does not support response_format"):
            chat(client, extra_body={**wanted, "direct_model": "old"})
        with pytest.raises(openai.BadRequestError, match="response_format json_object"):
            chat(client, response_format={"type": "json_object"}, extra_body={"direct_model": "new"})

    def test_free_keys_go_to_the_next_model(self, start: Starter) -> None:
        claude, fake = start.upstream(), start.upstream()
        running = start.router({"c": model(claude.url, type="anthropic", name="claude-opus-5"), "g": model(fake.url)})
        wanted = self.wanted({"type": "object", "additionalProperties": {"type": "integer"}})
        assert chat(start.client(running), extra_body=wanted)["x-p2l-model"] == "g" and not claude.seen

    def test_old_gemini_has_it_without_tools_only(self) -> None:
        wanted = self.wanted({"type": "object", "properties": {}}) | {"tools": TOOLS}
        with pytest.raises(Exception, match="not both"):
            gemini("gemini-2.5-pro", wanted)
        assert "responseJsonSchema" in gemini("gemini-3-pro", wanted)[0]


@pytest.mark.parametrize(
    ("name", "effort", "thinking"),
    [
        ("gemini-2.0-flash", "low", None),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "none", None),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high"}),
        ("gemini-3.1-pro", "medium", {"thinkingLevel": "medium"}),
        ("gemini-3-flash", "minimal", {"thinkingLevel": "minimal"}),
        ("gemini-3-pro", "minimal", {"thinkingLevel": "low"}),
    ],
)
def test_reasoning_effort_of_gemini(name: str, effort: str, thinking: Any) -> None:
    generation, dropped = gemini(name, {"reasoning_effort": effort})
    assert generation.get("thinkingConfig") == thinking and dropped == (() if thinking else ("reasoning_effort",))
    budget = (thinking or {}).get("thinkingBudget", 24576 if thinking == {"thinkingLevel": "high"} else 0)
    assert generation["maxOutputTokens"] >= 8192 + budget
    assert gemini(name, {"reasoning_effort": effort, "max_completion_tokens": 50})[0]["maxOutputTokens"] == 50


def test_a_configured_level_gives_way_to_the_clients_budget() -> None:
    extra = {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}}}
    generation, _ = gemini("gemini-2.5-flash", {"reasoning_effort": "medium"}, extra_fields=extra)
    assert generation["thinkingConfig"] == {"includeThoughts": True, "thinkingBudget": 8192}


@pytest.mark.parametrize(
    ("name", "limit"), [("gpt-4o", "max_tokens"), ("gpt-5.2", "max_completion_tokens"), ("o3", "max_completion_tokens")]
)
def test_the_limit_has_the_models_name_for_it(name: str, limit: str) -> None:
    for entry, body in (
        (ModelConfig(name, "openai", 1.0, max_tokens=50), {}),
        (ModelConfig(name, "openai", 1.0), {"max_tokens": 50}),
    ):
        sent = for_openai(entry, {"messages": HELLO, **body}, False, False).body
        assert {field: sent[field] for field in sent if field.startswith("max")} == {limit: 50}


def test_parameters_dropped_by_configuration(start: Starter) -> None:
    fake, client = start.one(drop_params=["temperature", "seed"])
    headers = chat(client, temperature=0.5, seed=3, top_p=0.9)
    assert headers["x-p2l-dropped"] == "seed, temperature"
    assert fake.seen[-1].body["top_p"] == 0.9 and not {"seed", "temperature"} & fake.seen[-1].body.keys()


def refusing(message: str, *names: str, kind: str = "openai", streamed: bool = False) -> Any:
    """Refuses requests that hold one of the names, at any level."""

    def answer(seen: Seen) -> Reply:
        if any(f"'{name}':" in str(seen.body) for name in names):
            return Reply(400, {"error": {"type": "invalid_request_error", "message": message}})
        if kind == "anthropic":
            return Reply(body=CLAUDE_SAYS)
        return stream(delta("ok"), delta(finish="stop")) if streamed else Reply(body=completion("ok"))

    return answer


REFUSALS = [
    ("openai", "Unsupported value: 'temperature' does not support 0.5 with this model.", {"temperature": 0.5}),
    (
        "openai",
        "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
        {"reasoning_effort": "low"},
    ),
    ("openai", "Unrecognized request argument supplied: verbosity, prompt_cache_key", {"prompt_cache_key": "k"}),
    ("openai", "Unknown parameter: 'store'.", {"store": True}),
    ("anthropic", "`temperature` is deprecated for this model.", {"temperature": 0.5}),
    (
        "anthropic",
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        {"top_p": 0.5},
    ),
    (
        "anthropic",
        "thinking.budget_tokens: Input should be greater than or equal to 1024",
        {"thinking": {"type": "enabled", "budget_tokens": 9}},
    ),
    ("anthropic", "Adaptive thinking is not supported on this model", {"thinking": {"type": "adaptive"}}),
]


class TestRefusals:
    @pytest.mark.parametrize("streamed", [False, True])
    @pytest.mark.parametrize(("kind", "message", "fields"), REFUSALS)
    def test_optional_parameters_are_dropped_named_and_the_request_sent_again(
        self, start: Starter, kind: str, message: str, fields: dict[str, Any], streamed: bool
    ) -> None:
        if streamed and kind == "anthropic":
            return  # the refusal comes before the stream, as with any other type
        name = next(iter(fields))
        fake, client = start.one(refusing(message, name, kind=kind, streamed=streamed), type=kind)
        headers = chat(client, extra_body=fields, stream=streamed)
        assert headers["x-p2l-dropped"].split(", ") == [name] and len(fake.seen) == 2
        assert headers["x-p2l-attempts"] == "2"
        assert name in fake.seen[0].body and name not in fake.seen[1].body
        assert {**fake.seen[1].body, name: fake.seen[0].body[name]} == fake.seen[0].body

    @pytest.mark.filterwarnings("ignore")  # the library warns of its own dependencies
    @pytest.mark.parametrize("streamed", [False, True])
    def test_litellms_refusals(self, start: Starter, streamed: bool) -> None:
        pytest.importorskip("litellm")
        message = "Unsupported value: 'temperature' does not support 0.5 with this model."
        fake = start.upstream(refusing(message, "temperature", streamed=streamed))
        entry = model(f"{fake.url}/v1", type="litellm", name="openai/m", drop_params=["seed"])
        client = start.client(start.router({"m": entry}, router_type="random"))
        headers = chat(client, temperature=0.5, seed=3, stream=streamed)
        assert headers["x-p2l-dropped"] == "seed, temperature" and len(fake.seen) == 2
        assert not {"seed", "temperature"} & fake.seen[1].body.keys()

    def test_fields_within_messages_and_tools(self, start: Starter) -> None:
        mark = {"cache_control": {"type": "ephemeral"}}
        message = "Unknown parameter: 'messages[0].content[0].cache_control'."
        fake, client = start.one()
        replies = [Reply(400, {"error": {"message": message}}), Reply(body=completion())]
        fake.answer = lambda seen: replies.pop(0)
        content: Any = [{"type": "text", "text": "hi", **mark}]
        schema = {"type": "object", "properties": {"cache_control": {"type": "string"}, "seed": {"type": "string"}}}
        tools: Any = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        headers = chat(client, messages=[{"role": "user", "content": content}], tools=tools)
        assert headers["x-p2l-dropped"] == "cache_control"
        assert fake.seen[1].body["messages"][0]["content"] == [{"type": "text", "text": "hi"}]
        assert fake.seen[1].body["tools"] == tools  # a schema is the client's own

    def test_the_limit_gets_its_new_name(self, start: Starter) -> None:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        fake, client = start.one(refusing(message, "max_tokens"), name="a-deployment")
        assert "x-p2l-dropped" not in chat(client, max_tokens=50)
        assert fake.seen[1].body["max_completion_tokens"] == 50

    @pytest.mark.parametrize("kind", ["openai", "openai-reasoning"])
    @pytest.mark.parametrize(
        "message",
        [
            "max_completion_tokens: Extra inputs are not permitted",
            "Unsupported parameter: 'max_completion_tokens' is not supported with this model.",
        ],
    )
    def test_a_server_that_knows_its_older_name_gets_that(self, start: Starter, kind: str, message: str) -> None:
        fake, client = start.one(refusing(message, "max_completion_tokens"), type=kind)
        assert "x-p2l-dropped" not in chat(client, max_completion_tokens=50)
        assert fake.seen[1].body["max_tokens"] == 50 and "max_completion_tokens" not in fake.seen[1].body

    def test_a_limit_that_is_too_large_keeps_its_name(self, start: Starter) -> None:
        fake, client = start.one(refusing("max_completion_tokens is too large: 50.", "max_completion_tokens"))
        with pytest.raises(openai.BadRequestError, match="too large"):
            chat(client, max_completion_tokens=50)
        assert len(fake.seen) == 1

    def test_needed_parameters_send_it_to_the_next_model(self, start: Starter) -> None:
        message = "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."
        first, second = start.upstream(refusing(message, "response_format")), start.upstream()
        running = start.router({"first": model(first.url), "second": model(second.url)})
        client = start.client(running)
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
        headers = chat(client, response_format=wanted)
        assert headers["x-p2l-model"] == "second" and len(first.seen) == 1
        assert running.container.circuit_breaker.is_available("first")
        with pytest.raises(openai.BadRequestError, match="json_schema"):
            chat(client, response_format=wanted, extra_body={"direct_model": "first"})

    def test_a_second_refusal_goes_to_the_next_model(self, start: Starter) -> None:
        always = lambda seen: Reply(400, {"error": {"message": "`temperature`: no. 'max_tokens': no."}})  # noqa: E731
        first, second = start.upstream(always), start.upstream()
        running = start.router({"first": model(first.url), "second": model(second.url)})
        assert chat(start.client(running), temperature=0.5, max_tokens=3)["x-p2l-model"] == "second"
        assert len(first.seen) <= 2

    def test_both_requests_are_counted_and_logged(self, start: Starter, caplog: pytest.LogCaptureFixture) -> None:
        message = "Unsupported value: 'temperature' does not support 0.5 with this model."
        first, second = start.upstream(), start.upstream()
        rest = [Reply(400, {"error": {"message": message}}), Reply(500, {}), Reply(500, {})]
        first.answer = lambda seen: rest.pop(0)
        running = start.router({"first": model(first.url), "second": model(second.url)})
        caplog.set_level("INFO", "p2l")
        headers = chat(start.client(running), temperature=0.5)
        assert headers["x-p2l-attempts"] == "4" == str(len(first.seen) + len(second.seen))
        (answered,) = [record.fields for record in caplog.records if record.message == "answered"]
        assert answered["failures"] == [("first", "http_400"), ("first", "http_500"), ("first", "http_500")]

    def test_what_the_router_sets_is_not_the_clients_error(self, start: Starter) -> None:
        message = "logit_bias: Extra inputs are not permitted; 'guided_choice' is unknown"
        _, client = start.one(refusing(message, "guided_choice"), extra_fields={"guided_choice": ["a"]})
        with pytest.raises(openai.InternalServerError, match="what the router sets: guided_choice"):
            chat(client)

    @pytest.mark.parametrize(
        "message", ["'messages' must alternate between 'user' and 'assistant'", "prompt is too long"]
    )
    def test_a_conversation_that_is_refused_is_the_clients(self, start: Starter, message: str) -> None:
        first, second = start.upstream(refusing(message, "messages")), start.upstream()
        client = start.client(start.router({"first": model(first.url), "second": model(second.url)}))
        with pytest.raises(openai.BadRequestError):
            chat(client, user="u", temperature=0.5)
        assert len(first.seen) == 1 and not second.seen
