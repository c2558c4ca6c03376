"""scripts/evaluate.py as a user runs it."""

import json

import numpy as np
import pandas as pd
import pytest

from p2l.composition.hydra_task import HydraTask
from tests.running import compose, run_script


@pytest.fixture
def folder(tmp_path):
    names = ["ant", "bee", "cat"]
    rng = np.random.default_rng(0)
    first = rng.integers(3, size=60)
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in range(60)],
            "model_a": np.array(names)[first],
            "model_b": np.array(names)[(first + rng.integers(1, 3, size=60)) % 3],
            "winner": rng.choice(["model_a", "model_b", "tie", "tie (bothbad)"], 60),
            "betas": rng.normal(size=(60, 3)).tolist(),
            "eta": rng.normal(size=60),
        }
    )
    frame.to_json(tmp_path / "eval_output.jsonl", orient="records", lines=True)
    (tmp_path / "model_list.json").write_text(json.dumps(names))
    return tmp_path


def arguments(folder, *more: str) -> list[str]:
    return [
        f"eval_path={folder / 'eval_output.jsonl'}",
        f"model_list_path={folder / 'model_list.json'}",
        "loss_type=bag",
        f"output_dir={folder / 'out'}",
        "metrics_to_inc=[simple,category,proper]",
        *more,
    ]


def test_the_command_of_the_readme(folder) -> None:
    status, output = run_script(*arguments(folder, "output_file_name=found"), script="evaluate")
    assert status == 0, output
    results = json.loads((folder / "out" / "found.json").read_text())
    assert list(results["models"]) == ["p2l-all"]  # the table has no columns of categories
    assert set(results["omitted"]) == {
        f"p2l-{name}" for name in ("creative_writing", "math", "language=Chinese", "is_code", "hard")
    }
    assert results["params"]["loss_type"] == "grk" and results["params"]["rand_subset_sizes"] == [250, 500, 1000, 2000]
    assert not {"suite", "hydra"} & results["params"].keys()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("eval_path=none.jsonl", "no file or folder at"),
        ("model_list_path=null", "give model_list_path"),
        ("output_dir=null", "give output_dir"),
        ("categories=[nonsense]", "unknown category 'nonsense'"),
        ("loss_type=nonsense", "unknown likelihood family"),
    ],
)
def test_bad_input_ends_with_one_message_and_status_2(folder, caplog, override, message) -> None:
    cfg = compose(*arguments(folder, override), config="evaluate")
    with pytest.raises(SystemExit) as end:
        HydraTask("evaluate")(cfg)
    assert end.value.code == 2
    assert message in caplog.records[-1].getMessage()
