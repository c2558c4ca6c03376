"""Measure how a checkpoint routes; write JSON, CSV and a picture."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from p2l.composition.config_objects import make
from p2l.data.measured_scores import MeasuredScores, MeasuredSource
from p2l.data.prompt_overlap import are_among
from p2l.data.vote_checks import shown_names
from p2l.errors import ConfigError, DataError
from p2l.files import whole_file, write_whole
from p2l.models import Checkpoint
from p2l.models.predictor import predict
from p2l.options import check_choice, check_count, check_seed
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.evaluation.routing_evaluation import (
    GeneralScores,
    RoutingCurves,
    evaluate_routing,
    predicted_costs,
    route_scores,
)
from p2l.routing.evaluation.routing_plots import plot_routing
from p2l.routing.risk import Risk, check_risk
from p2l.routing.shrinkage import Shrinkage
from p2l.routing.shrinkage_fit import fit_shrinkage

log = logging.getLogger(__name__)

NAME = "route_eval"
TESTED_TOO = (
    "known_scores: %d of %d prompts are tested too, so that each LLM's mean score and cost, known before routing, come "
    "from answers that are measured; give known_scores=<scores of other prompts>, or split= and known_split="
)


@dataclass(frozen=True)
class RoutingEvaluation:
    """Measure cost against quality of every policy on prompts with measured scores.

    Attributes:
        title: of the picture; None: the name of the file of scores, without folder and ending.
        test: the prompts to route.
        known: other prompts, for each LLM's mean score and expected cost before routing. Those that are tested too
            are counted in a warning, and as ``known_prompts_tested`` in route_eval.json.
        optimizer: whose scores are maximised: optimal-lp (win rates) or simple-lp (coefficients, P(usable) for grk).
            If votes compare scores that are right or wrong, W q = 1/2 + (score - mean score) / 2, so that win rates
            are comparable between prompts, which one price for all of them needs.
        output_dir: gets route_eval.json, route_eval.csv and route_eval.png, and shrinkage.json.
        unit: of costs.
        costs: "mean": an LLM's answers are expected to cost its mean over the known prompts; "predicted": what the
            checkpoint predicts for each prompt.
        calibration: scores, prompts or split, if they differ from those of ``known``: prompts that are neither
            trained on nor tested. A ``Shrinkage`` is fitted to them, written, and shown in two more curves.
        risk: shows two more curves, with scores by this quantile, or "expected" (``ScoreRisk``); the checkpoint needs a
            posterior.
        beside: route_eval.json files of other runs, drawn to the left in the picture.
    """

    title: str | None
    test: MeasuredSource
    known: MeasuredSource
    optimizer: Optimizer
    output_dir: str
    unit: str
    costs: Literal["mean", "predicted"] = "mean"
    calibration: Mapping[str, Any] | None = None
    risk: Risk | None = None
    beside: Sequence[str] = ()
    num_budgets: int = 12
    token_budget: int = 16384
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, get_args(Optimizer))
        check_choice("costs", self.costs, ("mean", "predicted"))
        if self.risk is not None:
            check_risk(self.risk)
        check_count("num_budgets", self.num_budgets, least=2)
        check_count("token_budget", self.token_budget)
        check_seed(self.seed)

    def run(self, checkpoint: Checkpoint) -> RoutingCurves:
        """Route, measure and write; DataError if the checkpoint and the table share fewer than two LLMs."""
        earlier = [_read(path) for path in self.beside]
        tables = [self.test.load(), self.known.load()]
        if self.calibration is not None:
            if wrong := self.calibration.keys() - {"scores", "prompts", "split"}:
                raise ConfigError(
                    f"calibration: scores, prompts and split can be given; got {', '.join(sorted(wrong))}"
                )
            tables.append(replace(self.known, **self.calibration).load())
        test, known, *other = _shared(dict(zip(("scores", "known_scores", "calibration"), tables)), checkpoint.models)
        log.info("%d prompts, %d LLMs: %s", len(test), len(test.models), ", ".join(test.models))
        tested_too = int(are_among(known.prompts, test.prompts).sum())
        if tested_too:
            log.warning(TESTED_TOO, tested_too, len(known))
        score, cost = self._scores(checkpoint, test)
        by_risk = None if self.risk is None else self._scores(checkpoint, test, self.risk)[0]
        shrunk = self._shrinkage(checkpoint, other[0], known, test)(score) if other else None
        found = evaluate_routing(
            score,
            GeneralScores.of(known),
            test,
            num_budgets=self.num_budgets,
            seed=self.seed,
            shrunk=shrunk,
            by_risk=by_risk,
            cost=cost,
        )
        self._write(found, earlier, tested_too)
        return found

    def _scores(
        self, checkpoint: Checkpoint, measured: MeasuredScores, risk: Risk | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the scores, and the predicted costs if they are asked for."""
        rankings = predict(checkpoint, measured.prompts, token_budget=self.token_budget)
        columns = [checkpoint.models.index(model) for model in measured.models]
        score = route_scores(self.optimizer, checkpoint.family, rankings, columns, risk, checkpoint.posterior)
        return score, None if self.costs == "mean" else predicted_costs(rankings, columns) * self.test.per

    def _shrinkage(
        self, checkpoint: Checkpoint, calibration: MeasuredScores, known: MeasuredScores, test: MeasuredScores
    ) -> Shrinkage:
        apart = ~are_among(calibration.prompts, test.prompts)
        if not apart.any():
            raise DataError(f"calibration: all of its {len(apart)} prompts are tested; take others")
        if not apart.all():
            log.warning("calibration: %d of %d prompts are tested too, and left out", (~apart).sum(), len(apart))
            calibration = calibration.rows(np.flatnonzero(apart))
        general = known.mean_score() if len(known) > len(calibration) else None
        found = fit_shrinkage(self.optimizer, self._scores(checkpoint, calibration)[0], calibration, general)
        found.save(Path(self.output_dir) / "shrinkage.json")
        return found

    def _write(self, found: RoutingCurves, earlier: list[dict[str, Any]], tested_too: int) -> None:
        folder = Path(self.output_dir)
        result = {
            **found.plot_data(self.title or Path(self.test.scores).stem, self.unit),
            "optimizer": self.optimizer,
            "summary": found.summary(),
            "known_prompts_tested": tested_too,
        }
        with write_whole(folder / f"{NAME}.json") as file:
            json.dump(result, file, indent=1, allow_nan=False)
        with write_whole(folder / f"{NAME}.csv") as file:
            tables = {name: curve.table().assign(unit=self.unit) for name, curve in found.curves.items()}
            pd.concat(tables, names=["policy", "point"]).to_csv(file)
        with whole_file(folder / f"{NAME}.png") as part:
            plot_routing([*earlier, result]).savefig(part, format="png", dpi=110)
        log.info("results: %s", folder / f"{NAME}.json")


def _shared(tables: Mapping[str, MeasuredScores], models: Sequence[str]) -> list[MeasuredScores]:
    """Return the tables with only the LLMs that they all share with the checkpoint; log the others."""
    shared = [model for model in models if all(model in table.models for table in tables.values())]
    if len(shared) < 2:
        found = (
            f"{name} has {len(set(table.models) & set(models))} of them ({shown_names(table.models)})"
            for name, table in tables.items()
        )
        raise DataError(
            f"the checkpoint and the tables must share two LLMs; they share {len(shared)}. The checkpoint has "
            f"{len(models)} ({shown_names(models)}); {'; '.join(found)}"
        )
    for name, table in tables.items():
        if left_out := sorted(set(table.models) - set(shared)):
            log.warning(
                "%s: LLMs that the checkpoint or another table lacks are left out: %s", name, shown_names(left_out)
            )
    return [table.among(shared) for table in tables.values()]


def _read(path: str) -> dict[str, Any]:
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"beside: {path} is not a {NAME}.json ({error})") from error
    if not isinstance(result, dict) or not {"title", "unit", "curves", "singles"} <= result.keys():
        raise ConfigError(f"beside: {path} is not a {NAME}.json")
    return result


def run(cfg: DictConfig) -> None:
    job = make(cfg.job)
    job.run(make(cfg.checkpoint))
