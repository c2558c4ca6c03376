"""The regression test: is a new version of an LLM better than the old one, and on which prompts is it worse?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int64

from p2l.arrays import to_numpy
from p2l.errors import ConfigError
from p2l.insight.prompt_groups import Group
from p2l.insight.ranked_prompts import RankedPrompts
from p2l.insight.strengths import model_index
from p2l.statistics.intervals import mean_interval, normal_quantile
from p2l.statistics.multiple_testing import bonferroni_level

BETTER, WORSE, UNCLEAR, TOO_FEW = "better", "worse", "no clear difference", "too few prompts"
OVERALL = "all prompts"


@dataclass(frozen=True, eq=False)
class RegressionTest:
    """The comparison of a new LLM to an old one.

    Attributes:
        old, new: names of the two LLMs.
        table: overall first, then groups, the worst first. Columns: kind, group, prompts, win, lose, tie and both_bad
            (if the family has them), score, low, high, verdict.
        scores: of each prompt, P(new wins) + half the probability of neither win nor loss.
        margin: a score within ``margin`` of 1/2 counts as no difference.
    """

    old: str
    new: str
    table: pd.DataFrame
    scores: Float64[np.ndarray, " prompts"]
    margin: float

    @property
    def verdict(self) -> str:
        """The verdict on all prompts."""
        return str(self.table["verdict"].iloc[0])

    def losses(self, most: int = 20) -> np.ndarray:
        """Return the prompts with the lowest scores, lowest first."""
        return np.argsort(self.scores, kind="stable")[:most]


def compare_versions(
    ranked: RankedPrompts,
    groups: Sequence[Group],
    *,
    old: str,
    new: str,
    margin: float = 0.01,
    level: float = 0.95,
) -> RegressionTest:
    """Return the mean score of ``new`` against ``old`` on all prompts and on each group, with verdicts.

    Intervals are Student's t over prompts, and hold the model's error if its posterior is known. Those of the groups
    hold together at ``level`` (Bonferroni), so that false alarms stay rare with many groups. A verdict "better" or
    "worse" means that the whole interval lies above 1/2 + margin or below 1/2 - margin. Raises ConfigError if an LLM is
    unknown, if both are the same, or if the margin is outside [0, 0.5).
    """
    if old == new:
        raise ConfigError(f"old and new are both {old!r}; name two LLMs")
    if not 0 <= margin < 0.5:
        raise ConfigError(f"margin must lie in [0, 0.5); got {margin}")
    places = (model_index(ranked.models, new), model_index(ranked.models, old))
    probs = _outcomes(ranked, *places)
    names = ("win", "lose", *(name.replace(" ", "_") for name in ranked.family.outcomes[2:]))
    scores = probs[:, 0] + probs[:, 2:].sum(axis=1) / 2

    def row(group: Group, tests: int, *, alike: bool = True) -> dict[str, object]:
        mean = dict(zip(names, probs[group.rows].mean(axis=0), strict=True))
        error = _model_error(ranked, group.rows, places, alike=alike)
        result = _judge(scores[group.rows], error, margin, bonferroni_level(level, tests))
        return {"kind": group.kind, "group": group.name, "prompts": len(group.rows), **mean, **result}

    everything = row(Group("", OVERALL, np.arange(len(ranked))), 1, alike=False)
    by_group = sorted((row(group, len(groups)) for group in groups), key=lambda one: one["score"])  # type: ignore[arg-type,return-value]
    return RegressionTest(old, new, pd.DataFrame([everything, *by_group]), scores, margin)


def _outcomes(ranked: RankedPrompts, new: int, old: int) -> Float64[np.ndarray, "prompts outcomes"]:
    coefs, eta = ranked.rankings.coefs.double(), ranked.rankings.eta
    log_probs = ranked.family.log_probs(coefs[:, new], coefs[:, old], None if eta is None else eta.double())
    return torch.exp(log_probs).numpy()


def _model_error(
    ranked: RankedPrompts, rows: Int64[np.ndarray, " prompts"], places: tuple[int, int], *, alike: bool
) -> float:
    """Return the standard error of the mean score on prompts by the model's error; 0 if it is not known.

    ``places``: of the new and the old LLM. ``alike``: as in ``group_leaderboard``.
    """
    if ranked.posterior is None or ranked.rankings.states is None:
        return 0.0
    part = ranked.rankings.map(lambda x: x[rows].double())
    given = [*(part.coefs[:, place] for place in places), *([] if part.eta is None else [part.eta])]
    points = [point.clone().requires_grad_() for point in given]
    probs = ranked.family.log_probs(*points).exp()
    slopes = torch.autograd.grad((probs[:, 0] + probs[:, 2:].sum(1) / 2).mean(), points)
    slope = np.array([float(one.sum()) for one in slopes])
    outputs = [*places, *range(ranked.posterior.num_models, len(ranked.posterior.output_information))]
    level, own = ranked.posterior.factors(to_numpy(part.states), alike=alike)
    return float(np.sqrt(((level[:, outputs] @ slope) ** 2).sum() + ((own[:, outputs] @ slope) ** 2).sum()))


def _judge(scores: np.ndarray, model_error: float, margin: float, level: float) -> dict[str, object]:
    mean = float(scores.mean())
    if len(scores) < 2:
        return {"score": mean, "low": np.nan, "high": np.nan, "verdict": TOO_FEW}
    half = float(np.hypot(mean_interval(scores, level)[1] - mean, normal_quantile(level) * model_error))
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    verdict = BETTER if low > 0.5 + margin else WORSE if high < 0.5 - margin else UNCLEAR
    return {"score": mean, "low": low, "high": high, "verdict": verdict}
