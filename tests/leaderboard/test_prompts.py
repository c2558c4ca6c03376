import torch

from p2l.leaderboard import leaderboard_table, rank_prompts
from p2l.models import Checkpoint
from p2l.models.predictor import predict
from p2l.types import Ranking


def test_each_prompt_has_its_leaderboard(tiny_checkpoint: Checkpoint) -> None:
    prompts = ["what is 1+1?", ["hello", "write a poem"]]
    tables, rankings = rank_prompts(tiny_checkpoint, prompts), predict(tiny_checkpoint, prompts)
    assert rankings.eta is not None
    assert len(tables) == 2
    for table, coefs, eta in zip(tables, rankings.coefs, rankings.eta, strict=True):
        expected = leaderboard_table(tiny_checkpoint.models, Ranking(coefs, eta), tiny_checkpoint.family)
        assert table.equals(expected)
    assert not torch.equal(rankings.coefs[0], rankings.coefs[1])


def test_no_prompts_have_no_leaderboards(tiny_checkpoint: Checkpoint) -> None:
    assert rank_prompts(tiny_checkpoint, []) == []
