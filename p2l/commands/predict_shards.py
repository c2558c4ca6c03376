"""Rank each file of a data set on a Ray cluster: a folder of files out, one for each file in."""

import copy
import logging
from functools import partial
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from p2l.commands.ray_shards import each_on_ray
from p2l.composition.build_run import make_trainer
from p2l.composition.config_objects import make, register_resolvers
from p2l.data.readers import blocked_table
from p2l.errors import ConfigError, DataError
from p2l.prediction.prediction_parts import PredictionParts

log = logging.getLogger(__name__)


class Shard(NamedTuple):
    """A file of the data set, and the one that its predictions are written to."""

    dataset: str
    output: Path


class RankShard:
    """Ranks files with the checkpoint of a configuration, as ``p2l predict`` does."""

    def __init__(self, cfg: DictConfig) -> None:
        register_resolvers()
        self.cfg = cfg
        self.checkpoint = make(cfg.checkpoint)

    def __call__(self, shard: Shard) -> None:
        job = make(self.cfg.job, dataset=shard.dataset, output=str(shard.output))
        job.run(self.checkpoint, make_trainer(self.cfg.trainer, []), self.cfg.model_path)


def predict_shards(cfg: DictConfig) -> Path:
    """Rank the files of ``cfg.dataset`` on ``cfg.workers`` processes; return the folder ``cfg.output``, which appears
    whole, with the options in ``job.json``. A later run with the same options ranks only the files that are left.
    """
    output, cfg = Path(cfg.output).absolute(), _for_workers(cfg)
    make(cfg.job)  # checks its options
    if output.exists():
        raise ConfigError(f"output={output} is there already; delete it, or give another name")
    table = blocked_table(cfg.dataset, cfg.split)
    if table is None:
        raise DataError(
            f"engine=ray ranks parquet and JSON-lines files, folders, patterns and URLs of these; got {cfg.dataset}"
        )
    parts = PredictionParts(Path(f"{output}.parts"))
    options = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["model_path", "split", "checkpoint", "job"]))
    parts.open({"files": [file.url for file in table.files], "options": options})
    shards = [
        Shard(file.url, parts.folder / f"{number:05d}-{file.name.split('.')[0]}{output.suffix}")
        for number, file in enumerate(table.files)
    ]
    left = [shard for shard in shards if not shard.output.exists()]
    for _ in each_on_ray(partial(RankShard, cfg), left, workers=cfg.workers, gpus=cfg.gpus):
        pass
    parts.folder.rename(output)
    log.info("%d files, %d of them ranked now: %s", len(shards), len(left), output)
    return output


def _for_workers(cfg: DictConfig) -> DictConfig:
    """Return what workers need, resolved but for the trainer, whose precision depends on their GPU."""
    path = Path(cfg.model_path)
    cfg = copy.deepcopy(cfg)
    cfg.model_path = str(path.absolute()) if path.exists() else cfg.model_path
    plain = {name: cfg[name] for name in ("dataset", "split", "model_path", "output_dir", "workers", "gpus")}
    made = {
        name: OmegaConf.to_container(cfg[name], resolve=name != "trainer") for name in ("checkpoint", "job", "trainer")
    }
    return OmegaConf.create({**plain, **made})
