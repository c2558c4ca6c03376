"""States and feedback as bytes, exactly, with a checksum."""

from dataclasses import fields
from hashlib import blake2b
from io import BytesIO
from zipfile import BadZipFile

import numpy as np

from p2l.errors import DataError
from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import HeadState
from p2l.online.influence import KeyShare

_ARRAYS = ("mean", "covariance", "draws")
_CHECKSUM = 16  # bytes at the start


def packed(state: HeadState) -> bytes:
    """Return a state as bytes."""
    keys = list(state.keys)
    return _with_checksum(
        **{name: getattr(state, name) for name in _ARRAYS},
        count=np.array(state.count),
        keys=np.array(keys, dtype=np.str_),
        evidence=np.array([state.keys[key].evidence for key in keys]),
        shifts=np.array([state.keys[key].shift for key in keys]),
    )


def unpacked(data: bytes) -> HeadState:
    """Return the state; DataError if the bytes are damaged."""
    parts = _checked(data)
    shares = zip(parts["keys"].tolist(), parts["evidence"].tolist(), parts["shifts"], strict=True)
    keys = {key: KeyShare(evidence, shift) for key, evidence, shift in shares}
    return HeadState(parts["mean"], parts["covariance"], parts["draws"], keys, int(parts["count"]))


def packed_feedback(feedback: Feedback) -> bytes:
    """Return feedback as bytes."""
    names = [each.name for each in fields(feedback) if each.name != "keys"]
    parts = {name: getattr(feedback, name) for name in names}
    return _with_checksum(**parts, keys=np.array(feedback.keys, dtype=np.str_))


def unpacked_feedback(data: bytes) -> Feedback:
    """Return the feedback; DataError if the bytes are damaged."""
    parts = _checked(data)
    keys = tuple(parts.pop("keys").tolist())
    return Feedback(**parts, keys=keys)


def _with_checksum(**arrays: np.ndarray) -> bytes:
    file = BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    data = file.getvalue()
    return blake2b(data, digest_size=_CHECKSUM).digest() + data


def _checked(data: bytes) -> dict[str, np.ndarray]:
    checksum, data = data[:_CHECKSUM], data[_CHECKSUM:]
    if blake2b(data, digest_size=_CHECKSUM).digest() != checksum:
        raise DataError("its checksum is wrong")
    try:
        with np.load(BytesIO(data), allow_pickle=False) as file:
            return dict(file)
    except (ValueError, BadZipFile, EOFError) as error:
        raise DataError(f"it is no archive of arrays ({type(error).__name__})") from None
