"""What a reader should know of the votes that a run was trained and validated on."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from p2l.data.prompt_overlap import PromptOverlap
from p2l.data.table_summary import summarise
from p2l.data.vote_checks import BY_PROMPT, split_doubts, table_doubts
from p2l.data.vote_table import VoteTable
from p2l.evaluation.calibration import reliability
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.evaluation.simple_metrics import ScoredVotes
from p2l.json_output import json_value
from p2l.outcomes import OutcomeFamily


def summaries(tables: Mapping[str, VoteTable]) -> dict[str, Any]:
    """Return by split the fields of its ``TableSummary``, and the prompts that are trained on too."""
    found: dict[str, Any] = {}
    for name, table in tables.items():
        found[name] = json_value(asdict(summarise(table)))
        if name != "train" and "train" in tables:
            found[name]["trained_on_too"] = PromptOverlap.of(tables["train"], table).prompts
    return found


def doubts(tables: Mapping[str, VoteTable], advice: str = BY_PROMPT) -> list[str]:
    """Return doubts about the votes and their split, one sentence each; ``advice`` as in ``split_doubts``."""
    found = [doubt for name, table in tables.items() for doubt in table_doubts(name, table)]
    return [*found, *(split_doubts(tables, advice) if "train" in tables else ())]


def calibration_of(votes: RankedVotes, family: OutcomeFamily) -> dict[str, Any]:
    """Return by outcome the mean probability, observed share and weight of votes in ten bins of probability."""
    scored = ScoredVotes(votes, family)
    targets = scored.targets.double().numpy()
    evidence = targets.sum(axis=1)
    weight = scored.weight.numpy() * evidence
    shares = targets / np.where(evidence > 0, evidence, 1)[:, None]
    return reliability(family.outcomes, scored.log_probs.double().exp().numpy(), shares, weight)
