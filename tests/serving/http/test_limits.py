"""Each limit of a request, over real sockets, on both servers: the answer, and that the server goes on."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx
import orjson
import pytest

from p2l.serving.endpoint.endpoint_app import create_app
from p2l.serving.endpoint.error_handlers import detail_error
from p2l.serving.endpoint.scoring_service import ScoringService
from p2l.serving.http.request_limits import RequestLimits, is_nested_deeper
from p2l.serving.http.uvicorn_config import uvicorn_config
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import KEY, model
from tests.serving.server_thread import serving
from tests.waiting import wait_until

LIMITS = RequestLimits(header_bytes=8 << 10, header_seconds=0.3, body_bytes=20_000, body_seconds=0.3, nesting=40)


@dataclass(frozen=True)
class Server:
    """A running server: where a valid request goes, what it holds, and the form of an error."""

    url: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    message_of: Callable[[Any], str]

    def post(self, content: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
        content = orjson.dumps(self.body) if content is None else content
        return httpx.post(self.url + self.path, content=content, headers={**self.headers, **(headers or {})})

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            yield connection

    def head(self, *lines: str) -> bytes:
        headers = [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([f"POST {self.path} HTTP/1.1", "host: x", *headers, *lines, "", ""]).encode()

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics").text


@pytest.fixture(params=["endpoint", "router"])
def server(request: pytest.FixtureRequest, start: Starter, service: ScoringService) -> Iterator[Server]:
    which: Literal["endpoint", "router"] = request.param
    if which == "router":
        running = start.router({"m": model(start.upstream().url)}, limits=LIMITS, router_type="random")
        body = {"messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {KEY}"}
        yield Server(running.url, "/v1/chat/completions", headers, body, lambda error: error["error"]["message"])
    else:
        app = create_app(service, keys=["the-key"], request_limits=LIMITS)
        with serving(uvicorn_config(app, LIMITS, detail_error, shutdown_seconds=2)) as url:
            yield Server(url, "/predict", {"api-key": "the-key"}, {"prompt": ["hi"]}, lambda error: error["detail"])


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    received = b""
    try:
        while piece := connection.recv(1 << 16):
            received += piece
    except ConnectionError:
        pass
    return received


def assert_refused(server: Server, answer: httpx.Response, status: int, why: str) -> None:
    assert answer.status_code == status, answer.text
    assert why in server.message_of(answer.json())
    assert server.post().status_code == 200


def test_large_headers(server: Server) -> None:
    assert_refused(server, server.post(headers={"x-large": "x" * 9000}), 431, "more than 8192 bytes")


def test_many_headers(server: Server) -> None:
    many = {f"x-{i}": "value" for i in range(1000)}
    assert_refused(server, server.post(headers=many), 431, "more than 8192 bytes")


def test_a_long_path(server: Server) -> None:
    answer = httpx.get(f"{server.url}/{'x' * 9000}")
    assert_refused(server, answer, 431, "more than 8192 bytes")


@pytest.mark.parametrize("piece", [b"x" * 4096, b"x-name: value\r\n" * 256], ids=["one header", "many headers"])
def test_endless_headers(server: Server, piece: bytes) -> None:
    with server.connection() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nx-endless: ")
        with pytest.raises(ConnectionError):
            connection.sendall(piece * 8192)  # more than sockets hold
    assert server.post().status_code == 200


@pytest.mark.parametrize("sent", [b"G", b"GET /health HTTP/1.1\r\nhost: x\r\n", b"\r\nPOST / HTTP/1.1\r\nx: "])
def test_half_sent_headers(server: Server, sent: bytes) -> None:
    with server.connection() as connection:
        start = time.monotonic()
        connection.sendall(sent)
        received = read_all(connection)
    assert 0.2 < time.monotonic() - start < 5
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ") and b"connection: close" in head
    assert "headers did not arrive within 0.3 seconds" in server.message_of(orjson.loads(body))


def test_headers_sent_drop_by_drop(server: Server) -> None:
    """The time runs from the first byte: more of them do not prolong it."""
    with server.connection() as connection:
        start = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - start < 5:
                connection.sendall(b"GET")
                time.sleep(0.05)
    assert time.monotonic() - start < 4


def test_an_idle_connection_outlives_the_time_of_headers(server: Server) -> None:
    """Between two requests the keep-alive timeout holds, which is longer; also before the first one."""
    with server.connection() as connection:
        for _ in range(2):
            time.sleep(0.5)
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
def test_a_slow_body(server: Server, framing: str) -> None:
    with server.connection() as connection:
        connection.sendall(server.head(framing))
        connection.sendall(b"1\r\n{\r\n" if "chunked" in framing else b"{")
        received = read_all(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert "body did not arrive within 0.3 seconds" in server.message_of(orjson.loads(body))
    assert server.post().status_code == 200


def test_a_large_body(server: Server) -> None:
    assert_refused(server, server.post(b"x" * 30_000), 413, "20000 bytes")


def test_a_large_body_in_parts(server: Server) -> None:
    def parts() -> Iterator[bytes]:
        yield from [b"x" * 6000] * 5

    assert_refused(server, server.post(parts()), 413, "20000 bytes")


@pytest.mark.parametrize("content", [b"[" * 1000, b'{"a":' * 50 + b"0" + b"}" * 50], ids=["unclosed", "closed"])
def test_deep_nesting(server: Server, content: bytes) -> None:
    assert_refused(server, server.post(content), 400, "nested more than 40 levels deep")


def test_brackets_in_text_are_no_nesting(server: Server) -> None:
    text = '[[{{"\\' * 40
    body = orjson.loads(orjson.dumps(server.body).replace(b'"hi"', orjson.dumps(text)))
    assert server.post(orjson.dumps(body)).status_code == 200


def test_a_client_that_leaves_within_its_body_is_counted(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall(server.head("content-length: 100") + b"{")
    wait_until(lambda: 'status="499"' in server.metrics())


def test_every_answer_is_counted_and_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "p2l")
    server.post()
    server.post(b"x" * 30_000)
    counted = server.metrics()
    answered = [record.fields for record in caplog.records if record.name.endswith(".access")]
    logged = [fields["status"] for fields in answered if fields["route"] == server.path]
    if server.path == "/predict":
        assert logged == [200, 413]
    else:  # the router logs the model and the cost of its answers instead
        assert logged == [413] and [record.message for record in caplog.records].count("answered") == 1
    assert all(f'route="{server.path}",status="{status}"}} 1.0' in counted for status in (200, 413))


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        (b"[]", 1),
        (b'{"a": [{"b": 1}, {"c": 2}]}', 3),
        (b'"[[[["', 0),
        (rb'{"a\"[[[": "\\", "b": [0]}', 2),
        (b'["' + rb"\\" * 10 + b'", [[1]]]', 3),
        (b"[[[", 3),
        (b"]]][", 0),
    ],
)
def test_the_depth_of_nesting(body: bytes, depth: int) -> None:
    assert not is_nested_deeper(body, depth)
    assert depth == 0 or is_nested_deeper(body, depth - 1)


@pytest.mark.parametrize("framing", ["declared", "chunked"])
@pytest.mark.parametrize("refusal", ["too large", "wrong key"])
def test_a_refusal_reaches_a_client_that_sends_its_whole_body_first(server: Server, framing: str, refusal: str) -> None:
    """A close with unread bytes would be a reset, which takes the response with it."""
    size = 5_000_000 if refusal == "too large" else 19_000
    wrong = {name: f"{value}x" for name, value in server.headers.items()} if refusal == "wrong key" else server.headers
    head = replace(server, headers=wrong).head(
        "connection: close", f"content-length: {size}" if framing == "declared" else "transfer-encoding: chunked"
    )
    body = b"x" * size if framing == "declared" else b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"
    with server.connection() as connection:
        connection.sendall(head)
        time.sleep(0.2)  # the refusal is on its way before the body is
        connection.sendall(body)
        received = b""
        while piece := connection.recv(1 << 16):  # a reset would raise
            received += piece
    expected = (b"413",) if refusal == "too large" else (b"401", b"422")  # the endpoint looks at the body first
    assert received.split(b" ", 2)[1] in expected and received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("sent", "then", "status", "why"),
    [
        (b"GET /health HTTP/1.1\r\nx-large: ", b"x" * 2_000_000, 431, "the headers are too large"),
        (b"GET /health HTTP/1.1\r\nx-late: ", b"y" * 300_000, 408, "headers did not arrive"),
        (b"NONSENSE\r\n\r\n", b"z" * 300_000, 400, "not valid HTTP"),
        (b"POST /health HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", b"z" * 300_000, 400, "not valid HTTP"),
    ],
    ids=["large", "late", "nonsense", "broken chunk"],
)
def test_a_refusal_of_the_protocol_reaches_a_client_that_sends_on(
    server: Server, sent: bytes, then: bytes, status: int, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "p2l")
    with server.connection() as connection:
        connection.sendall(sent if status != 431 else sent + b"x" * 20_000)
        time.sleep(0.5)  # the refusal is on its way
        for start in range(0, len(then), 100_000):
            connection.sendall(then[start : start + 100_000])
        received = b""
        while piece := connection.recv(1 << 16):  # a reset would raise
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"connection: close" in head and received.count(b"HTTP/") == 1
    assert why in server.message_of(orjson.loads(body))
    logged = [record.fields for record in caplog.records if record.name == "p2l.serving.http.bounded_protocol"]
    assert [(fields["status"], fields["client"]) for fields in logged] == [(status, "127.0.0.1")]
    assert server.post().status_code == 200


def test_a_silent_client_is_left_after_a_refusal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2l.serving.http.bounded_protocol.LINGER_SILENCE", 0.2)
    with server.connection() as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        read_all(connection)  # the response ends, and the client does not close

        def is_reset() -> bool:
            try:
                connection.sendall(b"x")
            except ConnectionError:
                return True
            return False

        time.sleep(0.3)
        wait_until(is_reset)
