"""One sandbox and one pair of servers for all pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.live_servers import LiveServers, live_servers
from tests.docs.sandbox import make_sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sandbox(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def live(sandbox: Path) -> Iterator[LiveServers]:
    with live_servers(sandbox) as servers:
        yield servers
