"""Every client before every provider type: each cell is the word that the documentation has for it."""

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec

import pytest

from tests.serving.router.conformance.clients import CLIENTS, Client, Scenario
from tests.serving.router.conformance.table import NOT_APPLICABLE, OK, REFUSED, SCENARIOS, outcome, read_table, running
from tests.serving.router.conformance.vendors import VENDORS
from tests.serving.router.fakes import KEY, Running

# the clients warn of their own dependencies
pytestmark = [pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Running]]:
    with ExitStack() as stack:
        able = [kind for kind in VENDORS if kind != "litellm" or find_spec("litellm") is not None]
        yield {kind: stack.enter_context(running(kind)) for kind in able}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kind", VENDORS)
@pytest.mark.parametrize("client", CLIENTS, ids=[client.title for client in CLIENTS])
def test_the_table_says_what_happens(
    servers: dict[str, Running], client: type[Client], kind: str, scenario: Scenario
) -> None:
    if client.version() is None:
        pytest.skip(f"{client.package} is not installed")
    if kind not in servers:
        pytest.skip("litellm is not installed")
    with client(servers[kind].base, KEY) as made:
        assert outcome(made, scenario) == read_table()[client.title, kind, scenario]


def test_the_table_is_whole() -> None:
    table = read_table()
    assert set(table) == {(c.title, kind, scenario) for c in CLIENTS for kind in VENDORS for scenario in SCENARIOS}
    assert set(table.values()) <= {OK, REFUSED, NOT_APPLICABLE}
    for client in CLIENTS:
        for kind in VENDORS:
            assert OK in {table[client.title, kind, scenario] for scenario in SCENARIOS}
