"""What operators rely on: log lines of refusals, request ids, private files, no open router by accident."""

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from p2l.errors import ConfigError
from p2l.serving.router.command_line import parser
from p2l.serving.router.config.router_options import RouterOptions
from p2l.serving.router.config.snapshot import Snapshot
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.router_command import main
from p2l.serving.router.router_worker import make_server
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import HELLO, KEY, model

BODY = {"model": "-", "messages": HELLO}
AUTHORIZED = {"authorization": f"Bearer {KEY}"}
MODELS = {"m": {"name": "m", "type": "openai", "cost": 1.0}}


def logged(caplog: pytest.LogCaptureFixture, wanted: Callable[[Any], bool]) -> list[dict[str, Any]]:
    """The fields of the lines that are wanted; a line may follow its response."""
    deadline = time.monotonic() + 10
    while not (found := [record.fields for record in list(caplog.records) if wanted(record)]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        ({"json": BODY}, {}, {"status": 401, "code": "missing_api_key", "client": "127.0.0.1"}),
        (
            {"json": BODY},
            {"authorization": "Bearer sk-wrong"},
            {"status": 401, "code": "invalid_api_key", "client": "127.0.0.1"},
        ),
        ({"json": {}}, AUTHORIZED, {"status": 400, "code": "invalid_request"}),
        ({"content": b"x" * 2000}, AUTHORIZED, {"status": 413, "code": "body_too_large"}),
        (
            {"json": BODY},
            {"authorization": "Bearer sk-nothing-000"},
            {"status": 403, "code": "no_model"},
        ),
        (
            {"json": {**BODY, "direct_model": "x"}},
            {**AUTHORIZED, "x-request-id": "mine-1"},
            {"status": 404, "code": "model_not_found", "request_id": "mine-1"},
        ),
    ],
)
def test_a_refused_request_leaves_a_line(
    start: Starter, content: Any, headers: dict[str, str], expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    keys = [{"name": "default-one", "key": KEY}, {"name": "none", "key": "sk-nothing-000", "models": []}]
    fake = start.upstream()
    running = start.router({"m": model(fake.url)}, {"keys": keys}, router_type="random", max_body=1000, api_key="-")
    with caplog.at_level("INFO", "p2l.serving.router"):
        httpx.post(f"{running.base}/chat/completions", headers=headers, **content)
        lines = logged(caplog, lambda record: record.name == "p2l.serving.router.access")
    shared = {"method": "POST", "route": "/v1/chat/completions", "ms": lines[0]["ms"]}
    assert lines == [{**shared, **expected}]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("sent", "kept"), [("mine-1", True), ("x" * 128, True), ("x" * 129, False), ("é", False)])
def test_the_id_of_a_client_is_kept(
    start: Starter, sent: str, kept: bool, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    running = start.router({"m": model(start.upstream().url, type="openai-o1")}, router_type="random")
    headers = {**AUTHORIZED, "x-request-id": sent.encode("latin-1")}
    with caplog.at_level("INFO", "p2l.serving.router"):
        answer = httpx.post(f"{running.base}/chat/completions", json={**BODY, "stream": streamed}, headers=headers)
        (fields,) = logged(caplog, lambda record: record.message == "answered")
    expected = sent if kept else answer.headers["x-p2l-decision"]
    assert answer.headers.get_list("x-request-id") == [expected]
    assert fields.get("request_id") == (sent if kept else None) and fields["id"] == answer.headers["x-p2l-decision"]
    missing = httpx.get(f"{running.base}/models/x", headers=headers)
    assert missing.status_code == 404 and missing.headers.get("x-request-id") == (sent if kept else None)


def test_files_of_state_and_feedback_are_private(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model_configs": MODELS, "router": {"mean_cost": 1.0}}))
    state, feedback = tmp_path / "state.sqlite", tmp_path / "votes.sqlite"
    shared = tmp_path / "shared.sqlite"
    sqlite3.connect(shared).close()
    shared.touch()
    os.chmod(shared, 0o640)  # a mode that somebody chose stays
    options = RouterOptions(tmp_path / "c.yaml", state=state, feedback=str(feedback), api_key=KEY)
    container = RouterContainer(options, Snapshot.load(options))
    container.ledger.spent(container.snapshot.keys.owner(KEY.encode()))  # type: ignore[arg-type]
    RouterContainer(RouterOptions(tmp_path / "c.yaml", state=shared), Snapshot.load(options)).state.close()
    container.state.execute("INSERT INTO sessions VALUES ('a', 'b', 'c', 1)")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.sqlite*")}
    container.state.close()
    assert modes.pop("shared.sqlite") == 0o640
    assert {name: mode for name, mode in modes.items() if not name.startswith("shared")} == {
        name: 0o600 for name in modes if not name.startswith("shared")
    }
    assert "state.sqlite-wal" in modes and "votes.sqlite" in modes


OPEN = ["--router-type", "random"]


@pytest.mark.parametrize(
    ("arguments", "keys", "refused"),
    [
        ([], [], True),
        (["--host", "10.1.2.3"], [], True),
        ([], [{"name": "a", "key": "-"}], True),  # the published key, given as if it were a secret
        (["--api-key", "sk-own-000"], [], False),
        ([], [{"name": "a", "key": "sk-a-0000000"}], False),
        (["--host", "127.0.0.2"], [], False),
        (["--host", "::1"], [], False),
        (["--allow-default-key"], [], False),
    ],
)
def test_a_router_is_open_only_on_request(
    tmp_path: Path, arguments: list[str], keys: list[dict[str, str]], refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model_configs": MODELS, "keys": keys}))
    line = ["-c", str(tmp_path / "c.yaml"), *OPEN, *arguments]
    if refused:
        assert main(line) == 2
        assert "give --allow-default-key to serve as published" in caplog.text
        with pytest.raises(ConfigError, match="--api-key is the published default"):
            make_server(parser().parse_args(line))  # a worker that is started again
    else:
        make_server(parser().parse_args(line))


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.startswith("usage: p2l router ")
