"""The saved progress of a run, converted so that it can resume with another number of micro-batches."""

from typing import Any


def rescale_progress(micro_batches: int, fit_loop: dict[str, Any]) -> None:
    """Convert Lightning's progress (``checkpoint["loops"]["fit_loop"]``) to ``micro_batches`` a step, in place.

    Lightning counts micro-batches, and their number in a step depends on the devices, the token budget and the epochs
    of a run; the number of completed steps does not. A step that was saved half done is repeated.
    """
    (loader,) = fit_loop["state_dict"]["combined_loader"]
    before, progress = loader["micro_batches"], fit_loop["epoch_loop.batch_progress"]
    for counts in (progress["current"], progress["total"]):
        ready = counts["ready"] // before * micro_batches
        counts.update({stage: ready - (counts["ready"] - count) for stage, count in counts.items()})
