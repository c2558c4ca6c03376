"""The Weights & Biases logger: offline if the server cannot be reached, so that it never stops a run."""

import logging
import os
import socket
from collections.abc import Iterable
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlsplit

from lightning.pytorch.loggers import Logger, WandbLogger

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
    """Return a W&B logger: online if there is a key and the server is reachable, else offline (see ``wandb sync``).

    ``mode`` ("online", "offline", "disabled") or the variable WANDB_MODE override this.
    """
    import wandb

    chosen, reason = mode or os.environ.get("WANDB_MODE"), "as asked"
    if chosen is None:
        reason = _why_offline()
        chosen = "offline" if reason else "online"
    Path(folder).mkdir(parents=True, exist_ok=True)
    if chosen == "offline":
        runs = Path(folder) / "wandb"
        wandb.setup(wandb.Settings(silent=True))  # it would say the same in ten lines
        log.info("W&B: offline (%s), in %s; 'wandb sync %s/offline-run-*' uploads it", reason, runs, runs)
    return WandbLogger(
        save_dir=folder, project=project, name=name, group=group, tags=tags, mode=chosen, offline=chosen == "offline"
    )


def close(loggers: Iterable[Logger]) -> None:
    """Finish the W&B run, so that the next run of this process (in a sweep) gets its own."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger.experiment.finish()


def _why_offline() -> str:
    """Return why W&B cannot log online; empty if it can."""
    import wandb

    address = urlsplit(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url)
    if not (os.environ.get("WANDB_API_KEY") or _netrc_has(address.hostname or "")):
        return "no key; 'wandb login' sets one"
    port = address.port or {"http": 80}.get(address.scheme, 443)
    try:
        with socket.create_connection((address.hostname, port), timeout=CONNECT_TIMEOUT_SECONDS):
            return ""
    except OSError as error:
        return f"{address.hostname} cannot be reached: {error}"


def _netrc_has(host: str) -> bool:
    """Return whether ``wandb login`` stored a key for the host."""
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc(path).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
