"""Fit leaderboards to a table of votes, overall and by category; write tables, numbers and pictures."""

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.table import Table

from p2l.commands.leaderboard_votes import LeaderboardSource, Stream
from p2l.composition.config_objects import make
from p2l.console import table_console
from p2l.data.battle_counts import BattleCounts
from p2l.data.battle_table import CheckedBattles
from p2l.data.categories import find_category
from p2l.data.vote_checks import name_doubts
from p2l.data.winner_labels import WinnerMap
from p2l.errors import DataError
from p2l.files import whole_file, write_whole
from p2l.leaderboard.cross_validation import LOSSES, cross_validate
from p2l.leaderboard.fit_leaderboard import RIDGE, check_fit_options, fit
from p2l.leaderboard.leaderboard_fit import LeaderboardFit
from p2l.leaderboard.vote_counts import PairWeights
from p2l.options import check_any, check_count, check_count_or_none, check_level, check_share
from p2l.outcomes import get_family
from p2l.ranking.leaderboard_plots import plot_intervals

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaderboardJob:
    """Fit each category; write ``leaderboard-<category>.csv`` and ``.png``, and ``leaderboards.json``.

    Attributes:
        votes: anything that p2l reads; needs model_a, model_b and winner, and no prompts.
        family: published name of the likelihood family that is fitted.
        compare, folds: the families to compare by cross-validation, and its folds; 0: none.
        categories: names of ``known_categories``, or ``column=value``; "all" for all votes.
        split, max_skipped_share, columns, winner_map: as in ``p2l.data.FileVotes``.
        level: of the intervals.
        pair_weights, covariates, cluster, ridge, bootstrap, seed: as in ``p2l.leaderboard.fit``.
        top: how many models are printed.
        stream: whether votes are counted in blocks: true, false, or auto for large tables.
        engine: ``ray`` counts the files of the table apart, with ``workers`` processes of a Ray cluster.
    """

    votes: str
    family: str
    output_dir: str
    compare: Sequence[str] = ("bt", "bt-tie", "rk", "grk")
    categories: Sequence[str] = ("all",)
    known_categories: Mapping[str, Mapping[str, Any]] | None = None
    split: str = "train"
    max_skipped_share: float = 0.05
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    level: float = 0.95
    pair_weights: PairWeights = "votes"
    covariates: Sequence[str] = ()
    cluster: str | None = None
    ridge: float = RIDGE
    bootstrap: int = 0
    seed: int = 0
    folds: int = 0
    top: int = 20
    stream: Stream = "auto"
    engine: str = "local"
    workers: int = 2

    def __post_init__(self) -> None:
        check_level(self.level)
        check_share("max_skipped_share", self.max_skipped_share)
        check_count_or_none("folds", self.folds, least=2, zero_is="no cross-validation")
        check_count("top", self.top)
        check_any("categories", self.categories)
        self._source()
        check_fit_options(self.ridge, self.pair_weights, self.bootstrap, self.seed)

    def run(self) -> dict[str, LeaderboardFit]:
        """Return the fit of each category; one without votes is skipped with a warning, ``DataError`` if all are."""
        families = [get_family(name) for name in (self.family, *self.compare)]
        categories = [find_category(name, self.known_categories or {"all": {}}) for name in self.categories]
        loaded = self._source().load(categories)
        if self.folds:
            check_any("compare", self.compare)
            check_count("folds", self.folds, least=2, most=len(loaded.all), of="the number of votes")
        fits: dict[str, LeaderboardFit] = {}
        left_out: dict[str, str] = {}
        for name, votes in loaded.by_category:
            try:
                fits[name] = self._fit(votes)
            except DataError as reason:
                left_out[name] = str(reason)
                log.warning("category %s is left out: %s", name, reason)
        if not fits:
            raise DataError("; ".join(f"category {name}: {reason}" for name, reason in left_out.items()))
        for doubt in name_doubts({name for found in fits.values() for name in found.models}):
            log.warning("%s", doubt)
        for name, found in fits.items():
            self._show(name, found)
        self._save(fits, left_out)
        if self.folds:
            scores = cross_validate(loaded.all, families[1:], folds=self.folds, seed=self.seed)
            with write_whole(Path(self.output_dir) / "cross_validation.csv") as file:
                scores.to_csv(file, index=False)
            _print_scores(scores)
        return fits

    def _source(self) -> LeaderboardSource:
        needs = {"covariates": self.covariates, "cluster": self.cluster}
        return LeaderboardSource(
            self.votes,
            self.split,
            self.max_skipped_share,
            self.columns,
            self.winner_map,
            self.stream,
            each_vote=[name for name, value in needs.items() if value],
            redrawn=bool(self.bootstrap or self.folds),
            engine=self.engine,
            workers=self.workers,
        )

    def _fit(self, votes: CheckedBattles | BattleCounts | DataError) -> LeaderboardFit:
        if isinstance(votes, DataError):
            raise votes
        return fit(
            votes,
            self.family,
            ridge=self.ridge,
            pair_weights=self.pair_weights,
            covariates=self.covariates,
            cluster=self.cluster,
            bootstrap=self.bootstrap,
            seed=self.seed,
        )

    def _save(self, fits: dict[str, LeaderboardFit], left_out: dict[str, str]) -> None:
        folder, summary = Path(self.output_dir), {}
        for stem, (name, found) in zip(_stems(fits), fits.items(), strict=True):
            table = found.table(self.level)
            with write_whole(folder / f"{stem}.csv") as file:
                table.to_csv(file, index=False)
            with whole_file(folder / f"{stem}.png") as path:
                title = f"{name}: {found.family.name}, {found.size}"
                plot_intervals(table, title=title, level=self.level).savefig(path, dpi=120, format="png")
            summary[name] = {
                "family": found.family.name,
                "votes": found.votes.sum() / 2,
                "weighted": found.weighted,
                "log_loss": found.log_loss,
                "eta": None if found.ranking.eta is None else float(found.ranking.eta),
                "effects": found.effect_table(self.level).astype(object).replace({np.nan: None}).to_dict("records"),
                "notes": list(found.notes),
                "leaderboard": table.to_dict(orient="records"),
            }
        with write_whole(folder / "leaderboards.json") as file:
            json.dump({"level": self.level, "categories": summary, "left_out": left_out}, file, indent=1)
        log.info("leaderboards: %s", folder)

    def _show(self, name: str, found: LeaderboardFit) -> None:
        console = table_console()
        table = found.table(self.level)
        if "identified" in table:
            table = table.sort_values("identified", ascending=False, kind="stable")
        part = f", {self.top} of {len(table)} models" if len(table) > self.top else ""
        shown = Table(title=f"{name}: {found.family.name}, {found.size}{part}")
        weight, form = ("weight", ",.1f") if found.weighted else ("votes", ",.0f")
        for column in ("rank", "model", "elo", f"{self.level:.0%} interval", "win rate", weight):
            shown.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
        for row in table.head(self.top).itertuples():
            ranks = str(row.rank_best) if row.rank_best == row.rank_worst else f"{row.rank_best}-{row.rank_worst}"
            known = getattr(row, "identified", True)
            interval = f"{row.elo_low:+.0f} to {row.elo_high:+.0f}" if known else "not identified"
            elo, win_rate = (f"{row.elo:+.0f}", f"{row.win_rate:.1%}") if known else ("?", "?")
            shown.add_row(ranks, row.model, elo, interval, win_rate, f"{row.votes:{form}}")
        console.print(shown)
        for note in found.notes:
            console.print(f"note: {note}", markup=False, highlight=False)
        for effect in found.effect_table(self.level).itertuples():
            ends = f"{effect.effect:+.3f} nats a unit [{effect.low:+.3f}, {effect.high:+.3f}]"
            text = "not identified" if math.isnan(effect.effect) else ends
            console.print(f"{effect.covariate}: {text}", markup=False, highlight=False)


def _stems(names: Iterable[str]) -> list[str]:
    """Return a file name for each category, of its letters and digits; distinct even if case is ignored."""
    stems: dict[str, str] = {}
    for name in names:
        plain = "leaderboard-" + re.sub(r"[^\w.-]+", "_", name)
        numbered = chain([plain], (f"{plain}-{number}" for number in count(2)))
        stem = next(stem for stem in numbered if stem.casefold() not in stems)
        stems[stem.casefold()] = stem
    return list(stems.values())


def _print_scores(scores: pd.DataFrame) -> None:
    shown = Table(title=f"held-out log loss, nats a vote, {scores['fold'].nunique()} folds (standard error)")
    for column in ("family", "own outcomes", "who won, if someone did", "win, loss or neither"):
        shown.add_column(column, justify="left" if column == "family" else "right")
    for family, of_family in scores.groupby("family", sort=False):
        shown.add_row(str(family), *(_mean_of_folds(of_family[name]) for name in LOSSES))
    table_console().print(shown)


def _mean_of_folds(losses: pd.Series) -> str:
    """Show the mean over the folds that have evidence, and how many these are if some have none."""
    known = losses.dropna()
    if known.empty:
        return ""
    error = f" ({known.sem():.4f})" if len(known) > 1 else ""
    return f"{known.mean():.4f}{error}" + (f", {len(known)} folds" if len(known) < len(losses) else "")


def run(cfg: DictConfig) -> None:
    make(cfg.job).run()
