"""The HTTP interface through its public client: as published, and the rest."""

import asyncio
import json
import logging
import time

import httpx
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from p2l.models import load_checkpoint
from p2l.models.predictor import Predictor
from p2l.serving.batching.batcher import NO_CACHES, QueueLimits
from p2l.serving.endpoint.endpoint_app import InputLimits, create_app
from p2l.serving.endpoint.scoring_service import ScoringService
from tests.serving.conftest import PROMPTS, request

LONG = {"headers": {"content-type": "application/json"}}


def post(ask, path, body, **options):
    return ask("POST", path, json=body, **options)


def assert_answers(answer: httpx.Response, predictor: Predictor, prompt: object) -> None:
    assert answer.status_code == 200, answer.text
    alone = predictor.rank([prompt])
    torch.testing.assert_close(torch.tensor(answer.json()["coefs"]), alone.coefs[0], rtol=0, atol=1e-5)
    assert answer.json()["eta"] == pytest.approx(float(alone.eta[0]), abs=1e-5)


@pytest.mark.parametrize("prompt", [p if isinstance(p, list) else [p] for p in PROMPTS])
def test_predict_as_published(prompt, ask, predictor):
    answer = post(ask, "/predict", {"prompt": prompt})
    assert set(answer.json()) == {"coefs", "eta"}
    assert_answers(answer, predictor, prompt)


@pytest.mark.parametrize(
    "body", [b'{"prompt": ["hi"], "more": 1}', b'{"prompt": []}', b'{"prompt": "hi"}', b"{", b'{"prompt": ["\\ud800"]}']
)
def test_an_answer_does_not_depend_on_the_way_it_took(body, service):
    app = create_app(service, keys=["a"])

    def answer(headers: list[tuple[str, str]]) -> httpx.Response:
        return asyncio.run(request(app, "POST", "/predict", content=body, headers=headers))

    # a key sent twice is for the framework to make sense of
    short, long = answer([("api-key", "a")]), answer([("api-key", "a"), ("api-key", "a")])
    assert (short.status_code, short.text, short.headers) == (long.status_code, long.text, long.headers)


def test_models_as_published(ask, predictor):
    assert ask("GET", "/models").json() == {"models": list(predictor.models), "family": predictor.family.name}


def test_eta_is_null_only_in_a_family_without_one(golden, ask, predictor):
    bt = ScoringService()
    bt.start(Predictor(load_checkpoint(str(golden / "qwen2_bt"))))
    answer = asyncio.run(request(create_app(bt), "POST", "/predict", json={"prompt": ["hi"]}))
    assert answer.json()["eta"] is None
    bt.close()
    with torch.no_grad():
        predictor.network.head.eta_head.weight.zero_()
        predictor.network.head.eta_head.bias.zero_()
    assert post(ask, "/predict", {"prompt": ["hi"]}).json()["eta"] == 0.0


def test_keys(service):
    app = create_app(service, keys=["one", "two"])

    def status(**headers):
        return asyncio.run(request(app, "POST", "/predict", json={"prompt": ["hi"]}, headers=headers)).status_code

    assert status(**{"api-key": "one"}) == status(**{"api-key": "two"}) == 200
    assert status(**{"api-key": "onetwo"}) == status(**{"api-key": ""}) == 403
    assert status() == 422  # as published
    assert asyncio.run(request(app, "GET", "/models")).status_code == 422
    for path in ("/health", "/ready", "/metrics", "/openapi.json"):
        assert asyncio.run(request(app, "GET", path)).status_code == 200
    wrong = asyncio.run(request(app, "POST", "/predict", json={"prompt": 1}, headers={"api-key": "secret"}))
    assert wrong.status_code == 403 and "secret" not in wrong.text and "one" not in wrong.text


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"", 422, "Field required"),
        (b"{", 422, "JSON decode error"),
        (b'{"prompt": ["\xff"]}', 400, "not JSON in UTF-8"),
        (b"[" * 100_000, 400, "nested more than 250 levels deep"),
        (b"{}", 422, "body.prompt: Field required"),
        (b'{"prompt": "hi"}', 422, "body.prompt: Input should be a valid list"),
        (b'{"prompt": []}', 422, "at least 1 item"),
        (b'{"prompt": [1, null]}', 422, "body.prompt.0: Input should be a valid string"),
        (b'{"prompt": ["a\\u0000b"]}', 422, "NUL character"),
        (b'{"prompt": ' + json.dumps(["hi"] * 10_000).encode() + b"}", 422, "1000 user turns; 10000 came"),
        (b'{"prompt": ["' + b"x" * 10_000_000 + b'"]}', 413, "larger than 1048576 bytes"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_a_bad_request_is_told_why(body, status, why, ask):
    answer = ask("POST", "/predict", content=body, **LONG)
    assert (answer.status_code, why in answer.json()["detail"]) == (status, True), answer.text[:300]


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_is_not_declared_as_json(media_type, ask):
    """As curl -d sends it; the published route reads it."""
    headers = {"content-type": media_type}
    answer = ask("POST", "/v1/leaderboards", content=b'{"prompts": ["x"]}', headers=headers)
    expected = f"body: the header content-type must be application/json; found '{media_type}'"
    assert (answer.status_code, answer.json()["detail"]) == (422, expected)
    assert ask("POST", "/predict", content=b'{"prompt": ["x"]}', headers=headers).status_code == 200


def test_a_body_sent_in_parts_is_limited_too(ask):
    async def parts():
        for _ in range(100):
            yield b"x" * 100_000

    assert ask("POST", "/predict", content=parts(), **LONG).status_code == 413


def test_a_client_that_leaves_within_its_body_is_no_bad_request(service, caplog):
    caplog.set_level(logging.INFO, "p2l")
    coming = iter([{"type": "http.request", "body": b'{"pro', "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive():
        return next(coming)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    asyncio.run(create_app(service)(scope, receive, send))
    assert not sent and caplog.records[-1].fields["status"] == 499


def test_bad_requests_hurt_nobody_else(service, predictor):
    app = create_app(service)

    async def all_of_them():
        bad = [request(app, "POST", "/predict", content=b'{"prompt": [1]}', **LONG) for _ in range(20)]
        good = [request(app, "POST", "/predict", json={"prompt": [f"prompt {i}"]}) for i in range(20)]
        return await asyncio.gather(*(call for pair in zip(bad, good) for call in pair))

    answers = asyncio.run(all_of_them())
    assert {answer.status_code for answer in answers[::2]} == {422}
    for i, answer in enumerate(answers[1::2]):
        assert_answers(answer, predictor, [f"prompt {i}"])


def test_leaderboards_hold_what_is_asked_for(ask, predictor):
    body = {"prompts": ["hi", ["one", "two"]], "top_k": 2, "reference": "beta", "pairs": [["alpha", "gamma"]]}
    answer = post(ask, "/v1/leaderboards", body).json()
    rankings = predictor.rank(["hi", ["one", "two"]])
    assert answer["family"] == "grk" and len(answer["leaderboards"]) == 2
    for i, board in enumerate(answer["leaderboards"]):
        coefs, eta = rankings.coefs[i], rankings.eta[i]
        best = coefs.argsort(descending=True)[:2].tolist()
        assert [entry["model"] for entry in board["ranking"]] == [predictor.models[m] for m in best]
        assert [entry["rank"] for entry in board["ranking"]] == [1, 2]
        for entry, m in zip(board["ranking"], best, strict=True):
            assert entry["coef"] == pytest.approx(float(coefs[m]), abs=1e-5)
            win = predictor.family.log_probs(coefs[m], coefs[1], eta).exp()[0]
            assert entry["win_probability"] == pytest.approx(float(win), abs=1e-5)
        (pair,) = board["pairs"]
        probs = predictor.family.log_probs(coefs[0], coefs[3], eta).exp().tolist()
        assert pair["outcomes"] == pytest.approx(dict(zip(predictor.family.outcomes, probs)), abs=1e-5)
        assert sum(pair["outcomes"].values()) == pytest.approx(1, abs=1e-5)
        assert board["eta"] == pytest.approx(float(eta), abs=1e-5)


def test_leaderboards_of_some_models(ask, predictor):
    answer = post(ask, "/v1/leaderboards", {"prompts": ["hi"], "models": ["gamma", "alpha", "gamma"]}).json()
    coefs = predictor.rank(["hi"]).coefs[0]
    expected = sorted(("alpha", "gamma"), key=lambda name: -float(coefs[predictor.models.index(name)]))
    ranking = answer["leaderboards"][0]["ranking"]
    assert [entry["model"] for entry in ranking] == expected
    assert all(entry["win_probability"] is None for entry in ranking)


@pytest.mark.parametrize("where", [{"models": ["alpa"]}, {"reference": "alpa"}, {"pairs": [["beta", "alpa"]]}])
def test_an_unknown_model_is_told_its_neighbours(where, ask):
    answer = post(ask, "/v1/leaderboards", {"prompts": ["hi"], **where})
    assert answer.status_code == 422 and "unknown model 'alpa'; did you mean 'alpha'" in answer.json()["detail"]


@pytest.mark.parametrize("field", ["topk", "refrence", "unknown"])
def test_an_unknown_field_of_leaderboards_is_an_error(field, ask):
    answer = post(ask, "/v1/leaderboards", {"prompts": ["hi"], field: 1})
    expected = f"body.{field}: unknown field; known: prompts, models, top_k, reference, pairs"
    assert answer.status_code == 422 and expected in answer.json()["detail"]


@pytest.mark.parametrize("prompt", ["", "  \n", [""], ["", " "]])
def test_a_prompt_without_text_has_no_leaderboard(prompt, ask):
    answer = post(ask, "/v1/leaderboards", {"prompts": ["hi", prompt]})
    assert answer.status_code == 422 and "the prompt has no text" in answer.json()["detail"]
    assert post(ask, "/v1/leaderboards", {"prompts": [["", "hi"]]}).status_code == 200


def test_the_published_route_ignores_unknown_fields_and_ranks_an_empty_prompt(ask):
    assert post(ask, "/predict", {"prompt": [""], "unknown": 1}).status_code == 200


@pytest.mark.parametrize("top_k", [True, "3", 2.5])
def test_the_number_of_entries_is_a_whole_number(top_k, ask):
    assert post(ask, "/v1/leaderboards", {"prompts": ["hi"], "top_k": top_k}).status_code == 422


def test_too_many_prompts_in_a_call(service):
    app = create_app(service, limits=InputLimits(prompts=3))
    answer = asyncio.run(request(app, "POST", "/v1/leaderboards", json={"prompts": ["hi"] * 4}))
    assert answer.status_code == 422 and "3 prompts; 4 came" in answer.json()["detail"]


def test_before_the_model_is_there():
    app = create_app(ScoringService())
    assert asyncio.run(request(app, "GET", "/health")).status_code == 200
    for method, path in (("GET", "/ready"), ("GET", "/models"), ("POST", "/predict")):
        answer = asyncio.run(request(app, method, path, json={"prompt": ["hi"]}))
        assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0


def test_overload_is_answered_with_429_and_when_to_come_back(tiny_checkpoint):
    slow = Slow(tiny_checkpoint)
    service = ScoringService(limits=QueueLimits(prompts=4), caches=NO_CACHES)
    service.start(slow)
    app = create_app(service)

    async def all_of_them():
        calls = [request(app, "POST", "/predict", json={"prompt": ["hi"]}) for _ in range(20)]
        return await asyncio.gather(*calls)

    answers = asyncio.run(all_of_them())
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 16 and all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    for answer in answers:
        if answer.status_code != 429:
            assert_answers(answer, slow, "hi")
    service.close()


class Slow(Predictor):
    """Every forward pass takes a while."""

    def forward(self, ids, prefixes=None):
        time.sleep(0.2)
        return super().forward(ids, prefixes)


class Broken(Predictor):
    """Fails for a reason that no client should read."""

    broken = False

    def forward(self, ids, prefixes=None):
        if self.broken:
            raise RuntimeError("secret path /srv/models and the prompt")
        return super().forward(ids, prefixes)


def test_a_fault_of_ours_is_a_500_that_says_nothing_of_it(tiny_checkpoint, caplog):
    service = ScoringService()
    predictor = Broken(tiny_checkpoint)
    service.start(predictor)
    predictor.broken = True
    answer = asyncio.run(request(create_app(service), "POST", "/predict", json={"prompt": ["hello there"]}))
    assert (answer.status_code, answer.json()) == (500, {"detail": "this prompt cannot be ranked"})
    service.close()
    unexpected = ScoringService()
    unexpected.start(Broken(tiny_checkpoint))
    unexpected.batcher.rank = None
    answer = asyncio.run(request(create_app(unexpected), "POST", "/predict", json={"prompt": ["hello there"]}))
    assert answer.status_code == 500 and "NoneType" not in answer.text and "Traceback" not in answer.text
    assert "NoneType" in caplog.text and "hello there" not in caplog.text
    unexpected.close()


def test_metrics_count_what_happened(ask):
    for prompt in ("hi", "hi!", "hi?"):
        post(ask, "/predict", {"prompt": [prompt]})
    post(ask, "/predict", {"prompt": 1})
    ask("GET", "/nowhere")
    families = text_string_to_metric_families(ask("GET", "/metrics").text)
    values = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}
    assert values["p2l_requests_total", "/predict", "200"] == 3
    assert values["p2l_requests_total", "/predict", "422"] == 1
    assert values["p2l_requests_total", "404", "other"] == 1
    assert values["p2l_request_seconds_count", "/predict"] == 4
    assert values["p2l_prompts_total",] == 3 and values["p2l_tokens_total",] > 3
    assert values["p2l_padding_tokens_total",] == 0 and values["p2l_waiting_prompts",] == 0


def test_logs_hold_no_prompt_unless_asked(service, caplog):
    caplog.set_level(logging.DEBUG, "p2l")
    for log_prompts in (False, True):
        app = create_app(service, keys=["the-key"], log_prompts=log_prompts)
        body, headers = {"prompt": ["my private text"]}, {"api-key": "the-key"}
        asyncio.run(request(app, "POST", "/predict", json=body, headers=headers))
        logged = " ".join(str(record.__dict__) for record in caplog.records)
        assert ("my private text" in logged) is log_prompts
        assert "the-key" not in logged
    access = next(record.fields for record in caplog.records if record.name == "p2l.endpoint.access")
    assert access["route"] == "/predict" and access["status"] == 200 and access["ms"] > 0


def test_the_openapi_document_has_examples(ask):
    document = ask("GET", "/openapi.json").json()
    assert {"/models", "/predict", "/v1/leaderboards", "/health", "/ready", "/metrics"} <= set(document["paths"])
    schemas = document["components"]["schemas"]
    body = {"prompt": schemas["PredictRequest"]["properties"]["prompt"]["examples"][0]}
    assert post(ask, "/predict", body).status_code == 200
    body = {name: value["examples"][0] for name, value in schemas["LeaderboardsRequest"]["properties"].items()}
    assert post(ask, "/v1/leaderboards", body).status_code == 200


def test_leaderboards_carry_the_warning_of_the_checkpoint(ask, predictor):
    body = {"prompts": ["hi"]}
    assert "warning" not in post(ask, "/v1/leaderboards", body).json()
    predictor.warning = "not better than one leaderboard for all prompts"
    assert post(ask, "/v1/leaderboards", body).json()["warning"] == predictor.warning


def test_metrics_count_what_was_not_computed_again(ask):
    turns = [f"turn {number} " + "of some words " * 2 for number in range(4)]
    for prompt in (turns[:1], turns[:2], turns[:3], turns[:3], turns):
        post(ask, "/predict", {"prompt": prompt})
    families = text_string_to_metric_families(ask("GET", "/metrics").text)
    values = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}
    assert values["p2l_prompts_total",] == 5 and values["p2l_repeated_prompts_total", "cache"] == 1
    assert 0 < values["p2l_cached_tokens_total",] < values["p2l_tokens_total",]
    assert values["p2l_cache_entries", "answers"] == 4 and values["p2l_cache_bytes", "answers"] > 0
    assert values["p2l_cache_entries", "prefixes"] > 0 and values["p2l_cache_bytes", "prefixes"] > 0


def test_every_answer_names_its_model(ask, service, tiny_checkpoint):
    answers = [
        post(ask, "/predict", {"prompt": ["hi"]}),
        post(ask, "/v1/leaderboards", {"prompts": ["hi"]}),
        ask("GET", "/models"),
    ]
    assert {answer.headers["x-p2l-model"] for answer in answers} == {Predictor(tiny_checkpoint).fingerprint()}
