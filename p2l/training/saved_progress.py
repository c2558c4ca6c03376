"""How far a run has come, in optimizer steps, so that it can go on with other micro-batches."""

from typing import Any


def rescale_progress(micro_batches: int, fit_loop: dict[str, Any]) -> None:
    """Rewrite the progress that Lightning saved (``checkpoint["loops"]["fit_loop"]``) for so many micro-batches a step.

    Lightning counts micro-batches, and their number in a step depends on the devices, the token budget and the epochs
    of a run; the steps done do not. A step that was saved half done is done again.
    """
    (loader,) = fit_loop["state_dict"]["combined_loader"]
    before, progress = loader["micro_batches"], fit_loop["epoch_loop.batch_progress"]
    for counts in (progress["current"], progress["total"]):
        ready = counts["ready"] // before * micro_batches
        counts.update({stage: ready - (counts["ready"] - count) for stage, count in counts.items()})
