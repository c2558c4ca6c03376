"""Explain overrides that Hydra's grammar cannot read: text with signs of the grammar needs quotes."""

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_ITEM = re.compile(r"""\s*("[^"]*"|'[^']*'|[^,]*)\s*(?:,|$)""")
_RULE = (
    "text that holds = , : [ ] { } ( ) needs quotes of its own (keys of {key: value} take none), and single quotes "
    "around the whole option keep the shell from reading them"
)


def explain_grammar(override: str, reason: str) -> str:
    """Return the message for an override that cannot be parsed, with quotes that make it readable if there are any."""
    meant = next((candidate for candidate in _candidates(override) if _is_readable(candidate)), None)
    hint = f"did you mean {shlex.quote(meant)}? " if meant else ""
    return f"cannot read {override}; {hint}{_RULE} ({' '.join(reason.split('See http')[0].split())})"


def _candidates(override: str) -> list[str]:
    key, sign, value = override.partition("=")
    if not sign:
        return []
    whole = f"{key}={_quoted(value)}"
    items = [match[1].strip() for match in _ITEM.finditer(value[1:-1]) if match[0]]
    if value.startswith("{") and value.endswith("}"):
        pairs = [item.partition(":") for item in items]
        return [f"{key}={{{', '.join(f'{name.strip()}: {_readable(text.strip())}' for name, _, text in pairs)}}}"]
    if value.startswith("[") and value.endswith("]"):
        return [f"{key}=[{','.join(map(_readable, items))}]", whole]
    return [whole]


def _readable(item: str) -> str:
    return item if _is_readable(f"x={item}") else _quoted(item)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True
