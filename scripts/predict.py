"""Rank the prompts of a data set: ``python scripts/predict.py model_path=<checkpoint> dataset=<file or hub dataset>``.

Writes the data set with ``coefs`` and ``eta`` added; a run that was stopped goes on where it was when called again.
"""

import hydra
from lightning.pytorch.callbacks import RichProgressBar
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, make_trainer, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        job, trainer = make(cfg.job), make_trainer(cfg.trainer, [RichProgressBar()])
        job.run(make(cfg.checkpoint), trainer, cfg.model_path)


if __name__ == "__main__":
    register_resolvers()
    main()
