"""Proper scores of the votes, with bootstrap intervals over prompts, and two baselines that ignore the prompt.

The first baseline is the marginal fit, one leaderboard for all prompts. The second is the best single LLM: routing each
prompt to its top-ranked LLM must beat it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from p2l.evaluation import scoring_rules
from p2l.evaluation.calibration import calibration_error, centred_interval, gaps_by_prompt, reliability
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.evaluation.simple_metrics import ScoredVotes, UndefinedError
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums
from p2l.types import Ranking

SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "log_loss": scoring_rules.log_loss,
    "brier": scoring_rules.brier,
    "accuracy": scoring_rules.accuracy,
}
# score of model a, and of model b, for a vote of each outcome, in the order of p2l.types.OUTCOMES
SCORE_A, SCORE_B = np.array([1, 0, 0.5, 0]), np.array([0, 1, 0.5, 0])
ASSUMPTION = "a model's opponents are drawn alike for all models and independently of the prompt"


@dataclass(frozen=True, eq=False)
class Baseline:
    """A leaderboard that ignores the prompt, and the votes that it was fitted to, in words."""

    leaderboard: Ranking
    fitted_to: str


@dataclass(frozen=True, eq=False)
class _Sums:
    """Weighted sums by column, over all prompts and over each resample of them."""

    names: tuple[str, ...]
    total: Float64[np.ndarray, " columns"]
    samples: Float64[np.ndarray, "resamples columns"]

    def ratio(self, numerator: str, denominator: str, minus: tuple[str, str] | None = None) -> Interval:
        """Return a mean with its interval, or its paired difference from the mean ``minus``."""
        value, samples = (self._mean(sums, numerator, denominator) for sums in (self.total, self.samples))
        if minus is not None:
            other = [self._mean(sums, *minus) for sums in (self.total, self.samples)]
            value, samples = value - other[0], samples - other[1]
        return percentile_interval(float(value), samples)

    def _mean(self, sums: np.ndarray, numerator: str, denominator: str) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):  # a resample may hold no vote of the kind
            return sums[..., self.names.index(numerator)] / sums[..., self.names.index(denominator)]


def proper_metrics(scored: ScoredVotes, baseline: Baseline | None, *, seed: int = 0) -> dict[str, Any]:
    """Return log loss (nats), Brier score, accuracy and classwise calibration error, each as {value, low, high}.

    A baseline adds ``minus_marginal`` (a negative log loss is better than the marginal fit) and ``minus_best_model``
    (positive if the top-ranked LLM of each prompt scores more than the best LLM of the baseline). The score of an LLM
    is the mean, over the votes that it took part in, of 1 for a win, 1/2 for a tie and 0 otherwise; see ``ASSUMPTION``.
    Raises ``UndefinedError`` if no vote carries evidence in the family.
    """
    targets, probs = scored.targets.numpy(), scored.log_probs.double().exp().numpy()
    evidence = targets.sum(axis=1)
    weight = scored.weight.numpy() * evidence
    if not weight.sum() > 0:
        raise UndefinedError(f"no vote carries evidence under {scored.family.name}")
    targets = targets / np.where(evidence > 0, evidence, 1)[:, None]
    columns = {"weight": weight, **_scores("", scored, scored.votes, targets, weight)}
    if baseline is not None:
        columns |= _scores("marginal ", scored, scored.votes.predicted_by(baseline.leaderboard), targets, weight)
        columns |= _routing(scored, int(baseline.leaderboard.coefs.argmax()))
    prompt_index = scored.votes.prompt_index
    table = np.stack([np.bincount(prompt_index, weights=column) for column in columns.values()], axis=1)
    gaps = gaps_by_prompt(probs, targets, weight, prompt_index)
    drawn, drawn_gaps = resampled_sums(table, gaps, seed=seed)
    sums = _Sums(tuple(columns), table.sum(axis=0), drawn)
    error = calibration_error(np.asarray(gaps.sum(axis=0)), sums.total[:1])[0]
    found: dict[str, Any] = {"votes": int((weight > 0).sum()), "prompts": len(table)}
    found |= {name: asdict(sums.ratio(name, "weight")) for name in SCORES}
    found["calibration_error"] = asdict(centred_interval(error, calibration_error(drawn_gaps, drawn[:, 0])))
    if baseline is not None:
        found |= _against(sums, baseline, scored.votes.models)
    return {**found, "reliability": reliability(scored.family.outcomes, probs, targets, weight)}


def _scores(
    prefix: str, scored: ScoredVotes, votes: RankedVotes, targets: np.ndarray, weight: np.ndarray
) -> dict[str, np.ndarray]:
    log_probs, shares = ScoredVotes(votes, scored.family).log_probs.double(), torch.from_numpy(targets)
    return {prefix + name: score(log_probs, shares).numpy() * weight for name, score in SCORES.items()}


def _routing(scored: ScoredVotes, best: int) -> dict[str, np.ndarray]:
    """Return score and weight of the top-ranked model, and of model ``best``, in the votes that they took part in."""
    votes = scored.votes
    top = votes.rankings.coefs.argmax(-1).numpy()[votes.ranking_index]
    columns = {}
    for name, model in (("routed", top), ("best", np.full(len(votes), best))):
        is_a, is_b = votes.battles.model_a == model, votes.battles.model_b == model
        score = is_a * (votes.battles.outcome_shares @ SCORE_A) + is_b * (votes.battles.outcome_shares @ SCORE_B)
        columns[name] = score * votes.battles.weight
        columns[f"{name} weight"] = (is_a | is_b) * votes.battles.weight.astype(np.float64)
    return columns


def _against(sums: _Sums, baseline: Baseline, models: tuple[str, ...]) -> dict[str, Any]:
    marginal: dict[str, Any] = {"fitted_to": baseline.fitted_to}
    for name in SCORES:
        marginal[name] = asdict(sums.ratio(name, "weight", (f"marginal {name}", "weight")))
    routed, best = ("routed", "routed weight"), ("best", "best weight")
    met = all(sums.total[sums.names.index(weight)] > 0 for _, weight in (routed, best))
    return {"minus_marginal": marginal} | (
        {
            "minus_best_model": {
                "best_model": models[int(baseline.leaderboard.coefs.argmax())],
                "routed": asdict(sums.ratio(*routed)),
                "best": asdict(sums.ratio(*best)),
                "difference": asdict(sums.ratio(*routed, best)),
                "assumes": ASSUMPTION,
            }
        }
        if met
        else {}
    )
