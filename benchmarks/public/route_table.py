"""Train P2L on measured scores of LLMs (prompt, model, score, and cost if known), and measure its routing.

Heads are fitted to cached hidden states of a frozen backbone, tuned by cross-fitting on the prompts to fit (train and
validation together); the test is looked at once. Beside it: ridge regression and nearest neighbours on the same states,
the best single LLM, random mixtures of single LLMs, the oracle, and published figures of the set. Brackets are 95 %
intervals, bootstrap over prompts. With costs, budgets are spent by ``StreamBudget`` in 20 random orders of the test
prompts (seeds 0 to 19). Costs are predicted too. The first price would have spent the budget on the prompts to fit.

    python benchmarks/public/route_table.py table --train scores.csv --test test_scores.csv --work outputs/public
    python benchmarks/public/route_table.py paretobandit --data <folder of the set> --work outputs/public

``--rehearse`` leaves the test alone: it runs everything on a fifth of the prompts to fit, for choices by hand.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from cached_states import MINILM
from draw_routes import draw
from fit_methods import Predicted, fit_methods
from pair_figures import MARGINAL, leaderboards, ordered_by_task
from predictions import Predictions, UnitRange, error_of, fold_numbers
from public_tables import FIT, PublicTable, hash_of, load_table, read_parts
from reliability_figures import reliability_gap, reliability_of
from routed_figures import (
    AS_FITTED,
    OURS,
    RECALIBRATED,
    choices,
    explained,
    recovered_gap,
    spend,
)
from set_layouts import LAYOUTS
from show_routes import Report
from spend_budgets import default_budgets

HERE = Path(__file__).parent
TABLE = "table"


def load(args: argparse.Namespace) -> PublicTable:
    """Load the table that the options name."""
    parts = read_parts(args.train, args.val, args.test) if args.layout == TABLE else LAYOUTS[args.layout](args.data)
    if args.rehearse:
        parts = rehearsal(parts[FIT])
    return load_table(args.layout, parts, args.work)


def rehearsal(fit: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return a fifth of the prompts to fit as the test of the others."""
    keys = fit["prompt"].map(hash_of)
    codes = keys.map({key: at for at, key in enumerate(sorted(keys.unique()))}).to_numpy()
    held_out = fold_numbers(codes.max() + 1)[codes] == 0
    return {FIT: fit[~held_out], "rehearsal": fit[held_out]}


def report(table: PublicTable, args: argparse.Namespace, published: Mapping) -> Report:
    """Compute every figure of the tests."""
    whole = fit_methods(table, args)
    predicted, costs = whole.scores, whole.costs
    fit, tests = table.fit.measured, {name: part.measured for name, part in table.tests.items()}
    boards = leaderboards(table.fit, table.tests)
    budgets = args.budgets or published.get("budgets") or (default_budgets(fit) if costs else ())
    error = error_of(table.fit, table.has_costs)
    errors = {name: error(one.fit) for name, one in predicted.items()}
    ours = min((name for name in OURS if name in errors), key=errors.__getitem__)
    found = Report(table, ours, {name: one.options for name, one in predicted.items()}, errors, published)
    for part in tests:
        _measure(found, part, whole, boards)
    if costs is not None:
        found.cost_options = costs.options
        figures = {part: explained_logs(costs.tests[part], test.cost) for part, test in tests.items()}
        found.cost_explained = {part: value for part, value in figures.items() if np.isfinite(value)}
        found.budgets = spend(predicted, costs, fit, tests, budgets)
    return found


def _measure(found: Report, part: str, fitted: Predicted, boards: Mapping[str, Predictions]) -> None:
    """Add the figures of a test that need no costs."""
    table, test = found.table, found.table.tests[part].measured
    values = {name: one.tests[part] for name, one in fitted.scores.items()}
    marginal = {name: one.tests[part] for name, one in boards.items()}
    scale = UnitRange.of(table.fit.measured)
    heads = {AS_FITTED: scale.score(fitted.fitted[part]), RECALIBRATED: scale.score(fitted.recalibrated[part])}
    found.explained[part] = {name: explained(test, one) for name, one in (values | marginal).items()}
    found.gap[part] = {name: reliability_gap(test, one, scale) for name, one in (values | heads | marginal).items()}
    found.reliability[part] = {name: reliability_of(test, one, scale) for name, one in heads.items()}
    found.ordered[part] = ordered_by_task(table.tests[part], values[found.ours], marginal)
    if len(table.models) == 2:
        found.recovered[part] = {name: recovered_gap(test, one) for name, one in values.items()}
    shown = {name: one for name, one in (values | marginal).items() if name != MARGINAL}  # chooses the best single LLM
    found.choices[part] = choices(shown, table.fit.measured, table.tests[part], found.ours)


def explained_logs(predicted: np.ndarray, cost: np.ndarray) -> float:
    """Return R2 of the predicted log costs; each LLM's mean explains 0; NaN if the costs of an LLM never differ."""
    if not np.ptp(cost, axis=0).any():
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        truth, ours = np.log(cost), np.log(predicted)
        return float(1 - ((truth - ours) ** 2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum())


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a table."""
    parser.add_argument("layout", choices=(TABLE, *LAYOUTS), help="'table' is any file of prompt, model, score[, cost]")
    parser.add_argument("--data", type=Path, help="folder of a set with its own layout")
    parser.add_argument(
        "--train", help="file to fit; without --test its column 'split', or 3 of 10 prompts, are the test"
    )
    parser.add_argument("--val", help="file that is fitted too")
    parser.add_argument("--test", help="file to test on")
    parser.add_argument("--work", type=Path, required=True, help="folder for states, tables, figures and the picture")
    parser.add_argument("--max-length", type=int, default=256, help="most tokens of a prompt")


def add_test_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of what reads the test and draws it."""
    parser.add_argument("--picture", type=Path, help="PNG, beside the one in --work")
    parser.add_argument("--rehearse", action="store_true", help="leave the test alone")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse and check the options that name a table, and make the folder of the work."""
    args = parser.parse_args()
    if (args.layout == TABLE) == (args.train is None) or (args.layout != TABLE) == (args.data is None):
        parser.error("give --train (and --val, --test) with 'table', or --data with the name of a set")
    args.work.mkdir(parents=True, exist_ok=True)
    return args


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_options(parser)
    add_test_options(parser)
    parser.add_argument("--budgets", type=float, nargs="+", help="mean costs of a prompt to spend")
    parser.add_argument("--backbone", nargs="+", default=[MINILM], help="encoders; the states of several are joined")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the backbone")
    parser.add_argument("--end-to-end", type=int, default=0, metavar="EPOCHS", help="train the first backbone too")
    return parse(parser)


def published_figures(layout: str) -> Mapping:
    """Return the published figures of a set; empty if there are none."""
    found: Mapping = yaml.safe_load((HERE / "published.yaml").read_text(encoding="utf-8")).get(layout, {})
    return found


def main() -> None:
    args = arguments()
    found = report(load(args), args, published_figures(args.layout))
    print(found.text())
    found.save(args.work / f"{args.layout}.json")
    for picture in (args.work / f"{args.layout}.png", args.picture):
        if picture is not None:
            draw(found, picture)


if __name__ == "__main__":
    main()
