"""Keep a share of the prompts of a table: always the same ones, whatever else the table has."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np


def in_share(keys: Sequence[str], share: float) -> np.ndarray:
    """Return whether each prompt is among the share of all texts whose hash is the smallest."""
    hashes = [int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") for key in keys]
    return np.array(hashes, dtype=np.float64) < share * 2.0**64
