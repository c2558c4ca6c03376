"""Which keys open the server, compared in constant time."""

import hmac
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from p2l.errors import ConfigError

KEYS_VARIABLE = "P2L_API_KEYS"


class Keys:
    """A set of keys; an empty one lets everybody in."""

    def __init__(self, keys: Iterable[str]) -> None:
        # of one length, so that the comparison takes as long whatever comes
        self._digests = [sha256(form).digest() for key in keys for form in _on_the_wire(key)]

    @property
    def open(self) -> bool:
        return not self._digests

    def accept(self, key: bytes) -> bool:
        """Whether the key is one of them; takes the same time wherever it is or is not."""
        digest = sha256(key).digest()
        return sum([hmac.compare_digest(digest, known) for known in self._digests]) > 0


def _on_the_wire(key: str) -> set[bytes]:
    """How clients send it: most in UTF-8, some, requests among them, in Latin-1 where that has its letters."""
    forms = {key.encode()}
    with suppress(UnicodeEncodeError):
        forms.add(key.encode("latin-1"))
    return forms


def read_keys(options: Iterable[str], file: str | None, environment: Mapping[str, str]) -> list[str]:
    """The keys of the options and the environment, comma-separated, and of a file, one a line.

    ConfigError if the file cannot be read or holds none.
    """
    named = [key for text in (*options, environment.get(KEYS_VARIABLE, "")) for key in text.split(",")]
    try:
        text = Path(file).read_text(encoding="utf-8-sig") if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--api-key-file {file} cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    in_file = [line for line in lines if line and not line.startswith("#")]
    if file and not in_file:
        raise ConfigError(f"--api-key-file {file} holds no key; it has one key a line")
    return list(dict.fromkeys([*(key.strip() for key in named if key.strip()), *in_file]))
