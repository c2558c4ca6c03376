"""Fit rows of the head for new models to their votes; features, known rows and eta stay fixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy.sparse import csr_matrix
from torch import Tensor

from p2l.data.prompt_encoder import Prompt
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.models import Checkpoint
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.new_models.extend_checkpoint import head_layers
from p2l.new_models.row_likelihood import RowLikelihood
from p2l.new_models.row_prior import RowPrior
from p2l.options import check_count, check_number, check_seed
from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking

Precision = Literal["float32", "bfloat16"]
PENALTIES = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0)
LEVEL_PENALTY = 0.04  # 1 / 5^2: prior standard deviation of 5 nats around the mean coefficient of known models


@dataclass(frozen=True, eq=False)
class PromptFeatures:
    """Outputs of a checkpoint on prompts: rankings, inputs of the head's rows, and gamma (family ba; else 0)."""

    ranking: Ranking
    inputs: Float64[np.ndarray, "prompts features"]
    gamma: Float64[np.ndarray, " prompts"]


@dataclass(frozen=True, eq=False)
class RowFit:
    """Fitted rows of new models.

    Attributes:
        models: names of the LLMs.
        weight, bias: their rows.
        coefs: mean coefficient of each (nats) over the prompts of the votes.
        covariance: of ``coefs``, clustered by prompt, and at least that of the expected information; known rows are
            taken as exact.
        num_prompts: distinct prompts with votes on each.
        penalty: penalty of the coordinates, chosen by cross-validation.
        held_out: penalty -> held-out log loss (nats a vote), for all penalties tried.
        held_out_of: the same of each model's own votes, at the chosen penalty.
        log_loss: nats a vote, on these votes.
    """

    models: tuple[str, ...]
    weight: Float64[np.ndarray, "models features"]
    bias: Float64[np.ndarray, " models"]
    coefs: Float64[np.ndarray, " models"]
    covariance: Float64[np.ndarray, "models models"]
    num_prompts: Int64[np.ndarray, " models"]
    penalty: float
    held_out: dict[float, float]
    held_out_of: dict[str, float]
    log_loss: float


def extract_features(
    checkpoint: Checkpoint, prompts: Sequence[Prompt], *, token_budget: int = 4096, precision: Precision = "bfloat16"
) -> PromptFeatures:
    """Run the frozen network on the prompts, on its device; ``precision`` is that of matrix products."""
    device = next(checkpoint.model.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
        ranking, hidden = rank_with_hidden_states(checkpoint, prompts, token_budget=token_budget)
    return features_of_hidden(checkpoint.model.head, ranking, hidden)


@torch.no_grad()
def features_of_hidden(head: RankingHead, ranking: Ranking, hidden: Float[Tensor, "prompts hidden"]) -> PromptFeatures:
    """Return the features of prompts from their hidden states."""
    first, last = head_layers(head)
    hidden = hidden.to(last.weight)
    gamma = head.gamma_head(hidden)[:, 0] if head.family.has_threshold else hidden.new_zeros(len(hidden))
    return PromptFeatures(ranking, first(hidden).double().cpu().numpy(), gamma.double().cpu().numpy())


def fit_rows(
    head: RankingHead,
    known: Sequence[str],
    votes: VoteTable,
    features: PromptFeatures,
    new: Sequence[str],
    *,
    penalties: Sequence[float] = PENALTIES,
    folds: int = 5,
    seed: int = 0,
) -> RowFit:
    """Fit a row for each of ``new`` to the votes that one of them took part in.

    Minimises, over the coordinates of the rows that ``RowPrior`` makes of the known ones,
    -sum_v w_v log P(outcome of v) + sum over new models of (0.04 t^2 + penalty sum_j u_j^2) / 2, in float64; with a
    penalty of 1 the prior spread of the new rows is that of the known ones. Votes between new models count too.

    Args:
        head: the head that ranks the ``known`` models.
        known: their names, in the order of its rows.
        votes: votes on models of both lists; votes between known models are ignored.
        features: features of the prompts of ``votes``.
        new: the models to fit; the row of a known one is fitted again.
        penalties: candidates, compared by the log loss of votes on held-out prompts.
        folds: number of folds of the cross-validation.
        seed: seed of the folds.

    Raises ``ConfigError`` if a penalty is not positive, there are fewer than 2 folds, or no known model is left, and
    ``DataError`` if the fit does not converge.
    """
    check_row_options(penalties, folds, seed)
    prior = _prior(head, known, features, new)
    evidence = _evidence(head.family, known, votes, features, new, prior)
    losses = _held_out_losses(evidence, len(new), penalties, folds, seed)
    best = int(losses.sum(axis=1).argmin())
    penalty = _penalty(penalties[best], len(new), evidence)
    found = evidence.fit(penalty, np.zeros_like(penalty))
    rows = prior.rows(found.reshape(len(new), -1))
    levels = np.arange(len(new)) * prior.num_coordinates
    return RowFit(
        models=tuple(new),
        weight=rows[:, :-1],
        bias=rows[:, -1],
        coefs=rows[:, :-1] @ features.inputs.mean(axis=0) + rows[:, -1] - features.gamma.mean(),
        covariance=evidence.covariance_of(levels, found, penalty),
        num_prompts=evidence.prompts_of_models(len(new)),
        penalty=float(penalties[best]),
        held_out=dict(zip(map(float, penalties), (losses.sum(axis=1) / evidence.shares.sum()).tolist(), strict=True)),
        held_out_of=_of_models(new, evidence, losses[best]),
        log_loss=evidence.log_loss(found),
    )


def check_row_options(penalties: Sequence[float], folds: int, seed: int) -> None:
    """Raise ConfigError for options that ``fit_rows`` does not take."""
    if not penalties:
        raise ConfigError("one or more positive penalties are needed; penalties is empty")
    for penalty in penalties:
        check_number("each of penalties", penalty, above=0)
    check_count("folds", folds, least=2)
    check_seed(seed)


def _prior(head: RankingHead, known: Sequence[str], features: PromptFeatures, new: Sequence[str]) -> RowPrior:
    kept = [i for i, name in enumerate(known) if name not in set(new)]
    if not kept:
        raise ConfigError("no known model is left to compare the new ones with; refit fewer models, or train")
    _, last = head_layers(head)
    weight, bias = (x.detach().double().cpu().numpy()[kept] for x in (last.weight, last.bias))
    return RowPrior.of_rows(weight, bias, features.inputs.mean(axis=0))


def _evidence(
    family: OutcomeFamily,
    known: Sequence[str],
    votes: VoteTable,
    features: PromptFeatures,
    new: Sequence[str],
    prior: RowPrior,
) -> RowLikelihood:
    new_place, old_place = (_places(votes.models, names) for names in (new, known))
    rows = np.flatnonzero((new_place[votes.model_a] >= 0) | (new_place[votes.model_b] >= 0))
    at, eta = votes.prompt_index[rows], features.ranking.eta
    inputs = np.column_stack([features.inputs, np.ones(len(features.inputs))])
    centre, along = inputs @ prior.centre - features.gamma, inputs @ prior.directions
    coefs = features.ranking.coefs.double().numpy()

    def side(models: Int64[np.ndarray, " votes"]) -> tuple[csr_matrix, Float64[np.ndarray, " votes"]]:
        place = new_place[models]
        return _design(place, along[at], len(new)), np.where(place >= 0, centre[at], coefs[at, old_place[models]])

    (design_a, offset_a), (design_b, offset_b) = side(votes.model_a[rows]), side(votes.model_b[rows])
    outcome_shares = votes.outcome_shares[rows].astype(np.float64) * votes.weight[rows, None]
    shares = outcome_shares @ np.asarray(family.targets, dtype=np.float64)
    eta_at = None if eta is None else eta.double().numpy()[at]
    return RowLikelihood(family, design_a, design_b, offset_a, offset_b, eta_at, shares, at)


def _places(models: Sequence[str], names: Sequence[str]) -> Int64[np.ndarray, " models"]:
    """Return the position of each model in a list of names; -1 if it is absent."""
    place = {name: i for i, name in enumerate(names)}
    return np.array([place.get(model, -1) for model in models], dtype=np.int64)


def _design(
    model: Int64[np.ndarray, " votes"], along: Float64[np.ndarray, "votes coordinates"], num_new: int
) -> csr_matrix:
    """Return a row for each vote: ``along`` in the columns of its model; an empty row if the model is -1."""
    size = along.shape[1]
    votes = np.flatnonzero(model >= 0)
    columns = model[votes, None] * size + np.arange(size)
    where = (np.repeat(votes, size), columns.ravel())
    return csr_matrix((along[votes].ravel(), where), shape=(len(model), num_new * size))


def _penalty(penalty: float, num_new: int, evidence: RowLikelihood) -> Float64[np.ndarray, " parameters"]:
    of_a_model = np.full(evidence.design_a.shape[1] // num_new, float(penalty))
    of_a_model[0] = LEVEL_PENALTY
    return np.tile(of_a_model, num_new)


def _held_out_losses(
    evidence: RowLikelihood, num_new: int, penalties: Sequence[float], folds: int, seed: int
) -> Float64[np.ndarray, "penalties votes"]:
    """Return the loss of each vote by the rows that are fitted to the votes on other prompts."""
    prompts, prompt = np.unique(evidence.prompt_index, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(prompts)) % folds)[prompt]
    losses = np.zeros((len(penalties), len(fold)))
    for left_out in range(min(folds, len(prompts))):
        rest, others = np.flatnonzero(fold == left_out), np.flatnonzero(fold != left_out)
        unseen, seen = evidence.select(rest), evidence.select(others)
        found = np.zeros(evidence.design_a.shape[1])
        for i, penalty in enumerate(penalties):
            found = seen.fit(_penalty(penalty, num_new, evidence), found)
            losses[i, rest] = unseen.losses(found)
    return losses


def _of_models(new: Sequence[str], evidence: RowLikelihood, losses: Float64[np.ndarray, " votes"]) -> dict[str, float]:
    """Return the mean loss (nats a vote) of the votes that each new model took part in."""
    held_out = {}
    for i, name in enumerate(new):
        votes = evidence.votes_of_model(i, len(new))
        held_out[name] = float(losses[votes].sum() / evidence.shares[votes].sum())
    return held_out
