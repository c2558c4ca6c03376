import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from p2l import aggregate, rank
from p2l.errors import ConfigError, PromptError
from p2l.leaderboard import aggregate as aggregate_rankings
from p2l.models import Checkpoint, predict, save_checkpoint
from p2l.outcomes import FAMILIES, OutcomeFamily
from p2l.ranking import Leaderboard, Leaderboards
from p2l.types import Ranking

PROMPTS = ["What is 1+1?", ["Hello.", "Write a poem."], "<b>$x^$</b>"]
MODELS = ("ant", "bee", "cow")


def leaderboard(family: OutcomeFamily) -> Leaderboard:
    ranking = Ranking(torch.tensor([0.5, -0.2, 1.0]), torch.tensor(0.3) if family.num_eta else None)
    return Leaderboard(MODELS, ranking, family, ("hi",))


def test_one_prompt_gives_a_leaderboard_and_many_give_one_each(tiny_checkpoint: Checkpoint) -> None:
    one, many = tiny_checkpoint.rank("What is 1+1?"), tiny_checkpoint.rank(PROMPTS)
    assert isinstance(one, Leaderboard) and isinstance(many, Leaderboards)
    assert (one.prompt, len(one)) == (("What is 1+1?",), 4)
    assert [each.prompt for each in many] == [("What is 1+1?",), ("Hello.", "Write a poem."), ("<b>$x^$</b>",)]
    pd.testing.assert_frame_equal(one.table(), many[0].table(), atol=1e-5)
    assert torch.equal(many.rankings.coefs, predict(tiny_checkpoint, PROMPTS).coefs)
    assert len(tiny_checkpoint.rank(["What is 1+1?"])) == 1


def test_a_chat_is_one_prompt(tiny_checkpoint: Checkpoint) -> None:
    chat = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    found = tiny_checkpoint.rank([*chat, {"role": "user", "content": "Write a poem."}])
    assert isinstance(found, Leaderboard) and found.prompt == tuple(PROMPTS[1])


def test_a_checkpoint_may_be_a_path(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)
    expected = rank(tiny_checkpoint, PROMPTS).rankings.coefs
    torch.testing.assert_close(rank(tmp_path / "checkpoint", PROMPTS).rankings.coefs, expected)


def test_leaderboards_are_a_sequence(tiny_checkpoint: Checkpoint) -> None:
    many = tiny_checkpoint.rank(PROMPTS)
    assert [each.table().equals(many[i].table()) for i, each in enumerate(many)] == [True] * 3
    assert many[-1].prompt == ("<b>$x^$</b>",) and len(many[1:]) == 2
    with pytest.raises(IndexError):
        many[3]
    table = many.table()
    assert table.columns[0] == "prompt" and table["prompt"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert tiny_checkpoint.rank([]).table().empty and len(tiny_checkpoint.rank([])) == 0


def test_a_summary_of_prompts_is_a_leaderboard(tiny_checkpoint: Checkpoint) -> None:
    many = tiny_checkpoint.rank(PROMPTS)
    summary = aggregate(many)
    assert isinstance(summary, Leaderboard)
    assert torch.equal(summary.ranking.coefs, aggregate_rankings(many.rankings, many.family).coefs)
    assert repr(summary).startswith("Leaderboard(4 models, grk: 1 ")
    with pytest.raises(ConfigError, match="needs the family"):
        aggregate(many.rankings)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_outcomes_of_a_pair_are_those_of_the_other_side(family: OutcomeFamily) -> None:
    ours, theirs = leaderboard(family).predict("cow", "bee"), leaderboard(family).predict("bee", "cow")
    assert tuple(ours) == family.outcomes
    assert sum(ours.values()) == pytest.approx(1)
    assert ours["a wins"] > ours["b wins"]
    assert ours["a wins"] == pytest.approx(theirs["b wins"]) and ours.get("tie") == pytest.approx(theirs.get("tie"))


def test_an_odd_name_is_answered_with_the_nearest() -> None:
    board = leaderboard(FAMILIES["bt"])
    assert board.predict("cow", "bee")["a wins"] == pytest.approx(1 / (1 + math.exp(-1.2)))
    with pytest.raises(ConfigError, match="no model 'cows' on this leaderboard of 3 models; did you mean 'cow'"):
        board.predict("ant", "cows")
    with pytest.raises(ConfigError, match="the models are ant, bee, cow"):
        board.predict("zzz", "ant")


def test_saved_tables_are_read_back(tmp_path: Path) -> None:
    board = leaderboard(FAMILIES["grk"])
    table = board.table()
    assert board.save(tmp_path / "new" / "a.csv") == tmp_path / "new" / "a.csv"
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "a.csv"), table)
    pd.testing.assert_frame_equal(pd.read_parquet(board.save(tmp_path / "a.parquet")), table)
    rows = json.loads(board.save(str(tmp_path / "a.json")).read_text())
    assert [row["model"] for row in rows] == ["cow", "ant", "bee"]
    for picture in ("a.png", "a.svg", "A.PDF"):
        assert board.save(tmp_path / picture).stat().st_size > 1000
    with pytest.raises(ConfigError, match=r"cannot save a leaderboard as 'a.xlsx': expected .csv, .json"):
        board.save(tmp_path / "a.xlsx")
    assert {path.name for path in tmp_path.iterdir()} == {"new", "a.parquet", "a.json", "a.png", "a.svg", "A.PDF"}


def test_what_is_shown_is_short_and_escaped(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    many = tiny_checkpoint.rank(PROMPTS)
    assert repr(many) == "Leaderboards(3 prompts, 4 models, grk)"
    assert repr(many[0]).startswith("Leaderboard('What is 1+1?', 4 models, grk: 1 ") and len(repr(many[0])) < 120
    assert "win_rate" in str(many[0])
    assert "<b>$x" not in many._repr_html_() and "&lt;b&gt;" in many[2]._repr_html_()
    assert many.save(tmp_path / "all.png").stat().st_size > 1000


def test_a_checkpoint_is_one_line(tiny_checkpoint: Checkpoint) -> None:
    assert repr(tiny_checkpoint).startswith("Checkpoint(qwen2, ")
    assert repr(tiny_checkpoint).endswith(" parameters, 4 models, grk, 64 tokens)")
    assert repr(tiny_checkpoint) in tiny_checkpoint._repr_html_()
    assert repr(tiny_checkpoint.encoder).endswith(", 64 tokens, CLS at the end)")


def test_one_string_is_not_a_list_of_letters(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(PromptError, match="expected a list of prompts; got one string, 'What is 1"):
        tiny_checkpoint.encoder.encode_batch("What is 1+1?")
