"""The sandwich covariance of the fitted parameters: closed form, robust to a misspecified model."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import csr_matrix
from torch import Tensor

from p2l.leaderboard.likelihood import PairLikelihood
from p2l.leaderboard.newton import Minimum
from p2l.leaderboard.vote_counts import VoteRows


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
    without evidence get a variance of 1 / ridge instead of 0. Source: White, Econometrica 50 (1982).
    """
    targets = torch.tensor(likelihood.family.targets, dtype=torch.float64)
    by_outcome = targets @ likelihood.scores(minimum.parameters)[0]  # (rows, outcomes of a vote, points)
    if rows.moments is not None:
        by_row = torch.einsum("rkl,rkp,rlq->rpq", torch.from_numpy(rows.moments), by_outcome, by_outcome)
        meat = likelihood.spread_twice(by_row[None])[0]
    elif cluster is not None:
        meat = _clustered(rows, likelihood, by_outcome.numpy(), cluster)
    elif rows.outcome is not None:
        squares = torch.from_numpy(rows.squares())
        meat = likelihood.spread_twice(torch.einsum("rk,rkp,rkq->rpq", squares, by_outcome, by_outcome)[None])[0]
    else:
        score = torch.einsum("rk,rkp->rp", torch.from_numpy(rows.weight), by_outcome)
        meat = likelihood.spread_twice((score[:, :, None] * score[:, None, :])[None])[0]
    meat = meat + ridge * torch.eye(len(meat), dtype=torch.float64)
    half = torch.linalg.solve(minimum.hessian[0], meat)
    return torch.linalg.solve(minimum.hessian[0], half.mT)


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
