"""Prompts and votes: the prompt encoder, vote tables, the simulated arena, batching by tokens.

Every name is imported when it is first used: tables of votes are read without torch.
"""

from typing import TYPE_CHECKING

from p2l.lazy_names import lazy_names

if TYPE_CHECKING:
    from p2l.data.batches import BatchPlan, PromptLoader, VoteBatch, VoteLoader
    from p2l.data.buffers import GeometricBuffer, ReplayBuffer
    from p2l.data.datamodule import VoteDataModule
    from p2l.data.encoding import EncodedPrompts, PromptBatch, encode_prompts
    from p2l.data.prompt_encoder import PromptEncoder, PromptFormat, prepare_tokenizer, turns_of
    from p2l.data.prompt_input import read_prompts
    from p2l.data.readers import read_table
    from p2l.data.score_votes import PairRule, ScoreVotes
    from p2l.data.skip_report import SkipReport
    from p2l.data.splits import split_votes
    from p2l.data.vote_sources import FileVotes, VoteSplits
    from p2l.data.vote_table import VoteTable, load_votes

__all__ = [
    "BatchPlan",
    "EncodedPrompts",
    "FileVotes",
    "GeometricBuffer",
    "PairRule",
    "PromptBatch",
    "PromptEncoder",
    "PromptFormat",
    "PromptLoader",
    "ReplayBuffer",
    "ScoreVotes",
    "SkipReport",
    "VoteBatch",
    "VoteDataModule",
    "VoteLoader",
    "VoteSplits",
    "VoteTable",
    "encode_prompts",
    "load_votes",
    "prepare_tokenizer",
    "read_prompts",
    "read_table",
    "split_votes",
    "turns_of",
]

_NAMES_OF_MODULE = {
    "p2l.data.batches": ("BatchPlan", "PromptLoader", "VoteBatch", "VoteLoader"),
    "p2l.data.buffers": ("GeometricBuffer", "ReplayBuffer"),
    "p2l.data.datamodule": ("VoteDataModule",),
    "p2l.data.encoding": ("EncodedPrompts", "PromptBatch", "encode_prompts"),
    "p2l.data.prompt_encoder": ("PromptEncoder", "PromptFormat", "prepare_tokenizer", "turns_of"),
    "p2l.data.prompt_input": ("read_prompts",),
    "p2l.data.readers": ("read_table",),
    "p2l.data.score_votes": ("PairRule", "ScoreVotes"),
    "p2l.data.skip_report": ("SkipReport",),
    "p2l.data.splits": ("split_votes",),
    "p2l.data.vote_sources": ("FileVotes", "VoteSplits"),
    "p2l.data.vote_table": ("VoteTable", "load_votes"),
}
__getattr__ = lazy_names(__name__, _NAMES_OF_MODULE)
