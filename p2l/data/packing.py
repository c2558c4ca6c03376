"""Group prompts of similar length into batches bounded by tokens, so that little is spent on padding."""

import numpy as np


def pack_within(lengths: np.ndarray, token_budget: int, *, packed: bool = False) -> list[np.ndarray]:
    """Return the fewest batches within the budget; their size is count x longest or, packed, the sum of lengths.

    A prompt longer than the budget gets its own batch. Returns positions into ``lengths``, longest batch first.
    """
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    batches, start = [], 0
    while start < len(order):
        longest = int(lengths[order[start]])
        if packed:
            count = int(np.searchsorted(ends, ends[start] - longest + token_budget, "right")) - start
        else:
            count = token_budget // longest
        count = max(1, count)
        batches.append(order[start : start + count])
        start += count
    return batches


def pack_into(lengths: np.ndarray, num_batches: int, *, packed: bool = False) -> list[np.ndarray]:
    """Return exactly ``num_batches`` batches whose largest size, as in ``pack_within``, is smallest.

    If there are fewer prompts than batches, the last ones are empty.
    """
    low, high = 1, int(lengths.max(initial=1)) * max(1, len(lengths))
    while low < high:
        budget = (low + high) // 2
        if len(pack_within(lengths, budget, packed=packed)) <= num_batches:
            high = budget
        else:
            low = budget + 1
    batches = pack_within(lengths, low, packed=packed)
    while len(batches) < num_batches and max(map(len, batches), default=0) > 1:
        widest = max(
            range(len(batches)), key=lambda i: len(batches[i]) * lengths[batches[i][0]] * (len(batches[i]) > 1)
        )
        batch = batches.pop(widest)
        batches[widest:widest] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    return batches + [np.zeros(0, dtype=np.int64)] * (num_batches - len(batches))


def deal(batches: list[np.ndarray], world_size: int) -> list[list[np.ndarray]]:
    """Distribute batches so that all ranks work on similar sizes at the same time; ``result[rank][i]``."""
    return [batches[rank::world_size] for rank in range(world_size)]
