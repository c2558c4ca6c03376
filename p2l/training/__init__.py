"""Training: a thin LightningModule, optimizers, schedules, loggers, and the run that connects them."""

from p2l.training.lightning_module import P2LModule
from p2l.training.loggers import wandb_logger
from p2l.training.optimizers import OptimizerByPart
from p2l.training.schedules import Schedule
from p2l.training.training_run import train

__all__ = ["OptimizerByPart", "P2LModule", "Schedule", "train", "wandb_logger"]
