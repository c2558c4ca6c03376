"""Fit the scaling law of a sweep, with intervals, predictions, and errors on held-out points."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from omegaconf import DictConfig
from rich.table import Table

from p2l.composition.config_objects import make
from p2l.console import table_console
from p2l.errors import ConfigError
from p2l.files import whole_file, write_whole
from p2l.options import check_choice, check_count, check_number, check_seed
from p2l.scaling.held_out import errors, hold_out
from p2l.scaling.law import observe
from p2l.scaling.law_intervals import LawFit, fit_with_intervals
from p2l.scaling.law_plots import plot_law
from p2l.scaling.points import ScalingPoint, Split, points_table, read_points
from p2l.statistics.bootstrap import Interval

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScalingJob:
    """Fit the law; write ``scaling_law.json``, ``.csv`` (the points), ``.png`` and ``held_out.csv``.

    Attributes:
        results: folder of a sweep, or a CSV table of its points.
        split: whose loss is fitted: "test" or "val".
        predict: sizes and votes not run, as ``{parameters: 1.0e9, votes: 1.0e6}``.
        resamples, seed: of the intervals; see ``LawFit``.
    """

    results: str
    output_dir: str
    split: Split = "test"
    predict: Sequence[Mapping[str, float]] = ()
    resamples: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("split", self.split, get_args(Split))
        check_count("resamples", self.resamples, least=2)
        check_seed(self.seed)
        for wanted in self.predict:
            if not isinstance(wanted, Mapping) or set(wanted) != {"parameters", "votes"}:
                raise ConfigError(f"predict: expected parameters and votes, both above 0; got {wanted}")
            for name, value in wanted.items():
                check_number(f"predict: {name}", value, above=0)

    def run(self) -> LawFit:
        """Return the fit; ``DataError`` if the points do not suffice."""
        points = read_points(self.results)
        fit = fit_with_intervals(observe(points, self.split), resamples=self.resamples, seed=self.seed)
        held_out = hold_out(fit.seen)
        predictions = [
            (wanted, fit.predict(wanted["parameters"], wanted["votes"], self.seed)) for wanted in self.predict
        ]
        self._save(points, fit, held_out, predictions)
        _show(fit, errors(held_out), predictions)
        return fit

    def _save(
        self,
        points: list[ScalingPoint],
        fit: LawFit,
        held_out: pd.DataFrame,
        predictions: list[tuple[Mapping[str, float], Interval]],
    ) -> None:
        folder = Path(self.output_dir)
        for name, table in (("scaling_law.csv", points_table(points)), ("held_out.csv", held_out)):
            with write_whole(folder / name) as file:
                table.to_csv(file, index=False)
        with whole_file(folder / "scaling_law.png") as path:
            plot_law(fit, held_out, title=f"{self.split}: {fit.law}").savefig(path, dpi=120, format="png")
        summary: dict[str, Any] = {
            "split": self.split,
            "points": len(points),
            "law": {name: asdict(interval) for name, interval in fit.coefficients().items()},
            "rmse": fit.rmse,
            "notes": list(fit.notes()),
            "held_out": errors(held_out).to_dict(orient="records"),
            "predictions": [{**wanted, **asdict(interval)} for wanted, interval in predictions],
        }
        with write_whole(folder / "scaling_law.json") as file:
            json.dump(summary, file, indent=1)
        log.info("scaling law: %s", folder)


def _show(fit: LawFit, found: pd.DataFrame, predictions: list[tuple[Mapping[str, float], Interval]]) -> None:
    console = table_console()
    console.print(f"{fit.law}   (residuals {fit.rmse:.4f} nats a vote)", markup=False, highlight=False)
    for name, interval in fit.coefficients().items():
        line = f"  {name:<6}{interval.value:.4g} [{interval.low:.4g}, {interval.high:.4g}]"
        console.print(line, markup=False, highlight=False)
    for note in fit.notes():
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print("too few points to hold any of them out" if found.empty else _errors_table(found))
    for wanted, interval in predictions:
        line = f"{wanted['parameters']:.4g} parameters, {wanted['votes']:.4g} votes: {interval}"
        console.print(line, markup=False, highlight=False)


def _errors_table(found: pd.DataFrame) -> Table:
    shown = Table(title="root mean squared error of held-out points, nats a vote")
    shown.add_column("predicted by")
    for way in found["held_out"].unique():
        shown.add_column(way, justify="right")
    for name, of_name in found.groupby("prediction", sort=False):
        shown.add_row(str(name), *(f"{rmse:.4f}" for rmse in of_name["rmse"]))
    return shown


def run(cfg: DictConfig) -> None:
    make(cfg.job).run()
