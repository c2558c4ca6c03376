"""Train a P2L model: ``python scripts/train.py model=qwen2 head=rk``; ``--help`` lists every choice."""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import build_run, errors_in_one_line, register_resolvers
from p2l.commands.restartable_job import Job
from p2l.training import train
from p2l.training.loggers import close


@hydra.main(version_base=None, config_path="../conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    with errors_in_one_line():
        job = Job.of(cfg)
        if job.result is not None:
            return job.result.val_log_loss
        module, datamodule, trainer = build_run(cfg)
        try:
            metrics = train(module, datamodule, trainer, resume=job.resume)
        finally:
            close(trainer.loggers)
        job.close()
    return metrics.get("val/log_loss")


if __name__ == "__main__":
    register_resolvers()
    main()
