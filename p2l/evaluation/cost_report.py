"""Fit a cost head to measured costs, and report how far its predictions are from held-out ones."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import DataError
from p2l.evaluation.cost_fit import fit_cost_head
from p2l.files import write_whole
from p2l.heads.cost_head import CostHead

log = logging.getLogger(__name__)

QUANTILES = 5

Prompts = Sequence[tuple[str, ...]]


def cost_head_of(
    hidden_of: Callable[[Prompts], Float[Tensor, "prompts hidden"]],
    known: MeasuredScores,
    held_out: MeasuredScores | None,
    models: Sequence[str],
    unit: str,
) -> CostHead:
    """Return the cost head of ``models`` with the report on held-out prompts.

    Args:
        hidden_of: returns the hidden states that the ranking head reads.
        known: the costs to fit.
        held_out: other prompts; None: no report.
        models: those of the checkpoint; one without costs gets no prediction.
        unit: of the costs.

    Raises DataError as ``fit_cost_head`` does.
    """
    costs = _among(known, models)
    head = fit_cost_head(hidden_of(known.prompts).double().cpu().numpy(), costs, unit)
    if held_out is not None:
        hidden = hidden_of(held_out.prompts)
        head.report = cost_report(head, hidden, _among(held_out, models), _mean_log(costs), models)
    return head


def evaluate_costs(
    head: CostHead,
    hidden_of: Callable[[Prompts], Float[Tensor, "prompts hidden"]],
    measured: MeasuredScores,
    models: Sequence[str],
) -> dict[str, Any]:
    """Return the report of a cost head of ``models`` on measured costs, which are above 0 and in its unit.

    The one cost that predictions are compared to is each model's typical cost in this table, known in hindsight. Raises
    DataError if no model with a prediction has a measured cost.
    """
    costs = _among(measured, models)
    if not (np.isfinite(costs).any(axis=0) & head.weights.known).any():
        raise DataError(
            f"costs are predicted for {_some(models, head.weights.known)} and measured for "
            f"{', '.join(measured.models[:3])}: they share no model; rename the models of the table"
        )
    return cost_report(head, hidden_of(measured.prompts), costs, _mean_log(costs), models)


def _some(models: Sequence[str], chosen: np.ndarray) -> str:
    return ", ".join(model for model, is_chosen in zip(models, chosen, strict=True) if is_chosen) or "no model"


def _mean_log(costs: Float64[np.ndarray, "prompts models"]) -> Float64[np.ndarray, " models"]:
    """Return the mean log cost of each model over its known costs; 0 if none is known."""
    known = ~np.isnan(costs)
    return np.log(costs, where=known, out=np.zeros(costs.shape)).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


@torch.no_grad()
def cost_report(
    head: CostHead,
    hidden: Float[Tensor, "prompts hidden"],
    costs: Float64[np.ndarray, "prompts models"],
    mean_log: Float64[np.ndarray, " models"],
    models: Sequence[str],
) -> dict[str, Any]:
    """Compare predicted to measured costs (NaN: unknown), and to one cost for all prompts, exp(``mean_log``).

    ``models``: by model, the number of costs, their mean and that of the predictions, R2 of log cost, and the mean
    absolute error of log cost, with that of the one cost as ``one_cost_log_error``. ``quantiles``: the same means for
    the prompts with the lowest to the highest prediction of each model, in units of the model's mean cost.
    ``within_bound``: share of the costs below ``CostFacts.bound`` times the prediction.
    """
    predicted = head.cpu()(hidden.cpu()).double().numpy()
    typical = np.log(predicted) - np.log(head.weights.factor.astype(np.float64))
    known = np.isfinite(costs) & np.isfinite(predicted)
    found = {}
    for i, model in enumerate(models):
        if (rows := known[:, i]).any():
            actual = np.log(costs[rows, i])
            error, one = actual - typical[rows, i], actual - mean_log[i]
            found[model] = {
                "count": int(rows.sum()),
                "mean": float(costs[rows, i].mean()),
                "predicted_mean": float(predicted[rows, i].mean()),
                "r2_log": float(1 - (error**2).sum() / (one**2).sum()) if (one**2).sum() > 0 else 0.0,
                "log_error": float(np.abs(error).mean()),
                "one_cost_log_error": float(np.abs(one).mean()),
            }
    bound = head.weights.bound * predicted
    return {
        "unit": head.unit,
        "prompts": int(known.any(axis=1).sum()),
        "models": found,
        "quantiles": _by_quantile(predicted, costs, known),
        "within_bound": float((costs <= bound)[known].mean()) if known.any() else 0.0,
    }


def summary(report: dict[str, Any]) -> dict[str, float]:
    """Return predicted / actual cost of all answers together, and the means of the other figures over the models."""
    found = report["models"].values()
    if not found:
        return {}
    totals = [sum(x[name] * x["count"] for x in found) for name in ("predicted_mean", "mean")]
    means = {name: sum(x[name] for x in found) / len(found) for name in ("r2_log", "log_error", "one_cost_log_error")}
    return {"predicted_over_actual": totals[0] / totals[1], **means, "within_bound": report["within_bound"]}


def write_report(report: dict[str, Any], folder: str | Path) -> None:
    """Write ``predicted_costs.json`` in ``folder``, and log the summary."""
    with write_whole(Path(folder) / "predicted_costs.json") as file:
        json.dump(report, file, indent=1)
    log.info("%s", describe_costs(report))


def describe_costs(report: dict[str, Any]) -> str:
    """Return the summary as a line of a log."""
    found = summary(report)
    if not found:
        return "no held-out cost is known"
    return (
        f"costs of {report['prompts']:,} held-out prompts: predicted / actual {found['predicted_over_actual']:.3f}; "
        f"R2 of log cost {found['r2_log']:.3f}; error of log cost {found['log_error']:.3f}, with one cost a model "
        f"{found['one_cost_log_error']:.3f}"
    )


def _by_quantile(predicted: np.ndarray, costs: np.ndarray, known: np.ndarray) -> list[dict[str, float]]:
    """Return mean prediction and mean cost of each fifth of the prompts, by the prediction of each model."""
    parts: list[list[tuple[float, float]]] = [[] for _ in range(QUANTILES)]
    for i in range(costs.shape[1]):
        rows = np.flatnonzero(known[:, i])
        order = rows[np.argsort(predicted[rows, i], kind="stable")]
        mean = costs[rows, i].mean() if len(rows) else 1.0
        for part, members in zip(parts, np.array_split(order, QUANTILES)):
            part += zip(predicted[members, i] / mean, costs[members, i] / mean)
    return [
        {"predicted": float(np.mean([x for x, _ in part])), "actual": float(np.mean([y for _, y in part]))}
        for part in parts
        if part
    ]


def _among(measured: MeasuredScores, models: Sequence[str]) -> Float64[np.ndarray, "prompts models"]:
    """Return the measured costs of these models, in this order; NaN where there is none."""
    costs = np.full((len(measured), len(models)), np.nan)
    for i, model in enumerate(models):
        if model in measured.models:
            costs[:, i] = measured.measured_cost[:, measured.models.index(model)]
    return costs
