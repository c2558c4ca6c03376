"""Measure what lifts a router: the backbone, how much of it is trained, and the number of prompts.

A fifth of a table's prompts to fit, always the same, is held out; the test part is left alone. For each seed a share of
the others is drawn and fitted in each way. Finished settings are kept in ``--work``. ``lever_table.py`` shows them.

    python benchmarks/public/levers.py paretobandit --data paretobandit --work outputs/levers
    python benchmarks/public/levers.py table --train scores.csv --work outputs/levers --levers "linear head" "MLP head"

``--prompts 1500`` takes that many of the prompts, always the same, for backbones that take long.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from cached_states import MINILM
from lever_fits import LEVERS, LINEAR, MLP, Levers, log_losses
from predictions import UnitRange, squared_errors
from public_tables import PublicTable
from route_table import add_table_options, load, parse, published_figures
from spend_budgets import default_budgets, known_prices

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import DataError
from p2l.files import whole_file
from p2l.statistics.bootstrap import percentile_interval, resampled_sums

MARGINAL = "one leaderboard"
SHARES = (0.125, 0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Setting:
    """One fit: the share of the prompts and what is random in fitting them are drawn with ``seed``."""

    backbone: str
    lever: str
    share: float
    seed: int


@dataclass(frozen=True)
class Held:
    """The figures of one setting on the held-out prompts.

    Attributes:
        losses: log loss of each prompt, nats an answer.
        explained: R2 of the scores.
        routed: mean score, each prompt going to the LLM with the best prediction; with costs the mean over budgets, at
            the one price that spends each budget on these prompts, where an LLM costs its mean.
    """

    losses: np.ndarray
    explained: float
    routed: float

    @classmethod
    def of(cls, predicted: np.ndarray, held: MeasuredScores, budgets: Sequence[float]) -> "Held":
        """Return the figures of probabilities of a usable answer (prompts x LLMs)."""
        score = UnitRange.of(held).score(predicted)
        ours, marginal = squared_errors(held, score).sum(axis=0)
        return cls(log_losses(held, predicted), float(1 - ours / marginal), routed(score, held, budgets))


def routed(score: np.ndarray, held: MeasuredScores, budgets: Sequence[float]) -> float:
    """Return the mean score of the routed prompts."""
    known = np.where(held.weight > 0, score, -np.inf)
    if not budgets:
        return float(held.score[np.arange(len(held)), known.argmax(axis=1)].mean())
    cost = np.tile(held.cost.mean(axis=0), (len(held), 1))
    prices = np.exp(known_prices(score, cost, held, budgets))
    chosen = [(known - price * cost).argmax(axis=1) for price in prices]
    return float(np.mean([held.score[np.arange(len(held)), one].mean() for one in chosen]))


def drawn(table: PublicTable, count: int | None) -> PublicTable:
    """Return ``count`` prompts of the table, always the same, from each part by its share; None: all."""
    sizes = len(table.fit) + sum(len(part) for part in table.tests.values())
    if count is None or count >= sizes:
        return table
    tests = {name: part.drawn(count / sizes) for name, part in table.tests.items()}
    return replace(table, fit=table.fit.drawn(count / sizes), tests=tests)


def measure(table: PublicTable, args: argparse.Namespace, budgets: Sequence[float]) -> dict[Setting, Held]:
    """Fit and measure every setting; those that are on disk are read."""
    fit, (held,) = table.fit.measured, (part.measured for part in table.tests.values())
    found = {}
    for share in args.shares:
        for seed in args.seeds:
            sample = fit.rows(np.sort(np.random.default_rng(seed).permutation(len(fit))[: round(share * len(fit))]))
            if missing := [
                model for model, known in zip(fit.models, sample.weight.any(axis=0), strict=True) if not known
            ]:
                raise DataError(f"share {share:g}, seed {seed}: no score of {', '.join(missing)}; give larger --shares")
            mean = np.tile(UnitRange.of(fit)(sample.mean_score()), (len(held), 1))
            found[Setting("", MARGINAL, share, seed)] = Held.of(mean, held, budgets)
            for backbone in args.backbone:
                levers = Levers(sample, held, args.work, backbone, args.max_length, seed)
                for lever in args.levers:
                    setting = Setting(backbone, lever, share, seed)
                    predicted = _kept(setting, table.name, levers, args.work / "predictions")
                    found[setting] = one = Held.of(predicted, held, budgets)
                    print(f"{setting}: log loss {one.losses.mean():.4f}, routed {one.routed:.4f}", flush=True)
    return found


def _kept(setting: Setting, table: str, levers: Levers, folder: Path) -> np.ndarray:
    key = repr((setting, table, levers.fit.prompts, levers.other.prompts, levers.max_length))
    path = folder / f"{blake2b(key.encode(), digest_size=16).hexdigest()}.npy"
    if not path.exists():
        found = levers.predict(setting.lever)
        with whole_file(path) as part, part.open("wb") as file:
            np.save(file, found)
    kept: np.ndarray = np.load(path)
    return kept


def rows(found: Mapping[Setting, Held], num_prompts: int) -> list[dict[str, Any]]:
    """Return a row for each backbone, lever and share: means over seeds, beside one leaderboard and linear heads."""
    kinds = dict.fromkeys((one.backbone, one.lever, one.share) for one in found)
    first = next((backbone for backbone, *_ in kinds if backbone), "")
    return [_row(found, *kind, round(kind[2] * num_prompts), first) for kind in kinds]


def _row(
    found: Mapping[Setting, Held], backbone: str, lever: str, share: float, prompts: int, first: str
) -> dict[str, Any]:
    seeds = sorted(one.seed for one in found if (one.backbone, one.lever, one.share) == (backbone, lever, share))
    ours = [found[Setting(backbone, lever, share, seed)] for seed in seeds]
    row = {"backbone": backbone, "lever": lever, "share": share, "prompts": prompts, "seeds": seeds}
    row |= {name: float(np.mean([getattr(one, name) for one in ours])) for name in ("explained", "routed")}
    row |= {"loss": float(np.mean([one.losses.mean() for one in ours]))}
    for name, kind in (("marginal", ("", MARGINAL)), ("linear", (backbone, LINEAR)), ("first", (first, LINEAR))):
        beside = [Setting(*kind, share, seed) for seed in seeds]
        if lever != MARGINAL and (backbone, lever) != kind and all(one in found for one in beside):
            base = [found[one] for one in beside]
            gains = np.array([one.losses - other.losses for one, other in zip(ours, base, strict=True)])
            row[f"loss minus {name}"] = _interval(gains.mean(axis=0))
            row[f"loss minus {name}, by seed"] = gains.mean(axis=1).tolist()
            row[f"routed minus {name}, by seed"] = [
                one.routed - other.routed for one, other in zip(ours, base, strict=True)
            ]
    return row


def _interval(values: np.ndarray) -> dict[str, float]:
    """Return the mean and its 95 % interval over prompts."""
    (drawn,) = resampled_sums(values[:, None])
    return asdict(percentile_interval(float(values.mean()), drawn[:, 0] / len(values)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_options(parser)
    parser.add_argument("--backbone", nargs="+", default=[MINILM], help="backbones, one after the other")
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=[LINEAR, MLP], help="ways to fit")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the prompts to fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--prompts", type=int, help="how many of the prompts to take, held-out ones included; else all")
    parser.add_argument("--budgets", type=float, nargs="+", help="mean costs of a prompt; else the published ones")
    parser.add_argument("--figures", type=Path, help="JSON to write; else levers-<layout>.json in --work")
    parser.set_defaults(rehearse=True)
    return parse(parser)


def main() -> None:
    args = arguments()
    (args.work / "predictions").mkdir(exist_ok=True)
    published = published_figures(args.layout)
    table = drawn(load(args), args.prompts)
    budgets = args.budgets or published.get("budgets") or default_budgets(table.fit.measured) if table.has_costs else ()
    found = rows(measure(table, args, budgets), len(table.fit))
    (held,) = table.tests.values()
    content = {"table": table.name, "held out": len(held), "budgets": list(budgets), "rows": found}
    with whole_file(args.figures or args.work / f"levers-{args.layout}.json") as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
