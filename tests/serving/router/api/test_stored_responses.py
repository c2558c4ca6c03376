"""Responses that a provider stores belong to one model and one key."""

from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest

from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, completion, model, stream
from tests.serving.router.fakes_responses import ABLE, answering, events, two


class TestState:
    def test_a_response_is_followed_by_the_model_that_made_it(self, start: Starter) -> None:
        running, better, worse = two(start)
        client = start.client(running)
        first = client.responses.create(model="-", input="hi", extra_body={"cost": 2.0})
        assert first.id == "resp_worse"
        raw = client.responses.with_raw_response.create(model="-", input="more", previous_response_id=first.id)
        assert (raw.headers["x-p2l-model"], raw.headers["x-p2l-reason"]) == ("worse", "pinned")
        assert worse.seen[-1].body["previous_response_id"] == first.id and not better.seen
        with pytest.raises(openai.BadRequestError, match="kept by worse"):
            client.responses.create(model="better", input="more", previous_response_id=first.id)
        worse.answer = lambda seen: Reply(500, {})
        with pytest.raises(openai.InternalServerError):
            client.responses.create(model="-", input="more", previous_response_id=first.id)
        assert not better.seen

    def test_a_streamed_one_is_known_from_its_first_event(self, start: Starter) -> None:
        running, better, _ = two(start)
        better.answer = lambda seen: stream(*events("Hello"), done=False, named=True)
        client = start.client(running)
        first = next(iter(client.responses.create(model="-", input="hi", stream=True)))
        better.answer = answering()
        assert client.responses.create(model="-", input="more", previous_response_id=first.response.id)

    def test_another_key_does_not_reach_it(self, start: Starter) -> None:
        keys = {"keys": [{"name": "other", "key": "sk-other-00000"}]}
        running, better, _ = two(start, keys)
        made = start.client(running).responses.create(model="-", input="hi")
        other = start.client(running, "sk-other-00000")
        session = {"extra_headers": {"x-p2l-session": made.id}}
        better.answer = lambda seen: Reply(body=completion())
        other.chat.completions.create(model="-", messages=[{"role": "user", "content": "hi"}], **session)
        for name in ("-", "better"):
            with pytest.raises(openai.BadRequestError, match="not known which model") as error:
                other.responses.create(model=name, input="more", previous_response_id=made.id)
            assert error.value.code == "previous_response_not_found"

    def test_stored_responses_are_fetched_and_deleted_at_their_provider(self, start: Starter) -> None:
        running, better, worse = two(start)
        client = start.client(running)
        made = client.responses.create(model="-", input="hi", extra_body={"cost": 2.0})
        assert client.responses.retrieve(made.id, include=["reasoning.encrypted_content"]).output_text == "Hello!"
        seen = worse.seen[-1]
        assert (seen.method, seen.body) == ("GET", None)
        assert seen.path == "/v1/responses/resp_worse?include%5B%5D=reasoning.encrypted_content"
        assert seen.headers["authorization"] == "Bearer sk-upstream-secret"
        items = {"object": "list", "data": [{"type": "message"}], "has_more": False}
        worse.answer = lambda seen: Reply(body=items)
        assert client.responses.input_items.list(made.id, limit=1).data[0].type == "message"
        assert worse.seen[-1].path == "/v1/responses/resp_worse/input_items?limit=1"
        worse.answer = lambda seen: Reply(body={"id": made.id, "deleted": True})
        client.responses.delete(made.id)
        assert worse.seen[-1].method == "DELETE" and not better.seen
        worse.answer = lambda seen: Reply(404, {"error": {"message": "no such response", "code": "gone"}})
        with pytest.raises(openai.NotFoundError, match="keeps no such response"):
            client.responses.retrieve(made.id)

    def test_unknown_responses_are_not_requested_upstream(self, start: Starter) -> None:
        keys = {"keys": [{"name": "other", "key": "sk-other-00000"}, {"name": "k", "key": "sk-key-000000"}]}
        running, better, worse = two(start, keys)
        made = start.client(running, "sk-key-000000").responses.create(model="-", input="hi")
        asked = len(better.seen)
        for key, given in (("sk-other-00000", made.id), ("sk-key-000000", "resp_x"), ("sk-key-000000", "..%2Fmodels")):
            answer = httpx.get(f"{running.base}/responses/{given}", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 404 and set(answer.json()["error"]) == {"message", "type", "param", "code"}
        mine = {"authorization": "Bearer sk-key-000000"}
        assert httpx.get(f"{running.base}/responses/{made.id}/cancel", headers=mine).status_code == 404
        assert httpx.get(f"{running.base}/responses/{made.id}?stream=true", headers=mine).status_code == 400
        assert httpx.get(f"{running.base}/responses/{made.id}").status_code in (401, 403)
        assert len(better.seen) == asked and not worse.seen

    def test_a_response_with_store_false_is_unknown(self, start: Starter) -> None:
        client = start.client(two(start)[0])
        made = client.responses.create(model="-", input="hi", store=False)
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model="-", input="more", previous_response_id=made.id)

    @pytest.mark.parametrize(
        "fields",
        [
            {"conversation": "conv_1"},
            {"prompt": {"id": "pmpt_1"}},
            {"background": True},
            {"input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "x"}]},
            {"previous_response_id": 5},
            {"input": []},
            {"input": 5},
            {"input": None},
            {"input": ["x"]},
            {"input": [{"content": "x"}]},
            {"input": [{"role": "user", "content": 5}]},
            {"input": [{"role": "user", "content": [{"type": ["x"]}]}]},
            {"input": [{"role": "assistant", "content": "x"}]},
            {"input": "hi", "base_url": "http://evil"},
            {"input": "hi", "stream": "yes"},
            {"input": "hi", "max_output_tokens": 0},
            {"input": "hi", "cost": -1},
        ],
        ids=str,
    )
    def test_unsupported_fields_are_rejected(self, able: Running, fields: dict[str, Any]) -> None:
        body = {"model": "-", "input": "hi", **fields}
        answer = httpx.post(f"{able.base}/responses", json=body, headers={"authorization": f"Bearer {KEY}"})
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    @pytest.fixture(scope="class")
    @staticmethod
    def able(tmp_path_factory: pytest.TempPathFactory) -> Any:
        with ExitStack() as stack:
            starter = Starter(tmp_path_factory.mktemp("able"), stack)
            yield starter.router({"m": model(starter.upstream(answering()).url, **ABLE)})
