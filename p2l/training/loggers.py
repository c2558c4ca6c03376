"""Weights & Biases that never stops a run."""

import logging
import os
import socket
from typing import Literal
from urllib.parse import urlsplit

from lightning.pytorch.loggers import WandbLogger

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 3.0


def wandb_logger(
    folder: str,
    project: str = "p2l",
    name: str | None = None,
    group: str | None = None,
    tags: list[str] | None = None,
    mode: str | None = None,
) -> WandbLogger:
    """A W&B logger: online where a key and the server are there, else offline (``wandb sync`` uploads later).

    ``mode`` ("online", "offline", "disabled") or the variable WANDB_MODE settle it by hand.
    """
    chosen = mode or os.environ.get("WANDB_MODE") or ("online" if _can_log_online() else "offline")
    os.makedirs(folder, exist_ok=True)
    return WandbLogger(
        save_dir=folder, project=project, name=name, group=group, tags=tags, mode=chosen, offline=chosen == "offline"
    )


def no_logger() -> Literal[False]:
    """No logger at all."""
    return False


def _can_log_online() -> bool:
    import wandb

    if not wandb.api.api_key:
        log.info("W&B: no key found ('wandb login' sets one); logging offline")
        return False
    address = urlsplit(wandb.api.settings("base_url"))
    try:
        with socket.create_connection((address.hostname, address.port or 443), timeout=CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError as error:
        log.info("W&B: %s cannot be reached (%s); logging offline", address.hostname, error)
        return False
