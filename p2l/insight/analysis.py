"""The whole analysis of one table of prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from p2l.errors import ConfigError
from p2l.extras import missing_extra
from p2l.insight.compare_leaderboards import compare_leaderboards
from p2l.insight.embeddings import Vectors
from p2l.insight.group_leaderboards import GroupLeaderboard, group_leaderboard
from p2l.insight.prompt_groups import CLUSTER, Clusters, Group, category_groups
from p2l.insight.ranked_prompts import RankedPrompts
from p2l.insight.regression import RegressionTest, compare_versions
from p2l.insight.strengths import all_differences, model_index
from p2l.options import check_count, check_level, check_number, check_seed


@dataclass(frozen=True)
class Questions:
    """The questions to ask of a table of prompts.

    Attributes:
        focus: the LLM, or LLMs, whose strengths and weaknesses are shown; None shows the best one.
        old, new: two versions of an LLM for the regression test; both or neither.
        margin: margin of the regression test; see ``compare_versions``.
        level: level of intervals; 1 - level is the false discovery rate.
        num_clusters: number of clusters; None chooses it.
        min_prompts: smaller groups are omitted, and named in the report.
    """

    focus: str | Sequence[str] | None = None
    old: str | None = None
    new: str | None = None
    margin: float = 0.01
    level: float = 0.95
    num_clusters: int | None = None
    min_prompts: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.old is None) != (self.new is None):
            raise ConfigError("a regression test needs old=<LLM> and new=<LLM>; only one was given")
        check_level(self.level)
        check_number("level", self.level, least=0.5)
        check_number("margin", self.margin, least=0)
        check_seed(self.seed)
        if self.num_clusters is not None:
            check_count("num_clusters", self.num_clusters)
        check_count("min_prompts", self.min_prompts, least=2, of="an interval needs two prompts")

    @property
    def names(self) -> tuple[str, ...]:
        """``focus`` as a tuple without duplicates."""
        focus = [self.focus] if isinstance(self.focus, str) else self.focus or ()
        return tuple(dict.fromkeys(focus))

    def check(self, models: Sequence[str]) -> None:
        """Raise ConfigError, with near names, if an LLM of the questions is not one of ``models``."""
        for name in (*self.names, self.old, self.new):
            if name is not None:
                model_index(models, name)


@dataclass(frozen=True, eq=False)
class Insight:
    """The answers to the questions.

    Attributes:
        ranked: the prompts and their rankings.
        questions: the questions.
        overall: the leaderboard of all prompts.
        groups: categories and clusters with ``min_prompts`` or more prompts, and their leaderboards.
        small: the smaller groups.
        clusters: None if the prompts have no embedding.
        differences: every LLM on every group; see ``strengths_and_weaknesses``.
        regression: None if no versions were named.
        reference, before: ``overall`` compared to other prompts, and to other rankings of the same prompts.
    """

    ranked: RankedPrompts
    questions: Questions
    overall: GroupLeaderboard
    groups: tuple[tuple[Group, GroupLeaderboard], ...]
    small: tuple[Group, ...]
    clusters: Clusters | None
    differences: pd.DataFrame
    regression: RegressionTest | None = None
    reference: pd.DataFrame | None = None
    before: pd.DataFrame | None = None

    @property
    def focus(self) -> tuple[str, ...]:
        """The LLMs in focus; the best one if none was named."""
        return self.questions.names or (self.ranked.models[int(np.argmax(self.overall.elo))],)


def analyse(
    ranked: RankedPrompts,
    questions: Questions,
    *,
    reference: RankedPrompts | None = None,
    before: RankedPrompts | None = None,
) -> Insight:
    """Answer the questions.

    ``reference`` holds other prompts; ``before`` holds other rankings of the prompts of ``ranked`` (see ``align``).
    Raises ConfigError for an unknown LLM or too many clusters, and DataError for a category column without labels or a
    reference with other LLMs.
    """
    questions.check(ranked.models)
    overall, level = overall_leaderboard(ranked), questions.level
    groups, clusters = _groups(ranked, questions)
    large = [group for group in groups if len(group.rows) >= questions.min_prompts]
    boards = [(group, _leaderboard(ranked, group.rows, alike=True)) for group in large]
    return Insight(
        ranked=ranked,
        questions=questions,
        overall=overall,
        groups=tuple(boards),
        small=tuple(group for group in groups if len(group.rows) < questions.min_prompts),
        clusters=clusters,
        differences=all_differences(overall, boards, level=level),
        regression=_regression(ranked, large, questions),
        reference=None
        if reference is None
        else compare_leaderboards(overall, overall_leaderboard(reference), level=level),
        before=None
        if before is None
        else compare_leaderboards(overall, _of_another_model(before), same_table=True, level=level),
    )


def _groups(ranked: RankedPrompts, questions: Questions) -> tuple[list[Group], Clusters | None]:
    groups = category_groups(ranked.categories)
    if ranked.embedding is None:
        return groups, None
    if CLUSTER in ranked.categories:
        raise ConfigError(f"a category column cannot be named {CLUSTER!r} beside clusters; give embedding=null")
    clusters = _clusters(ranked.texts(), ranked.embedding, questions)
    # a single cluster is the overall leaderboard again
    return groups + (clusters.groups() if len(clusters.names) > 1 else []), clusters


def overall_leaderboard(ranked: RankedPrompts) -> GroupLeaderboard:
    """Return the leaderboard of all prompts."""
    return _leaderboard(ranked, np.arange(len(ranked)), alike=False)


def _leaderboard(ranked: RankedPrompts, rows: np.ndarray, *, alike: bool) -> GroupLeaderboard:
    return group_leaderboard(ranked.models, ranked.family, ranked.rankings, rows, ranked.posterior, alike=alike)


def _of_another_model(before: RankedPrompts) -> GroupLeaderboard:
    """Return the leaderboard of all prompts without the model's error: what two models share of it is not known."""
    return overall_leaderboard(replace(before, posterior=None))


def _clusters(texts: Sequence[str], embedding: Vectors, questions: Questions) -> Clusters:
    try:
        from p2l.insight.clusters import cluster_prompts
    except ImportError as error:
        packages = missing_extra("insight")
        raise ConfigError(f"clusters need BERTopic: {packages}, or give embedding=null ({error})") from error
    return cluster_prompts(texts, embedding, num_clusters=questions.num_clusters, seed=questions.seed)


def _regression(ranked: RankedPrompts, groups: Sequence[Group], questions: Questions) -> RegressionTest | None:
    if questions.old is None or questions.new is None:
        return None
    return compare_versions(
        ranked, groups, old=questions.old, new=questions.new, margin=questions.margin, level=questions.level
    )


def group_kinds(insight: Insight) -> list[str]:
    """Return the category columns that have groups, then "cluster" if it has."""
    kinds = list(dict.fromkeys(group.kind for group, _ in insight.groups))
    return sorted(kinds, key=lambda kind: kind == CLUSTER)
