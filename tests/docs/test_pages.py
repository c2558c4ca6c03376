"""Pages, pictures and example configurations belong together."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from p2l.serving.router import router_command
from p2l.serving.router.command_line import parser as router_parser
from tests.docs.sandbox import KEYS
from tests.docs.shown_code import PAGES
from tests.running import ROOT

EXAMPLES = sorted((ROOT / "docs" / "examples" / "router").glob("*.yaml"))
NEEDED = {"litellm": ("litellm", "litellm"), "list_prices": ("prices", "genai_prices")}  # extra and module
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_configurations_are_valid(path: Path, monkeypatch: pytest.MonkeyPatch):
    extra, module = NEEDED.get(path.stem, ("serve", "aiohttp"))
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (extra: {extra})")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(router_command, "set_up_logs", lambda level: None)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    optimizer = ["--cost-optimizer", "optimal-lp"] if path.stem == "opponents" else []
    assert router_command.main(["--config", str(path), "--check-config", *optimizer]) == 0


def test_every_example_is_on_the_page_of_router_options():
    page = (ROOT / "docs" / "router_options.md").read_text()
    assert [path.name for path in EXAMPLES if path.name not in page and path.stem != "demo"] == []


def test_every_option_of_the_router_is_on_its_page():
    page = (ROOT / "docs" / "router_options.md").read_text()
    options = {option for action in router_parser()._actions for option in action.option_strings if option[:2] == "--"}
    assert {option for option in options if option not in page} <= {"--help", "--no-reload"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path):
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_navigation():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = set(re.findall(r"[\w/]+\.md", yaml.safe_dump(site["nav"])))
    assert listed == {page.name for page in PAGES} - {"README.md", "CONTRIBUTING.md"}


def test_every_picture_is_shown():
    shown = " ".join(page.read_text() for page in PAGES)
    assert [path.name for path in (ROOT / "docs").glob("*.png") if path.name not in shown] == []


def test_the_readme_is_short():
    words = re.findall(r"[A-Za-z][\w'-]*", (ROOT / "README.md").read_text())
    assert len(words) < 1000, "move it to docs/"


def test_keys_of_the_examples_are_set_for_the_tests():
    used = set(re.findall(r"\$\{(\w+)\}", " ".join(path.read_text() for path in EXAMPLES)))
    assert used <= KEYS.keys()
