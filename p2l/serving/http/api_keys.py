"""API keys: read from options, environment and file; compared by digest in constant time."""

import hmac
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

from p2l.errors import ConfigError
from p2l.serving.http.api_error import ApiError

KEYS_VARIABLE = "P2L_API_KEYS"
_CHALLENGE = {"www-authenticate": "Bearer"}

Owner = TypeVar("Owner")


class ApiKeys(Generic[Owner]):
    """The keys of a server, each with its owner; holds digests, not keys."""

    def __init__(self, owners: Mapping[str, Owner]) -> None:
        self._owners = [
            (sha256(encoded).digest(), owner) for key, owner in owners.items() for encoded in _encodings(key)
        ]

    @property
    def is_empty(self) -> bool:
        return not self._owners

    def owner(self, key: bytes) -> Owner | None:
        """Return the owner of a key, None for an unknown key; the time does not depend on the key."""
        digest, found = sha256(key).digest(), None
        for known, owner in self._owners:
            if hmac.compare_digest(digest, known):
                found = owner
        return found


def client_key(headers: Mapping[str, str]) -> bytes:
    """Return the key in ``Authorization: Bearer``, else in ``x-api-key``, as Anthropic's clients send it.

    Raises ApiError 401 if there is none.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token if scheme.lower() == "bearer" and token else headers.get("x-api-key")
    if not key:
        message = "an API key is needed: Authorization: Bearer <key>, or x-api-key: <key>"
        raise ApiError(401, message, "missing_api_key", headers=_CHALLENGE)
    return key.encode("latin-1")


def unknown_key() -> ApiError:
    """Return the error 401 for an unknown key, the status that OpenAI's clients expect."""
    return ApiError(401, "the API key is not known", "invalid_api_key", headers=_CHALLENGE)


def _encodings(key: str) -> set[bytes]:
    """Return the bytes that clients send for a key: most use UTF-8; some, like requests, use Latin-1 if it suffices."""
    encodings = {key.encode("utf-8", "surrogateescape")}
    with suppress(UnicodeEncodeError):
        encodings.add(key.encode("latin-1"))
    return encodings


def read_keys(options: Iterable[str], file: str | None, environment: Mapping[str, str]) -> list[str]:
    """Read the keys of options and environment, separated by commas, and of a file with one key a line.

    Raises ConfigError if the file cannot be read or holds no key.
    """
    listed = [key for text in (*options, environment.get(KEYS_VARIABLE, "")) for key in text.split(",")]
    try:
        text = Path(file).read_text(encoding="utf-8-sig") if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--api-key-file {file} cannot be read: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    in_file = [line for line in lines if line and not line.startswith("#")]
    if file and not in_file:
        raise ConfigError(f"--api-key-file {file} holds no key; it has one key a line")
    return list(dict.fromkeys([*(key.strip() for key in listed if key.strip()), *in_file]))
