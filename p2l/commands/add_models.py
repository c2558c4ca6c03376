"""Add new LLMs to a checkpoint: fit their rows, write the larger checkpoint, and report where they stand."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from matplotlib.figure import Figure
from omegaconf import DictConfig

from p2l.composition.config_objects import make
from p2l.data.vote_table import VoteTable
from p2l.data.winner_labels import WinnerMap
from p2l.errors import ConfigError
from p2l.files import whole_file, write_whole
from p2l.leaderboard import leaderboard_table, plot_intervals
from p2l.models import Checkpoint, save_checkpoint
from p2l.new_models.extend_checkpoint import extend_checkpoint
from p2l.new_models.new_model_votes import load_new_model_votes, votes_of_models
from p2l.new_models.placement_notes import Notes, loss_notes, placement_notes, places, prompt_notes
from p2l.new_models.row_fit import (
    LEVEL_PENALTY,
    PENALTIES,
    Precision,
    PromptFeatures,
    RowFit,
    check_row_options,
    extract_features,
    fit_rows,
)
from p2l.options import check_choice, check_count, check_level, check_share
from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_table import ELO_POINTS_PER_NAT, reference_models
from p2l.statistics.intervals import intervals, normal_quantile, rank_ranges, student_quantile
from p2l.types import Ranking

log = logging.getLogger(__name__)

_COLUMNS = (
    *("rank", "rank_best", "rank_worst", "model", "new", "identified", "coef", "low", "high"),
    *("elo", "elo_low", "elo_high", "win_rate", "note"),
)


@dataclass(frozen=True)
class AddModelsJob:
    """Add new models; write ``checkpoint/`` (published format), ``leaderboard.csv``, a picture and ``report.json``.

    Attributes:
        votes: file, folder or hub dataset of votes in which the new models took part, with prompts.
        output_dir: folder for all of these.
        new: the models to add; None for all that the checkpoint does not rank.
        refit: whether ``new`` may name models that the checkpoint ranks already, to fit their rows again.
        split, max_skipped_share, columns, winner_map: as in ``p2l.data.FileVotes``.
        penalties, folds, seed: as in ``p2l.new_models.fit_rows``.
        level: of the intervals.
        token_budget: most tokens, padding included, in a batch of prompts.
        precision: of the pass over the prompts; bfloat16 moves a coefficient by some thousandths of a nat.
    """

    votes: str
    output_dir: str
    new: Sequence[str] | None = None
    refit: bool = False
    split: str = "train"
    max_skipped_share: float = 0.05
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    penalties: Sequence[float] = PENALTIES
    folds: int = 5
    seed: int = 0
    level: float = 0.95
    token_budget: int = 4096
    precision: Precision = "bfloat16"

    def __post_init__(self) -> None:
        check_level(self.level)
        check_share("max_skipped_share", self.max_skipped_share)
        check_count("token_budget", self.token_budget)
        if isinstance(self.new, str):
            raise ConfigError(f"new={self.new}, but it is a list; give new=[{self.new}]")
        check_choice("precision", self.precision, get_args(Precision))
        check_row_options(self.penalties, self.folds, self.seed)

    def run(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint that ranks the new models too; their names are appended to its list.

        Raises DataError if the votes place no new model among the known ones; doubts about single ones are in the
        column ``note`` of the table.
        """
        votes, new = load_new_model_votes(
            self.votes,
            checkpoint.models,
            self.new,
            checkpoint.family,
            split=self.split,
            refit=self.refit,
            max_skipped_share=self.max_skipped_share,
            columns=self.columns,
            winner_map=self.winner_map,
        )
        notes = placement_notes(votes, new, checkpoint.models, checkpoint.family)
        placed = places(votes, new, checkpoint.models, checkpoint.family)
        log.info("%d votes on %d prompts with %s", len(votes), len(votes.prompts), ", ".join(new))
        if torch.cuda.is_available():
            checkpoint.model.to("cuda")
        reading = extract_features(checkpoint, votes.prompts, token_budget=self.token_budget, precision=self.precision)
        fitted = fit_rows(
            checkpoint.model.head,
            checkpoint.models,
            votes,
            reading,
            new,
            penalties=self.penalties,
            folds=self.folds,
            seed=self.seed,
        )
        larger = extend_checkpoint(checkpoint, new, fitted.weight, fitted.bias)
        num_prompts = dict(zip(new, fitted.num_prompts.tolist(), strict=True))
        more = (prompt_notes(num_prompts), loss_notes(fitted.held_out_of, checkpoint.family))
        notes = {name: [*notes[name], *(note for doubts in more for note in doubts[name])] for name in new}
        free = [name for name in new if not placed[name].bounded or num_prompts[name] == 1]
        table = leaderboard_with(larger, reading, fitted, self.level, notes, free)
        self._write(larger, votes, fitted, table)
        return larger

    def _write(self, checkpoint: Checkpoint, votes: VoteTable, fitted: RowFit, table: pd.DataFrame) -> None:
        folder = Path(self.output_dir)
        save_checkpoint(folder / "checkpoint", checkpoint)
        with write_whole(folder / "leaderboard.csv") as file:
            table.to_csv(file, index=False)
        with whole_file(folder / "leaderboard.png") as path:
            new = len(fitted.models)
            title = f"{new} new model{'s' if new > 1 else ''}, {len(votes):,} votes"
            _picture(table, title, self.level).savefig(path, dpi=120, format="png")
        with write_whole(folder / "report.json") as file:
            json.dump(_report(checkpoint.family, votes, fitted, table, self.level), file, indent=1)
        for row in table[table["new"]].itertuples():
            if row.identified:
                log.info("%s: rank %d to %d, %+.0f Elo points", row.model, row.rank_best, row.rank_worst, row.elo)
            else:
                log.warning("%s: its place is not identified", row.model)
            if row.note:
                log.warning("%s: %s", row.model, row.note)
        log.info("checkpoint: %s", folder / "checkpoint")


def leaderboard_with(
    checkpoint: Checkpoint,
    reading: PromptFeatures,
    fitted: RowFit,
    level: float = 0.95,
    notes: Notes | None = None,
    free: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the mean coefficients over the prompts read, best first, with intervals of the fitted models.

    Columns: rank, rank_best, rank_worst, model, new, identified, coef, low, high (nats), elo, elo_low, elo_high (points
    above the mean of the models), win_rate and note (why the place of a new model is doubtful; else empty). The known
    models are taken as exact, so their own intervals are points. Intervals of a model with votes on G prompts are
    Student's with G - 1 degrees of freedom, and variances are multiplied by G / (G - 1). Models in ``free``, which the
    votes do not place, are not identified: they have at least the interval of the prior, and may have any rank. Points
    and win rates of all models are relative to the others.
    """
    positions = [checkpoint.models.index(name) for name in fitted.models]
    num_models = len(checkpoint.models)
    coefs, covariance = np.zeros(num_models), np.zeros((num_models, num_models))
    before = reading.ranking.coefs.double().mean(0).numpy()
    coefs[: len(before)], coefs[positions] = before, fitted.coefs
    covariance[np.ix_(positions, positions)] = _covariance(fitted, level, free)
    eta = None if reading.ranking.eta is None else reading.ranking.eta.double().mean()
    loose = np.isin(checkpoint.models, free)
    ranking = Ranking(torch.from_numpy(coefs), eta)
    table = leaderboard_table(checkpoint.models, ranking, checkpoint.family, reference=reference_models(~loose))
    low, high = intervals(coefs, covariance, None, level)
    best, worst = rank_ranges(coefs, covariance, None, level)
    best, worst = np.where(loose, 1, best), np.where(loose, num_models, worst)
    new = np.isin(np.arange(num_models), positions)
    more = pd.DataFrame({"model": list(checkpoint.models), "new": new, "identified": ~loose, "low": low, "high": high})
    table = table.merge(more.assign(rank_best=best, rank_worst=worst), on="model")
    for end in ("low", "high"):
        table[f"elo_{end}"] = table["elo"] + (table[end] - table["coef"]) * ELO_POINTS_PER_NAT
    table["note"] = ["; ".join((notes or {}).get(model, [])) for model in table["model"]]
    return table[list(_COLUMNS)]


def _covariance(fitted: RowFit, level: float, free: Sequence[str]) -> Float64[np.ndarray, "models models"]:
    """Return the covariance that gives the intervals of ``leaderboard_with`` with the normal quantile of ``level``."""
    prompts = np.maximum(fitted.num_prompts, 2)
    wider = np.array([student_quantile(level, number) for number in prompts.tolist()]) / normal_quantile(level)
    wider *= np.sqrt(prompts / (prompts - 1))
    least = np.where(np.isin(fitted.models, free), LEVEL_PENALTY**-0.5, 0)
    wider = np.maximum(wider, least / np.sqrt(np.diag(fitted.covariance)))
    return fitted.covariance * np.outer(wider, wider)


def _picture(table: pd.DataFrame, title: str, level: float) -> Figure:
    """Draw the table; notes stand below it, numbered beside the names."""
    noted = table.loc[table["note"] != "", "model"].tolist()
    marks = [f"  (new{f', note {noted.index(name) + 1}' if name in noted else ''})" for name in table["model"]]
    shown = table.assign(model=table["model"] + np.where(table["new"], marks, ""))
    texts = table.set_index("model")["note"]
    notes = [f"note {number}: {name}: {texts[name]}" for number, name in enumerate(noted, start=1)]
    return plot_intervals(shown, title=title, level=level, top=len(shown), notes=notes)


def _report(
    family: OutcomeFamily, votes: VoteTable, fitted: RowFit, table: pd.DataFrame, level: float
) -> dict[str, Any]:
    counts = dict(zip(votes.models, votes_of_models(votes), strict=True))
    notes = table.set_index("model")["note"]
    return {
        "new": {
            name: {"votes": counts[name], "held_out_log_loss": fitted.held_out_of[name], "note": notes[name]}
            for name in fitted.models
        },
        "equal_chances_log_loss": math.log(len(family.outcomes)),
        "votes": len(votes),
        "prompts": len(votes.prompts),
        "penalty": fitted.penalty,
        "held_out_log_loss": {f"{penalty:g}": loss for penalty, loss in fitted.held_out.items()},
        "log_loss": fitted.log_loss,
        "level": level,
        "leaderboard": table.to_dict(orient="records"),
    }


def run(cfg: DictConfig) -> None:
    make(cfg.job).run(make(cfg.checkpoint))
