"""The leaderboard of one prompt, and those of many: what a checkpoint's ``rank`` returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from p2l.errors import ConfigError
from p2l.head_posterior import HeadPosterior
from p2l.options import check_level
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_file import leaderboard_html, save_leaderboard
from p2l.ranking.leaderboard_intervals import COLUMNS_WITH_INTERVALS, outcome_intervals, with_intervals
from p2l.ranking.leaderboard_table import (
    TABLE_COLUMNS,
    Groups,
    leaderboard_table,
    members_of,
    tables_by_group,
    warned,
    with_costs,
)
from p2l.ranking.pair_outcomes import find_model, pair_outcomes
from p2l.types import Ranking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = 4  # of a picture of many leaderboards
_TITLE = 60  # characters of a prompt


@dataclass(frozen=True, eq=False, repr=False)
class Leaderboard:
    """The models ranked for one prompt, or for the set of prompts that ``p2l.aggregate`` summarised.

    ``print`` shows the table, a notebook renders it.

    Attributes:
        models: names, in the order of the coefficients.
        ranking: coefs (models,) in nats, and eta () if the family has one.
        family: the likelihood family.
        prompt: user turns; empty for a leaderboard of several prompts.
        warning: of the checkpoint that ranked, which all that is made of this leaderboard shows; None for none.
        groups: names and models of groups that were never compared, each ranked apart; None if all models compare.
        posterior: of the head that ranked: tables and pictures show intervals; None for none.

    >>> import torch
    >>> from p2l.outcomes import BT
    >>> leaderboard = Leaderboard(("ant", "bee", "cow"), Ranking(torch.tensor([0.0, 1.0, -1.0]), None), BT, ("hi",))
    >>> leaderboard
    Leaderboard('hi', 3 models, bt: 1 bee +174, 2 ant +0, 3 cow -174)
    >>> print(leaderboard.table().round(2).to_string(index=False))
     rank model  coef     elo  win_rate
        1   bee   1.0  173.72      0.81
        2   ant   0.0    0.00      0.50
        3   cow  -1.0 -173.72      0.19
    >>> {outcome: round(p, 2) for outcome, p in leaderboard.predict("bee", "ant").items()}
    {'a wins': 0.73, 'b wins': 0.27}
    """

    models: tuple[str, ...]
    ranking: Ranking
    family: OutcomeFamily
    prompt: tuple[str, ...] = ()
    warning: str | None = None
    groups: Groups | None = None
    posterior: HeadPosterior | None = None

    def table(self, *, costs: bool = False, level: float = 0.95) -> pd.DataFrame:
        """Return the models, best first: rank, model, coef (nats), elo (points above the mean model), win_rate.

        ``win_rate`` is the mean probability of winning against each other model, ties counted as half. ``costs`` adds
        ``cost``, the expected cost of the answer (``Ranking.costs``), NaN for a model without a prediction. Raises
        ConfigError if there are no predicted costs. With ``groups``, see ``leaderboard_table``. With a posterior there
        are intervals at ``level`` (``p2l.ranking.leaderboard_intervals``): low and high (nats), elo_low and elo_high,
        and rank_best and rank_worst, which hold for all models at once.
        """
        check_level(level)
        found = leaderboard_table(self.models, self.ranking, self.family, self.groups)
        if self.posterior is not None and self.ranking.states is not None:
            found = with_intervals(found, self.models, self.ranking, self.posterior, level)
        return warned(with_costs(found, self.models, self.ranking) if costs else found, self.warning)

    def predict(self, model_a: str, model_b: str) -> dict[str, float]:
        """Return the probability of each outcome of ``model_a`` against ``model_b``, by name of the outcome.

        Raises ``ConfigError``, with the nearest name, if a model is not on the leaderboard, or if the two are of groups
        that were never compared.
        """
        found = pair_outcomes(self.models, self.ranking, self.family, model_a, model_b)
        members = members_of(self.models, self.groups or {})
        apart = [group for group, names in members.items() if model_a in names or model_b in names]
        if len(apart) > 1:
            raise ConfigError(f"{model_a} and {model_b} were never compared: their groups are {' and '.join(apart)}")
        return found

    def predict_interval(self, model_a: str, model_b: str, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Return an interval of the probability of each outcome of ``model_a`` against ``model_b``, by outcome.

        Raises ``ConfigError`` as ``predict`` does, or if the checkpoint has no posterior.
        """
        check_level(level)
        self.predict(model_a, model_b)
        if self.posterior is None or self.ranking.states is None:
            raise ConfigError("the checkpoint has no posterior; p2l posterior adds one")
        a, b = (find_model(self.models, name) for name in (model_a, model_b))
        return outcome_intervals(self.ranking, self.family, self.posterior, a, b, level)

    def plot(self, *, top: int = 15) -> "Figure":
        """Draw the ``top`` models, of each group if there are any, as bars of Elo points."""
        from p2l.ranking.leaderboard_plots import plot_leaderboards  # servers do not need matplotlib

        panels = self.panels()
        return plot_leaderboards(list(panels), list(panels.values()), top=top)

    def save(self, path: str | Path) -> Path:
        """Write the table (.csv, .json, .jsonl, .parquet) or the picture (.png, .svg, .pdf); return the path."""
        return save_leaderboard(path, self.table, self.plot)

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        named = f"{self._title()!r}, " if self.prompt else ""
        best = "; ".join(map(best_models, self.panels().values()))
        return f"Leaderboard({named}{len(self.models)} models, {self.family.name}: {best}{_noted(self.warning)})"

    def __str__(self) -> str:
        head = f"Warning: {self.warning}\n" if self.warning else ""
        head += f"{self._title()}\n" if self.prompt else ""
        tables = tables_by_group(self.table())
        texts = {group: table.to_string(index=False, float_format="{:.3f}".format) for group, table in tables.items()}
        return head + "\n\n".join(f"{group}\n{text}" if group else text for group, text in texts.items())

    def _repr_html_(self) -> str:
        return "".join(leaderboard_html(escape(title), table) for title, table in self.panels().items())

    def panels(self) -> dict[str, pd.DataFrame]:
        """Return the table of each group under the prompt and its name; one table if there are no groups."""
        tables = tables_by_group(self.table())
        return {": ".join(filter(None, (self._title(), group))): table for group, table in tables.items()}

    def _title(self) -> str:
        return shorten(" / ".join(self.prompt), _TITLE, placeholder=" ...")


@dataclass(frozen=True, eq=False, repr=False)
class Leaderboards(Sequence[Leaderboard]):
    """The leaderboards of many prompts, in their order: ``leaderboards[0]`` is that of the first prompt.

    Attributes:
        models: names, in the order of the coefficients.
        rankings: coefs (prompts, models) in nats, and eta (prompts,) if the family has one.
        family: the likelihood family.
        prompts: user turns of each prompt.
        warning, groups, posterior: as in ``Leaderboard``.
    """

    models: tuple[str, ...]
    rankings: Ranking
    family: OutcomeFamily
    prompts: tuple[tuple[str, ...], ...]
    warning: str | None = None
    groups: Groups | None = None
    posterior: HeadPosterior | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    @overload
    def __getitem__(self, index: int) -> Leaderboard: ...

    @overload
    def __getitem__(self, index: slice) -> "Leaderboards": ...

    def __getitem__(self, index: int | slice) -> "Leaderboard | Leaderboards":
        prompts = self.prompts[index]  # raises IndexError, which ends an iteration
        ranking = self.rankings.map(lambda x: x[index])
        if isinstance(index, slice):
            return Leaderboards(self.models, ranking, self.family, self.prompts[index], *self._about())
        turns: Any = prompts  # of one index
        return Leaderboard(self.models, ranking, self.family, turns, *self._about())

    def _about(self) -> tuple[str | None, Groups | None, HeadPosterior | None]:
        return self.warning, self.groups, self.posterior

    def table(self, *, costs: bool = False, level: float = 0.95) -> pd.DataFrame:
        """Return all leaderboards in one table: those of ``Leaderboard.table`` under their ``prompt`` (position)."""
        if not self.prompts:
            more = [*(["group"] if self.groups else []), *(["cost"] if costs else [])]
            columns = TABLE_COLUMNS if self.posterior is None else COLUMNS_WITH_INTERVALS
            return pd.DataFrame(columns=["prompt", *columns, *more])
        tables = [leaderboard.table(costs=costs, level=level) for leaderboard in self]
        joined = pd.concat(tables, keys=range(len(tables)), names=["prompt"])
        return warned(joined.reset_index("prompt").reset_index(drop=True), self.warning)

    def plot(self, *, top: int = 15) -> "Figure":
        """Draw the first four leaderboards on one scale; a model has the same colour in each."""
        from p2l.ranking.leaderboard_plots import plot_leaderboards

        panels = [panel for each in self[:_PANELS] for panel in each.panels().items()]
        total = None if self.groups else len(self)
        return plot_leaderboards([title for title, _ in panels], [table for _, table in panels], top=top, total=total)

    def save(self, path: str | Path) -> Path:
        """Write the table (.csv, .json, .jsonl, .parquet) or the picture (.png, .svg, .pdf); return the path."""
        return save_leaderboard(path, self.table, self.plot)

    def __repr__(self) -> str:
        noted = _noted(self.warning)
        return f"Leaderboards({len(self):,} prompts, {len(self.models)} models, {self.family.name}{noted})"

    def _repr_html_(self) -> str:
        panels = [panel for each in self[:_PANELS] for panel in each.panels().items()]
        shown = "".join(leaderboard_html(escape(title), table, top=5) for title, table in panels)
        more = f"<p>{len(self) - _PANELS:,} more prompts: <code>.table()</code></p>" if len(self) > _PANELS else ""
        return f"<p>{escape(repr(self))}</p>{shown}{more}"


def _noted(warning: str | None) -> str:
    return f"; warning: {warning}" if warning else ""


def best_models(table: pd.DataFrame, shown: int = 3) -> str:
    """Name the first models of a leaderboard's table with their Elo points, in one line."""
    best = [f"{row.rank} {row.model} {row.elo:+.0f}" for row in table.head(shown).itertuples()]
    return ", ".join(best) + (", ..." if len(table) > shown else "")
