"""Arrays of numpy and of torch alike: a formula is written once, and a router without a model imports no torch."""

import sys
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Float64

Array: TypeAlias = Any  # numpy.ndarray or torch.Tensor; to name the second is to import torch


def namespace(x: Array) -> Any:
    """Return the module of an array, ``numpy`` or ``torch``, whose functions share most of their names."""
    return np if _is_numpy(x) else sys.modules["torch"]


def to_numpy(x: Array) -> Float64[np.ndarray, "*shape"]:
    """Return the numbers in float64, in main memory and without their gradients."""
    return np.asarray(x, dtype=np.float64) if _is_numpy(x) else x.detach().cpu().double().numpy()


def widen(x: Array) -> Float[Array, "*shape"]:
    """Return the numbers in float64, or in float32 on a device without float64 (Apple's MPS)."""
    if _is_numpy(x):
        return np.asarray(x, dtype=np.float64)
    return x.float() if x.device.type == "mps" else x.double()


def narrow(x: Array, like: Array) -> Float[Array, "*shape"]:
    """Return the numbers in float64 if ``like`` has it, else in float32."""
    xp = namespace(x)
    dtype = xp.promote_types(like.dtype, xp.float32)
    return x.astype(dtype, copy=False) if xp is np else x.to(dtype)


def broadcast(*arrays: Array) -> tuple[Array, ...]:
    """Return the arrays with one shape."""
    xp = namespace(arrays[0])
    return tuple(xp.broadcast_arrays(*arrays) if xp is np else xp.broadcast_tensors(*arrays))


def log_sigmoid(x: Array) -> Float[Array, "*shape"]:
    """Return log(1 / (1 + e^-x))."""
    return -np.logaddexp(0.0, -x) if _is_numpy(x) else sys.modules["torch"].nn.functional.logsigmoid(x)


def softplus(x: Array, beta: float) -> Float[Array, "*shape"]:
    """Return log(1 + e^(beta x)) / beta; torch returns x from beta x = 20, which is 2e-9 / beta less."""
    return np.logaddexp(0.0, beta * x) / beta if _is_numpy(x) else sys.modules["torch"].nn.functional.softplus(x, beta)


def log_sum_exp(x: Array) -> Float[Array, "*shape 1"]:
    """Return log(sum(e^x)) over the last axis, which is kept."""
    return np.logaddexp.reduce(x, axis=-1, keepdims=True) if _is_numpy(x) else x.logsumexp(-1, keepdim=True)


def add_product(x: Array, first: Array, second: Array) -> Float[Array, "*shape"]:
    """Return x + first second, without an array for the product in torch."""
    return x + first * second if _is_numpy(x) else sys.modules["torch"].addcmul(x, first, second)


def _is_numpy(x: Array) -> bool:
    return isinstance(x, (np.ndarray, np.generic))
