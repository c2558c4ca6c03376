"""Prompts and votes: the prompt encoder, vote tables, the simulated arena, batching by tokens."""

from p2l.data.batches import BatchPlan, PromptLoader, VoteBatch, VoteLoader
from p2l.data.buffers import GeometricBuffer, ReplayBuffer
from p2l.data.datamodule import VoteDataModule
from p2l.data.encoding import EncodedPrompts, PromptBatch, encode_prompts
from p2l.data.prompt_encoder import PromptEncoder, PromptFormat, prepare_tokenizer, turns_of
from p2l.data.prompt_input import read_prompts
from p2l.data.readers import read_table
from p2l.data.skip_report import SkipReport
from p2l.data.splits import split_votes
from p2l.data.vote_sources import FileVotes, VoteSplits
from p2l.data.vote_table import VoteTable, load_votes

__all__ = [
    "BatchPlan",
    "EncodedPrompts",
    "FileVotes",
    "GeometricBuffer",
    "PromptBatch",
    "PromptEncoder",
    "PromptFormat",
    "PromptLoader",
    "ReplayBuffer",
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
