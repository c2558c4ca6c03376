"""Partial predictions: a folder of small parquet files from which a later run resumes."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from p2l.errors import ConfigError
from p2l.files import whole_file, write_whole


@dataclass(frozen=True)
class PredictionParts:
    """The folder ``<output>.parts``; its ``job.json`` describes the job that the parts belong to."""

    folder: Path

    def open(self, job: dict[str, Any]) -> None:
        """Start or resume ``job``; raises ConfigError if the folder holds parts of another job."""
        manifest = self.folder / "job.json"
        if not manifest.exists():
            with write_whole(manifest) as file:
                json.dump(job, file, indent=1)
            return
        before = json.loads(manifest.read_text(encoding="utf-8"))
        changed = sorted(key for key in job if job[key] != before.get(key))
        if changed:
            raise ConfigError(
                f"{self.folder} holds an unfinished run with another {', '.join(changed)} "
                f"({', '.join(f'{key}={before.get(key)!r}' for key in changed)}); finish that one, delete the folder, "
                f"or give another output="
            )

    def add(self, frame: pd.DataFrame) -> None:
        """Save the predictions of a batch; column ``prompt`` is the number of the prompt."""
        first = int(frame["prompt"].iloc[0])
        with whole_file(self.folder / f"part-{first}.parquet") as part:
            frame.to_parquet(part)

    def done(self) -> np.ndarray:
        """Return the numbers of the predicted prompts."""
        files = sorted(self.folder.glob("part-*.parquet"))
        return np.concatenate([pd.read_parquet(f, columns=["prompt"])["prompt"] for f in files] or [np.zeros(0, int)])

    def read(self) -> pd.DataFrame:
        """Return all predictions, one row a prompt, in prompt order."""
        frame = pd.concat([pd.read_parquet(f) for f in sorted(self.folder.glob("part-*.parquet"))])
        return frame.drop_duplicates("prompt").sort_values("prompt").reset_index(drop=True)

    def remove(self) -> None:
        shutil.rmtree(self.folder)
