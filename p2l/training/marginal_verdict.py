"""Whether a trained model is better than the marginal leaderboard, which ignores the prompt; what it cannot know."""

import math
from collections.abc import Mapping, Sequence
from typing import SupportsFloat

import numpy as np

from p2l.data.vote_checks import shown_names
from p2l.data.vote_table import VoteTable
from p2l.leaderboard import fit
from p2l.outcomes import OutcomeFamily

SURE = 2.0  # standard errors
SEEN = 5e-5  # nats a vote: smaller differences are shown as 0.0000
EXACT = 1e3  # a larger loss in float32 has not the digits from which the marginal's could be computed
UNVALIDATED = (
    "there are no validation votes: nothing shows whether this model is better than one leaderboard for all prompts; "
    "give data.val=<votes> or data.val_share=0.1"
)
ABSURD = 20.0  # times a uniform guess's loss: coefficients 7,000 Elo points apart, and wrong in most votes
TRY = "try a lower optimizer.lr and optimizer.head_lr, scheduler.warmup=0.05, or trainer.gradient_clip_val=1"
ADVICE = (
    "Use the leaderboard that ignores the prompt (p2l leaderboard votes=<votes>), give more votes, or try another "
    "model=, optimizer.lr or optimizer.head_lr"
)


def unbounded_models(votes: VoteTable, family: OutcomeFamily) -> tuple[str, ...]:
    """Return the models with votes whose strength these do not bound, or do not compare with the largest part."""
    found = fit(votes.battles, family)
    loose = (found.component > 0) | ((found.component == 0) & ~found.identified)
    return tuple(found.models[i] for i in np.flatnonzero(loose))


def warning_about(metrics: Mapping[str, SupportsFloat], unbounded: Sequence[str] = ()) -> str | None:
    """Return a warning if the validation loss in ``metrics`` is not below the marginal's, or models are ``unbounded``.

    Else, or if the loss is unknown, None. ``p2l.models.Checkpoint.warning`` is this text, kept in
    ``training_config.json``: all that is made of the checkpoint repeats it.
    """
    loose = (
        f"no judge of {shown_names(unbounded)}, whose strength the training votes do not bound (no loss, no win, or no "
        "chain of votes to the others)"
    )
    found = [text for text in (_loss_warning(metrics), loose if unbounded else None) if text]
    return "; it is ".join(found) or None


def _loss_warning(metrics: Mapping[str, SupportsFloat]) -> str | None:
    if "val/log_loss_minus_marginal" not in metrics:
        return None
    loss, difference = (float(metrics[f"val/{name}"]) for name in ("log_loss", "log_loss_minus_marginal"))
    if difference < 0:
        return None
    start = "not better than one leaderboard for all prompts: on validation votes its log loss is "
    if loss > EXACT:
        return f"{start}{loss:.3g}, and that of the marginal leaderboard smaller by {difference:.3g} nats a vote"
    return (
        f"{start}{loss:.4f}, that of the marginal leaderboard {loss - difference:.4f} ({difference:+.4f} nats a vote)"
    )


def doubt_about(metrics: Mapping[str, SupportsFloat]) -> str | None:
    """Return a doubt if the validation loss is below the marginal's by less than two standard errors; else None."""
    difference, error = (
        float(metrics.get(f"val/log_loss_minus_marginal{suffix}", math.nan)) for suffix in ("", "_error")
    )
    if -SEEN < difference < 0:
        return "no different from one leaderboard for all prompts: on validation votes its log loss is the same"
    if difference < 0 and -difference < SURE * error:
        return (
            f"better than one leaderboard for all prompts by {-difference:.4f} nats a vote on validation votes, which "
            f"may be chance: the standard error over prompts is {error:.4f}, and the best validation was chosen. More "
            "validation votes would show it (data.val, data.val_share)"
        )
    return None


def absurd_loss(metrics: Mapping[str, SupportsFloat], num_outcomes: int) -> str | None:
    """Return why a model must not be published: it diverged, though every number is finite; None if it did not.

    That is a log loss on validation votes, or on training votes if there are no others, far above a uniform guess's.
    """
    name = next((name for name in ("val/log_loss", "train/loss") if name in metrics), None)
    loss, uniform = (0.0, math.inf) if name is None else (float(metrics[name]), math.log(num_outcomes))
    if loss <= ABSURD * uniform:
        return None
    return (
        f"training diverged: {name} is {loss:.4g} nats a vote at the end, and that of a uniform guess {uniform:.4f}; "
        f"nothing is published; {TRY}"
    )
