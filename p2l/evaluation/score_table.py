"""The scores of an evaluation as a table: each metric beside the marginal leaderboard's, with intervals."""

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table

PROPER = {"log_loss": "log loss (nats)", "brier": "Brier score", "accuracy": "accuracy"}
SIMPLE = ("Loss", "Tie_Loss", "Tie_bb_Loss", "Accuracy", "Tie_Accuracy", "Tie_bb_Accuracy")


def score_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a row for each metric of each entry of ``EvaluationSuite.run()[i]["models"]``.

    The section ``proper`` gives values, the marginal fit's, and 95 % bootstrap intervals over prompts; without it the
    losses and accuracies of ``simple`` are shown. The caption says which votes the marginal is fitted to.
    """
    marginals = (sections.get("proper_metrics", {}).get("minus_marginal", {}) for sections in models.values())
    fitted_to = " or ".join(dict.fromkeys(one["fitted_to"] for one in marginals if "fitted_to" in one))
    table = Table(caption=f"marginal: one leaderboard for all prompts, fitted to {fitted_to}" if fitted_to else None)
    for column in ("", "votes", "metric", "value", "95% interval", "marginal", "difference", "95% interval "):
        table.add_column(column, justify="left" if column in ("", "metric") else "right", overflow="fold")
    for entry, sections in models.items():
        for number, row in enumerate(_proper(sections) or _simple(sections)):
            table.add_row(entry if number == 0 else "", *row)
    return table


def _proper(sections: Mapping[str, Any]) -> list[tuple[str, ...]]:
    found = sections.get("proper_metrics")
    if found is None:
        return []
    against, votes, rows = found.get("minus_marginal", {}), f"{found['votes']:,}", []
    for metric, name in PROPER.items():
        value, difference = found[metric], against.get(metric)
        more = ("", "", "") if difference is None else _against(value["value"], difference)
        rows.append((votes, name, f"{value['value']:.4f}", _interval(value, ".4f"), *more))
        votes = ""
    error = found["calibration_error"]
    return [*rows, ("", "calibration error", f"{error['value']:.4f}", _interval(error, ".4f"), "", "", "")]


def _against(value: float, difference: Mapping[str, float]) -> tuple[str, str, str]:
    return f"{value - difference['value']:.4f}", f"{difference['value']:+.4f}", _interval(difference, "+.4f")


def _interval(value: Mapping[str, float], form: str) -> str:
    low, high = value["low"], value["high"]
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "-"
    return f"{low:{form}} to {high:{form}}"


def _simple(sections: Mapping[str, Any]) -> list[tuple[str, ...]]:
    found = sections.get("simple_metrics", {})
    return [("", name, f"{found[name]:.4f}", "", "", "", "") for name in SIMPLE if isinstance(found.get(name), float)]
