"""The table of clients and provider types: make it, write it to the documentation, read it back.

python -m tests.serving.router.conformance.table [title of a client, to run it alone and keep the others ...]
"""

import logging
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from tests.serving.router.conformance.clients import CLIENTS, EXPECTED, Client, Scenario
from tests.serving.router.conformance.vendors import VENDORS
from tests.serving.router.fakes import KEY, Running, model, router, upstream

PAGE = Path(__file__).parents[4] / "docs" / "conformance.md"
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
OK, REFUSED, NOT_APPLICABLE = "ok", "refused", "not applicable"
# what the router's own refusals say
_CLEAR = re.compile(r"needs|does not support")


class UnclearError(AssertionError):
    """A client got another answer than the model gave, or an error that does not say what is missing."""


@contextmanager
def running(kind: str) -> Iterator[Running]:
    """A router before the fake of one provider type."""
    vendor = VENDORS[kind]
    with tempfile.TemporaryDirectory() as folder, upstream(vendor.answer) as fake:
        suffix = "" if kind in ("anthropic", "gemini") else "/v1"
        entry = model(f"{fake.url}{suffix}", type=kind, **vendor.keys)
        with router(Path(folder), {"model_configs": {"m": entry}}, router_type="random") as server:
            yield server


def outcome(client: Client, scenario: Scenario) -> str:
    """Return the word for one cell; UnclearError if none fits."""
    try:
        found = client.run(scenario)
    except NotImplementedError:
        return NOT_APPLICABLE
    except Exception as error:
        text, status = str(error), getattr(error, "status_code", None)
        if _CLEAR.search(text) and status in (None, 400):
            return REFUSED
        raise UnclearError(f"{scenario}: {type(error).__name__}: {text}") from error
    if found != EXPECTED[scenario]:
        raise UnclearError(f"{scenario}: expected {EXPECTED[scenario]!r}, got {found!r}")
    return OK


def read_table() -> dict[tuple[str, str, str], str]:
    """Return the words of the page, by client, provider type and scenario."""
    words, title, columns = {}, "", []
    for line in PAGE.read_text().splitlines():
        if line.startswith("### "):
            title, columns = line.removeprefix("### "), []
        elif title and line.startswith("|") and not line.startswith("|-"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not columns:
                columns = cells[1:]
            else:
                words |= {
                    (title, cells[0].strip("`"), name): word for name, word in zip(columns, cells[1:], strict=True)
                }
    return words


def _read_versions() -> dict[str, str]:
    """Return the lines of the page that name the package and version of each client."""
    return dict(re.findall(r"^### (.+)\n\n(`.+)$", PAGE.read_text(), re.MULTILINE))


def _page(words: dict[tuple[str, str, str], str], versions: dict[str, str]) -> str:
    today = datetime.now(timezone.utc).date()
    lines = [
        "# Clients and providers",
        "",
        "Each cell is a test: the client asks the router, and the router asks a fake of the provider's API. The fake",
        "refuses what the vendor would refuse.",
        "",
        "| word | meaning |",
        "|---|---|",
        f"| {OK} | the client got the model's answer |",
        f"| {REFUSED} | a 400 that names what the model lacks |",
        f"| {NOT_APPLICABLE} | the client does not have it |",
        "",
        "The tool loop has three turns. Claude and Gemini think in it, and their signed thoughts come back. A test is",
        "skipped if its client is not installed.",
        "",
        f"`python -m tests.serving.router.conformance.table` last made this page on {today}. Each client has the",
        "version that it was run with.",
        "",
    ]
    for client in CLIENTS:
        lines += [f"### {client.title}", "", versions[client.title], ""]
        lines += [f"| provider type | {' | '.join(SCENARIOS)} |", f"|---|{'---|' * len(SCENARIOS)}"]
        for kind in VENDORS:
            cells = (words[client.title, kind, scenario] for scenario in SCENARIOS)
            lines.append(f"| `{kind}` | {' | '.join(cells)} |")
        lines.append("")
    lines += [f"`litellm` behind the router: {version('litellm')}.", ""]
    return "\n".join(lines)


def main(titles: list[str]) -> None:
    """Run the cells of these clients, of all if none is named, and write the page; needs the clients and LiteLLM."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    run = [client for client in CLIENTS if client.title in titles or not titles]
    words = read_table()
    versions = _read_versions() | {client.title: f"`{client.package}` {client.version()}" for client in run}
    for kind in VENDORS:
        with running(kind) as server:
            for client in run:
                with client(server.base, KEY) as made:
                    for scenario in SCENARIOS:
                        words[client.title, kind, scenario] = outcome(made, scenario)
    PAGE.write_text(_page(words, versions))


if __name__ == "__main__":
    main(sys.argv[1:])
