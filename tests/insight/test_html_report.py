"""The page: valid, self-contained, and safe for any prompts."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from p2l.html import Html, safe, tag, whisker
from p2l.insight.analysis import Insight, Questions, analyse
from p2l.insight.html_report import render
from p2l.insight.ranked_prompts import RankedPrompts
from p2l.outcomes import BT, FAMILIES, GRK
from p2l.types import Ranking
from tests.insight.rankings import MODELS, draw, needs_extra

pytestmark = needs_extra

EVIL = "<script>alert('x')</script> & \"quotes\" </style> \ud83d \0 <img src=x onerror=alert(1)>"
VOID = {"meta"}


class Reader(HTMLParser):
    """Collects elements and text, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def insight(family=GRK, num_prompts: int = 40, models: tuple[str, ...] = MODELS, **questions: object) -> Insight:
    rankings = draw(family, num_prompts, len(models))
    prompts = tuple((f"{EVIL} {i}", "法院") if i % 2 else (f"court number {i}",) for i in range(num_prompts))
    labels = {"topic": [("<b>odd</b>",) if i % 2 else ("even",) for i in range(num_prompts)]}
    vectors = np.random.default_rng(0).normal(size=(num_prompts, 8)).astype(np.float32)
    ranked = RankedPrompts(prompts, rankings, models, family, labels, vectors)
    other = RankedPrompts(prompts, draw(family, num_prompts, len(models), seed=1), models, family, {})
    return analyse(ranked, Questions(**questions), reference=other, before=other)


def test_no_prompt_llm_or_category_becomes_markup() -> None:
    models = ("<script>1</script>", *MODELS[1:])
    page = render(insight(models=models, old=models[0], new="beta", focus=models[0]), "</title><script>")
    elements = read(page).seen
    names = {name for name, _ in elements}
    assert not names & {"script", "img", "iframe", "link"}
    assert not any(name.startswith("on") for _, attributes in elements for name in attributes)
    assert "<script" not in page and "onerror=alert" not in page.replace("&lt;img src=x onerror=alert(1)&gt;", "")
    page.encode("utf-8")  # a lone surrogate cannot be encoded


def test_the_page_needs_nothing_else_and_has_every_part() -> None:
    page = render(insight(old="alpha", new="beta", focus=("alpha", "gamma")), "Insight: test")
    reader = read(page)
    assert not any({"src", "srcset"} & set(attributes) for _, attributes in reader.seen)
    assert "http:" not in page and "https:" not in page and "@import" not in page and "url(" not in page
    links = {attributes["href"] for name, attributes in reader.seen if name == "a"}
    anchors = {f"#{attributes['id']}" for _, attributes in reader.seen if "id" in attributes}
    assert links == anchors and len(links) == 7
    for part in ("alpha: rank", "gamma: rank", "beta against alpha", "By topic", "By cluster", "Bonferroni", "court"):
        assert part in reader.text
    assert sum(name == "circle" for name, _ in reader.seen) >= 40


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_family_has_a_page(family) -> None:
    assert "alpha" in read(render(insight(family, 12, old="alpha", new="beta"), "x")).text


@pytest.mark.parametrize("num_prompts", [1, 3])
def test_few_prompts_have_a_page_without_groups(num_prompts) -> None:
    found = insight(BT, num_prompts, old="alpha", new="beta")
    assert found.groups == () and found.differences.empty
    assert "Omitted, with fewer than 5 prompts: " in read(render(found, "x")).text


def test_equal_prompts_and_two_llms_have_a_page() -> None:
    rankings = Ranking(torch.tensor([[0.3, 0.0]]).repeat(8, 1), None)
    vectors = np.ones((8, 4), dtype=np.float32)
    ranked = RankedPrompts((("same",),) * 8, rankings, ("a", "b"), BT, {"k": [("v",)] * 8}, vectors)
    page = read(render(analyse(ranked, Questions(old="a", new="b")), "x"))
    assert re.search(r"\bnan\b", page.text.lower()) is None


def test_pieces_of_a_page() -> None:
    assert safe("<a>&\"'") == "&lt;a&gt;&amp;&quot;&#x27;"
    assert safe(Html("<a>")) == "<a>"
    assert tag("td.x.y", 1, "<", attributes={"title": '"'}) == '<td class="x y" title="&quot;">1&lt;</td>'
    drawn = whisker(1.0, 0.5, 1.5, (0.0, 2.0), zero=0.0)
    assert 'class="whisker up"' in drawn and "left:25.00%;width:50.00%" in drawn
    assert "<i" not in whisker(1.0, float("nan"), float("nan"), (0.0, 2.0))
