"""Calibration of predicted scores on the unit range: the expected calibration error, and the curve of a picture."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from predictions import UnitRange

from p2l.data.measured_scores import MeasuredScores
from p2l.evaluation.calibration import calibration_error, centred_interval, gaps_by_prompt, reliability
from p2l.statistics.bootstrap import Interval, resampled_sums

USABLE = "usable answer"


@dataclass(frozen=True)
class Reliability:
    """Calibration of probabilities of a usable answer.

    Attributes:
        error: expected calibration error in ten bins; its interval is over prompts.
        curve: mean probability, observed share and number of answers (``votes``) of each bin.
    """

    error: Interval
    curve: Mapping[str, list[float]]

    def numbers(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return asdict(self)


def reliability_of(test: MeasuredScores, predicted: np.ndarray, scale: UnitRange) -> Reliability:
    """Return the calibration of predicted scores (prompts x LLMs) where a score is known."""
    probs, targets, prompt = _answers(test, predicted, scale)
    weight = np.ones(len(prompt))
    gaps, count = gaps_by_prompt(probs, targets, weight, prompt), np.bincount(prompt, minlength=1)[:, None]
    drawn_gaps, drawn_count = resampled_sums(gaps, count.astype(np.float64))
    samples = calibration_error(drawn_gaps, drawn_count[:, 0])
    error = centred_interval(reliability_gap(test, predicted, scale), samples)
    return Reliability(error, reliability((USABLE,), probs[:, :1], targets[:, :1], weight)[USABLE])


def reliability_gap(test: MeasuredScores, predicted: np.ndarray, scale: UnitRange) -> float:
    """Return the expected calibration error of predicted scores on the unit range, in ten bins."""
    probs, targets, prompt = _answers(test, predicted, scale)
    gaps = gaps_by_prompt(probs, targets, np.ones(len(prompt)), prompt)
    return float(calibration_error(np.asarray(gaps.sum(axis=0)), np.array([float(len(prompt))]))[0])


def _answers(
    test: MeasuredScores, predicted: np.ndarray, scale: UnitRange
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the probabilities and the shares of a usable and of a bad answer, and the prompt, of each known score."""
    prompt, model = np.nonzero(test.weight > 0)
    share, truth = scale(predicted)[prompt, model], scale(test.score)[prompt, model]
    return np.stack((share, 1 - share), 1), np.stack((truth, 1 - truth), 1), prompt
