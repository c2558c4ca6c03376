"""Errors of options and data in one line; warnings and logs of libraries kept to what a user can act on."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hydra.errors import CompactHydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from p2l.composition.config_objects import in_sweep
from p2l.errors import DivergedError, P2LError
from p2l.extras import missing_package

log = logging.getLogger(__name__)

CHATTY_LOGGERS = (
    "bitsandbytes",  # which of its kernels it could not find
    "lightning.pytorch.utilities.rank_zero",  # which accelerators the machine lacks, and tips
)


class FailedJob(CompactHydraException):
    """One job of a sweep failed; Hydra runs the others, Optuna counts the trial as failed, and the exit status is 1."""


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Log an error that options or data cause as one message and exit with status 2.

    In a sweep, training that diverges or is out of memory raises FailedJob: other values may do. HYDRA_FULL_ERROR=1
    shows where it was raised.
    """
    try:
        yield
    except KeyboardInterrupt:
        log.error("interrupted")
        sys.exit(130)
    except Exception as error:
        reason = _reason(error)
        if reason is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        if in_sweep() and (isinstance(error, DivergedError) or _is_out_of_memory(error)):
            log.error("%s; this job of the sweep failed, the others run", reason)
            raise FailedJob(reason) from None
        log.error("%s", reason)
        sys.exit(2)


def quiet_libraries() -> None:
    """Silence messages of libraries already imported, and of p2l in all processes of a run but the first."""
    for name in (*CHATTY_LOGGERS, *_loggers_of_hub_files()):
        logging.getLogger(name).setLevel(logging.ERROR)
    if "lightning" in sys.modules:
        from lightning.pytorch.utilities.rank_zero import rank_zero_only

        if rank_zero_only.rank:  # type: ignore[attr-defined]
            logging.getLogger("p2l").setLevel(logging.WARNING)
    # a frozen backbone is kept in evaluation mode, without dropout
    warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode at the start of training")
    # Lightning 2.6 asks torch 2.13 in an older way
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*", category=FutureWarning)


def quiet_closed_pipes() -> None:
    """Let the log's handlers drop a message without a traceback if its reader has left, as ``| head`` does."""
    for handler in logging.getLogger().handlers:
        handler.handleError = partial(_handle_error, handler.handleError)  # type: ignore[method-assign]


def _handle_error(report: Callable[[logging.LogRecord], None], record: logging.LogRecord) -> None:
    if not isinstance(sys.exc_info()[1], BrokenPipeError):
        report(record)


def _loggers_of_hub_files() -> list[str]:
    """List loggers that huggingface_hub names by a file of its own; they report that weights were saved."""
    if "huggingface_hub" not in sys.modules:
        return []
    folder = str(Path(str(sys.modules["huggingface_hub"].__file__)).parent)
    return [name for name in logging.root.manager.loggerDict if name.startswith(folder)]


def _reason(error: Exception) -> str | None:
    """Return the message for the user; None for a fault of ours."""
    if isinstance(error, InstantiationException) and (missing := _missing_package(error)):
        return missing
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        return (_reason(cause) if isinstance(cause, Exception) else None) or _on_one_line(error)
    if _is_out_of_memory(error):
        return f"out of memory; a lower batching.token_budget or model.max_length helps: {_on_one_line(error)}"
    if isinstance(error, P2LError):
        return str(error)
    return _on_one_line(error) if _is_of_a_library(error) else None


def _missing_package(error: BaseException | None) -> str | None:
    """Return what to install if an object could not be made because a package of an extra is missing."""
    while error is not None:
        names_one = isinstance(error, ImportError) or "install" in str(error)
        if names_one and (missing := missing_package(str(error))):
            return missing
        error = error.__cause__
    return None


def _is_out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return False
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def _is_of_a_library(error: Exception) -> bool:
    if isinstance(error, OmegaConfBaseException):
        return True
    if "lightning" not in sys.modules:
        return False
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    return isinstance(error, MisconfigurationException)


def _on_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
