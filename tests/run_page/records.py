"""Records of runs, as a test needs them."""

import math
from collections.abc import Sequence

from p2l.run_page import RunRecord

EVIL = "<script>alert('x')</script> & \"quotes\" </style> \ud83d \0 <img src=x onerror=alert(1)> $x^2$"


def history(val: Sequence[float], marginal: float = 1.2, train: float = 1.3) -> list[dict[str, float]]:
    """A validation after every tenth step."""
    rows: list[dict[str, float]] = []
    for i, loss in enumerate(val, start=1):
        rows += [{"step": 10 * i - 5, "train/loss": train - 0.01 * i}]
        rows += [{"step": 10 * i, "val/log_loss": loss, "val/log_loss_minus_marginal": loss - marginal}]
    return rows


def votes(models: Sequence[str], of_each: int = 100, **more: int) -> dict:
    outcomes = {"model_a": 0.5, "model_b": 0.3, "tie": 0.15, "tie (bothbad)": 0.05}
    taken = dict.fromkeys(models, of_each)
    known = {"votes": 1000, "prompts": 57, "outcomes": outcomes, "models": taken, "turns": {"1": 54, "2": 3}}
    return {**known, "duplicates": 7, **more}


def record(num_models: int = 3, name: str = "demo", **changes: object) -> RunRecord:
    """A finished run with every part."""
    models = [f"{name} {i}" for i in range(num_models)]
    rows = [{"rank": i + 1, "model": m, "elo": 100.0 - i, "win_rate": 0.5} for i, m in enumerate(models)]
    curve = {"predicted": [0.2, 0.7], "observed": [0.3, 0.6], "votes": [40.0, 60.0]}
    apart = {"value": -0.1, "low": -0.2, "high": -0.05}
    values: dict = {
        "name": name, "status": "finished", "step": 30, "steps": 30, "family": "grk", "models": models,
        "outcomes": ["a wins", "b wins", "tie", "both bad"],
        "history": history([1.15, 1.12, 1.11]),
        "votes": {"train": votes(models), "val": votes(models, trained_on_too=0)},
        "calibration": dict.fromkeys(("a wins", "b wins", "tie", "both bad"), curve),
        "leaderboards": [{"prompt": [name, "and then?"], "rows": rows}],
        "test": {
            "votes": 500, "prompts": 50, "model": {"log_loss": 1.1, "accuracy": 0.5},
            "marginal": {"log_loss": 1.2, "accuracy": 0.4}, "difference": {"log_loss": apart, "accuracy": apart},
        },
        "config": {"name": name, "optimizer": {"lr": 1e-4}, "list": [name]},
    }  # fmt: skip
    return RunRecord(**{**values, **changes})


UNIFORM = math.log(4)
