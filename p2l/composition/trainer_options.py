"""Check the numbers of ``conf/trainer`` that Lightning would take without a word, or reject without their name."""

import re
from collections.abc import Mapping
from typing import Any

from p2l.errors import ConfigError
from p2l.options import check_count, check_number, check_share

UNLIMITED = -1
# option -> its smallest number; UNLIMITED and null turn a limit off
COUNTS = {
    "max_epochs": 1,
    "max_steps": 1,
    "check_val_every_n_epoch": 1,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 1,
    "num_nodes": 1,
}
MAY_BE_UNLIMITED = ("max_epochs", "max_steps", "num_sanity_val_steps")


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Raise ConfigError for a number that a trainer cannot take; ``auto`` is replaced later."""
    for name, least in COUNTS.items():
        value = options.get(name)
        if value is None or value == "auto" or (value == UNLIMITED and name in MAY_BE_UNLIMITED):
            continue
        off = f"or {UNLIMITED} for no limit" if name in MAY_BE_UNLIMITED else ""
        check_count(f"trainer.{name}", value, least=least, of=off)
    clip, interval = options.get("gradient_clip_val"), options.get("val_check_interval")
    if clip is not None:
        check_number("trainer.gradient_clip_val", clip, least=0)
    if isinstance(interval, float):
        check_number("trainer.val_check_interval, a share of the epoch or a number of steps,", interval, above=0)
        check_share("trainer.val_check_interval, a share of the epoch or a number of steps,", interval)
    elif isinstance(interval, int):
        check_count("trainer.val_check_interval", interval)
    devices = options.get("devices")
    is_text = isinstance(devices, str) and devices != "auto" and not re.fullmatch(r"-?\d+(,\d+)*", devices)
    if is_text or isinstance(devices, float) or (isinstance(devices, int) and devices < UNLIMITED):
        raise ConfigError(f"trainer.devices must be auto, a number of devices or a list of them; got {devices!r}")
