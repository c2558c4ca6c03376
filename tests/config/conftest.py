"""The files that the commands need before their options are tested."""

from pathlib import Path

import pandas as pd
import pytest

from p2l.scaling import points_table
from tests.running import run
from tests.scaling.simulated import points, simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run, its votes, points of a sweep and measured scores."""
    folder = tmp_path_factory.mktemp("commands")
    run(folder, "callbacks=none", "trainer.max_steps=1")
    points_table(points(simulate())).to_csv(folder / "points.csv", index=False)
    rows = [(i, f"question {i}", model, i % 2, 0.1) for i in range(20) for model in ("cinder-ultra", "dune-mini")]
    columns = ["prompt_id", "prompt", "model", "score", "cost"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "scores.csv", index=False)
    return folder
