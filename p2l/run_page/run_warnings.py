"""What a reader of a run must not overlook."""

import math
from collections.abc import Iterator

from p2l.run_page.run_record import FINISHED, RUNNING, VAL_LOSS, VAL_MINUS_MARGINAL, RunRecord

FEW_VALIDATION_VOTES = 500
ROSE = 0.005  # nats: more than this above the lowest validation loss


def run_warnings(record: RunRecord) -> Iterator[str]:
    """Yield one sentence for each finding."""
    if record.status not in (FINISHED, ""):
        of = f" of {record.steps:,}" if record.steps else ""
        why = f": {record.reason}" if record.reason else ""
        state = "is running or was killed" if record.status == RUNNING else "did not finish"
        yield f"The run {state}; these are the figures up to step {record.step:,}{of}{why}."
    yield from _losses(record)
    if (val := record.votes.get("val")) and val["votes"] < FEW_VALIDATION_VOTES:
        yield f"Only {val['votes']:,} validation votes: a small difference to the marginal leaderboard is chance."
    for doubt in record.doubts:
        yield f"Votes, {doubt}."


def _losses(record: RunRecord) -> Iterator[str]:
    best, (steps, losses) = record.best(), record.curve(VAL_LOSS)
    if best is None:
        yield "There is no validation loss: nothing shows whether the model predicts votes that it has not seen."
        return
    difference = best.get(VAL_MINUS_MARGINAL)
    if difference is not None and difference >= 0:
        yield (
            f"Not better than the marginal leaderboard, which ignores the prompt: {difference:+.4f} nats a vote at the "
            f"best validation. Its leaderboards of prompts are noise; use one leaderboard for all prompts."
        )
    if record.outcomes and best[VAL_LOSS] >= math.log(len(record.outcomes)):
        uniform = math.log(len(record.outcomes))
        yield f"Worse than a uniform guess: {best[VAL_LOSS]:.4f} nats a vote, a uniform guess {uniform:.4f}."
    after = [loss for step, loss in zip(steps, losses) if step > best["step"]]
    if after and max(after) > best[VAL_LOSS] + ROSE:
        yield (
            f"The validation loss rose after step {best['step']:,.0f}, from {best[VAL_LOSS]:.4f} to {max(after):.4f}: "
            "more steps overfit. The published checkpoint is that of the best validation, if callbacks.best was on."
        )
