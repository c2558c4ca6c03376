"""Resolvers of the configuration, and the objects that its nodes describe."""

import re
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from p2l.processor import has_bfloat16


def register_resolvers() -> None:
    """Register the resolvers of ``conf/`` in OmegaConf: ``${p2l.choice:...}`` and the others below."""
    OmegaConf.register_new_resolver("p2l.choice", _choice, replace=True)
    OmegaConf.register_new_resolver("p2l.auto_precision", _auto_precision, replace=True)
    OmegaConf.register_new_resolver("p2l.fast_precision", _fast_precision, replace=True)
    OmegaConf.register_new_resolver("p2l.output_dir", _output_dir, replace=True)
    OmegaConf.register_new_resolver("p2l.file_name", _file_name, replace=True)


def make(node: DictConfig, **options: Any) -> Any:
    """Instantiate the object that a node describes, from plain containers."""
    return instantiate(node, _convert_="all", **options)


def in_sweep() -> bool:
    """Return whether a job of a sweep runs in this process."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def is_trial() -> bool:
    """Return whether a search, as of Optuna, minimises what the command in this process returns."""
    return in_sweep() and "n_trials" in HydraConfig.get().sweeper


def _choice(group: str, *, _root_: DictConfig) -> str:
    """Return the choice of a group; also for the folder of a sweep, which Hydra makes before it sets its config."""
    hydra = _root_.hydra if "hydra" in _root_ else HydraConfig.get()
    return str(hydra.runtime.choices[group])


def _auto_precision() -> str:
    import torch  # only a run resolves this, so help and typos stay fast

    return "bf16-mixed" if torch.cuda.is_available() else "32-true"


def _fast_precision() -> str:
    return "bf16-mixed" if has_bfloat16() else _auto_precision()


def _output_dir(folder: str) -> str:
    """Return ``folder``, or in a sweep the folder that Hydra gives to the job."""
    return str(HydraConfig.get().runtime.output_dir) if in_sweep() else folder


def _file_name(text: object) -> str:
    """Turn a path or a hub id into the name of one folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", str(text)).strip("_")
