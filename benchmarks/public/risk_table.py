"""Route by estimates, by quantiles and expected scores under a posterior, and by shrunk scores, on the same heads.

Heads are fitted to hidden states of a frozen MiniLM as ``route_table.py`` fits them, with the ridge of least
cross-fitted error. The posterior is that of ``p2l posterior`` for the same votes (each score is a soft vote against no
answer); its scale and residual are set by the first fold, which its head did not see. The shrinkage
(``fit_shrinkage``), the quantile and the prices are chosen by cross-fitting on the prompts to fit. The test is looked
at once: 20 random orders of the stream at each budget, with 95 % intervals over prompts. Without costs, each prompt
goes to the LLM with the best score.

    python benchmarks/public/risk_table.py paretobandit --data <folder of the set> --work outputs/public
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from cached_states import MINILM, StateCache, standardised
from calibrate_heads import votes_against_no_answer
from predictions import Predictions, error_of, routed_loss
from prompt_share import in_share
from public_tables import Part, PublicTable, hash_of
from route_table import add_table_options, add_test_options, load, parse, published_figures
from routed_figures import choices
from score_baselines import predict_costs
from score_heads import NO_ANSWER, RIDGES, Evidence, HeadOptions, HeadSearch, fit_head
from spend_budgets import default_budgets, known_prices, measure, stream

from p2l.data.measured_scores import MeasuredScores
from p2l.head_posterior import HeadPosterior
from p2l.heads import RankingHead
from p2l.outcomes import GRK
from p2l.routing import Optimizer, Risk, ScoreRisk, fit_shrinkage
from p2l.routing.evaluation.curves import interval
from p2l.routing.scores import Opponents, scores
from p2l.types import Ranking
from p2l.uncertainty.calibrate_posterior import calibrated
from p2l.uncertainty.posterior_fit import LinearOutputs, posterior_of

Scores = Mapping[str, np.ndarray]  # prompts x LLMs, by method
Width = tuple[float, float]  # scale and residual
QUANTILES = (0.02, 0.1, 0.25, 0.4, 0.6, 0.75, 0.9)
ESTIMATE, EXPECTED, SHRUNK, BOTH = "estimate", "expected", "shrunk", "shrunk expected"


@dataclass(frozen=True, eq=False)
class Uncertain:
    """The rankings of some prompts under one head, and its posterior; the last "model" is no answer at all."""

    ranking: Ranking
    posterior: HeadPosterior

    @classmethod
    def of(cls, head: RankingHead, posterior: HeadPosterior, states: torch.Tensor) -> "Uncertain":
        hidden = states.double().numpy()
        found = with_no_answer(head).ranking(hidden, GRK).numpy()
        return cls(found._replace(states=posterior.states(hidden)), posterior)

    def scores(self, optimizer: Optimizer, risk: Risk | None) -> np.ndarray:
        """Return the scores of the LLMs; each meets all LLMs alike."""
        weights = np.ones(self.ranking.coefs.shape[-1])
        weights[-1] = 0.0
        opponents = Opponents.of(weights)
        if risk is None:
            return scores(optimizer, GRK, self.ranking, opponents)[:, :-1]
        met = opponents if optimizer == "optimal-lp" else None
        return ScoreRisk.of(risk, self.posterior, met).scores(optimizer, GRK, self.ranking, opponents)[:, :-1]


def with_no_answer(head: RankingHead) -> LinearOutputs:
    """Return the head with no answer at all as one more model, the last one."""
    layer, last = LinearOutputs.of(head), head.num_models
    return LinearOutputs(np.insert(layer.weight, last, 0.0, axis=0), np.insert(layer.bias, last, NO_ANSWER))


def posterior_for(head: RankingHead, measured: MeasuredScores, states: torch.Tensor) -> HeadPosterior:
    """Return the posterior of a head that was fitted to these scores."""
    return posterior_of(with_no_answer(head), votes_against_no_answer(measured), states.double().numpy(), GRK)


def width_of(head: RankingHead, posterior: HeadPosterior, held: MeasuredScores, states: torch.Tensor) -> Width:
    """Return the scale and the share of the residual that held-out prompts set."""
    hidden, votes = states.double().numpy(), votes_against_no_answer(held)
    report = calibrated(posterior, votes, with_no_answer(head).ranking(hidden, GRK), hidden, GRK).report
    print(f"posterior: scale {report['scale']}, residual {report['residual']}", flush=True)
    return report["scale"], report["residual"]


def with_width(posterior: HeadPosterior, scale: float, residual: float) -> HeadPosterior:
    return replace(posterior, scale=scale, residual=residual * float(posterior.curvature.sum()))


class Heads:
    """Cross-fitted heads with their posteriors on the prompts to fit, and one on all of them for the tests."""

    def __init__(self, table: PublicTable, cache: StateCache) -> None:
        self.fit = table.fit.measured
        prompts = [part.measured.prompts for part in (table.fit, *table.tests.values())]
        self.states, *tests = standardised(*map(cache.states, prompts))
        search = HeadSearch(self.states, self.fit, error_of(table.fit, table.has_costs))
        for ridge in RIDGES:
            search.try_options(HeadOptions(ridge))
        self.options, self.folds = search.best, search.folds
        evidence = Evidence.of(self.fit, self.options)
        self.crossed: list[tuple[np.ndarray, Uncertain]] = []
        width: Width | None = None
        for fold in range(self.folds.max() + 1):
            rows, held = np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)
            head = fit_head(self.states[rows], evidence.on(rows, len(self.states)), self.options, search.start(fold))
            found = posterior_for(head, self.fit.rows(rows), self.states[rows])
            width = width or width_of(head, found, self.fit.rows(held), self.states[held])
            posterior = with_width(found, *width)
            self.crossed.append((held, Uncertain.of(head, posterior, self.states[held])))
        head = fit_head(self.states, evidence, self.options, search.start(0))
        assert width is not None
        posterior = with_width(posterior_for(head, self.fit, self.states), *width)
        self.tests = {name: Uncertain.of(head, posterior, one) for name, one in zip(table.tests, tests, strict=True)}
        self.test_states = {name: one.double().numpy() for name, one in zip(table.tests, tests, strict=True)}

    def on_fit(self, optimizer: Optimizer, risk: Risk | None) -> np.ndarray:
        """Return the cross-fitted scores of the prompts to fit."""
        found = np.zeros(self.fit.score.shape)
        for held, one in self.crossed:
            found[held] = one.scores(optimizer, risk)
        return found

    def shrunk(self, optimizer: Optimizer, predicted: np.ndarray) -> np.ndarray:
        """Return the scores of each fold, shrunk by what the other folds show."""
        found = np.zeros_like(predicted)
        for fold in range(self.folds.max() + 1):
            others = np.flatnonzero(self.folds != fold)
            found[self.folds == fold] = fit_shrinkage(optimizer, predicted[others], self.fit.rows(others))(
                predicted[self.folds == fold]
            )
        return found


def routed(part: Part, score: np.ndarray, cost: np.ndarray | None, budgets: Sequence[float]) -> float:
    """Return the mean score on the prompts to fit: at the price that spends each budget, or of the best predictions."""
    if cost is None:
        return -routed_loss(part, score)
    rows, fit = np.arange(len(part)), part.measured
    prices = np.exp(known_prices(score, cost, fit, budgets))
    return float(np.mean([fit.score[rows, (score - price * cost).argmax(axis=1)].mean() for price in prices]))


def methods(
    heads: Heads, part: Part, optimizer: Optimizer, cost: np.ndarray | None, budgets: Sequence[float]
) -> dict[str, np.ndarray]:
    """Return the scores of the prompts to fit by method; of the quantiles only the best one of these prompts."""
    by_risk = {risk: heads.on_fit(optimizer, risk) for risk in (*QUANTILES, "expected")}
    plain = heads.on_fit(optimizer, None)
    found = {ESTIMATE: plain, EXPECTED: by_risk["expected"], SHRUNK: heads.shrunk(optimizer, plain)}
    found[BOTH] = heads.shrunk(optimizer, by_risk["expected"])
    values = {quantile: routed(part, by_risk[quantile], cost, budgets) for quantile in QUANTILES}
    best = max(values, key=values.__getitem__)
    print(
        "on the prompts to fit: "
        + ", ".join(
            [f"{name} {routed(part, one, cost, budgets):.5f}" for name, one in found.items()]
            + [f"quantile {quantile:g} {value:.5f}" for quantile, value in values.items()]
        ),
        flush=True,
    )
    return found | {f"quantile {best:g}": by_risk[best]}


def on_test(heads: Heads, test: str, name: str, optimizer: Optimizer, fit_scores: Scores) -> np.ndarray:
    """Return the scores of a method on the test prompts."""
    risk: Risk | None = "expected" if name in (EXPECTED, BOTH) else None
    if name.startswith("quantile"):
        risk = float(name.split()[1])
    score = heads.tests[test].scores(optimizer, risk)
    if name in (SHRUNK, BOTH):
        return fit_shrinkage(optimizer, fit_scores[ESTIMATE if name == SHRUNK else EXPECTED], heads.fit)(score)
    return score


def report(table: PublicTable, heads: Heads, optimizer: Optimizer, budgets: Sequence[float]) -> dict[str, Any]:
    costs = predict_costs(heads.states.double().numpy(), heads.test_states, heads.fit) if table.has_costs else None
    fit_scores = methods(heads, table.fit, optimizer, None if costs is None else costs.fit, budgets)
    figures: dict[str, Any] = {"options": repr(heads.options), "budgets": list(budgets)}
    for test, part in table.tests.items():
        predicted = {name: on_test(heads, test, name, optimizer, fit_scores) for name in fit_scores}
        print(f"{test}: {len(part)} prompts, {len(part.measured.models)} LLMs")
        for row in choices(predicted, heads.fit, part, ESTIMATE):
            gain = (
                ""
                if row.gain is None
                else f"; estimate minus it {row.gain.value:+.4f} [{row.gain.low:+.4f}, {row.gain.high:+.4f}]"
            )
            print(f"  best score, no budget: {row.name:16} {row.value.value:.4f}{gain}")
            figures[f"{test}, no budget, {row.name}"] = row.value.value
        if costs is not None:
            figures[test] = spent(heads, part, predicted, fit_scores, costs, test, budgets)
    return figures


def spent(
    heads: Heads,
    part: Part,
    predicted: Scores,
    fit_scores: Scores,
    costs: Predictions,
    test: str,
    budgets: Sequence[float],
) -> dict[str, Any]:
    """Print the mean score of each method's stream at each budget, and minus that of the estimates."""
    streams = {}
    for name, score in predicted.items():
        prices = known_prices(fit_scores[name], costs.fit, heads.fit, budgets)
        streams[name] = stream(score, costs.tests[test], part.measured.cost, budgets, prices)
    curves = measure(streams, part.measured, np.array(budgets))
    figures = {}
    for name in predicted:
        quality, base = curves[name].quality, curves[ESTIMATE].quality
        gain = interval((quality - base).mean(axis=1))
        over = streams[name].over.mean(axis=0).max()
        print(
            f"  {name:16} {' '.join(f'{value:.4f}' for value in quality[0])}, mean {quality[0].mean():.5f}, minus the "
            f"estimate's {gain.value:+.5f} [{gain.low:+.5f}, {gain.high:+.5f}], over budget at most {over:+.2%}"
        )
        figures[name] = {"quality": quality[0].tolist(), "gain": [gain.value, gain.low, gain.high], "over": float(over)}
    return figures


def limited(table: PublicTable, share: float) -> PublicTable:
    """Keep a share of the prompts to fit."""
    kept = np.flatnonzero(in_share([hash_of(list(prompt)) for prompt in table.fit.measured.prompts], share))
    return replace(table, fit=Part(table.fit.measured.rows(kept), table.fit.group[kept]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_table_options(parser)
    add_test_options(parser)
    parser.add_argument("--optimizer", default="simple-lp", choices=("simple-lp", "optimal-lp"))
    parser.add_argument("--share", type=float, default=1.0, help="of the prompts to fit")
    parser.add_argument("--budgets", type=float, nargs="+", help="mean costs of a prompt to spend")
    parser.add_argument("--backbone", default=MINILM, help="encoder")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the backbone")
    args = parse(parser)
    torch.set_num_threads(1)
    table = limited(load(args), args.share)
    heads = Heads(table, StateCache(args.work / "states", args.backbone, args.max_length, args.dtype))
    published = published_figures(args.layout)
    budgets = args.budgets or published.get("budgets") or (default_budgets(heads.fit) if table.has_costs else ())
    figures = report(table, heads, args.optimizer, budgets)
    (args.work / f"{args.layout}_risk.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
