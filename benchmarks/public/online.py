"""Route ParetoBandit's test prompts as a stream in which only the chosen LLM's reward and cost are seen.

``cold`` knows the list prices alone; ``warm`` starts from the validation prompts with every LLM's reward; both explore
by posterior sampling and learn. ``fixed`` is the full-information router: the warm one that learns nothing more. Twenty
random orders (seeds 0 to 19); intervals are Student's over orders, differences paired by order.

    python benchmarks/public/online.py budgets --data paretobandit --work outputs/public
    python benchmarks/public/online.py changes --data paretobandit --work outputs/public
    python benchmarks/public/online.py draw --data paretobandit --work outputs/public
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from cached_states import StateCache
from draw_online import draw
from online_changes import AT, CHANGES, Change, changed, cheaper, row, shares
from online_stream import Event, Learner, Run, Traffic, Way, limits, run
from public_tables import load_table
from set_layouts import LAYOUTS
from spend_budgets import GAIN as KNOWN_GAIN
from spend_budgets import ORDERS, known_prices

from p2l.data.measured_scores import MeasuredScores
from p2l.online.exploration import ExploreOptions
from p2l.online.head_filter import FilterOptions
from p2l.online.online_head import OnlineHead, cold_posterior
from p2l.outcomes import GRK
from p2l.routing.stream_budget import GAIN
from p2l.statistics.intervals import mean_interval

HERE = Path(__file__).parent
FEATURES, DISPERSION, COST_VARIANCE = 64, 0.25, 4.0  # chosen on the validation prompts
DRAWS = 32
OUTPUT_TOKENS = 400  # of an answer, before any was seen
COLD, WARM, FIXED = "cold", "warm", "fixed"
FREELY = ExploreOptions(cost_share=1.0, most_loss=1.0)  # nothing is known that could be lost
WAYS = {COLD: Way(), WARM: Way(), FIXED: Way(learns=False, explores=False)}


class Setting:
    """The traffic of a set and the learners before it; ``last``: the LLM of the last column."""

    def __init__(
        self, layout: str, args: argparse.Namespace, last: str | None = None, without: str | None = None
    ) -> None:
        folder = args.work / layout
        folder.mkdir(parents=True, exist_ok=True)
        table = load_table(layout, LAYOUTS[layout](args.data), folder)
        states = StateCache(args.work / "states", dtype="bfloat16")
        (test,) = table.tests.values()
        hidden = [states.states(part.measured.prompts).astype(np.float64) for part in (table.fit, test)]
        names = sorted(table.models, key=lambda name: name == last)  # stable: the others keep their order
        self.models = tuple(name for name in names if name != without)
        self.prices = list_prices(args.data)
        posterior = cold_posterior(hidden[0], len(self.models), GRK)
        size = (len(self.models) + 1) * (FEATURES + 1)
        self.head = OnlineHead.of(posterior, self.models, GRK, max_parameters=size)
        parts = (table.fit.measured.among(self.models), test.measured.among(self.models))
        self.val, self.test = (self.traffic(h, part) for h, part in zip(hidden, parts, strict=True))

    def traffic(self, hidden: np.ndarray, part: MeasuredScores) -> Traffic:
        return Traffic(self.head.features(hidden), part.score, part.cost)

    def cold(self, memory: float | None = None) -> Learner:
        """Return a learner that knows list prices."""
        guess = np.array([self.prices[name] * OUTPUT_TOKENS for name in self.models])
        options = FilterOptions(memory=memory, dispersion=DISPERSION, draws=DRAWS, limits=limits())
        learner = Learner.cold(self.head, guess, options)
        learner.costs = type(learner.costs).cold(guess, len(self.head.start), COST_VARIANCE)
        return learner

    def warm(self, memory: float | None = None, val: Traffic | None = None) -> Learner:
        """Return a learner that has seen all rewards of the validation prompts."""
        learner = self.cold()
        learner.learn_all(self.val if val is None else val)
        return learner.settled(FilterOptions(memory=memory, dispersion=DISPERSION, draws=DRAWS, limits=limits()))

    def price(self, learner: Learner, budget: float, val: Traffic | None = None) -> float:
        """Return the log price that would have spent the budget on the validation prompts."""
        val = self.val if val is None else val
        fit = MeasuredScores(self.models, ((),) * len(val), val.reward, np.ones_like(val.reward), val.cost)
        score, cost = learner.scores(val.features), learner.costs.predict(val.features)
        return known_prices(score, cost, fit, [budget])[0]


def list_prices(folder: Path) -> dict[str, float]:
    """Return dollars for an output token of each LLM."""
    listed = json.loads((folder / "models_k4.json").read_text(encoding="utf-8"))["models"]
    return {one["model_id"]: one["output_cost_per_m"] / 1e6 for one in listed}


def budgets(args: argparse.Namespace) -> None:
    """Run each way at each published budget in each order, and keep rewards and costs."""
    setting = Setting("paretobandit", args)
    learners = {COLD: setting.cold(), WARM: setting.warm(), FIXED: setting.warm()}
    for budget in published_figures()["budgets"]:
        for name, way in WAYS.items():
            place = args.work / f"online_{name}_{budget:.3g}.npz"
            if place.exists():
                continue
            price = None if name == COLD else setting.price(learners[name], budget)
            explore, gain = (FREELY, GAIN) if name == COLD else (None, KNOWN_GAIN)
            found = [
                run(
                    learners[name],
                    setting.test.rows(order),
                    budget,
                    way,
                    price=price,
                    gain=gain,
                    seed=seed,
                    explore=explore,
                )
                for seed, order in enumerate(orders(len(setting.test)))
            ]
            _save(place, found)
            print(f"{name} at {budget:.3g}: {np.mean([one.reward.mean() for one in found]):.4f}", flush=True)


def orders(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(seed).permutation(count) for seed in range(ORDERS)]


def _save(place: Path, runs: list[Run]) -> None:
    parts = {name: np.stack([getattr(one, name) for one in runs]) for name in ("model", "reward", "cost", "propensity")}
    np.savez_compressed(place, extra=[one.extra for one in runs], **parts)


def published_figures() -> Mapping[str, list[float]]:
    """Return the published budgets and rewards."""
    found = yaml.safe_load((HERE / "published.yaml").read_text(encoding="utf-8"))["paretobandit"]
    return {"budgets": found["budgets"], "reward": found["rows"]["ParetoBandit, published"]}


def kept_runs(work: Path) -> dict[tuple[str, float], dict[str, np.ndarray]]:
    """Return the runs of ``budgets``, by way and budget."""
    budgets = published_figures()["budgets"]
    return {(name, one): dict(np.load(work / f"online_{name}_{one:.3g}.npz")) for name in WAYS for one in budgets}


def table(work: Path) -> str:
    """Return the rewards at each budget, beside the published ones."""
    published, found = published_figures(), kept_runs(work)
    lines = [
        _row("budget", [f"{one:.3g}" for one in published["budgets"]]),
        "|---|" + "---|" * len(published["budgets"]),
    ]
    for name in WAYS:
        lines.append(_row(name, [_mean(found[name, one]["reward"].mean(1)) for one in published["budgets"]]))
    for name in (COLD, WARM):
        gaps = [
            found[name, one]["reward"].mean(1) - found[FIXED, one]["reward"].mean(1) for one in published["budgets"]
        ]
        lines.append(_row(f"{name} minus fixed", [_mean(gap, "+.4f") for gap in gaps]))
        over = [found[name, one]["cost"].mean(1) / one - 1 for one in published["budgets"]]
        lines.append(_row(f"{name}: over budget", [f"{one.mean():+.2%}" for one in over]))
        extra = [
            found[name, one]["extra"].mean() / found[name, one]["cost"].sum(1).mean() for one in published["budgets"]
        ]
        lines.append(_row(f"{name}: spent on exploring", [f"{one:.1%}" for one in extra]))
    for name in (COLD, FIXED):
        late = [found[name, one]["reward"] for one in published["budgets"]]
        lines.append(_row(f"{name}, second half", [_mean(one[:, one.shape[1] // 2 :].mean(1)) for one in late]))
    lines.append(_row("published", [f"{one:.4f}" for one in published["reward"]]))
    return "\n".join(lines)


def _row(name: str, values: list[str]) -> str:
    return f"| {name} | " + " | ".join(values) + " |"


def _mean(values: np.ndarray, form: str = ".4f") -> str:
    low, high = mean_interval(values, 0.95)
    return f"{values.mean():{form}} [{low:{form}}, {high:{form}}]"


def changes(args: argparse.Namespace) -> None:
    """Run every change, and print how many steps each memory takes until the share is right."""
    print("| change, memory | steps until right | share at the end (right) | minus full information | cost |")
    print("|---|---|---|---|---|")
    for change in CHANGES:
        is_new = change.kind == "new"
        whole = Setting(change.layout, args, last=change.model)
        model = whole.models.index(change.model)
        val = changed(whole.val, change, model, 0)
        after = whole.warm(val=val)
        kept = {"after": [], **{memory: [] for memory in change.memories}}
        known = Setting(change.layout, args, without=change.model) if is_new else whole
        price = known.price(known.warm(), change.budget), whole.price(after, change.budget, val)
        for seed, order in enumerate(orders(len(whole.test))):
            traffic = whole.test.rows(order)
            future = changed(traffic, change, model, 0)
            kept["after"].append(run(after, future, change.budget, WAYS[FIXED], price=price[1], seed=seed))
            for memory in change.memories:
                events = {AT: event_of(change, model, whole)}
                world = changed(traffic, change, model, AT)
                learner = known.warm(memory)
                kept[memory].append(
                    run(learner, world, change.budget, WAYS[WARM], price=price[0], seed=seed, events=events)
                )
        np.savez_compressed(
            args.work / f"online_{change.kind}.npz",
            **{str(name): shares(runs, model) for name, runs in kept.items()},
        )
        for memory in change.memories:
            print(row(f"{change.name}, {memory or 'all'}", kept[memory], model, kept["after"]), flush=True)


def event_of(change: Change, model: int, setting: Setting) -> Event:
    """Return what the operator does at the change; nothing if it comes without a word."""
    if change.kind == "new":
        guess = setting.prices[change.model] * OUTPUT_TOKENS
        return lambda learner: learner.with_model(change.model, guess)
    if change.kind == "price":
        return lambda learner: cheaper(learner, model, change.factor)
    return lambda learner: learner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("budgets", "changes", "draw"))
    parser.add_argument("--data", type=Path, required=True, help="folder of paretobandit")
    parser.add_argument("--work", type=Path, required=True, help="folder for states, tables and the picture")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.command == "budgets":
        budgets(args)
        print(table(args.work))
    elif args.command == "changes":
        changes(args)
    else:
        shares_kept = [dict(np.load(args.work / f"online_{change.kind}.npz")) for change in CHANGES]
        draw(kept_runs(args.work), published_figures(), shares_kept, args.work / "online.png")


if __name__ == "__main__":
    main()
