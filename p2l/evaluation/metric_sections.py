"""The sections of a category's results: their metrics, and the truth that leaderboards are compared to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from p2l.errors import ConfigError
from p2l.evaluation.candidates import GROUND_TRUTHS, Candidate, Leaderboards, make_candidate
from p2l.evaluation.category_metrics import CATEGORY_METRICS, TOP_K, LeaderboardPair
from p2l.evaluation.proper_metrics import proper_metrics
from p2l.evaluation.simple_metrics import SIMPLE_METRICS, ScoredVotes, UndefinedError, check_names, measure
from p2l.evaluation.subset_comparisons import SubsetPlan, aggregation_scale, random_subsets
from p2l.options import check_choice, check_seed

SECTIONS = ("simple", "category", "random_subsets", "aggr_scale", "proper")
Section = tuple[dict[str, Any], dict[str, str]]  # values by name, and reasons for omitted ones by name


@dataclass(frozen=True)
class EvaluationMetrics:
    """The metrics of each section.

    Attributes:
        simple, category: names of ``SIMPLE_METRICS`` and ``CATEGORY_METRICS``.
        random_subsets, aggr_scale: comparisons, sizes and numbers of samples of subsets.
        ground_truth, aggr_scale_gt: the truth in the category section and in the aggregation scale.
        include: the sections to compute, of ``SECTIONS``.
        seed: of subsets and resamples.
    """

    simple: Sequence[str]
    category: Sequence[str]
    random_subsets: SubsetPlan
    aggr_scale: SubsetPlan
    ground_truth: str = "marginal-gt"
    aggr_scale_gt: str = "marginal-gt"
    include: Sequence[str] = SECTIONS
    seed: int = 0

    def __post_init__(self) -> None:
        check_names(self.simple, SIMPLE_METRICS)
        check_names(self.category, CATEGORY_METRICS)
        check_choice("ground_truth", self.ground_truth, GROUND_TRUTHS)
        check_choice("aggr_scale_gt", self.aggr_scale_gt, GROUND_TRUTHS)
        check_seed(self.seed)
        unknown = [name for name in self.include if name not in SECTIONS]
        if unknown:
            raise ConfigError(f"unknown {', '.join(unknown)} in metrics_to_inc; known: {', '.join(SECTIONS)}")

    def compute(self, model_type: str, boards: Leaderboards) -> Section:
        """Return every section by its published name, and the reason for each metric or section without a value."""
        candidate = make_candidate(model_type, boards)
        sections: dict[str, Callable[[Candidate, Leaderboards], Section]] = {
            "simple_metrics": self._simple,
            "category_metrics": self._compare,
            "random_subsets": self._subsets,
            "aggr_scale": self._scale,
            "proper_metrics": self._proper,
        }
        found: dict[str, Any] = {}
        omitted: dict[str, str] = {}
        for name, section in sections.items():
            if name.removesuffix("_metrics") not in self.include:
                continue
            try:
                found[name], left_out = section(candidate, boards)
                omitted |= left_out
            except UndefinedError as reason:
                omitted[name] = str(reason)
        return found, omitted

    def _simple(self, candidate: Candidate, boards: Leaderboards) -> Section:
        return measure(SIMPLE_METRICS, self.simple, ScoredVotes(candidate.votes, boards.family))

    def _compare(self, candidate: Candidate, boards: Leaderboards) -> Section:
        models, truth = boards.votes.models, boards.of(self.ground_truth)
        pair = LeaderboardPair.between_rated(models, truth, candidate.leaderboard, boards.family, boards.votes)
        values, omitted = measure(CATEGORY_METRICS, self.category, pair)
        for metric in (name for name in values if name.startswith("Top-k")):
            omitted |= {f"{metric} {k}": f"there are {len(pair.models)} models" for k in TOP_K if k > len(pair.models)}
        unrated = [name for name in models if name not in pair.models]
        if unrated:
            omitted["models without an Arena rating"] = ", ".join(unrated)
        return values, omitted

    def _subsets(self, candidate: Candidate, boards: Leaderboards) -> Section:
        boards.of("marginal-gt")  # raises if no vote carries evidence: the truth of a subset is a fit of its votes
        return random_subsets(self.random_subsets, candidate, boards.votes, boards.family, self.seed)

    def _scale(self, candidate: Candidate, boards: Leaderboards) -> Section:
        truth = boards.of(self.aggr_scale_gt)
        return aggregation_scale(self.aggr_scale, candidate, truth, boards.votes, boards.family, self.seed)

    def _proper(self, candidate: Candidate, boards: Leaderboards) -> Section:
        baseline, omitted = None, {}
        if len(candidate.votes.rankings.coefs) > 1:
            baseline = boards.baseline()
        else:
            omitted["minus_marginal"] = "one leaderboard for all prompts is evaluated: a baseline itself"
        values = proper_metrics(ScoredVotes(candidate.votes, boards.family), baseline, seed=self.seed)
        if baseline is not None and "minus_best_model" not in values:
            omitted["minus_best_model"] = "no vote has the top-ranked model of its prompt, or the best model of all"
        return values, omitted
