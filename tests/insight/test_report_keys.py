"""What a reader of the report needs beside a number: ranges of ranks, scales, keys, and what is left out."""

import re

import numpy as np

from p2l.insight.analysis import Questions, analyse
from p2l.insight.html_report import MODEL_ERROR, render
from p2l.insight.prompt_groups import Clusters
from p2l.insight.ranked_prompts import RankedPrompts
from p2l.insight.report_figures import MOST_POINTS, cluster_map
from p2l.outcomes import BT
from tests.insight.rankings import draw, needs_extra
from tests.insight.test_html_report import insight, read

pytestmark = needs_extra


def sections(page: str) -> dict[str, str]:
    parts = re.split(r'<section id="([a-z-]+)">', page)
    return dict(zip(parts[1::2], parts[2::2]))


def test_each_section_with_intervals_names_what_they_leave_out_and_its_scale() -> None:
    found = sections(render(insight(old="alpha", new="beta", focus="alpha"), "x"))
    for name in ("leaderboard", "own-against-reference", "changes-since-before", "strengths-and-weaknesses"):
        assert MODEL_ERROR in found[name] and re.search(r"[-+]?\d+ to [-+]?\d+ Elo</th>", found[name]), name
    assert MODEL_ERROR in found["regression-test"] and re.search(r"\d+% to \d+%</th>", found["regression-test"])


def test_overlapping_intervals_have_a_range_of_ranks() -> None:
    page = render(insight(num_prompts=6), "x")
    table = insight(num_prompts=6).overall.table()
    assert (table["rank_best"] < table["rank_worst"]).any()
    ranges = [f"{b}–{w}" if b < w else str(b) for b, w in zip(table["rank_best"], table["rank_worst"])]
    cells = re.findall(r'<tr><td class="number">([^<]*)</td><td>', sections(page)["leaderboard"])
    assert cells == ranges
    assert f"first on all prompts, rank {ranges[0]}" in read(page).text


def test_colours_have_a_key_and_all_whiskers_of_a_table_one_scale() -> None:
    models = tuple(f"model {i}" for i in range(40))
    rankings = draw(BT, 30, len(models))
    labels = {"topic": [("odd",) if i % 2 else ("even",) for i in range(30)]}
    ranked = RankedPrompts(tuple((f"prompt {i}",) for i in range(30)), rankings, models, BT, labels)
    page = render(analyse(ranked, Questions()), "x")
    assert re.search(r"lower than on all prompts, −\d+ Elo<span class=\"legend\"></span>\+\d+ Elo, higher", page)
    assert len(set(re.findall(r'<th scope="col">([^<]* Elo)</th>', sections(page)["leaderboard"]))) == 1


def test_a_map_of_many_prompts_states_how_many_it_draws() -> None:
    count = MOST_POINTS + 1
    clusters = Clusters(
        labels=np.zeros(count, dtype=np.int64), names=("one",), examples=(np.arange(3),),
        positions=np.random.default_rng(0).normal(size=(count, 2)),
    )  # fmt: skip
    assert "Drawn: 1,501 of 3,001 prompts." in cluster_map(clusters, ["text"] * count)
