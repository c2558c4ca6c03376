"""Fit a table of measured scores in four ways, from a linear head on frozen states to the whole backbone.

All start from the linear head, whose penalty is chosen by cross-fitting on the prompts at hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from cached_states import StateCache, standardised
from end_to_end import RATE, EndToEnd
from predictions import UnitRange, fold_numbers
from score_heads import RIDGES, Evidence, HeadOptions, fit_head, spread, usable
from torch import nn

from p2l.data.measured_scores import MeasuredScores
from p2l.heads import RankingHead
from p2l.outcomes import GRK
from p2l.types import Ranking

LINEAR, MLP, ADAPTERS, WHOLE = "linear head", "MLP head", "LoRA on the last layers", "whole backbone"
LEVERS = (LINEAR, MLP, ADAPTERS, WHOLE)
WIDTH, DROPOUT, HEAD_RATE, DECAY = 128, 0.2, 1e-3, 1e-2  # of the MLP
STEPS = (0, 25, 50, 100, 200, 400)  # full batches; 0 is the linear head
EPOCHS, ADAPTED_LAYERS, ADAPTER_RATE = 3, 2, 5e-4
LEAST = 1e-6  # of a probability in a log loss


@dataclass(frozen=True)
class Levers:
    """Fits a backbone to some prompts in each way, and predicts others.

    Attributes:
        work: keeps hidden states and predictions of tuned backbones.
        seed: of what is drawn: the MLP's first weights, adapters, dropout, order of batches.
    """

    fit: MeasuredScores
    other: MeasuredScores
    work: Path
    backbone: str
    max_length: int = 256
    seed: int = 0
    ridges: tuple[float, ...] = RIDGES
    epochs: int = EPOCHS

    def predict(self, lever: str) -> np.ndarray:
        """Return P(usable answer) of the other prompts and all LLMs."""
        if lever in (ADAPTERS, WHOLE):
            return self._tuned(*((ADAPTER_RATE, ADAPTED_LAYERS) if lever == ADAPTERS else (RATE, 0)))
        (states, others), options = self._states, self._options
        linear = fit_head(states, Evidence.of(self.fit, options), options, zeros(states, self.fit))
        if lever == LINEAR:
            return usable(linear, others)
        network = fit_mlp(states, self.fit, options, linear, self.seed)
        return network.usable(others)

    def _tuned(self, rate: float, adapted_layers: int) -> np.ndarray:
        tuned = EndToEnd(
            self.work / "end_to_end",
            self.backbone,
            self.max_length,
            self.epochs,
            self._options,
            self.seed,
            rate,
            adapted_layers,
        )
        tuned.work.mkdir(exist_ok=True)
        return tuned.epochs_of(self.fit, self.other.prompts)[-1]

    @cached_property
    def _states(self) -> list[torch.Tensor]:
        cache = StateCache(self.work / "states", self.backbone, self.max_length, "bfloat16")
        return standardised(cache.states(self.fit.prompts), cache.states(self.other.prompts))

    @cached_property
    def _options(self) -> HeadOptions:
        """The penalty of the linear head with the least log loss of cross-fitted predictions."""
        (states, _), folds, losses = self._states, fold_numbers(len(self.fit)), {}
        for ridge in self.ridges:
            options, found = HeadOptions(ridge), np.zeros(self.fit.score.shape)
            evidence = Evidence.of(self.fit, options)
            for fold in range(folds.max() + 1):
                train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
                head = fit_head(states[train], evidence.on(train, len(self.fit)), options, zeros(states, self.fit))
                found[held_out] = usable(head, states[held_out])
            losses[options] = float(log_losses(self.fit, found).mean())
        return min(losses, key=losses.__getitem__)


def zeros(states: torch.Tensor, fit: MeasuredScores) -> RankingHead:
    return RankingHead(states.shape[1], len(fit.models), GRK, init="zeros")


def log_losses(measured: MeasuredScores, probability: np.ndarray) -> np.ndarray:
    """Return for each prompt the mean log loss of its known answers, in nats; a score s is usable with share s."""
    share, known = UnitRange.of(measured)(measured.score), measured.weight > 0
    sure = np.clip(probability, LEAST, 1 - LEAST)
    losses = -(share * np.log(sure) + (1 - share) * np.log(1 - sure))
    found: np.ndarray = (losses * known).sum(axis=1) / known.sum(axis=1)
    return found


class MlpHead(nn.Module):
    """A linear head on the states and on a hidden layer of them; at first the hidden layer counts for nothing."""

    def __init__(self, linear: RankingHead) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(linear.hidden_size, WIDTH), nn.GELU(), nn.Dropout(DROPOUT))
        self.head = RankingHead(linear.hidden_size + WIDTH, linear.num_models, GRK, init="zeros")
        with torch.no_grad():
            for name, value in linear.named_parameters():
                target = dict(self.head.named_parameters())[name]
                target[..., : value.shape[-1]].copy_(value)

    def forward(self, states: torch.Tensor) -> Ranking:
        return self.head(torch.cat((states, self.hidden(states)), dim=1))

    def usable(self, states: torch.Tensor) -> np.ndarray:
        self.eval()
        with torch.no_grad():
            return torch.sigmoid(self(states).coefs).double().numpy()


def fit_mlp(states: torch.Tensor, fit: MeasuredScores, options: HeadOptions, linear: RankingHead, seed: int) -> MlpHead:
    """Fit an MLP head; a fifth of the prompts chooses the number of steps, then all prompts are fitted with it."""
    folds = fold_numbers(len(fit))
    train, held_out = np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
    evidence = Evidence.of(fit, options)
    part = evidence.on(train, len(fit))
    start = fit_head(states[train], part, options, zeros(states, fit))
    losses = {}
    for steps, network in _trained(states[train], part, options, start, seed, STEPS):
        losses[steps] = float(log_losses(fit.rows(held_out), network.usable(states[held_out])).mean())
    best = min(losses, key=losses.__getitem__)
    ((_, network),) = _trained(states, evidence, options, linear, seed, (best,))
    return network


def _trained(
    states: torch.Tensor,
    evidence: Evidence,
    options: HeadOptions,
    start: RankingHead,
    seed: int,
    stops: Sequence[int],
) -> Iterator[tuple[int, MlpHead]]:
    """Train on all prompts at once, and yield the network after each of these numbers of steps."""
    torch.manual_seed(seed)
    network = MlpHead(start)
    optimizer = torch.optim.AdamW(network.parameters(), lr=HEAD_RATE, weight_decay=0.0)
    for step in range(max(stops) + 1):
        if step in stops:
            yield step, network
        network.train()
        penalty = options.ridge * spread(network.head, options.own) + DECAY * network.hidden[0].weight.square().sum()
        loss = evidence.loss(network(states)) + penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
