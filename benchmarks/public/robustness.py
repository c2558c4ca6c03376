"""Attack the router of a table (prompt, model, score, cost) through the prompt, and measure one defence.

The attacker knows the weights, the costs and the price, and wants the dearest LLM. Universal strings are searched on
prompts to fit (``suffix_search``); they, random tokens and plain sentences are then put into prompts of the test. Each
prompt of a sample gets a string of its own too. The head is fitted to cached states of the frozen backbone, its penalty
tuned by cross-fitting on the prompts to fit; brackets are 95 % intervals, bootstrap over prompts.

    python benchmarks/public/robustness.py table --train scores.csv --test test_scores.csv --work outputs/public
    python benchmarks/public/robustness.py paretobandit --data <folder of the set> --work outputs/public

``--rehearse`` leaves the test alone: it attacks a fifth of the prompts to fit.
"""

import argparse
import json
from dataclasses import replace

import numpy as np
from attacked_router import fit_router
from cached_states import MINILM, StateCache
from draw_robustness import draw
from predictions import UnitRange
from public_tables import Part, PublicTable
from route_table import add_table_options, add_test_options, load, parse
from show_robustness import numbers, text_of
from spend_budgets import default_budgets
from steering_report import Attacks, Measurement

from p2l.errors import DataError
from p2l.files import write_whole


def sampled(table: PublicTable, size: int) -> PublicTable:
    """Return the table with scores as shares of their range, and the first test with at most ``size`` prompts.

    Prompts without the score of some LLM are left out of the test.
    """
    if not table.has_costs:
        raise DataError(f"{table.name} has no costs: an attack is measured by what it costs; add a column 'cost'")
    scale, fit = UnitRange.of(table.fit.measured), table.fit.measured
    name, part = next(iter(table.tests.items()))
    whole = np.flatnonzero((part.measured.weight > 0).all(axis=1))
    if len(whole) < len(part):
        print(f"{len(part) - len(whole)} of {len(part)} test prompts lack a score of some LLM and are left out")
    drawn = np.sort(np.random.default_rng(0).permutation(whole)[:size])
    test = part.measured.rows(drawn)
    return PublicTable(
        table.name,
        Part(replace(fit, score=scale(fit.score)), table.fit.group),
        {name: Part(replace(test, score=scale(test.score)), part.group[drawn])},
        table.left_out,
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_options(parser)
    add_test_options(parser)
    parser.add_argument("--backbone", default=MINILM, help="an encoder")
    parser.add_argument("--budget", type=float, help="mean cost of a prompt (a middle one of those of route_table.py)")
    parser.add_argument("--lengths", type=int, nargs="+", default=[5, 10, 20], help="of universal strings, in tokens")
    parser.add_argument("--seeds", type=int, default=3, help="universal strings of each length")
    parser.add_argument("--steps", type=int, default=16, help="of the search of a universal string")
    parser.add_argument("--prompts", type=int, default=500, help="of the test that are attacked")
    parser.add_argument("--own", type=int, default=40, help="of these that get strings of their own, in --own-steps")
    parser.add_argument("--own-steps", type=int, default=8)
    parser.add_argument("--tail", type=int, default=200, help="characters that the defence leaves out")
    return parse(parser)


def main() -> None:
    args = arguments()
    table = sampled(load(args), args.prompts)
    budget = args.budget or default_budgets(table.fit.measured)[3]
    target = fit_router(table, StateCache(args.work / "states", args.backbone, args.max_length), budget)
    attacks = Attacks(args.lengths, args.seeds, args.steps, args.own, args.own_steps)
    found = Measurement(table, target, args.tail).run(attacks, args.work)
    print(text_of(found))
    with write_whole(args.work / f"{args.layout}_robustness.json") as file:
        json.dump(numbers(found), file, indent=1)
    for picture in (args.work / f"{args.layout}_robustness.png", args.picture):
        if picture is not None:
            draw(found, picture)


if __name__ == "__main__":
    main()
