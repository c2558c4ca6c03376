"""Heads: map the hidden state of a prompt to its Ranking."""

from p2l.heads.cost_head import CostHead
from p2l.heads.initialization import INITIALIZATIONS, initialize_linear
from p2l.heads.ranking_head import RankingHead

__all__ = ["INITIALIZATIONS", "CostHead", "RankingHead", "initialize_linear"]
