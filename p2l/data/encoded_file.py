"""Encode the prompts of a large table once, to memory-mapped files that all ranks and later runs share."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from p2l.data.encoding import EncodedPrompts, encode_prompts, encoded_parts
from p2l.data.prompt_encoder import UNLIKE, PromptEncoder
from p2l.data.stored_prompts import StoredPrompts
from p2l.files import whole_folder

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.1  # seconds to wait for a lock before it is reported
# Prompts whose ids tell encoders apart that call themselves the same
_PROBES = (
    "",
    *UNLIKE,
    "What is 1+1? <|cls|> Größe 😀 日本\n\n  def f(x):",
    ("first turn", "second turn"),
    "word " * 9000,
)


def encode_once(encoder: PromptEncoder, prompts: StoredPrompts) -> EncodedPrompts:
    """Return the ids of stored prompts from files beside them, which the first process writes.

    The files are named by the content of the prompts and all that decides about ids. They appear whole or not at all;
    other processes wait for the one that writes.
    """
    folder = prompts.path.parent / f"ids-{_key(encoder, prompts)}"
    encoded = _read(folder, encoder, len(prompts))
    if encoded is None:
        with _only_process(folder):
            encoded = _read(folder, encoder, len(prompts))
            if encoded is None:
                _write(folder, encoder, prompts)
                encoded = _read(folder, encoder, len(prompts))
    assert encoded is not None
    tokens = int(encoded.offsets[-1])
    log.info("%s prompts, %s tokens, %.2f GB: %s", f"{len(encoded):,}", f"{tokens:,}", 4 * tokens / 1e9, folder)
    return encoded


def encode_table(encoder: PromptEncoder, prompts: tuple[tuple[str, ...], ...] | StoredPrompts) -> EncodedPrompts:
    """Encode the prompts of a table: in memory, or in files if they are stored in one."""
    return encode_once(encoder, prompts) if isinstance(prompts, StoredPrompts) else encode_prompts(encoder, prompts)


def _key(encoder: PromptEncoder, prompts: StoredPrompts) -> str:
    tokenizer = encoder.tokenizer
    settings = {
        "prompts": prompts.digest,
        "format": encoder.format.to_dict(),
        "tokens": [encoder.cls_token, encoder.cls_token_id, encoder.pad_token_id],
        "template": tokenizer.chat_template,
        "tokenizer": [type(tokenizer).__name__, _digest_of(json.dumps(tokenizer.get_vocab(), sort_keys=True))],
        "probes": encoder.encode_batch(_PROBES),
    }
    return _digest_of(json.dumps(settings, sort_keys=True))


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=_LOOK_AGAIN)
    except Timeout:
        log.info("another process encodes the prompts to %s: waiting", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(folder: Path, encoder: PromptEncoder, prompts: StoredPrompts) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # cut off by a crash of the machine
    with whole_folder(folder) as part:
        lengths = np.zeros(len(prompts), dtype=np.int64)
        with (part / "ids.int32").open("wb") as file:
            for position, ids in enumerate(encoded_parts(encoder, prompts, progress=True)):
                file.write(ids.tobytes())
                lengths[position] = len(ids)
        np.concatenate(([0], np.cumsum(lengths))).tofile(part / "offsets.int64")


def _read(folder: Path, encoder: PromptEncoder, num_prompts: int) -> EncodedPrompts | None:
    """Map the files; None if they are not there, or not whole after a crash of the machine."""
    try:
        offsets = np.memmap(folder / "offsets.int64", dtype=np.int64, mode="r")
        ids = np.memmap(folder / "ids.int32", dtype=np.int32, mode="r")
    except (FileNotFoundError, ValueError):
        return None
    whole = len(offsets) == num_prompts + 1 and len(ids) == offsets[-1]
    return EncodedPrompts(ids, offsets, encoder.pad_token_id) if whole else None
