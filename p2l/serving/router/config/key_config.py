"""The section ``keys``: a client's key and its limits."""

from dataclasses import dataclass, field

from p2l.errors import ConfigError
from p2l.serving.router.config.value_checks import check_not_negative, check_variables


@dataclass(frozen=True)
class KeyConfig:
    """A client's key and its limits.

    Attributes:
        budget: highest cost of all answers in a period; None: no limit.
        period: seconds of a budget period; None: the budget is for all time.
        models: that the key may use; None: all.
    """

    name: str
    key: str = field(repr=False)
    budget: float | None = None
    period: float | None = None
    requests_per_minute: int | None = None
    models: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.key:
            raise ConfigError(f"key {self.name!r} is empty")
        check_variables(self.key, "key")
        for name in ("budget", "period", "requests_per_minute"):
            if getattr(self, name) is not None:
                check_not_negative(getattr(self, name), name)

    def may_use(self, model: str) -> bool:
        """Return whether the key may use the model of this name."""
        return self.models is None or model in self.models
