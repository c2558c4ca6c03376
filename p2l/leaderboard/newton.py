"""Newton's method for fits to many vote sets at once."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from p2l.leaderboard.likelihood import PairLikelihood

MAX_STEPS = 100
MAX_HALVINGS = 40
# Stop when the next step would gain less than this share of the value. That step is still taken; the error after it is
# of the order of its square.
TOLERANCE = 1e-13


class Minimum(NamedTuple):
    """The minimum of the penalised negative log-likelihood, and the curvature there."""

    parameters: Float[Tensor, "sets parameters"]
    hessian: Float[Tensor, "sets parameters parameters"]
    converged: Bool[Tensor, " sets"]


# Size of a block of fits from which several threads are faster. In smaller ones they wait for each other, on a busy
# machine thirty times as long as the work takes.
_WORTH_THREADS = 500_000


@torch.no_grad()
def minimise(
    likelihood: PairLikelihood,
    shares: Float[Tensor, "sets rows outcomes"],
    *,
    ridge: float,
    start: Float[Tensor, "sets parameters"] | None = None,
) -> Minimum:
    """Minimise ``likelihood.value + ridge / 2 |parameters|^2`` for each set of shares, from ``start`` or zero.

    Steps are halved until the value falls. If the Hessian is not positive definite, the absolute values of its
    eigenvalues are used. The gauge of a shift-invariant family is free: the mean stays at its start.
    ``hessian`` includes the ridge and a term along the free direction, so that it can be inverted.
    """
    with _one_thread() if shares.numel() < _WORTH_THREADS else nullcontext():
        return _minimise(likelihood, shares, ridge, start)


def _minimise(likelihood: PairLikelihood, shares: Tensor, ridge: float, start: Tensor | None) -> Minimum:
    sets, size = len(shares), likelihood.num_parameters
    x = shares.new_zeros(sets, size) if start is None else start.clone()
    hessian = shares.new_zeros(sets, size, size)
    todo, converged = torch.arange(sets), torch.zeros(sets, dtype=torch.bool)
    for _ in range(MAX_STEPS):
        here, active = x[todo], shares[todo]
        value, gradient, curvature = likelihood.derivatives(here, active)
        value = value + ridge / 2 * here.square().sum(-1)
        gradient = gradient + ridge * here
        curvature = _invertible(likelihood, curvature, ridge)
        hessian[todo] = curvature
        step = _newton_step(curvature, gradient)
        done = (gradient * step).sum(-1) / 2 <= TOLERANCE * value.abs().clamp(min=1)
        landed, fell = _descend(likelihood, active, ridge, here, value, step, done)
        x[todo] = landed
        converged[todo[done]] = True
        todo = todo[~done & fell]
        if not len(todo):
            break
    return Minimum(x, hessian, converged)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _invertible(likelihood: PairLikelihood, hessian: Tensor, ridge: float) -> Tensor:
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    hessian = hessian + ridge * torch.eye(hessian.shape[-1], dtype=hessian.dtype)
    if likelihood.family.shift_invariant:
        num_models = likelihood.num_models
        along = diagonal[:, :num_models].mean(-1).clamp(min=1e-12) / num_models
        hessian[:, :num_models, :num_models] += along[:, None, None]
    return hessian


def _newton_step(hessian: Tensor, gradient: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(hessian)
    step = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    bad = (failed > 0) | ~step.isfinite().all(-1)
    if bad.any():
        values, vectors = torch.linalg.eigh(hessian[bad])
        largest = values.abs().amax(-1, keepdim=True)
        curvature = torch.maximum(values.abs(), 1e-9 * largest).clamp(min=1e-300)
        along = (vectors.mT @ gradient[bad][..., None])[..., 0] / curvature
        step[bad] = (vectors @ along[..., None])[..., 0]
    return step


def _descend(
    likelihood: PairLikelihood, shares: Tensor, ridge: float, x: Tensor, value: Tensor, step: Tensor, done: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the new point of each set, ``x - step`` or a half, a quarter ... of it, and whether its value is lower.

    Sets that are ``done`` take their whole step: it is too small to change the value.
    """
    landed, fell = torch.where(done[:, None], x - step, x), done.clone()
    for _ in range(MAX_HALVINGS):
        todo = torch.nonzero(~fell)[:, 0]
        if not len(todo):
            break
        candidate = x[todo] - step[todo]
        lower = likelihood.value(candidate, shares[todo]) + ridge / 2 * candidate.square().sum(-1) < value[todo]
        landed[todo[lower]] = candidate[lower]
        fell[todo[lower]] = True
        step = step / 2
    return landed, fell
