"""What a training run leaves for its page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from p2l.files import write_whole
from p2l.json_output import json_value

RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"
TRAIN_LOSS, VAL_LOSS, VAL_MINUS_MARGINAL = "train/loss", "val/log_loss", "val/log_loss_minus_marginal"


@dataclass(frozen=True)
class RunRecord:
    """A training run, as far as it is known; every field has a value that means "unknown".

    Attributes:
        name: of the run.
        status: "running", "finished" or "stopped".
        reason: why it stopped.
        step, steps: optimizer steps done and planned; 0: unknown.
        family: published name of the likelihood family.
        outcomes: of the family.
        models: the LLMs.
        history: metrics by name, with the optimizer step ("step") after which they were logged.
        votes: by split, what ``p2l.run_page.run_votes.summaries`` tells.
        doubts: about the votes and their split, one sentence each.
        calibration: by outcome, the points of ``p2l.evaluation.calibration.reliability`` of the last validation.
        leaderboards: of the example prompts: {"prompt": turns, "rows": rows of a ``leaderboard_table``}.
        test: the content of ``test_report.json``.
        config: the resolved configuration.
    """

    name: str = ""
    status: str = ""
    reason: str = ""
    step: int = 0
    steps: int = 0
    family: str = ""
    outcomes: Sequence[str] = ()
    models: Sequence[str] = ()
    history: Sequence[Mapping[str, float]] = ()
    votes: Mapping[str, Any] = field(default_factory=dict)
    doubts: Sequence[str] = field(default_factory=list)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    leaderboards: Sequence[Mapping[str, Any]] = ()
    test: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        """Return the steps and values of a metric."""
        rows = [row for row in self.history if metric in row]
        return [row["step"] for row in rows], [row[metric] for row in rows]

    def marginal_loss(self) -> float | None:
        """Return the validation log loss of the leaderboard that ignores the prompt; None if unknown."""
        rows = [
            row for row in self.history if row.get(VAL_MINUS_MARGINAL) is not None and row.get(VAL_LOSS) is not None
        ]
        return rows[-1][VAL_LOSS] - rows[-1][VAL_MINUS_MARGINAL] if rows else None

    def best(self) -> Mapping[str, float] | None:
        """Return the row of the validation with the lowest log loss."""
        rows = [row for row in self.history if VAL_LOSS in row]
        return min(rows, key=lambda row: row[VAL_LOSS], default=None)

    def save(self, path: Path) -> None:
        """Write everything but the history, which has a file of its own."""
        with write_whole(path) as file:
            json.dump(json_value(asdict(replace(self, history=()))), file, ensure_ascii=False)

    @classmethod
    def load(cls, path: Path) -> "RunRecord":
        """Read what ``save`` wrote; fields of another version are ignored."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{entry.name: content[entry.name] for entry in fields(cls) if entry.name in content})
