"""Numeric options are checked once, where they enter, with the name, what is wanted and what came."""

import math
from collections.abc import Callable

import pytest

from p2l.commands.explore import ExplorerJob
from p2l.commands.predict import PredictionJob
from p2l.data import BatchPlan, FileVotes
from p2l.data.simulated import SimulatedStream, SimulatedVotes
from p2l.errors import ConfigError
from p2l.evaluation import EvaluationSource
from p2l.options import check_count_or_none, check_number, check_prices, check_seed

CHECKS: dict[str, tuple[Callable[[], object], str]] = {
    "share skipped": (
        lambda: FileVotes("v", max_skipped_share=5),
        "data.max_skipped_share must be a share from 0 to 1; got 5",
    ),
    "held out, negative": (lambda: FileVotes("v", val_share=-0.1), "data.val_share must be a share"),
    "held out, percent": (lambda: FileVotes("v", val_share=10), "data.val_share must be a share from 0 to 1; got 10"),
    "trained on, none": (
        lambda: FileVotes("v", train_share=0),
        "data.train_share must be a finite number above 0; got 0",
    ),
    "trained on, nan": (lambda: FileVotes("v", train_share=math.nan), "data.train_share must be"),
    "seed": (lambda: FileVotes("v", seed=-1), "seed must be a whole number"),
    "batch size": (lambda: BatchPlan(batch_size=0), "batching.batch_size must be a whole number, at least 1; got 0"),
    "token budget": (lambda: BatchPlan(token_budget=-1), "batching.token_budget must be a whole number"),
    "simulated models": (lambda: SimulatedVotes(num_models=1), "data.num_models must be a whole number, at least 2"),
    "simulated votes": (lambda: SimulatedVotes(votes_per_prompt=0), "data.votes_per_prompt must be"),
    "simulated share": (lambda: SimulatedVotes(held_out=1.5), "data.held_out must be a share"),
    "stream": (lambda: SimulatedStream(num_votes=0), "data.num_votes must be"),
    "stay": (lambda: SimulatedStream(stay=math.inf), "data.stay must be a finite number"),
    "prediction": (lambda: PredictionJob("d", "o.csv", token_budget=0), "token_budget must be"),
    "evaluation": (lambda: EvaluationSource(model_repo="m", token_budget=0), "token_budget must be"),
    "port": (lambda: ExplorerJob(port=70_000), "port must be a whole number, from 0 to 65,535; got 70000"),
    "length of answers": (lambda: ExplorerJob(output_tokens=-1), "output_tokens must be a finite number of at least 0"),
    "number": (lambda: check_number("x", True), "x must be a finite number; got True"),
    "text": (lambda: check_number("x", "1"), "x must be a finite number; got '1'"),
    "large seed": (lambda: check_seed(2**32), "seed must be a whole number, from 0 to 4,294,967,295"),
    "off or more": (lambda: check_count_or_none("folds", 1, least=2, zero_is="none"), r"at least 2 \(or 0 for none\)"),
    "flag": (lambda: check_count_or_none("folds", False, least=2, zero_is="none"), "got False"),
    "name of a price": (lambda: check_prices({613: [1, 2]}), "quote the name"),
}


@pytest.mark.parametrize(("check", "message"), CHECKS.values(), ids=CHECKS)
def test_a_bad_number_is_an_error_that_names_it(check: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check()


def test_sound_numbers_pass() -> None:
    check_prices({"0613": (0, 0.5)})
    FileVotes("v", val_share=0, train_share=1, max_skipped_share=1)
    ExplorerJob(port=None, output_tokens=0)
    check_count_or_none("folds", 0, least=2, zero_is="none")
