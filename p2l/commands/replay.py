"""``p2l replay``: judge routing policies by the decisions of past traffic."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from p2l.errors import P2LError
from p2l.online.decision_log import NO_PROPENSITIES, NO_REWARD, DecisionLog, policies
from p2l.online.off_policy import PolicyValue, policy_value

_FEW = 50.0  # decisions of equal weight, below which an interval is no normal one


def main(arguments: Sequence[str]) -> int:
    """Print the value of each policy; exit status 2 if the log or a policy cannot be read."""
    options = parser().parse_args(arguments)
    try:
        log = DecisionLog.read(options.decisions)
        found = judge(log, options.policy or ["logged"], options.level)
    except P2LError as error:
        sys.stderr.write(f"p2l replay: {error}\n")
        return 2
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if options.json else _as_text(found))
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="p2l replay",
        description="Judge routing policies by decisions whose propensities were logged, and the feedback on them.",
    )
    parser.add_argument("decisions", type=Path, help="JSON lines, one decision each; see docs/online.md")
    parser.add_argument(
        "--policy",
        action="append",
        help="logged, uniform, always:MODEL, price:X (best score - X x cost), file:PATH; repeatable",
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def judge(log: DecisionLog, specs: Sequence[str], level: float) -> dict[str, Any]:
    """Return the reward and the cost of each policy, and what the log left out."""
    rewarded = log.logged(log.reward, log.score)
    at, paid = log.known(log.reward), log.known(log.paid)
    expected = np.where(np.isnan(log.cost), np.nanmean(log.cost), log.cost) if len(paid) else log.score
    found: dict[str, Any] = {"decisions": len(log.ids), "left_out": dict(log.left_out), "level": level, "policies": {}}
    for spec, probabilities in policies(specs, log).items():
        value = policy_value(rewarded, probabilities[at], level)
        one: dict[str, Any] = {"reward": asdict(value), "doubts": _doubts(value)}
        if len(paid):
            one["cost"] = asdict(policy_value(log.logged(log.paid, expected), probabilities[paid], level))
        found["policies"][spec] = one
    return found


def _doubts(value: PolicyValue) -> list[str]:
    found = []
    if value.unsupported > 0:
        found.append(
            f"{value.unsupported:.1%} of its choices could not have been logged: only a prediction tells of them"
        )
    if value.effective < _FEW:
        found.append(f"its weights are worth {value.effective:.0f} decisions: the intervals are too narrow")
    return found


def _as_text(found: dict[str, Any]) -> str:
    import pandas as pd

    rows, doubts = [], []
    for name, one in found["policies"].items():
        reward = one["reward"]
        row = {"policy": name, "doubly robust": _shown(reward["doubly_robust"]), "gain": _shown(reward["gain"])}
        row |= {"self-normalised": _shown(reward["self_normalised"]), "ips": _shown(reward["ips"])}
        row |= {"cost": _shown(one["cost"]["doubly_robust"], "{:.4g}") if "cost" in one else ""}
        rows.append(row | {"worth": f"{reward['effective']:.0f}"})
        doubts += [f"{name}: {doubt}\n" for doubt in one["doubts"]]
    left = found["left_out"]
    head = (
        f"{found['decisions']:,} decisions with propensities ({left.get(NO_PROPENSITIES, 0):,} without were left out), "
        f"{left.get(NO_REWARD, 0):,} of them without a reward; {found['level']:.0%} intervals\n"
    )
    return head + pd.DataFrame(rows).to_string(index=False) + "\n" + "".join(doubts)


def _shown(one: dict[str, float], form: str = "{:.4f}") -> str:
    return f"{form} [{form}, {form}]".format(one["value"], one["low"], one["high"])
