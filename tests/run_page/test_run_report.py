"""The page of a run: every part that has numbers, safe for any names, and the warnings a reader needs."""

import math
import re

import pytest

from p2l.run_page import RunRecord, render_run
from p2l.run_page.run_warnings import run_warnings
from tests.insight.test_html_report import read
from tests.run_page.records import EVIL, UNIFORM, history, record, votes


def warnings(**changes: object) -> str:
    return "\n".join(run_warnings(record(**changes)))


@pytest.mark.parametrize("number", [1, 2, 3, 24, 130])
def test_every_part_is_there_for_any_number_of_models(number: int) -> None:
    page = read(render_run(record(number)))
    for part in ("Losses", "Test", "Calibration", "Leaderboards of example prompts", "Votes", "Configuration"):
        assert part in page.text
    for figure in ("1.1100", "-0.0900", "-0.2000 to -0.0500", "50.0%", "optimizer.lr", "and then?"):
        assert figure in page.text
    assert page.text.count(f"demo {number - 1}") == 2  # in the leaderboard and in the votes: none is left out
    assert sum(name == "svg" for name, _ in page.seen) == 2


def test_nothing_from_data_becomes_markup_and_nothing_is_loaded() -> None:
    html = render_run(record(3, EVIL, reason=EVIL, status="stopped"))
    page = read(html)
    assert not {name for name, _ in page.seen} & {"script", "img", "iframe", "link", "image"}
    assert not any(name.startswith("on") for _, attributes in page.seen for name in attributes)
    assert not any({"src", "srcset", "data"} & set(attributes) for _, attributes in page.seen)
    assert not re.search(r"https?:|@import|url\((?!#)|//[a-z]", html)
    assert all(a["xlink:href"].startswith("#") for _, a in page.seen if "xlink:href" in a)
    html.encode("utf-8")


@pytest.mark.parametrize(
    "known",
    [
        RunRecord(),
        RunRecord(history=[{"step": 1, "train/loss": 1.0}]),
        RunRecord(history=[{"step": 1, "val/log_loss": 1.0}]),
        RunRecord(history=[{"step": 4, "speed/votes_per_s": 9.0}], status="running"),
        record(history=()),
        record(calibration={}, leaderboards=(), votes={}, test={}, config={}),
        record(calibration={"a wins": {"predicted": [], "observed": [], "votes": []}}),
        record(votes={"val": votes(["x"])}),
    ],
)
def test_a_page_is_made_of_what_there_is(known: RunRecord) -> None:
    assert "Run: " in read(render_run(known)).text


def test_a_good_run_has_no_warning() -> None:
    assert warnings() == "" and "Warnings" not in read(render_run(record())).text


def test_a_run_that_is_not_better_than_the_marginal_leaderboard_says_so_on_top() -> None:
    found = warnings(history=history([1.25, 1.23, 1.27]))
    assert "Not better than the marginal leaderboard, which ignores the prompt: +0.0300 nats a vote" in found
    assert "rose after step 20, from 1.2300 to 1.2700" in found and "uniform" not in found
    page = render_run(record(history=history([1.25, 1.23])))
    assert page.index("Not better than the marginal") < page.index('<section id="losses">')
    assert "Not better" in warnings(history=history([1.2]))  # equal is not better


def test_losses_worse_than_a_guess_rising_ends_and_missing_validation_are_named() -> None:
    assert f"{1.426:.4f} nats a vote, a uniform guess {UNIFORM:.4f}" in warnings(history=history([1.426]))
    assert "uniform" not in warnings(history=history([math.nextafter(UNIFORM, 0)], marginal=2))
    assert "rose" not in warnings(history=history([1.1, 1.104]))
    assert "no validation loss" in warnings(history=[{"step": 1, "train/loss": 1.0}])


def test_what_the_votes_cannot_show_is_named() -> None:
    assert "Votes, val: 57 of 57 prompts." in warnings(doubts=["val: 57 of 57 prompts"])
    assert "Only 40 validation votes" in warnings(votes={"val": {**votes(["x"]), "votes": 40}})
    assert "Only" not in warnings(votes={"val": {**votes(["x"]), "votes": 500}})


def test_a_run_that_stopped_says_where_and_why() -> None:
    assert "did not finish" in warnings(status="stopped", reason="SIGTERM", step=7)
    assert "up to step 7 of 30: SIGTERM." in warnings(status="stopped", reason="SIGTERM", step=7)
    assert "is running" in warnings(status="running")


def test_many_prompts_and_options_are_counted() -> None:
    one = record().leaderboards[0]
    text = read(render_run(record(leaderboards=[one] * 50))).text
    assert "Prompts: 20 of 50." in text and "3 options" in text
