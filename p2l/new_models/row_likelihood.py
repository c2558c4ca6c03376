"""The penalised likelihood of votes in the coordinates of new rows, and its minimum."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags_array
from torch import Tensor

from p2l.errors import DataError
from p2l.outcomes import OutcomeFamily

_TOLERANCE = 1e-8  # of the gradient, a vote
_LARGEST_GRADIENT = 1e-4  # a vote, at the end: rounding stops some fits above the tolerance

Parameters = Float64[np.ndarray, " parameters"]
Square = Float64[np.ndarray, "parameters parameters"]


@dataclass(frozen=True, eq=False)
class RowLikelihood:
    """Votes with coefficients linear in parameters: ``coefs_a = offset_a + design_a @ parameters``, b likewise.

    ``shares`` are the weights of each vote by outcome of the family; ``prompt_index`` is its prompt. A row of a design
    is empty if that side of the vote is a known model.
    """

    family: OutcomeFamily
    design_a: csr_matrix
    design_b: csr_matrix
    offset_a: Float64[np.ndarray, " votes"]
    offset_b: Float64[np.ndarray, " votes"]
    eta: Float64[np.ndarray, " votes"] | None
    shares: Float64[np.ndarray, "votes outcomes"]
    prompt_index: Int64[np.ndarray, " votes"]

    def select(self, votes: Int64[np.ndarray, " some"]) -> "RowLikelihood":
        """Return the votes at these positions."""
        return replace(
            self,
            design_a=self.design_a[votes],
            design_b=self.design_b[votes],
            offset_a=self.offset_a[votes],
            offset_b=self.offset_b[votes],
            eta=None if self.eta is None else self.eta[votes],
            shares=self.shares[votes],
            prompt_index=self.prompt_index[votes],
        )

    def log_loss(self, parameters: Parameters) -> float:
        """Return the log loss, nats a vote."""
        return float(self.losses(parameters).sum() / self.shares.sum())

    def losses(self, parameters: Parameters) -> Float64[np.ndarray, " votes"]:
        """Return -log P of each vote, times its weight."""
        return self._by_vote(self._points(parameters)).detach().numpy()

    def fit(self, penalty: Parameters, start: Parameters) -> Parameters:
        """Minimise -sum log P(votes) + penalty . parameters ^ 2 / 2 by a trust-region Newton method.

        Raises ``DataError`` if it does not converge.
        """
        total = max(float(self.shares.sum()), 1.0)

        def value(x: np.ndarray) -> tuple[float, np.ndarray]:
            by_vote, first = self._first(x)
            gradient = first[0] @ self.design_a + first[1] @ self.design_b + penalty * x
            return (by_vote + penalty @ x**2 / 2) / total, gradient / total

        found = minimize(
            value,
            start,
            jac=True,
            hess=lambda x: self.hessian(x, penalty) / total,
            method="trust-exact",
            options={"gtol": _TOLERANCE},
        )
        slope = float(np.abs(found.jac).max())
        if not slope <= _LARGEST_GRADIENT:
            raise DataError(
                f"the rows of the new models do not converge: the gradient is {slope:.1e} a vote after {found.nit} "
                f"steps, expected at most {_LARGEST_GRADIENT:g} ({found.message}); give more votes or larger penalties"
            )
        return np.asarray(found.x, dtype=np.float64)

    def hessian(self, parameters: Parameters, penalty: Parameters) -> Square:
        """Return the Hessian of the penalised negative log-likelihood."""
        points = self._points(parameters)
        first = torch.autograd.grad(self._by_vote(points).sum(), points, create_graph=True)
        second = [torch.autograd.grad(g.sum(), points, retain_graph=True, materialize_grads=True) for g in first]
        (aa, ab), (_, bb) = ([g.numpy() for g in row] for row in second)
        cross = self.design_a.T @ diags_array(ab) @ self.design_b
        sides = sum(d.T @ diags_array(w) @ d for d, w in ((self.design_a, aa), (self.design_b, bb)))
        return np.asarray((sides + cross + cross.T).toarray()) + np.diag(penalty)

    def covariance(self, parameters: Parameters, penalty: Parameters) -> Square:
        """Return the sandwich covariance at the minimum, clustered by prompt.

        As in ``p2l.leaderboard``: H^-1 (sum over prompts of s s^T + penalty) H^-1, with s the summed gradient of the
        votes on a prompt; the penalty counts as evidence of its own size.
        """
        _, (first_a, first_b) = self._first(parameters)
        scores = diags_array(first_a) @ self.design_a + diags_array(first_b) @ self.design_b
        where = (self.prompt_index, np.arange(len(self.prompt_index)))
        of_prompts = csr_matrix((np.ones(len(self.prompt_index)), where)) @ scores
        meat = np.asarray((of_prompts.T @ of_prompts).toarray()) + np.diag(penalty)
        hessian = self.hessian(parameters, penalty)
        return np.linalg.solve(hessian, np.linalg.solve(hessian, meat).T)

    def covariance_of(
        self, levels: Int64[np.ndarray, " models"], parameters: Parameters, penalty: Parameters
    ) -> Float64[np.ndarray, "models models"]:
        """Return the sandwich covariance of some parameters, each with at least the variance of H^-1.

        The gradients of votes that all have one outcome are near 0, and so is their sandwich.
        """
        sandwich = self.covariance(parameters, penalty)[np.ix_(levels, levels)]
        expected = np.diag(np.linalg.inv(self.hessian(parameters, penalty)))[levels]
        wider = np.sqrt(np.maximum(1, expected / np.diag(sandwich)))
        return sandwich * np.outer(wider, wider)

    def votes_of_model(self, model: int, num_models: int) -> Bool[np.ndarray, " votes"]:
        """Mark the votes that a new model took part in."""
        size = self.design_a.shape[1] // num_models
        columns = slice(model * size, (model + 1) * size)
        return np.diff(self.design_a[:, columns].indptr) + np.diff(self.design_b[:, columns].indptr) > 0

    def prompts_of_models(self, num_models: int) -> Int64[np.ndarray, " models"]:
        """Return the number of prompts that each new model has votes on."""
        of_votes = (self.prompt_index[self.votes_of_model(i, num_models)] for i in range(num_models))
        return np.array([len(np.unique(prompts)) for prompts in of_votes])

    def _points(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Return the two coefficients of every vote."""
        a = torch.from_numpy(self.offset_a + self.design_a @ parameters)
        b = torch.from_numpy(self.offset_b + self.design_b @ parameters)
        return a.requires_grad_(), b.requires_grad_()

    def _by_vote(self, points: tuple[Tensor, Tensor]) -> Tensor:
        eta = None if self.eta is None else torch.from_numpy(self.eta)
        return -(torch.from_numpy(self.shares) * self.family.log_probs(*points, eta)).sum(-1)

    def _first(self, parameters: Parameters) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
        """Return the value, and its derivatives by the two coefficients of every vote."""
        points = self._points(parameters)
        value = self._by_vote(points).sum()
        a, b = torch.autograd.grad(value, points)
        return value.item(), (a.numpy(), b.numpy())
