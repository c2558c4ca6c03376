import json
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.commands.scaling_law import ScalingJob
from p2l.composition.hydra_task import HydraTask
from p2l.errors import ConfigError, DataError
from p2l.scaling import hold_out, points_table
from tests.running import compose
from tests.scaling.simulated import TRUTH, points, simulate


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "points.csv"
    points_table(points(simulate(scatter=5e-4))).to_csv(path, index=False)
    return path


def test_the_script_fits_predicts_and_draws(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cfg = compose(
        f"results={table}",
        f"output_dir={tmp_path / 'fit'}",
        "predict=[{parameters: 2.0e7, votes: 160000}]",
        "resamples=20",
        config="scaling_law",
    )
    HydraTask("scaling_law")(cfg)
    folder = tmp_path / "fit"
    summary = json.loads((folder / "scaling_law.json").read_text())
    assert abs(summary["law"]["e"]["value"] - TRUTH.e) < 0.05
    (predicted,) = summary["predictions"]
    assert predicted["low"] <= predicted["value"] <= predicted["high"]
    assert abs(predicted["value"] - TRUTH.loss(2e7, 1.6e5)) < 0.01
    assert len(pd.read_csv(folder / "held_out.csv")) == 25
    assert (folder / "scaling_law.png").read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(folder / "scaling_law.csv").equals(pd.read_csv(table))
    printed = capsys.readouterr().out
    assert "each in turn" in printed and "2e+07 parameters, 1.6e+05 votes" in printed


def test_six_points_are_a_law_of_which_none_is_held_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    seen = simulate().select(np.isin(np.arange(16), [0, 1, 5, 6, 10, 15]))
    points_table(points(seen)).to_csv(tmp_path / "six.csv", index=False)
    fit = ScalingJob(str(tmp_path / "six.csv"), str(tmp_path / "fit"), resamples=2).run()
    assert "too few points to hold any of them out" in capsys.readouterr().out
    summary = json.loads((tmp_path / "fit" / "scaling_law.json").read_text())
    assert summary["held_out"] == [] and summary["law"]["e"]["value"] == fit.law.e
    held_out = pd.read_csv(tmp_path / "fit" / "held_out.csv")
    assert len(held_out) == 0 and held_out.columns.equals(hold_out(simulate()).columns)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"parameters": 1e9}, "expected parameters and votes, both above 0"),
        ({"size": 1e9, "votes": 1e6}, "expected parameters and votes, both above 0"),
        ({"parameters": 1e9, "votes": 0.0}, "votes must be a finite number above 0; got 0.0"),
        ({"parameters": math.inf, "votes": 1e6}, "parameters must be a finite number above 0; got inf"),
    ],
)
def test_a_prediction_that_is_none(table: Path, tmp_path: Path, wanted: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"predict: {message}"):
        ScalingJob(str(table), str(tmp_path / "fit"), predict=[wanted]).run()


def test_the_script_says_what_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = compose("results=nowhere", f"output_dir={tmp_path}", config="scaling_law")
    with pytest.raises(SystemExit):
        HydraTask("scaling_law")(cfg)
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "expected the folder of a sweep or a .csv file of its points; there is no such nowhere" in error.getMessage()
    with pytest.raises(DataError):
        ScalingJob("nowhere", str(tmp_path)).run()
