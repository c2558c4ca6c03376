"""The content of ``training_config.json``, under the published names."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from p2l.models import P2LModel

# The published head type "rk" covers all Rao-Kupper families: the layers are the same.
PUBLISHED_HEAD_TYPE = {"bt": "bt", "bt-tie": "bt", "rk": "rk", "rk-reparam": "rk", "grk": "rk", "ba": "ba"}


def published_recipe(cfg: DictConfig, model: P2LModel) -> dict[str, Any]:
    """Return the published keys, and the whole configuration under ``config``."""
    head = model.head
    return {
        "proj_name": cfg.name,
        "pretrain_model_name": cfg.model.path,
        "model_type": model.model.config.model_type,
        "head_type": PUBLISHED_HEAD_TYPE.get(head.family.name, head.family.name),
        "loss_type": head.family.name,
        "learning_rate": cfg.optimizer.lr,
        "max_length": cfg.model.max_length,
        "num_train_epochs": cfg.trainer.max_epochs,
        "linear_head_downsize_factor": head.num_models / head.rank if head.rank else None,
        "config": OmegaConf.to_container(cfg, resolve=True),
    }
