"""The cells of a table that hold rows: the faults of their names, and the votes of those that have none."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from p2l.data.battle_cells import AGAINST, HARD, PRODUCTS, SOFT, SQUARES, WEIGHT, CellSums, CodedBlock
from p2l.data.battle_counts import NUM_OUTCOMES, BattleCounts, Pairs
from p2l.data.battle_table import NO_WEIGHT, BattleColumns, other_winners
from p2l.data.cell_doubts import DoubtfulCells
from p2l.data.skip_report import MISSING_VALUE, UNKNOWN_MODEL, UNKNOWN_WINNER, Mask
from p2l.errors import DataError
from p2l.winner import OUTCOMES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgedCells:
    """The cells that hold rows, and the faults of their names: each cell has at most one."""

    cells: Int64[np.ndarray, " cells"]
    battles: BattleColumns
    faults: dict[str, Mask]
    good: Mask


def rows_with(reason: str, block: CodedBlock, judged: JudgedCells) -> Mask:
    """Mark the rows that are skipped for a reason."""
    if reason in judged.faults:
        return np.isin(block.cells, judged.cells[judged.faults[reason]])
    left = np.isin(block.cells, judged.cells[judged.good])
    for fault, bad in block.bad_rows():
        if fault == reason:
            return left & bad
        left &= ~bad
    raise AssertionError(reason)


def fault_details(
    judged: JudgedCells, rows: Int64[np.ndarray, " cells"], models: Sequence[str] | None
) -> dict[str, dict[str, int]]:
    """Count the labels and models that were at fault, and the missing values by column."""
    found: dict[str, Counter[str]] = {}
    if MISSING_VALUE in judged.faults:
        found[MISSING_VALUE] = judged.battles.missing_by_column(rows * judged.faults[MISSING_VALUE])
    for reason in (UNKNOWN_WINNER, UNKNOWN_MODEL):
        if reason not in judged.faults:
            continue
        bad, counted = judged.faults[reason], found.setdefault(reason, Counter())
        battles = judged.battles
        for names in (battles.winner,) if reason == UNKNOWN_WINNER else (battles.model_a, battles.model_b):
            for code, count in zip(names.codes[bad], rows[bad], strict=True):
                counted[str(names.values[code])] += int(count)
        if reason == UNKNOWN_MODEL:
            found[reason] = Counter({name: count for name, count in counted.items() if name not in set(models or ())})
    return {reason: dict(+counted) for reason, counted in found.items()}


def warn_of_other_winners(sums: CellSums, judged: JudgedCells) -> None:
    """Warn of soft votes that prefer another outcome to the winner of their row."""
    winner = judged.battles.winner.positions([outcome.value for outcome in OUTCOMES])
    cells = [judged.cells[judged.good & (winner == k)] for k in range(NUM_OUTCOMES)]
    other = sum(int(sums.of(f"{AGAINST} {k}")[of_winner].sum()) for k, of_winner in enumerate(cells))
    if other:
        votes = (sums.of(HARD) + sums.of(SOFT))[judged.cells[judged.good]]
        log.warning("%s", other_winners(DoubtfulCells("", other, int(votes.sum()))))


def pair_counts(sums: CellSums, judged: JudgedCells, models: Sequence[str] | None) -> BattleCounts | DataError:
    """Sum the cells that hold votes to pairs of models."""
    used = judged.good & ((sums.of(HARD) + sums.of(SOFT))[judged.cells] > 0)
    if not used.any():
        return DataError("no vote is in it")
    cells, battles = judged.cells[used], judged.battles
    if models is None:
        sides = (battles.model_a, battles.model_b)
        models = sorted({str(side.values[code]) for side in sides for code in np.unique(side.codes[used])})
    pairs = Pairs.of(battles.model_a.positions(models)[used], battles.model_b.positions(models)[used], models)
    outcome = battles.winner.positions([outcome.value for outcome in OUTCOMES])[used]
    hard = sums.of(HARD)[cells]
    weight, squares = (sums.of(name)[cells] if name in sums.sums else hard for name in (WEIGHT, SQUARES))
    by_outcome = pairs.of_one_outcome(outcome, weight)
    moments = pairs.of_one_outcome(outcome, squares)[:, :, None] * np.eye(NUM_OUTCOMES)
    if SOFT in sums.sums:
        by_outcome += pairs.sums(np.stack([sums.of(str(k))[cells] for k in range(NUM_OUTCOMES)], axis=1))
        products = np.zeros((len(cells), NUM_OUTCOMES, NUM_OUTCOMES))
        for k, other in PRODUCTS:
            products[:, k, other] = products[:, other, k] = sums.of(f"{k} {other}")[cells]
        moments += pairs.moments(products)
    all_hard = SOFT not in sums.sums and bool((weight == hard).all() and (squares == hard).all())
    num_votes = int((hard + sums.of(SOFT)[cells]).sum())
    counts = pairs.counts(by_outcome, moments, num_votes, all_hard=all_hard)
    return counts if counts.weight.any() else DataError(NO_WEIGHT)
