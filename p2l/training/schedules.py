"""Learning rate schedules by their transformers names."""

from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from p2l.errors import ConfigError
from p2l.options import check_number


@dataclass(frozen=True)
class Schedule:
    """A recipe of a learning rate schedule.

    Attributes:
        name: ``constant`` (published), ``linear``, ``cosine`` or any other of ``transformers.get_scheduler``.
        warmup: share of all optimizer steps over which the rate rises from zero.
    """

    name: str = "constant"
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_number("scheduler.warmup, a share of all steps,", self.warmup, least=0, below=1)

    def build(self, optimizer: Optimizer, num_steps: int) -> LRScheduler:
        """Return the schedule over ``num_steps`` optimizer steps."""
        from transformers import get_scheduler  # imported here: it loads peft and bitsandbytes, which takes a second

        name = "constant_with_warmup" if self.name == "constant" and self.warmup else self.name
        try:
            return get_scheduler(name, optimizer, round(self.warmup * num_steps), num_steps)
        except ValueError as error:
            raise ConfigError(f"unknown scheduler.name {self.name!r}: {error}") from None
