"""The section ``router.text_from``: which text of a request the models are chosen by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from p2l.errors import ConfigError
from p2l.options import check_count
from p2l.serving.router.config.harness_rules import KNOWN_RULES, HarnessRule
from p2l.serving.router.config.near_names import suggestion


@dataclass(frozen=True)
class TextConfig:
    """Which text of a request the models are chosen by.

    Attributes:
        turns: all turns of the user, or the last that has text of the user.
        harness_text: whether text that coding agents add to the user's turns is read, too.
        rules: by name; in place of a known rule of this name, or beside the known ones. None turns a known rule off.
        max_tokens: most tokens that are read, of four characters each, the last ones; None: no limit.
    """

    turns: Literal["all", "last"] = "all"
    harness_text: Literal["keep", "remove"] = "keep"
    rules: dict[str, HarnessRule | None] = field(default_factory=dict)
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.rules and self.harness_text == "keep":
            raise ConfigError("rules have no effect without harness_text: remove")
        for name, rule in self.rules.items():
            if rule is None and name not in KNOWN_RULES:
                hint = suggestion(name, KNOWN_RULES) or f"; known: {', '.join(KNOWN_RULES)}"
                raise ConfigError(f"rules.{name}: there is no known rule of this name to turn off{hint}")
        if self.max_tokens is not None:
            check_count("max_tokens", self.max_tokens)

    @cached_property
    def active_rules(self) -> Mapping[str, HarnessRule]:
        """The rules that apply, by name."""
        if self.harness_text == "keep":
            return {}
        merged = {**KNOWN_RULES, **self.rules}
        return {name: rule for name, rule in merged.items() if rule is not None}
