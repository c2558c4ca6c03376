"""Sweep how measured scores become votes: pairs of LLMs on a prompt, drawn or all, temperature, and both bad.

Linear heads on cached states of a frozen backbone are fitted to the votes alone, as ``data=scores`` does, in five folds
of the prompts to fit; the test is left alone. A fold's number is also the seed of the pairs that are drawn. Each prompt
weighs the same. The penalty of a fold is the one that orders most pairs right in the other folds.

    python benchmarks/public/pair_rules.py llmrouter --data llmrouter --work outputs/levers --prompts 2000
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cached_states import MINILM, StateCache, standardised
from pair_figures import ordered_pairs
from predictions import fold_numbers
from route_table import add_table_options, load, parse
from score_heads import Evidence, HeadOptions, fit_head

from p2l.data.measured_scores import MeasuredScores
from p2l.data.score_votes import PairRule
from p2l.files import whole_file
from p2l.heads import RankingHead
from p2l.outcomes import GRK
from p2l.statistics.bootstrap import percentile_interval, resampled_sums
from p2l.types import Battle

RIDGES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
SCORES = "no pairs: each score alone"
COLUMNS = (
    "pairs",
    "temperature",
    "both bad below",
    "ordered right",
    "minus the default",
    "routed",
    "minus the default",
)


@dataclass(frozen=True, eq=False)
class Crossed:
    """What a rule is worth on prompts that its heads did not see.

    Attributes:
        ordered: pairs with different scores that are ordered right, and all of them, of each prompt.
        routed: score of the LLM that is predicted best on each prompt.
        ridges: penalty of each fold.
    """

    ordered: np.ndarray
    routed: np.ndarray
    ridges: tuple[float, ...]

    @classmethod
    def of(cls, measured: MeasuredScores, coefs: np.ndarray, ridges: Sequence[float]) -> "Crossed":
        known = np.where(measured.weight > 0, coefs, -np.inf)
        routed = measured.score[np.arange(len(measured)), known.argmax(axis=1)]
        return cls(ordered_pairs(measured, coefs), routed, tuple(ridges))

    def columns(self) -> np.ndarray:
        return np.column_stack((self.ordered, self.routed, np.ones(len(self.routed))))


@dataclass(frozen=True)
class Sweep:
    """Cross-fits heads to the votes of one rule after the other."""

    measured: MeasuredScores
    states: torch.Tensor
    folds: np.ndarray
    ridges: Sequence[float]

    def cross_fitted(self, rule: PairRule | None) -> Crossed:
        """Return the figures of a rule; None fits each score alone."""
        found = np.stack([self._coefs(rule, ridge) for ridge in self.ridges])
        right = np.array([self._right(one) for one in found])  # penalties x folds
        chosen = (right.sum(axis=1, keepdims=True) - right).argmax(axis=0)
        coefs = found[chosen[self.folds], np.arange(len(self.folds))]
        return Crossed.of(self.measured, coefs, [self.ridges[at] for at in chosen])

    def _right(self, coefs: np.ndarray) -> np.ndarray:
        """Return the number of pairs ordered right in each fold."""
        return np.bincount(self.folds, ordered_pairs(self.measured, coefs)[:, 0])

    def _coefs(self, rule: PairRule | None, ridge: float) -> np.ndarray:
        found, options = np.zeros(self.measured.score.shape), HeadOptions(ridge)
        start = RankingHead(self.states.shape[1], len(self.measured.models), GRK, init="zeros")
        for fold in range(self.folds.max() + 1):
            train, held_out = np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)
            part = self.measured.rows(train)
            evidence = Evidence.of(part, options) if rule is None else evidence_of(part, rule, fold)
            start = fit_head(self.states[train], evidence, options, start)
            with torch.no_grad():
                found[held_out] = start(self.states[held_out]).coefs.double().numpy()
        return found


def evidence_of(measured: MeasuredScores, rule: PairRule, seed: int) -> Evidence:
    """Return the votes of a rule; those of a prompt weigh as much as its LLMs, however many there are."""
    table = PairRule(**{**asdict(rule), "seed": seed}).votes(measured)
    prompt = np.flatnonzero((measured.weight > 0).sum(axis=1) >= 2)[table.prompt_index]
    weight = len(measured.models) / np.bincount(prompt, minlength=len(measured))[prompt]
    columns = [torch.from_numpy(one) for one in (prompt, table.model_a, table.model_b)]
    shares = torch.from_numpy(table.outcome_shares)
    return Evidence(Battle(*columns), shares @ GRK.target_matrix(shares), torch.from_numpy(weight).float())


def rules(args: argparse.Namespace, num_models: int) -> Iterator[PairRule]:
    """Yield the default rule, then the others; a number of pairs that takes all is left out."""
    most = num_models * (num_models - 1) // 2
    yield PairRule()
    for pairs in ("all", *(one for one in args.pairs if one < most)):
        for temperature in args.temperature:
            for bad_below in (None, *(args.bad_below if pairs == "all" else ())):
                rule = PairRule(pairs, temperature, bad_below=bad_below)
                if rule != PairRule():
                    yield rule


def row_of(name: dict[str, Any], found: Crossed, default: Crossed, folds: np.ndarray) -> dict[str, Any]:
    """Return the figures of a rule, and their differences from the default: intervals over prompts, and each fold."""
    columns = np.column_stack((found.columns(), default.columns()))
    (draws,) = resampled_sums(columns)
    by_fold = np.stack([columns[folds == fold].sum(axis=0) for fold in np.unique(folds)])
    row = {**name, "ridges": found.ridges}
    for key, (up, down) in {"ordered": (0, 1), "routed": (2, 3)}.items():
        value, drawn_values, each = (
            one[..., [up, up + 4]] / one[..., [down, down + 4]] for one in (columns.sum(axis=0), draws, by_fold)
        )
        row[key] = asdict(percentile_interval(float(value[0]), drawn_values[:, 0]))
        gain = percentile_interval(float(value[0] - value[1]), drawn_values[:, 0] - drawn_values[:, 1])
        row[f"{key} minus the default"] = asdict(gain)
        row[f"{key} minus the default, by fold"] = (each[:, 0] - each[:, 1]).tolist()
    return row


def lines_of(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; "folds" counts those that have the sign of a difference."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for row in found:
        cells = [str(row["pairs"]), f"{row['temperature']:g}", str(row["bad_below"] or "")]
        cells.append(f"{np.median(row['ridges']):g}")
        for key in ("ordered", "routed"):
            gain, each = row[f"{key} minus the default"], row[f"{key} minus the default, by fold"]
            same = sum(np.sign(one) == np.sign(gain["value"]) for one in each)
            difference = f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}], {same} of {len(each)} folds"
            cells += [f"{row[key]['value']:.4f}", difference if gain["value"] or any(each) else ""]
        yield f"| {' | '.join(cells)} |"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_options(parser)
    parser.add_argument("--backbone", default=MINILM)
    parser.add_argument("--pairs", type=int, nargs="+", default=(1, 4, 12), help="drawn on a prompt; all is tried too")
    parser.add_argument("--temperature", type=float, nargs="+", default=(0.0, 0.05, 0.2, 1.0))
    parser.add_argument("--bad-below", type=float, nargs="*", default=(), help="thresholds, with all pairs")
    parser.add_argument("--ridges", type=float, nargs="+", default=RIDGES)
    parser.add_argument("--prompts", type=int, help="how many of the prompts to fit to take; else all")
    parser.add_argument("--figures", type=Path, help="JSON to write; else pair-rules-<layout>.json in --work")
    parser.set_defaults(rehearse=False)
    return parse(parser)


def main() -> None:
    args = arguments()
    table = load(args)
    fit = table.fit.drawn(min(1.0, (args.prompts or len(table.fit)) / len(table.fit))).measured
    (states,) = standardised(
        StateCache(args.work / "states", args.backbone, args.max_length, "bfloat16").states(fit.prompts)
    )
    sweep = Sweep(fit, states, fold_numbers(len(fit)), args.ridges)
    default = sweep.cross_fitted(PairRule())
    found = []
    for rule in (*rules(args, len(fit.models)), None):
        name = asdict(rule) if rule is not None else {"pairs": SCORES, "temperature": 0.0, "bad_below": None}
        found.append(row_of(name, sweep.cross_fitted(rule), default, sweep.folds))
        print(list(lines_of(found[-1:]))[-1], flush=True)
    content = {"table": table.name, "prompts": len(fit), "ridges": list(args.ridges), "rows": found}
    with whole_file(args.figures or args.work / f"pair-rules-{args.layout}.json") as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print("\n".join(lines_of(found)))


if __name__ == "__main__":
    main()
