"""Other clients of OpenAI's API before the router, and LiteLLM behind it, where these are installed."""

from typing import Any

import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Seen, completion, delta, model, stream

# these libraries warn of their own dependencies
pytestmark = [pytest.mark.filterwarnings("ignore")]
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a":1,"b":2}'}}]
USAGE = {**delta(), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}


def answer(seen: Seen) -> Reply:
    """Calls a tool where one is offered and no result is there yet; else says hello."""
    wants_tool = bool(seen.body.get("tools")) and seen.body["messages"][-1]["role"] == "user"
    if not seen.body.get("stream"):
        return Reply(body=completion(None, tool_calls=CALLS) if wants_tool else completion())
    usage = [USAGE] if (seen.body.get("stream_options") or {}).get("include_usage") else []
    return stream(delta("", role="assistant"), delta("Hel"), delta("lo!"), delta(finish="stop"), *usage)


def running(start: Starter) -> Running:
    url = start.upstream(answer).url
    return start.router({"dear": model(url, 3.0), "cheap": model(url, 1.0)})


class TestLangChain:
    def chat(self, start: Starter, **options: Any) -> Any:
        openai = pytest.importorskip("langchain_openai")
        return openai.ChatOpenAI(base_url=running(start).base, api_key=KEY, model="-", max_retries=0, **options)

    def test_invoke_with_a_budget(self, start: Starter) -> None:
        got = self.chat(start, extra_body={"cost": 1.0}, temperature=0).invoke("hi")
        assert got.content == "Hello!" and got.usage_metadata["total_tokens"] == 12

    def test_stream(self, start: Starter) -> None:
        chunks = list(self.chat(start, stream_usage=True).stream("hi"))
        assert "".join(chunk.content for chunk in chunks) == "Hello!"
        assert [c.usage_metadata["total_tokens"] for c in chunks if c.usage_metadata] == [11]

    def test_tools(self, start: Starter) -> None:
        def add(a: int, b: int) -> int:
            """Add."""
            return a + b

        chat = self.chat(start).bind_tools([add])
        call = chat.invoke("1 + 2?")
        assert [(c["name"], c["args"]) for c in call.tool_calls] == [("add", {"a": 1, "b": 2})]
        result = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
        assert chat.invoke([("user", "1 + 2?"), call, result]).content == "Hello!"


class TestLiteLLM:
    def test_as_a_client(self, start: Starter) -> None:
        litellm = pytest.importorskip("litellm")
        options = {"model": "openai/-", "api_base": running(start).base, "api_key": KEY}
        messages = [{"role": "user", "content": "hi"}]
        assert litellm.completion(messages=messages, **options).choices[0].message.content == "Hello!"
        chunks = litellm.completion(messages=messages, stream=True, extra_body={"cost": 1.0}, **options)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello!"

    @pytest.mark.parametrize("streamed", [False, True])
    def test_as_a_provider(self, start: Starter, streamed: bool) -> None:
        pytest.importorskip("litellm")
        fake = start.upstream(answer)
        entry = model(f"{fake.url}/v1", type="litellm", name="openai/m", temp=0.0)
        client = start.client(start.router({"m": entry}))
        messages = [{"role": "user", "content": "hi"}]
        got: Any = client.chat.completions.create(model="-", messages=messages, stream=streamed)
        text = "".join(c.choices[0].delta.content or "" for c in got) if streamed else got.choices[0].message.content
        assert text == "Hello!" and fake.seen[-1].body["temperature"] == 0.0
        assert fake.seen[-1].headers["authorization"] == "Bearer sk-upstream-secret"
