"""Feedback in a real PostgreSQL: as in SQLite, through restarts and failures, without a word of the password."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from p2l.data.readers import read_table
from p2l.errors import ConfigError
from p2l.serving.router.router_command import main
from p2l.serving.router.storage.databases import DatabaseError
from p2l.serving.router.storage.open_database import make_database
from tests.serving.router.api.test_feedback import decide, router, vote
from tests.serving.router.conftest import Starter
from tests.serving.router.fakes import Running
from tests.waiting import wait_until

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("psycopg_pool")
PASSWORD = "a-very-private-password"


@dataclass(frozen=True)
class Server:
    """A cluster of its own in a folder."""

    programs: Path
    folder: Path
    port: int
    owner: str | None

    @property
    def url(self) -> str:
        return f"postgresql://p2l:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def control(self, *command: str) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        fixed = ["-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options, "-w"]
        self.run("pg_ctl", *command, *fixed)

    def run(self, program: str, *arguments: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "user": self.owner, "cwd": "/"}
        subprocess.run([str(self.programs / program), *arguments], check=True, timeout=60, **quiet)  # type: ignore

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            found: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
            return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        folder, owner = Path(name), _owner(Path(name))
        probe.bind(("127.0.0.1", 0))
        started = Server(Path(found).parent, folder, probe.getsockname()[1], owner)
        probe.close()
        (folder / "password").write_text(PASSWORD)
        fixed = ["-U", "p2l", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "--no-sync"]
        started.run("initdb", "-D", str(folder / "data"), *fixed)
        started.control("start")
        yield started
        started.control("stop", "-m", "immediate")


def _owner(folder: Path) -> str | None:
    """The user to run it: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return None
    if not any(entry.pw_name == "postgres" for entry in pwd.getpwall()):
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    shutil.chown(folder, "postgres")
    return "postgres"


@pytest.fixture
def running(start: Starter, server: Server) -> Running:
    return router(start, server.url, store_prompts=True)


def test_votes_become_a_table_for_training(running: Running, server: Server, tmp_path: Path) -> None:
    a, b = decide(running, "a"), decide(running, "b", 'it\'s 100 % "quoted" \0 ✓?')
    assert vote(running, decision=b, other_decision=a, winner="model_b").status_code == 201
    assert vote(running, decision=b, rating=0.5).status_code == 201
    assert [vote(running, decision=b, other_decision=a, winner="model_b").status_code for _ in range(2)] == [409] * 2
    assert vote(running, "sk-other-0000", decision=b, rating=1).status_code == 404
    assert vote(running, decision="\0", rating=1).status_code == 400
    out = tmp_path / "votes.jsonl"
    command = ["--config", str(running.config_path), "--feedback", server.url, "--export-votes", str(out)]
    assert main(command) == 0
    (row,) = read_table(str(out)).to_dict("records")
    assert list(row["prompt"]) == ['it\'s 100 % "quoted" \0 ✓?']
    assert (row["model_a"], row["model_b"], row["winner"]) == ("b", "a", "model_b")


def test_a_restart_is_noticed_and_no_decision_is_lost(running: Running, server: Server) -> None:
    before = decide(running, "a")
    server.control("stop", "-m", "immediate")
    refused = vote(running, decision=before, rating=1)
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "feedback_unavailable"
    began = time.monotonic()
    meanwhile = [decide(running, "a") for _ in range(5)]
    assert time.monotonic() - began < 5  # chats go on
    server.control("start")
    wait_until(lambda: vote(running, decision=before, rating=1).status_code == 201)
    time.sleep(1.0)
    assert [vote(running, decision=one, rating=1).status_code for one in meanwhile] == [201] * 5
    stored = server.query("SELECT count(*) FROM votes WHERE rating = 1")
    assert stored == [(6,)]


def test_one_vote_of_many_at_once(running: Running, server: Server) -> None:
    decision = decide(running, "a")
    headers = {"authorization": "Bearer sk-client-0123456789"}

    async def all_at_once() -> list[int]:
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            body = {"decision": decision, "rating": -1}
            answers = await asyncio.gather(*(client.post(f"{running.base}/feedback", json=body) for _ in range(20)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(all_at_once()) == [201] + [409] * 19
    assert server.query(f"SELECT count(*) FROM votes WHERE decision = '{decision}'") == [(1,)]


def test_workers_make_the_tables_at_the_same_time(server: Server) -> None:
    async def make() -> None:
        stores = [make_database(server.url) for _ in range(6)]
        schema = "CREATE TABLE IF NOT EXISTS other (id integer key, x REAL)"
        await asyncio.gather(*(store.open(schema) for store in stores))
        assert await asyncio.gather(*(store.rows("SELECT ?", (1,)) for store in stores)) == [[(1,)]] * 6
        await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(make())


def test_password_and_prompt_do_not_leak(
    start: Starter, server: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A rejected password: chats are answered, votes get an error, logs contain neither."""
    caplog.set_level("DEBUG")
    running = router(start, server.url.replace(PASSWORD, PASSWORD + "-x"), store_prompts=True)
    answer = vote(running, decision=decide(running, "a", "private prompt"), rating=1)
    assert answer.status_code == 503
    records = [record for record in caplog.records if record.name.startswith(("p2l", "psycopg"))]
    logged = "".join(f"{record.getMessage()} {record.__dict__}" for record in records)
    assert "cannot be reached" in logged
    for text in (answer.text, logged, "".join(capfd.readouterr()), repr(running.container.options)):
        assert PASSWORD not in text and "private prompt" not in text


@pytest.mark.parametrize("url", [f"postgresql://u:{PASSWORD}/x@h:1/d?b=c", f"mysql://u:{PASSWORD}@h/d"])
def test_an_invalid_postgresql_url_is_reported_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://user@host") as error:
        make_database(url)
    assert PASSWORD not in str(error.value)


def test_a_statement_that_is_wrong_is_not_tried_again(server: Server) -> None:
    async def ask() -> None:
        store = make_database(server.url)
        await store.open("SELECT 1")
        with pytest.raises(DatabaseError, match="42P01") as error:
            await store.rows("SELECT * FROM nothing")
        assert not error.value.retryable
        await store.close()

    asyncio.run(ask())
