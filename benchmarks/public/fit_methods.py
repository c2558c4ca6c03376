"""Fit every method to the cached states of a table's prompts, and predict its tests."""

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from cached_states import StateCache, standardised
from calibrate_heads import recalibrated
from end_to_end import EndToEnd
from predictions import Predictions, error_of
from public_tables import FIT, PublicTable
from routed_figures import BLEND, BOTH, END, NEIGHBOURS, P2L, RIDGE
from score_baselines import NEIGHBOURS as COUNTS
from score_baselines import PENALTIES, fit_neighbours, fit_ridge, predict_costs, predict_scores
from score_heads import HeadSearch


@dataclass(frozen=True, eq=False)
class Predicted:
    """Predicted scores of each method, costs if the table has them, and the head's own probabilities of the tests.

    ``recalibrated`` are the same probabilities under the map of ``p2l calibrate``.
    """

    scores: dict[str, Predictions]
    costs: Predictions | None
    fitted: dict[str, np.ndarray]
    recalibrated: dict[str, np.ndarray]


def fit_methods(table: PublicTable, args: argparse.Namespace) -> Predicted:
    """Fit every method to the states of the backbones."""
    fit = table.fit.measured
    prompts = {FIT: fit.prompts} | {name: part.measured.prompts for name, part in table.tests.items()}
    caches = [StateCache(args.work / "states", one, args.max_length, args.dtype) for one in args.backbone]
    found = [{name: cache.states(one) for name, one in prompts.items()} for cache in caches]
    columns = [standardised(states[FIT], *(states[name] for name in table.tests)) for states in found]
    joined = [torch.cat(parts, dim=1) for parts in zip(*columns, strict=True)]
    states, tests = joined[0], dict(zip(table.tests, joined[1:], strict=True))
    plain, plain_tests = states.double().numpy(), {name: one.double().numpy() for name, one in tests.items()}
    error = error_of(table.fit, table.has_costs)
    search = HeadSearch(states, fit if table.has_costs else table.fit.balanced(), error)
    predicted = {P2L: search.predictions(tests)}
    if args.end_to_end:
        tuned = EndToEnd(args.work / "end_to_end", args.backbone[0], args.max_length, args.end_to_end, search.best)
        predicted[END] = tuned.predictions(fit, {name: part.measured for name, part in table.tests.items()}, error)
        predicted[BOTH] = mean_of(predicted[P2L], predicted[END])
    predicted[RIDGE] = predict_scores(fit_ridge, PENALTIES, plain, plain_tests, fit, error)
    predicted[NEIGHBOURS] = predict_scores(fit_neighbours, COUNTS, plain, plain_tests, fit, error)
    predicted[BLEND] = mean_of(predicted[P2L], predicted[NEIGHBOURS])
    costs = predict_costs(plain, plain_tests, fit) if table.has_costs else None
    again = recalibrated(fit, search.found[search.best][1], search.raw)
    return Predicted(predicted, costs, search.raw, again)


def mean_of(first: Predictions, second: Predictions) -> Predictions:
    tests = {name: (first.tests[name] + second.tests[name]) / 2 for name in first.tests}
    return Predictions((first.fit + second.fit) / 2, tests, {"mean of": "two"})
