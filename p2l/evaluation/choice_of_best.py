"""What choosing the LLM that a model ranks first is worth, by measured scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import DataError
from p2l.statistics.intervals import mean_interval


@dataclass(frozen=True)
class ChoiceOfBest:
    """Mean measured scores of held-out prompts, by who answers them.

    Attributes:
        chosen: the LLM that the model ranks first on each prompt.
        best_single: the LLM with the best mean on the training prompts, on all prompts.
        model: its name.
        gain: ``chosen - best_single``, with its interval over prompts in ``gain_low`` and ``gain_high``.
        oracle: the LLM with the best answer, on each prompt.
        num_prompts: prompts on which both the chosen and the best single LLM were scored.
    """

    chosen: float
    best_single: float
    model: str
    gain: float
    gain_low: float
    gain_high: float
    oracle: float
    num_prompts: int

    def __str__(self) -> str:
        return (
            f"the model's choice scores {self.chosen:.4f}, always {self.model} {self.best_single:.4f} "
            f"({self.gain:+.4f} [{self.gain_low:+.4f}, {self.gain_high:+.4f}]), the best answer {self.oracle:.4f}, "
            f"on {self.num_prompts:,} prompts"
        )


def choice_of_best(
    coefs: Float64[np.ndarray, "prompts models"],
    measured: MeasuredScores,
    train_mean: Float64[np.ndarray, " models"],
    level: float = 0.95,
) -> ChoiceOfBest:
    """Compare the LLM with the largest coefficient to the best single LLM.

    Args:
        coefs: of the prompts of ``measured``, over its models.
        measured: scores of held-out prompts. A prompt counts if its chosen and the best single LLM were both scored.
        train_mean: mean score of each LLM on other prompts, which says which single LLM is best; NaN if unknown.
        level: of the interval of the gain.

    Raises:
        DataError: fewer than two prompts count.
    """
    known = measured.weight > 0
    single = int(np.nanargmax(train_mean))
    chosen = np.where(known.any(axis=0), coefs, -np.inf).argmax(axis=1)
    rows = np.arange(len(measured))
    counts = known[rows, chosen] & known[:, single]
    if counts.sum() < 2:
        raise DataError("fewer than two held-out prompts have the scores of both the chosen and the best single model")
    score = measured.score[counts]
    of_choice, of_single = score[rows[: len(score)], chosen[counts]], score[:, single]
    low, high = mean_interval(of_choice - of_single, level)
    return ChoiceOfBest(
        chosen=float(of_choice.mean()),
        best_single=float(of_single.mean()),
        model=measured.models[single],
        gain=float((of_choice - of_single).mean()),
        gain_low=low,
        gain_high=high,
        oracle=float(np.where(known[counts], score, -np.inf).max(axis=1).mean()),
        num_prompts=int(counts.sum()),
    )
