"""The sandwich covariance of the fitted parameters: closed form, robust to a misspecified model."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.sparse import csr_matrix
from torch import Tensor

from p2l.errors import DataError
from p2l.leaderboard.likelihood import PairLikelihood
from p2l.leaderboard.newton import Minimum
from p2l.leaderboard.vote_counts import VoteRows
from p2l.outcomes import OutcomeFamily

FEW_VOTES = 20  # of a model: the squares of so few scores may all be small by chance, those of one tie are near 0
_UNSEEN = 3  # an outcome without a vote among n may have the probability 3 / n (rule of three, at 95 %)


@torch.no_grad()
def sandwich(
    rows: VoteRows,
    likelihood: PairLikelihood,
    minimum: Minimum,
    ridge: float,
    cluster: Int64[np.ndarray, " votes"] | None,
) -> Float[Tensor, "parameters parameters"]:
    """Compute H^-1 (sum of s s^T over votes or clusters + ridge) H^-1, with s the score: the gradient of one vote.

    H is the Hessian of the penalised likelihood. The ridge counts as evidence of its own size, so that directions
    without evidence get a variance of 1 / ridge instead of 0; ``DataError`` if they have no ridge. A model of fewer
    than ``FEW_VOTES`` votes has at least the scores that the fitted family expects; one of more votes those of three of
    them, so that ties alone, whose scores are 0, do not make its interval a point. Source: White, Econometrica 50
    (1982).
    """
    targets = torch.tensor(likelihood.family.targets, dtype=torch.float64)
    scores = likelihood.scores(minimum.parameters)[0]
    by_outcome = targets @ scores  # (rows, outcomes of a vote, points)
    by_row = _squared_scores(rows, by_outcome)
    if cluster is None:
        meat = likelihood.spread_twice(by_row[None])[0]
    else:
        meat = _clustered(rows, likelihood, by_outcome.numpy(), cluster)
    probs = likelihood.log_probs(minimum.parameters)[0].exp()
    _, squares = _evidence(rows, likelihood.family)
    expected = squares[:, None, None] * torch.einsum("rk,rkp,rkq->rpq", probs, scores, scores)
    least = _least_share(rows, likelihood.family, by_row, expected)[:, None, None] * expected
    meat = meat + likelihood.spread_twice(_positive_part(least - by_row)[None])[0]
    meat = meat + ridge * torch.eye(len(meat), dtype=torch.float64)
    try:
        half = torch.linalg.solve(minimum.hessian[0], meat)
    except torch.linalg.LinAlgError:
        raise DataError(
            f"the votes do not determine all parameters, and ridge={ridge:g} leaves them without a value; give a ridge "
            "above 0, and the notes say which they are"
        ) from None
    return torch.linalg.solve(minimum.hessian[0], half.mT)


def _squared_scores(rows: VoteRows, by_outcome: Float[Tensor, "rows 4 points"]) -> Float[Tensor, "rows points points"]:
    """Return the sum of s s^T over the votes of each row."""
    if rows.moments is not None:
        return torch.einsum("rkl,rkp,rlq->rpq", torch.from_numpy(rows.moments), by_outcome, by_outcome)
    if rows.outcome is not None:
        return torch.einsum("rk,rkp,rkq->rpq", torch.from_numpy(rows.squares()), by_outcome, by_outcome)
    score = torch.einsum("rk,rkp->rp", torch.from_numpy(rows.weight), by_outcome)
    return score[:, :, None] * score[:, None, :]


def have_few_votes(rows: VoteRows, family: OutcomeFamily) -> Bool[Tensor, " models"]:
    """Mark the models with fewer than ``FEW_VOTES`` votes with evidence."""
    return _number_of_votes(rows, family) < FEW_VOTES


def _number_of_votes(rows: VoteRows, family: OutcomeFamily) -> Float[Tensor, " models"]:
    """Return the number of votes of each model, infinite without any.

    That of weighted votes is Kish's: (sum of weights)^2 / sum of squared weights.
    """
    weight, squares = (_of_models(rows, total, total) for total in _evidence(rows, family))
    return (weight**2 / squares).nan_to_num(torch.inf)


def _evidence(rows: VoteRows, family: OutcomeFamily) -> tuple[Float[Tensor, " rows"], Float[Tensor, " rows"]]:
    """Return, for each row, the sums of the weights and of the squared weights of its votes with evidence."""
    has_evidence = np.asarray(family.targets, dtype=np.float64).sum(1)
    weight = rows.weight @ has_evidence
    if rows.moments is not None:
        squares = np.einsum("rkl,k,l->r", rows.moments, has_evidence, has_evidence)
    else:
        squares = weight**2 if rows.outcome is None else rows.squares() @ has_evidence
    return torch.from_numpy(weight), torch.from_numpy(squares)


def _least_share(
    rows: VoteRows,
    family: OutcomeFamily,
    by_row: Float[Tensor, "rows points points"],
    expected: Float[Tensor, "rows points points"],
) -> Float[Tensor, " rows"]:
    """Return the share of the expected squared scores that each row has at least; 0 if its models show enough.

    It is 1 for a model with few votes, and that of ``_UNSEEN`` votes for one of n votes.
    """
    seen, right = (_of_models(rows, square[:, 0, 0], square[:, 1, 1]) for square in (by_row, expected))
    number = _number_of_votes(rows, family)
    share = torch.where(number < FEW_VOTES, 1.0, _UNSEEN / number)
    share = torch.where(seen < share * right, share, 0.0)
    return torch.maximum(share[torch.from_numpy(rows.model_a)], share[torch.from_numpy(rows.model_b)])


def _of_models(rows: VoteRows, of_a: Float[Tensor, " rows"], of_b: Float[Tensor, " rows"]) -> Float[Tensor, " models"]:
    """Sum quantities of the two sides of the rows to those of the models."""
    total = torch.zeros(len(rows.models), dtype=torch.float64)
    for models, values in ((rows.model_a, of_a), (rows.model_b, of_b)):
        total.index_add_(0, torch.from_numpy(models), values)
    return total


def _positive_part(square: Float[Tensor, "rows points points"]) -> Float[Tensor, "rows points points"]:
    """Return symmetric matrices without their negative eigenvalues."""
    values, vectors = torch.linalg.eigh(square)
    return vectors * values.clamp_min(0)[:, None, :] @ vectors.mT


def _clustered(
    rows: VoteRows, likelihood: PairLikelihood, by_outcome: np.ndarray, cluster: Int64[np.ndarray, " votes"]
) -> Float[Tensor, "parameters parameters"]:
    """Return the sum over clusters of their squared scores, from a sparse table of clusters and parameters."""
    row, num_models = rows.row, likelihood.num_models
    if rows.outcome is None:
        scores = np.einsum("rk,rkp->rp", rows.weight, by_outcome)[row]
    else:
        scores = by_outcome[row, rows.outcome] * rows.vote_weight[:, None]
    columns = [rows.model_a[row], rows.model_b[row], np.full(len(row), num_models)][: scores.shape[1]]
    values = [scores[:, point] for point in range(scores.shape[1])]
    if rows.covariates is not None:
        apart = (scores[:, 0] - scores[:, 1]) / 2
        for position, covariate in enumerate(rows.covariates.T):
            columns.append(np.full(len(row), num_models + likelihood.family.num_eta + position))
            values.append(apart * covariate[row])
    where = (np.tile(cluster, len(columns)), np.concatenate(columns))
    table = csr_matrix((np.concatenate(values), where), shape=(cluster.max() + 1, likelihood.num_parameters))
    return torch.from_numpy((table.T @ table).toarray())
