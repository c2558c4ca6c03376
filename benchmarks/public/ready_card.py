"""Held-out figures of the checkpoint that p2l carries, and the text of its card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from predictions import UnitRange
from reliability_figures import reliability_gap
from routed_figures import explained

from p2l.data.measured_scores import MeasuredScores
from p2l.evaluation.choice_of_best import ChoiceOfBest, choice_of_best
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums

SETS = """\
- [MMLU-Pro](https://github.com/TIGER-AI-Lab/MMLU-Pro), Apache-2.0 and MIT: right and wrong answers of 47 LLMs, from the
  results that its authors publish, to questions with up to ten choices in 14 subjects.
- ParetoBandit (72ccbefe), Apache-2.0: answers of four LLMs to prompts of public benchmarks (MMLU, GSM8K, ARC,
  HellaSwag, BIG-bench Hard and others), marked from 0 to 1 by an LLM as judge. Its validation part was fitted; its
  training part is not public."""

LIMITS = """\
- **Beating the best single LLM.** On held-out prompts the LLM ranked first scores no better than always the best one.
- **Comparing LLMs of different groups.** No prompt was answered by LLMs of both, and a right answer is not a judge's
  mark. `p2l rank` shows the groups apart; name LLMs of one group in a router's configuration.
- **LLMs that are not listed**, and later versions under the same name.
- **Languages other than English, images, tools and conversations.** The prompts are single texts in English.
- **The beginning of long prompts.** Only the last 256 tokens of a prompt are read.
- **Chat in general.** Questions with choices and prompts of benchmarks are no sample of what people ask. No human
  voted: the marks have the preferences of their judge. Style was not controlled.
- **Decisions about people, safety or content.** A rank does not say that an answer is right, safe or lawful.
- **A claim that one LLM is better than another.** The published results of the sets are evidence of that; this is a
  prediction from a prompt, wrong by the figures above."""


@dataclass(frozen=True)
class Figures:
    """Of one set's held-out prompts; the marginal predicts each LLM's mean score on the fitted prompts.

    Attributes:
        loss, marginal_loss, loss_gain: cross-entropy of scores in nats, and the first minus the second.
        r2: share of the squared distance from each LLM's mean score that is explained.
        gap: expected calibration error of predicted scores in ten bins.
        choice: what asking the LLM with the best prediction is worth.
        hits, single_hits: share of prompts on which the choice, or the best single LLM, has the best score.
    """

    prompts: int
    fitted: int
    models: int
    loss: float
    marginal_loss: float
    loss_gain: Interval
    r2: Interval
    gap: float
    choice: ChoiceOfBest
    hits: float
    single_hits: float


def figures_of(coefs: np.ndarray, test: MeasuredScores, fit: MeasuredScores) -> Figures:
    """Return the figures of coefficients (prompts, models) on held-out scores."""
    predicted = 1 / (1 + np.exp(-coefs))
    mean = np.broadcast_to(fit.mean_score(), predicted.shape)
    losses = np.stack([score_losses(test, one) for one in (predicted, mean)], axis=1)
    count = (test.weight > 0).sum(axis=1)
    total = np.column_stack((losses, count)).sum(axis=0)
    (drawn,) = resampled_sums(np.column_stack((losses[:, 0] - losses[:, 1], count)))
    gain = percentile_interval((total[0] - total[1]) / total[2], drawn[:, 0] / drawn[:, 1])
    known = np.where(test.weight > 0, test.score, -np.inf)
    best = known == known.max(axis=1, keepdims=True)
    single = int(fit.mean_score().argmax())
    return Figures(
        prompts=len(test),
        fitted=len(fit),
        models=len(test.models),
        loss=total[0] / total[2],
        marginal_loss=total[1] / total[2],
        loss_gain=gain,
        r2=explained(test, predicted),
        gap=reliability_gap(test, predicted, UnitRange.of(fit)),
        choice=choice_of_best(coefs, test, fit.mean_score()),
        hits=float(best[np.arange(len(test)), coefs.argmax(axis=1)].mean()),
        single_hits=float(best[:, single].mean()),
    )


def score_losses(measured: MeasuredScores, predicted: np.ndarray) -> np.ndarray:
    """Return for each prompt the cross-entropy of its known scores, summed over LLMs, in nats."""
    entropy = -(measured.score * np.log(predicted) + (1 - measured.score) * np.log1p(-predicted))
    return np.where(measured.weight > 0, entropy, 0.0).sum(axis=1)


def warning(groups: Mapping[str, Sequence[str]]) -> str:
    """Return what ends "This model is": all that is made of the checkpoint repeats it."""
    sizes = " and ".join(f"{len(names)} of {group}" for group, names in groups.items())
    return (
        f"fitted to {len(groups)} groups of LLMs that answered no prompt in common ({sizes}): compare ranks, "
        "coefficients and scores only within a group"
    )


def card(figures: Mapping[str, Figures], backbone: str) -> str:
    """Return the part of README.md on data, figures and limits; ``figures`` by the name of the group."""
    return "\n".join(
        [
            "## Data",
            "",
            SETS,
            "",
            f"Backbone: {backbone}, frozen. The head is linear. `benchmarks/public/ready_checkpoint.py` makes it.",
            "",
            "## Held-out figures",
            "",
            "On the test part of each set, read once. `sigmoid(coefficient)` predicts the score. The marginal predicts "
            "each LLM's mean score, whatever the prompt. Brackets are 95 % intervals, bootstrap over prompts.",
            "",
            f"| | {' | '.join(figures)} |",
            f"|---|{'---|' * len(figures)}",
            *(f"| {name} | {' | '.join(map(show, figures.values()))} |" for name, show in ROWS.items()),
            "",
            "## What it can be used for",
            "",
            "A first look at p2l: `p2l rank`, the explorer, a router to try. Within a group, what a prompt of the same "
            "kind is likely to score. Then train on your own votes or scores, or start from this checkpoint.",
            "",
            "## What it cannot be used for",
            "",
            LIMITS,
            "",
        ]
    )


ROWS = {
    "prompts fitted, held out": lambda one: f"{one.fitted:,} and {one.prompts:,}",
    "LLMs": lambda one: f"{one.models}",
    "log loss of a score, nats": lambda one: f"{one.loss:.4f}",
    "of the marginal": lambda one: f"{one.marginal_loss:.4f}",
    "difference": lambda one: f"{one.loss_gain}",
    "R2 of scores": lambda one: f"{one.r2.value:.3f} [{one.r2.low:.3f}, {one.r2.high:.3f}]",
    "calibration error of scores": lambda one: f"{one.gap:.3f}",
    "mean score of the LLM ranked first": lambda one: f"{one.choice.chosen:.4f}",
    "of the best single LLM": lambda one: f"{one.choice.best_single:.4f} ({one.choice.model})",
    "gain by choosing": lambda one: f"{Interval(one.choice.gain, one.choice.gain_low, one.choice.gain_high)}",
    "of the best answer": lambda one: f"{one.choice.oracle:.4f}",
    "prompts where the first has the best score": lambda one: f"{one.hits:.1%} (best single LLM {one.single_hits:.1%})",
}
