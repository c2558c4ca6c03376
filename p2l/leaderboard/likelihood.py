"""The likelihood of votes under one leaderboard, with derivatives, for every family and many vote sets at once.

The log-probability of a row depends on three numbers, the two coefficients and eta, so that its gradient (3) and
Hessian (3 x 3) come from elementwise automatic differentiation of ``OutcomeFamily.log_probs``, and those of the
parameters are sums over rows.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from p2l.outcomes import OutcomeFamily
from p2l.types import Ranking


class Derivatives(NamedTuple):
    """Derivatives of the negative log-likelihood, in nats, for each set of votes."""

    value: Float[Tensor, " sets"]
    gradient: Float[Tensor, "sets parameters"]
    hessian: Float[Tensor, "sets parameters parameters"]


@dataclass(frozen=True, eq=False)
class PairLikelihood:
    """P(outcome of row r) under one leaderboard: coefficients of ``model_a[r]`` and ``model_b[r]``, and eta.

    The parameters are the coefficients (models), eta (0 or 1), and an effect for each covariate: the covariate x of a
    row moves the two coefficients apart, by + x effect / 2 and - x effect / 2.
    """

    family: OutcomeFamily
    model_a: Int[Tensor, " rows"]
    model_b: Int[Tensor, " rows"]
    num_models: int
    covariates: Float[Tensor, "rows covariates"] | None = None

    @property
    def num_parameters(self) -> int:
        num_covariates = 0 if self.covariates is None else self.covariates.shape[1]
        return self.num_models + self.family.num_eta + num_covariates

    def centred(self, parameters: Float[Tensor, "*sets parameters"]) -> Float[Tensor, "*sets parameters"]:
        """Shift the coefficients to mean 0 if the family is shift-invariant."""
        if not self.family.shift_invariant:
            return parameters
        coefs = parameters[..., : self.num_models]
        return torch.cat((coefs - coefs.mean(-1, keepdim=True), parameters[..., self.num_models :]), dim=-1)

    def ranking(self, parameters: Float[Tensor, "*sets parameters"]) -> Ranking:
        """Return the coefficients and eta among the parameters."""
        eta = parameters[..., self.num_models] if self.family.num_eta else None
        return Ranking(parameters[..., : self.num_models], eta)

    def value(
        self, parameters: Float[Tensor, "sets parameters"], shares: Float[Tensor, "sets rows outcomes"]
    ) -> Float[Tensor, " sets"]:
        """Return the negative log-likelihood; ``shares`` are the weights of each row's votes by outcome."""
        return -(shares * self.family.log_probs(*self._at_rows(parameters))).sum((1, 2))

    def derivatives(
        self, parameters: Float[Tensor, "sets parameters"], shares: Float[Tensor, "sets rows outcomes"]
    ) -> Derivatives:
        """Return value, gradient and Hessian."""
        with torch.inference_mode(False), torch.enable_grad():  # validation in Lightning is inference
            points = [x.clone().requires_grad_() for x in self._at_rows(parameters)]
            shares = shares.clone() if shares.is_inference() else shares
            by_row = -(shares * self.family.log_probs(*points)).sum(-1)
            first = torch.autograd.grad(by_row.sum(), points, create_graph=True)
            second = [_grad(g.sum(), points, retain=i + 1 < len(first)) for i, g in enumerate(first)]
        gradient = torch.stack([g.detach() for g in first], dim=-1)
        hessian = torch.stack([torch.stack(row, dim=-1) for row in second], dim=-1)
        return Derivatives(by_row.detach().sum(-1), self.spread(gradient), self.spread_twice(hessian))

    def log_probs(self, parameters: Float[Tensor, "sets parameters"]) -> Float[Tensor, "sets rows outcomes"]:
        """Return the log-probability of every outcome of a row."""
        return self.family.log_probs(*self._at_rows(parameters))

    def scores(self, parameters: Float[Tensor, "sets parameters"]) -> Float[Tensor, "sets rows outcomes points"]:
        """Return gradients of the log-probability of every outcome of a row with respect to its 2 or 3 numbers."""
        with torch.inference_mode(False), torch.enable_grad():
            points = [x.clone().requires_grad_() for x in self._at_rows(parameters)]
            log_probs = self.family.log_probs(*points)
            last = log_probs.shape[-1] - 1
            of_outcomes = [_grad(log_probs[..., k].sum(), points, retain=k < last) for k in range(last + 1)]
        return torch.stack([torch.stack(gradients, dim=-1) for gradients in of_outcomes], dim=-2)

    def spread(self, by_row: Float[Tensor, "sets rows points"]) -> Float[Tensor, "sets parameters"]:
        """Sum a first-order quantity of the rows' numbers to one of the parameters."""
        coefs = by_row.new_zeros(len(by_row), self.num_models)
        for point, models in enumerate((self.model_a, self.model_b)):
            coefs.scatter_add_(1, models.expand(len(by_row), -1), by_row[..., point])
        parts = [coefs, by_row[..., 2:].sum(1)]
        if self.covariates is not None:
            parts.append((by_row[..., 0] - by_row[..., 1]) / 2 @ self.covariates)
        return torch.cat(parts, dim=1)

    def spread_twice(
        self, by_row: Float[Tensor, "sets rows points points"]
    ) -> Float[Tensor, "sets parameters parameters"]:
        """Sum a second-order quantity of the rows' numbers (symmetric) to one of the parameters."""
        sets, num_models = len(by_row), self.num_models
        coefs = by_row.new_zeros(sets, num_models**2)
        for p, first in enumerate((self.model_a, self.model_b)):
            for q, other in enumerate((self.model_a, self.model_b)):
                coefs.scatter_add_(1, (first * num_models + other).expand(sets, -1), by_row[..., p, q].contiguous())
        square = by_row.new_zeros(sets, self.num_parameters, self.num_parameters)
        square[:, :num_models, :num_models] = coefs.view(sets, num_models, num_models)
        for column in range(num_models, self.num_parameters):
            strip = self.spread(self._along(by_row, column))
            square[:, :, column] = square[:, column, :] = strip
        return square

    def _along(self, by_row: Tensor, column: int) -> Tensor:
        """Contract the second-order quantity with the derivative of a row's numbers by eta or an effect."""
        position = column - self.num_models - self.family.num_eta
        if position < 0:
            return by_row[..., 2]
        assert self.covariates is not None
        return (by_row[..., 0] - by_row[..., 1]) / 2 * self.covariates[:, position, None]

    def _at_rows(self, parameters: Tensor) -> list[Tensor]:
        """Return the two coefficients, and eta if the family has one, of every row: (sets, rows) each."""
        coefs, effects = parameters[:, : self.num_models], parameters[:, self.num_models + self.family.num_eta :]
        a, b = coefs[:, self.model_a], coefs[:, self.model_b]
        if self.covariates is not None:
            shift = effects @ self.covariates.T / 2
            a, b = a + shift, b - shift
        eta = [parameters[:, self.num_models, None].expand_as(a)] if self.family.num_eta else []
        return [a, b, *eta]


def _grad(total: Tensor, points: list[Tensor], *, retain: bool) -> list[Tensor]:
    gradients = torch.autograd.grad(total, points, retain_graph=retain, materialize_grads=True)
    return list(gradients)
