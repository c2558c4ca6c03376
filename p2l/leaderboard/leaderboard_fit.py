"""The result of a fit to votes: the leaderboard, its uncertainty, and notes for the reader."""

import logging
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float64, Int64

from p2l.errors import DataError
from p2l.leaderboard.comparison_graph import drawn_shifts, outside_parts, unknown_shifts
from p2l.options import check_level
from p2l.outcomes import OutcomeFamily
from p2l.ranking import leaderboard_table, pair_outcomes
from p2l.ranking.leaderboard_file import leaderboard_html, save_leaderboard
from p2l.ranking.leaderboard_intervals import COLUMNS_WITH_INTERVALS, interval_table
from p2l.ranking.leaderboard_table import reference_models
from p2l.ranking.pair_outcomes import find_model
from p2l.ranking.prompt_leaderboards import best_models
from p2l.statistics.intervals import intervals
from p2l.types import Ranking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

_COLUMNS = [*COLUMNS_WITH_INTERVALS, "votes"]
_LARGEST_EXACT = 2.0**53


@dataclass(frozen=True, eq=False, repr=False)
class LeaderboardFit:
    """The maximum-likelihood leaderboard of votes, in float64, with its uncertainty.

    ``print`` shows the table, a notebook renders it.

    Attributes:
        family: the likelihood family.
        models: names, in the order of the coefficients.
        ranking: coefs (models,) in nats, and eta () if the family has one. In shift-invariant families the
            coefficients of the identified models of each component of the comparison graph have mean 0 (of all, if
            none is identified); a model without votes has 0.
        covariance: of coefs, eta and effects, in this order (sandwich).
        samples: the same parameters fitted to each bootstrap resample, or None.
        effects: of the covariates, by name: nats for a difference of 1; NaN if the votes do not determine it.
        votes: weight of the votes with evidence that each model took part in.
        weighted: whether votes have weights or shares of outcomes, or count by their pairs, so that ``votes`` are sums
            of weights.
        component: of the comparison graph, for each model, 0 the largest; -1 for a model without votes.
        identified: whether the votes bound the strength of each model against the largest component; else only the
            ridge does.
        log_loss: nats a vote, on these votes.
        converged: whether Newton's method reached the minimum.
        notes: warnings: what is not identified, models without votes, a disconnected comparison graph, few clusters, a
            fit that did not converge.
    """

    family: OutcomeFamily
    models: tuple[str, ...]
    ranking: Ranking
    covariance: Float64[np.ndarray, "parameters parameters"]
    samples: Float64[np.ndarray, "resamples parameters"] | None
    effects: dict[str, float]
    votes: Float64[np.ndarray, " models"]
    component: Int64[np.ndarray, " models"]
    identified: Bool[np.ndarray, " models"]
    log_loss: float
    converged: bool
    notes: tuple[str, ...]
    weighted: bool = False

    @property
    def size(self) -> str:
        """The votes with evidence: their number, or their total weight if they are weighted."""
        total = self.votes.sum() / 2
        return f"votes of total weight {total:,.1f}" if self.weighted else f"{total:,.0f} votes"

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Return the models that have votes, best first, with intervals at ``level``.

        Columns: rank, rank_best and rank_worst (what the intervals of differences allow), model, coef, low and high
        (nats), elo, elo_low and elo_high (points above the mean model), win_rate (against each other model, ties half),
        votes (integers; sums of weights if weighted), component if the graph has several, and identified if a model is
        not. The mean and the other models are the identified ones, if there are any.
        """
        check_level(level)
        voted = np.flatnonzero(self.component >= 0)
        coefs = self.ranking.coefs.numpy()[voted]
        part = self.component[voted]
        outside = outside_parts(part, self.family.shift_invariant)
        covariance = self.covariance[np.ix_(voted, voted)] + unknown_shifts(part, outside)
        samples = self.samples
        if samples is not None:
            samples = samples[:, voted] + drawn_shifts(part, outside, len(samples))
        models = [self.models[i] for i in voted]
        about = {"component": part, "identified": self.identified[voted]}
        reference = reference_models(self.identified[voted])
        more = interval_table(coefs, covariance, level, samples=samples, reference=reference).assign(
            model=models, votes=_counts(self.votes[voted]), **about
        )
        ranking = Ranking(torch.from_numpy(coefs), self.ranking.eta)
        table = leaderboard_table(models, ranking, self.family, reference=reference).merge(more, on="model")
        shown = {"component": self.component.max() > 0, "identified": not self.identified[voted].all()}
        return table[[*_COLUMNS, *(name for name, show in shown.items() if show)]]

    def predict(self, model_a: str, model_b: str) -> dict[str, float]:
        """Return the probability of each outcome of ``model_a`` against ``model_b``, by name of the outcome.

        Warns if the votes do not bound the strength of one: the probabilities are then those of the ridge.

        Raises:
            ConfigError: a model is not on the leaderboard; names the nearest one.
            DataError: a model has no votes, or the votes do not connect the two.
        """
        parts = {name: int(self.component[find_model(self.models, name)]) for name in (model_a, model_b)}
        if silent := [name for name, part in parts.items() if part < 0]:
            raise DataError(f"no votes with evidence under {self.family.name} on {silent[0]}: its strength is unknown")
        if len(set(parts.values())) > 1 and self.family.shift_invariant:
            raise DataError(
                f"no chain of votes connects {model_a} and {model_b}, so that they cannot be compared; add votes "
                f"between the parts of the comparison graph"
            )
        if loose := [name for name in parts if not self.identified[self.models.index(name)]]:
            log.warning(
                "the votes do not bound the strength of %s: the probabilities rest on the ridge", " and ".join(loose)
            )
        return pair_outcomes(self.models, self.ranking, self.family, model_a, model_b)

    def plot(self, *, title: str = "", level: float = 0.95, top: int = 60) -> "Figure":
        """Draw Elo points with intervals at ``level``, best model on top, and rank ranges beside them."""
        from p2l.ranking.leaderboard_plots import plot_intervals  # as in p2l.ranking: matplotlib when it is needed

        return plot_intervals(self.table(level), title=title, level=level, top=top)

    def save(self, path: str | Path) -> Path:
        """Write the table (.csv, .json, .jsonl, .parquet) or the picture (.png, .svg, .pdf); return the path."""
        return save_leaderboard(path, self.table, self.plot)

    def __len__(self) -> int:
        """Return the number of models, those without votes included."""
        return len(self.models)

    def __repr__(self) -> str:
        notes = f"; {len(self.notes)} notes" if self.notes else ""
        size = f"{len(self.models)} models, {self.family.name}, {self.size}"
        return f"LeaderboardFit({size}: {best_models(self.table())}{notes})"

    def __str__(self) -> str:
        table = self.table().to_string(index=False, float_format="{:.3f}".format)
        return "\n".join([table, *(f"Note: {note}." for note in self.notes)])

    def _repr_html_(self) -> str:
        title = f"{self.size}, {self.family.name}, log loss {self.log_loss:.4f} nats a vote"
        notes = "".join(f"<p>Note: {escape(note)}.</p>" for note in self.notes)
        return leaderboard_html(escape(title), self.table()) + notes

    def effect_table(self, level: float = 0.95) -> pd.DataFrame:
        """Return the effects of the covariates with intervals: covariate, effect, low, high (nats).

        All three are NaN for an effect that the votes do not determine.
        """
        check_level(level)
        at = len(self.models) + self.family.num_eta
        effects = np.array(list(self.effects.values()), dtype=np.float64)
        samples = None if self.samples is None else self.samples[:, at:]
        low, high = intervals(effects, self.covariance[at:, at:], samples, level)
        low, high = (np.where(np.isnan(effects), np.nan, end) for end in (low, high))
        return pd.DataFrame({"covariate": list(self.effects), "effect": effects, "low": low, "high": high})


def _counts(votes: Float64[np.ndarray, " models"]) -> np.ndarray:
    """Return whole numbers as integers: the votes have no weights, or weights that floats count exactly."""
    is_whole = (votes == np.rint(votes)).all() and (votes <= _LARGEST_EXACT).all()
    return votes.astype(np.int64) if is_whole else votes
