"""Values of any kind in any place: a request is parsed or refused, an answer is rendered or the model's fault."""

import copy
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from p2l.serving.http.api_error import ApiError
from p2l.serving.router.api.message_answer import message_of
from p2l.serving.router.api.message_events import MessageEvents
from p2l.serving.router.api.parse_messages import parse_messages_request
from p2l.serving.router.upstream.chat_answer import ChatStream, check_completion, chunks_of
from p2l.serving.router.upstream.model_client import build_request
from p2l.serving.router.upstream_error import UpstreamError
from tests.serving.router.fakes import completion
from tests.serving.router.messages.test_no_field_is_lost import BODY, MODELS
from tests.serving.router.upstream.providers.test_unknown_fields import at

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-2, 2), st.floats(), st.sampled_from(["", "a", "text", "tool_use"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["type", "text", "name", "id", "content", "thinking"]), inner, max_size=3),
    ),
    max_leaves=4,
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWER = completion("x", tool_calls=[CALL], reasoning_content="r", thinking_blocks=[{"type": "thinking"}], refusal="no")


def places(value: Any, keys: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in inner for place in ((*keys, key), *places(one, (*keys, key)))]


def changed(data: st.DataObject, value: Any) -> Any:
    """The value with something else in one or two places."""
    made = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(places(made)))
        at(made, place[:-1])[place[-1]] = data.draw(VALUES)
    return made


@given(st.data(), st.sampled_from(list(MODELS.values())))
def test_a_request_is_built_or_refused(data: st.DataObject, entry: Any) -> None:
    with suppress(ApiError):
        build_request(entry, parse_messages_request(changed(data, BODY), Headers({})))


@given(st.data(), st.booleans())
def test_an_answer_is_rendered_or_the_model_s_fault(data: st.DataObject, shows_thinking: bool) -> None:
    as_chat: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "stop": ["a"]}
    with suppress(UpstreamError):
        whole = check_completion(changed(data, ANSWER))
        with suppress(UpstreamError):
            message_of(copy.deepcopy(whole), as_chat, model="m", shows_thinking=shows_thinking)
        stream, events = ChatStream(), MessageEvents(as_chat, model="m", shows_thinking=shows_thinking)
        made = [event for chunk in chunks_of(whole) for event in events.feed(stream.check(chunk))]
        assert made[0]["type"] == "message_start" and [*events.end()][-1]["type"] == "message_stop"
