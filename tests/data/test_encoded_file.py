"""Token ids in files: the ids of memory, written once, whole or not at all."""

import logging
from pathlib import Path

import numpy as np
import pytest

from p2l.data.encoded_file import encode_once, encode_table
from p2l.data.encoding import encode_prompts
from p2l.data.prompt_encoder import PromptEncoder, PromptFormat
from p2l.data.stored_prompts import PromptWriter, StoredPrompts
from p2l.models import ModelRecipe
from tests.ranks import on_ranks

PROMPTS = [(f"prompt {row}" * (1 + row % 5),) for row in range(3000)]


def store(folder: Path, prompts: list[tuple[str, ...]] = PROMPTS) -> StoredPrompts:
    writer = PromptWriter(folder)
    for start in range(0, len(prompts), 700):
        writer.add(prompts[start : start + 700])
    return writer.finish()[0]


@pytest.fixture(scope="module")
def encoder(tiny_recipe: ModelRecipe) -> PromptEncoder:
    return tiny_recipe.encoder()


def never(*_: object, **__: object) -> None:
    raise AssertionError("prompts are encoded again")


def test_the_ids_are_those_of_memory_and_are_found_again(
    tmp_path: Path, encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prompts, expected = store(tmp_path), encode_prompts(encoder, PROMPTS)
    with caplog.at_level(logging.INFO):
        encoded = encode_once(encoder, prompts)
    assert isinstance(encoded.ids, np.memmap)
    assert encoded.ids.tolist() == expected.ids.tolist() and encoded.offsets.tolist() == expected.offsets.tolist()
    assert f"3,000 prompts, {len(expected.ids):,} tokens, 0.00 GB: {tmp_path}/ids-" in caplog.text
    monkeypatch.setattr("p2l.data.encoded_file._write", never)
    assert encode_table(encoder, store(tmp_path)).lengths.tolist() == expected.lengths.tolist()


def test_other_prompts_and_other_settings_are_other_files(tmp_path: Path, tiny_recipe: ModelRecipe) -> None:
    prompts, encoder = store(tmp_path), tiny_recipe.encoder()
    longer = PromptEncoder(encoder.tokenizer, PromptFormat(max_length=9))
    at_start = PromptEncoder(encoder.tokenizer, PromptFormat(encoder.format.max_length, "start"))
    other = tiny_recipe.encoder()
    other.tokenizer.chat_template = "{{ messages | map(attribute='content') | join(' ') }} "
    cases = [(one, prompts) for one in (encoder, longer, at_start, other)]
    cases.append((encoder, prompts.select(np.arange(9))))
    for count, (one, some) in enumerate(cases, start=1):
        found = encode_once(one, some)
        assert [found[i].tolist() for i in range(9)] == one.encode_batch(PROMPTS[:9])
        assert len(list(tmp_path.glob("ids-*[!k]"))) == count


def test_files_that_a_crash_cut_off_are_written_again(tmp_path: Path, encoder: PromptEncoder) -> None:
    prompts = store(tmp_path)
    expected = encode_once(encoder, prompts).ids.tolist()
    (folder,) = tmp_path.glob("ids-*[!k]")
    with (folder / "ids.int32").open("r+b") as file:
        file.truncate(1000)
    assert encode_once(encoder, prompts).ids.tolist() == expected
    (folder / "offsets.int64").write_bytes(b"")
    assert encode_once(encoder, prompts).ids.tolist() == expected


def test_an_error_leaves_nothing_behind(
    tmp_path: Path, encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = store(tmp_path)
    before = set(tmp_path.iterdir())
    with monkeypatch.context() as broken:
        broken.setattr("p2l.data.encoded_file.encoded_parts", never)
        with pytest.raises(AssertionError):
            encode_once(encoder, prompts)
    assert {path for path in tmp_path.iterdir() if path.suffix != ".lock"} == before
    assert len(encode_once(encoder, prompts)) == 3000


def encode_in_a_process(folder: Path, recipe: ModelRecipe) -> tuple[int, list[int]]:
    """Store and encode as a rank does."""
    written = []
    import p2l.data.encoded_file as encoded_file

    write = encoded_file._write
    encoded_file._write = lambda *arguments: (written.append(1), write(*arguments))[1]
    encoded = encode_once(recipe.encoder(), store(folder))
    return len(written), encoded.ids.tolist()


def test_of_several_processes_one_encodes(tmp_path: Path, tiny_recipe: ModelRecipe, encoder: PromptEncoder) -> None:
    found = on_ranks(3, encode_in_a_process, tmp_path, tiny_recipe)
    assert sum(written for written, _ in found) == 1
    expected = encode_prompts(encoder, PROMPTS).ids.tolist()
    assert all(ids == expected for _, ids in found)
