"""Strengths and weaknesses: groups of prompts on which an LLM stands higher or lower than on all prompts."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from p2l.errors import ConfigError
from p2l.insight.group_leaderboards import GroupLeaderboard, difference
from p2l.insight.prompt_groups import Group
from p2l.statistics.multiple_testing import benjamini_hochberg

GroupLeaderboards = Sequence[tuple[Group, GroupLeaderboard]]


def strengths_and_weaknesses(
    model: str, overall: GroupLeaderboard, groups: GroupLeaderboards, *, level: float = 0.95
) -> pd.DataFrame:
    """Return one LLM on each group compared to all prompts, its best group first.

    Columns: model, kind, group, prompts, rank, overall_rank, coef, overall_coef (nats), elo, overall_elo (points above
    the mean LLM), difference with low and high (Elo points, both leaderboards at the same spread: see ``difference``),
    p_value, verdict. A verdict "strength" or "weakness" is a discovery at a false discovery rate of 1 - level over the
    groups of this LLM (Benjamini and Hochberg); "" is none. Each interval is at ``level`` by itself. Raises
    ConfigError, with near names, if there is no such LLM.
    """
    return all_differences(overall, groups, [model], level=level)


def all_differences(
    overall: GroupLeaderboard, groups: GroupLeaderboards, models: Sequence[str] | None = None, *, level: float = 0.95
) -> pd.DataFrame:
    """Return the rows of ``strengths_and_weaknesses`` for several LLMs (None: all), one after the other."""
    apart = [difference(board, overall, level=level) for _, board in groups]
    tables = []
    for name in overall.models if models is None else models:
        i = model_index(overall.models, name)
        rows = [
            {
                "model": name,
                "kind": group.kind,
                "group": group.name,
                "prompts": len(board),
                "rank": board.ranks[i],
                "overall_rank": overall.ranks[i],
                "coef": float(board.ranking.coefs[i]),
                "overall_coef": float(overall.ranking.coefs[i]),
                "elo": board.elo[i],
                "overall_elo": overall.elo[i],
                "difference": of.value[i],
                "low": of.low[i],
                "high": of.high[i],
                "p_value": of.p_value[i],
            }
            for (group, board), of in zip(groups, apart, strict=True)
        ]
        tables.append(_judged(pd.DataFrame(rows), 1 - level))
    return pd.concat(tables, ignore_index=True)


def _judged(table: pd.DataFrame, rate: float) -> pd.DataFrame:
    if table.empty:
        return table
    found = benjamini_hochberg(table["p_value"].to_numpy(), rate)
    kinds = np.where(table["difference"] > 0, "strength", "weakness")
    table["verdict"] = np.where(found, kinds, "")
    return table.sort_values("difference", ascending=False, kind="stable")


def model_index(models: Sequence[str], name: str) -> int:
    """Return the position of an LLM; raises ConfigError, with near names, if it is unknown."""
    if name in models:
        return list(models).index(name)
    lower = {model.lower(): model for model in models}
    near = [lower[match] for match in get_close_matches(name.lower(), list(lower), n=3, cutoff=0.4)]
    near += [model for model in models if name.lower() in model.lower() and model not in near]
    hint = f"did you mean {', '.join(near[:3])}?" if near else f"it ranks {', '.join(models)}"
    raise ConfigError(f"the checkpoint ranks no LLM {name!r}; {hint}")
