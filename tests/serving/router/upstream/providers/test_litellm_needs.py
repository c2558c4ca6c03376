"""What LiteLLM would leave out, or refuse, without a word to the client."""

from typing import Any

import openai
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, Reply, chat, model

pytest.importorskip("litellm")
pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of its own dependencies

CLAUDE_SAYS = {
    "id": "msg",
    "type": "message",
    "role": "assistant",
    "model": "c",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
CLAUDE = "anthropic/claude-sonnet-4-5"
FUNCTIONS = [{"name": "f", "parameters": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    "fields", [{"n": 2}, {"functions": FUNCTIONS}, {"logprobs": True}, {"modalities": ["text", "audio"]}]
)
def test_a_need_that_litellm_drops_goes_to_the_next_model(start: Starter, fields: dict[str, Any]) -> None:
    claude, other = start.upstream(lambda seen: Reply(body=CLAUDE_SAYS)), start.upstream()
    entry = model(claude.url, type="litellm", name=CLAUDE)
    client = start.client(start.router({"first": entry, "other": model(other.url)}))
    assert chat(client)["x-p2l-model"] == "first" and len(claude.seen) == 1
    assert chat(client, extra_body=fields)["x-p2l-model"] == "other" and len(claude.seen) == 1
    with pytest.raises(openai.BadRequestError, match=f"LiteLLM does not send {next(iter(fields))}"):
        chat(client, extra_body={**fields, "direct_model": "first"})


def test_broken_arguments_of_a_history_are_wrapped(start: Starter) -> None:
    fake, client = start.one(lambda seen: Reply(body=CLAUDE_SAYS), type="litellm", name=CLAUDE)
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": text}}
        for i, text in enumerate(('{"a" 1', '{"a": 1}', ""))
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in calls]
    tools = [{"type": "function", "function": FUNCTIONS[0]}]
    chat(client, messages=[*HELLO, {"role": "assistant", "tool_calls": calls}, *results], tools=tools)
    uses = [block for block in fake.seen[-1].body["messages"][1]["content"] if block["type"] == "tool_use"]
    assert [use["input"] for use in uses] == [{"INVALID_JSON": '{"a" 1'}, {"a": 1}, {}]
