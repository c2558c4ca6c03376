"""Convert rankings to tables."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from p2l.arrays import to_numpy
from p2l.errors import ConfigError
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

ELO_POINTS_PER_NAT = 400 / np.log(10)
TABLE_COLUMNS = ("rank", "model", "coef", "elo", "win_rate")


# name of a group -> its models: those of two groups were never compared
Groups = Mapping[str, Sequence[str]]
NO_GROUP = "other"  # of models that no group names
ModelMask = Bool[np.ndarray, " models"]


def leaderboard_tables(
    models: Sequence[str], rankings: Ranking, family: OutcomeFamily, groups: Groups | None = None
) -> list[pd.DataFrame]:
    """Return ``leaderboard_table`` of each prompt of a batch."""
    etas = [None] * len(rankings.coefs) if rankings.eta is None else list(rankings.eta)
    return [
        leaderboard_table(models, Ranking(coefs, eta), family, groups)
        for coefs, eta in zip(rankings.coefs, etas, strict=True)
    ]


def leaderboard_table(
    models: Sequence[str],
    ranking: Ranking,
    family: OutcomeFamily,
    groups: Groups | None = None,
    reference: ModelMask | None = None,
) -> pd.DataFrame:
    """Return one ranking as a table, best first: rank, model, coef (nats), elo (points above the mean), win_rate.

    ``win_rate`` is the mean probability of winning against each other model; outcomes without a winner count as half.
    The mean of the points and the other models are those that ``reference`` marks; None for all.
    With ``groups``, the rows of one group follow those of another, ranks, Elo points and win rates are those within the
    group, and the column ``group`` names it.
    """
    eta = None if ranking.eta is None else ranking.eta.detach().double().cpu().reshape(1, 1)
    coefs = ranking.coefs.detach().double().cpu()
    if not groups:
        return _table(models, coefs, eta, family, reference)
    found = []
    for group, members in members_of(models, groups).items():
        chosen = [list(models).index(name) for name in members]
        marked = None if reference is None else reference[chosen]
        found.append(_table(members, coefs[chosen], eta, family, marked).assign(group=group))
    return pd.concat(found, ignore_index=True)


def reference_models(identified: ModelMask) -> ModelMask:
    """Mark the models that the others are compared with: those that the votes bound, or all if they bound none.

    A coefficient that the ridge alone bounds would move the mean model, and with it everybody's points and win rates.
    """
    return identified if identified.any() else np.ones_like(identified)


def members_of(models: Sequence[str], groups: Groups) -> dict[str, list[str]]:
    """Return the models of each group that has some, in the order of ``models``; ``NO_GROUP`` has those without one."""
    group_of = {name: group for group, names in groups.items() for name in names}
    found: dict[str, list[str]] = {group: [] for group in (*groups, NO_GROUP)}
    for name in models:
        found[group_of.get(name, NO_GROUP)].append(name)
    return {group: names for group, names in found.items() if names}


def compared(models: Sequence[str], groups: Groups | None) -> Bool[np.ndarray, "models models"] | None:
    """Return which pairs of models are of one group; None if all are."""
    if not groups:
        return None
    group_of = {name: group for group, names in members_of(models, groups).items() for name in names}
    own = np.array([group_of[name] for name in models])
    return own[:, None] == own[None, :]


def tables_by_group(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each group without the column ``group``; all rows under "" if there is no such column."""
    if "group" not in table:
        return {"": table}
    return {str(group): rows.drop(columns="group") for group, rows in table.groupby("group", sort=False)}


def _table(
    models: Sequence[str], coefs: Tensor, eta: Tensor | None, family: OutcomeFamily, reference: ModelMask | None
) -> pd.DataFrame:
    marked = torch.ones(len(coefs), dtype=torch.bool) if reference is None else torch.from_numpy(reference)
    probs = family.log_probs(coefs[:, None], coefs[None, :], eta).exp()
    wins = probs[..., 0] + probs[..., 2:].sum(-1) / 2
    others = marked & ~torch.eye(len(coefs), dtype=torch.bool)
    win_rate = (wins * others).sum(-1) / others.sum(-1).clamp(min=1)
    table = pd.DataFrame(
        {
            "model": list(models),
            "coef": coefs.numpy(),
            "elo": ((coefs - coefs[marked].mean()) * ELO_POINTS_PER_NAT).numpy(),
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
