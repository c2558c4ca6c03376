"""Keys, limits, and what must never come out: keys and prompts in logs, errors and metrics; models out of reach."""

import json
import logging
import socket
from typing import Any

import httpx
import pytest

from p2l.serving.http.json_logs import JsonFormatter
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, Reply, Running, Upstream, completion, delta, model, stream

PROMPT = "my-very-private-prompt"
SECRET = "sk-upstream-secret"
BODY = {"messages": [{"role": "user", "content": PROMPT}]}
HEADERS = {"authorization": f"Bearer {KEY}"}


def post(running: Running, body: Any = BODY, headers: dict[str, str] | None = None, **rest: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return httpx.post(f"{running.base}/chat/completions", content=content, headers=HEADERS | (headers or {}), **rest)


def is_openai_error(answer: httpx.Response) -> bool:
    return set(answer.json()) == {"error"} and set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("", 401),
        (f"Basic {KEY}", 401),
        ("Bearer wrong", 401),
        (f"Bearer {KEY[:-1]}", 401),
        (f"Bearer {KEY}x", 401),
        (f"Bearer {KEY.upper()}", 401),
        ("Bearer " + "x" * 10_000, 401),
        ("Bearer \xff\xfe", 401),
        (f"bearer {KEY}", 200),
    ],
)
def test_keys(shared: tuple[Upstream, Running], header: str | None, status: int) -> None:
    fake, running = shared
    before = len(fake.seen)
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    for method, path in (("POST", "/chat/completions"), ("GET", "/models"), ("POST", "/route")):
        answer = httpx.request(method, running.base + path, json=BODY, headers=headers)
        assert answer.status_code == status and (status == 200 or is_openai_error(answer))
    assert len(fake.seen) - before == (status == 200)


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://evil"},
        {"api_base": "http://evil"},
        {"api_key": "sk-x"},
        {"extra_headers": {"authorization": "x"}},
        {"extra_body": {}},
        {"models": ["other"]},
        {"fallbacks": ["other"]},
        {"model_list": []},
        {"custom_llm_provider": "openai"},
        {"litellm_params": {}},
        {"vertex_credentials": "x"},
        {"router_outputs": {}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_no_way_to_other_models_hosts_or_keys(shared: tuple[Upstream, Running], fields: dict[str, Any]) -> None:
    fake, running = shared
    before = len(fake.seen)
    answer = post(running, BODY | fields)
    assert answer.status_code == 400 and is_openai_error(answer) and len(fake.seen) == before


@pytest.mark.parametrize("name", ["gpt-4o", "../m", "m/../../x", "M", "m\n", ""])
def test_no_model_but_the_configured(start: Starter, name: str) -> None:
    fake = start.upstream()
    running = start.router({"m": model(fake.url)}, router_type="random")
    answer = post(running, BODY | {"direct_model": name})
    assert answer.status_code == (404 if name else 200)
    assert {seen.body["model"] for seen in fake.seen} <= {"wire-name"}
    assert post(running, BODY | {"model": name}).status_code == 200
    assert {seen.body["model"] for seen in fake.seen} == {"wire-name"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"messages": [{"role": "user", "content": "\xff"}]}',
        b"[" * 100_000,
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": [1]},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [5]}]},
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x", "tool_calls": [1]}]},
        BODY | {"cost": -1},
        BODY | {"cost": "1"},
        BODY | {"cost": True},
        BODY | {"stream": "yes"},
        BODY | {"stream_options": []},
        BODY | {"direct_model": 5},
        BODY | {"n": 0},
        BODY | {"n": "2"},
        BODY | {"max_tokens": -5},
        BODY | {"tools": {}},
        BODY | {"response_format": "json"},
        BODY | {"metadata": json.loads('{"a":' * 300 + "0" + "}" * 300)},
        b'{"messages": [{"role": "user", "content": "x"}], "cost": NaN}',
        b'{"messages": [{"role": "user", "content": "x"}], "cost": 1e999}',
    ],
)
def test_garbage_is_rejected(shared: tuple[Upstream, Running], body: Any) -> None:
    answer = post(shared[1], body)
    assert answer.status_code == 400 and is_openai_error(answer)


def test_an_internal_failure_is_answered_logged_and_counted(
    start: Starter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = start.upstream()
    running = start.router({"m": model(fake.url)}, router_type="random")

    async def select(*args: Any) -> None:
        raise AssertionError(PROMPT)

    monkeypatch.setattr(running.container.selector, "select", select)
    answer = post(running)
    assert answer.status_code == 500 and is_openai_error(answer) and PROMPT not in answer.text
    counted = 'p2l_router_requests_total{route="/v1/chat/completions",status="500"} 1.0'
    assert counted in httpx.get(f"{running.url}/metrics").text
    (expected,) = [record for record in caplog.records if record.name == "p2l.serving.router"]
    assert expected.levelname == "ERROR" and '"error":"AssertionError","at":"' in JsonFormatter().format(expected)


def test_embeddings_nested_too_deeply(start: Starter) -> None:
    fake = start.upstream()
    running = start.router({"m": model(fake.url)}, {"embedding_configs": {"e": model(fake.url)}}, router_type="random")
    deep = json.loads('{"a":' * 300 + "0" + "}" * 300)
    answer = httpx.post(f"{running.base}/embeddings", json={"model": "e", "input": "x", "deep": deep}, headers=HEADERS)
    assert answer.status_code == 400 and is_openai_error(answer) and not fake.seen


def test_bodies_are_bounded(start: Starter) -> None:
    running = start.router({"m": model(start.upstream().url)}, router_type="random", max_body=1000)
    assert post(running, {"messages": [{"role": "user", "content": "x" * 900}]}).status_code == 200
    large = {"messages": [{"role": "user", "content": "x" * 1000}]}
    assert post(running, large).status_code == 413

    def pieces() -> Any:
        yield from [b"x" * 600] * 3

    answer = httpx.post(f"{running.base}/chat/completions", content=pieces(), headers=HEADERS)
    assert answer.status_code == 413 and is_openai_error(answer)


def test_headers_are_bounded(start: Starter) -> None:
    running = start.router({"m": model(start.upstream().url)}, router_type="random")
    answer = post(running, headers={"x-large": "x" * 40_000})
    assert answer.status_code == 431 and is_openai_error(answer)
    host, _, port = running.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nx-endless: ")
        received = b""
        try:
            for _ in range(1000):
                connection.sendall(b"x" * 4096)
            while piece := connection.recv(4096):
                received += piece
        except (ConnectionError, BrokenPipeError):
            pass  # it was closed while we wrote
    assert httpx.get(f"{running.url}/health").status_code == 200


@pytest.mark.parametrize("authorised", [True, False])
@pytest.mark.parametrize("form", ["many lines", "one line", "an extension of a chunk"])
def test_trailers_are_bounded(start: Starter, form: str, authorised: bool) -> None:
    """Nothing of a body is waited for after a 401, but trailers may still come."""
    running = start.router({"m": model(start.upstream().url)}, router_type="random")
    host, _, port = running.url.removeprefix("http://").partition(":")
    key = f"authorization: Bearer {KEY}\r\n" if authorised else ""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{key}transfer-encoding: chunked\r\n\r\n"
    begun = {"many lines": b"0\r\n", "one line": b"0\r\nx-endless: ", "an extension of a chunk": b"1;"}[form]
    piece = b"x-trailer: y\r\n" * 512 if form == "many lines" else b"x" * 8192
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + begun)
        with pytest.raises(ConnectionError):
            connection.sendall(piece * 2048)  # more than sockets hold
    assert httpx.get(f"{running.url}/health").status_code == 200


def test_trailers_are_no_headers(start: Starter) -> None:
    """A body with trailers is answered, and so is what follows on the connection."""
    running = start.router({"m": model(start.upstream().url)}, router_type="random")
    host, _, port = running.url.removeprefix("http://").partition(":")
    body = json.dumps(BODY).encode()
    chunked = b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n" % (len(body), body)
    trailer = f"authorization: Bearer {KEY}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for header, status in ((trailer, b"200"), ("", b"401"), (trailer, b"200")):
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{header}"
            connection.sendall(head.encode() + chunked + trailer.encode() + b"\r\n")
            received = connection.recv(65536)
            assert received.split(b" ", 2)[1] == status
            while not received.endswith(b"}") and (more := connection.recv(65536)):
                received += more


def test_an_unknown_route_and_method(start: Starter) -> None:
    running = start.router({"m": model(start.upstream().url)}, router_type="random")
    assert is_openai_error(httpx.get(f"{running.base}/nothing"))
    assert httpx.get(f"{running.base}/chat/completions", headers=HEADERS).status_code == 405
    assert httpx.get(f"{running.base}/files/../../etc/passwd").status_code == 404


@pytest.mark.parametrize("failing", [None, "echo", "reset", "malformed", "stream"])
def test_neither_key_nor_prompt_comes_out(
    start: Starter, failing: str | None, capfd: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    def answer(seen: Any) -> Reply:
        if failing == "echo":  # a provider that quotes what it got
            message = f"bad key {seen.headers.get('authorization')} for {seen.body}"
            return Reply(401, {"error": {"message": message}})
        if failing == "stream":
            return stream(delta("x"), done=False, reset=True)
        if failing == "malformed":
            return Reply(body=f"{seen.headers} {seen.body}".encode())
        return Reply(body=completion(), reset=failing == "reset")

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(JsonFormatter().format(record) + record.getMessage())  # type: ignore
    root = logging.getLogger()
    root.addHandler(handler)
    levels = {name: logging.getLogger(name).level for name in ("", "p2l.serving.router")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        fake = start.upstream(answer)
        running = start.router(
            {"m": model(fake.url)}, feedback=str(tmp_path / "votes.sqlite"), state=tmp_path / "state.sqlite"
        )
        answered = post(running, BODY | {"stream": failing == "stream"}, {"x-p2l-session": "s"})
        post(running, BODY | {"cost": "x"})
        post(running, headers={"authorization": "Bearer sk-a-wrong-key"})
        metrics = httpx.get(f"{running.url}/metrics").text
    finally:
        root.removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert lines and (failing is not None or answered.status_code == 200)
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("*.sqlite*"))
    expected = answered.text + str(answered.headers)
    ours = [line for line in lines if "127.0.0.1" not in line]  # the test's own client logs its URLs
    for text in (expected, metrics, "".join(ours), "".join(capfd.readouterr()), stored.decode("latin-1")):
        assert not [secret for secret in (KEY, SECRET, "sk-a-wrong-key", PROMPT) if secret in text]
    assert SECRET not in repr(running.container.snapshot.config) and KEY not in repr(running.container.snapshot.config)


def test_a_refusal_that_quotes_our_key_is_scrubbed(start: Starter) -> None:
    fake = start.upstream(lambda seen: Reply(400, {"error": {"message": f"{seen.headers['authorization']} is odd"}}))
    answer = post(start.router({"m": model(fake.url)}, router_type="random"))
    assert answer.status_code == 400 and SECRET not in answer.text and "***" in answer.text


def test_a_redirect_is_not_followed(start: Starter) -> None:
    thief = start.upstream()
    fake = start.upstream(lambda seen: Reply(307, {}, headers={"location": f"{thief.url}/chat/completions"}))
    assert post(start.router({"m": model(fake.url)}, router_type="random")).status_code == 502
    assert not thief.seen


def test_environment_keys_go_to_the_vendor_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from p2l.serving.router.config.server_config import ModelConfig

    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert ModelConfig("m", "openai", 1.0).key == "sk-env"
    assert ModelConfig("m", "openai", 1.0, base_url="http://elsewhere/v1").key is None
