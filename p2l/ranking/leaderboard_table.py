"""Convert rankings to tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from p2l.arrays import to_numpy
from p2l.errors import ConfigError
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

ELO_POINTS_PER_NAT = 400 / np.log(10)


def leaderboard_tables(models: Sequence[str], rankings: Ranking, family: OutcomeFamily) -> list[pd.DataFrame]:
    """Return ``leaderboard_table`` of each prompt of a batch."""
    etas = [None] * len(rankings.coefs) if rankings.eta is None else list(rankings.eta)
    return [
        leaderboard_table(models, Ranking(coefs, eta), family) for coefs, eta in zip(rankings.coefs, etas, strict=True)
    ]


def leaderboard_table(models: Sequence[str], ranking: Ranking, family: OutcomeFamily) -> pd.DataFrame:
    """Return one ranking as a table, best first: rank, model, coef (nats), elo (points above the mean), win_rate.

    ``win_rate`` is the mean probability of winning against each other model; outcomes without a winner count as half.
    """
    coefs = ranking.coefs.detach().double().cpu()
    eta = None if ranking.eta is None else ranking.eta.detach().double().cpu().reshape(1, 1)
    probs = family.log_probs(coefs[:, None], coefs[None, :], eta).exp()
    wins = probs[..., 0] + probs[..., 2:].sum(-1) / 2
    others = ~torch.eye(len(coefs), dtype=torch.bool)
    win_rate = (wins * others).sum(-1) / max(1, len(coefs) - 1)
    table = pd.DataFrame(
        {
            "model": list(models),
            "coef": coefs.numpy(),
            "elo": ((coefs - coefs.mean()) * ELO_POINTS_PER_NAT).numpy(),
            "win_rate": win_rate.numpy(),
        }
    )
    table = table.sort_values("coef", ascending=False, kind="stable").reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def with_costs(table: pd.DataFrame, models: Sequence[str], ranking: Ranking) -> pd.DataFrame:
    """Add the expected cost of each model's answer as ``cost``; ConfigError if the ranking has none."""
    if ranking.costs is None:
        raise ConfigError("the checkpoint predicts no costs; p2l fit-costs adds them")
    return table.assign(cost=table["model"].map(dict(zip(models, to_numpy(ranking.costs).tolist(), strict=True))))


def warned(table: pd.DataFrame, warning: str | None) -> pd.DataFrame:
    """Note the warning of a checkpoint in ``table.attrs``: pictures and pages of the table show it."""
    if warning:
        table.attrs["warning"] = warning
    return table
