"""Two local workers of Ray give what one process gives; skipped where Ray is not installed."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from p2l.commands.leaderboard import LeaderboardJob
from p2l.commands.predict_shards import predict_shards
from p2l.commands.ray_shards import each_on_ray
from p2l.data.readers import read_table
from p2l.errors import ConfigError, DataError
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.predictor import predict
from tests.commands.test_leaderboard import write_votes
from tests.running import compose

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def halved() -> "Halve":
    return Halve()


class Halve:
    def __call__(self, number: int) -> int:
        if number % 2:
            raise DataError(f"{number} is odd")
        return number // 2


def test_results_come_in_order_and_errors_as_they_are() -> None:
    assert list(each_on_ray(halved, range(0, 14, 2), workers=2)) == list(range(7))
    with pytest.raises(DataError, match="^3 is odd$"):
        list(each_on_ray(halved, [2, 3], workers=2))


def test_a_leaderboard(tmp_path: Path) -> None:
    write_votes(tmp_path / "votes.parquet")
    frame = pd.read_parquet(tmp_path / "votes.parquet")
    for part in range(3):
        frame.iloc[part::3].to_parquet(tmp_path / f"part-{part}.parquet")
    options = {"categories": ("all", "math=true")}
    pattern = str(tmp_path / "part-*.parquet")
    found = LeaderboardJob(pattern, "grk", str(tmp_path / "ray"), engine="ray", **options).run()
    expected = LeaderboardJob(pattern, "grk", str(tmp_path / "one"), stream=True, **options).run()
    assert list(found) == ["all", "math=true"]
    for name, leaderboard in found.items():
        pd.testing.assert_frame_equal(leaderboard.table(), expected[name].table())
    with pytest.raises(ConfigError, match="engine=ray counts votes, and cluster needs each vote"):
        LeaderboardJob(pattern, "grk", str(tmp_path), engine="ray", cluster="length").run()


def test_predictions(tmp_path: Path, tiny_checkpoint: Checkpoint) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint)
    rows = [{"prompt": [f"prompt {i}", "and more"] if i % 3 else f"prompt {i}", "id": i} for i in range(30)]
    for part in range(3):
        lines = "\n".join(map(json.dumps, rows[part * 10 : part * 10 + 10]))
        (tmp_path / f"part-{part}.jsonl").write_text(lines, encoding="utf-8")
    output = tmp_path / "ranked.parquet"
    cfg = compose(
        f"model_path={folder}",
        f"dataset={tmp_path}/part-?.jsonl",
        f"output={output}",
        "engine=ray",
        "names=true",
        "trainer=cpu",
        config="predict",
    )
    assert predict_shards(cfg) == output
    assert sorted(file.name for file in output.glob("*.parquet")) == [f"0000{i}-part-{i}.parquet" for i in range(3)]
    frame, expected = read_table(output), predict(tiny_checkpoint, [row["prompt"] for row in rows])
    assert frame["id"].tolist() == list(range(30))
    np.testing.assert_allclose(np.stack(frame["coefs"]), expected.coefs.numpy(), atol=1e-5)
    assert frame["models"][0].tolist() == list(tiny_checkpoint.models)
    with pytest.raises(ConfigError, match="is there already"):
        predict_shards(cfg)
    check_resumed(cfg, output)


def check_resumed(cfg: DictConfig, output: Path) -> None:
    """Files that an earlier run finished are kept, and those of another job are refused."""
    parts = output.rename(f"{output}.parts")
    (parts / "00001-part-1.parquet").unlink()
    kept = (parts / "00000-part-0.parquet").stat().st_mtime_ns
    with pytest.raises(ConfigError, match="holds an unfinished run with another options"):
        predict_shards(OmegaConf.merge(cfg, {"hidden": True}))
    predict_shards(cfg)
    assert (output / "00000-part-0.parquet").stat().st_mtime_ns == kept
    assert len(list(output.glob("*.parquet"))) == 3 and not parts.exists()
