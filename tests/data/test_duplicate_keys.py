"""A key that stands twice in a JSON object is an error that names the row: one of its values would be lost."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l.data.json_rows import DuplicateKeyError, parse_json
from p2l.data.prompt_input import read_prompts
from p2l.data.readers import read_table
from p2l.errors import DataError

GOOD = '{"prompt": "p", "model_a": "a", "model_b": "b", "winner": "model_a"}'
TWICE = {
    "the winner": ('{"prompt": "p", "winner": "model_a", "winner": "model_b"}', "'winner' stands 2 times .*model_b"),
    "with spaces": ('{"winner" : 1 , "prompt"\t: "p", "winner"  : 2}', "'winner' stands 2 times .* 1, 2"),
    "within a chat": ('{"prompt": [{"role": "user", "content": "a", "content": "b"}], "x": {}}', "'content' stands 2"),
    "beside colons in text": (r'{"prompt": "a \"b\": c", "winner": "x", "winner": "y"}', "'winner' stands 2 times"),
    "three times": ('{"a": 1, "a": 2, "a": 3}', "'a' stands 3 times in one object, with 1, 2, 3"),
    "no other character": ('{"é": 1, "é": 1}', "'é' stands 2 times"),
}


@pytest.mark.parametrize(("row", "message"), TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("kind", ["votes.jsonl", "votes.jsonl.gz", "votes.json"])
def test_a_row_with_a_key_twice_is_named(tmp_path: Path, row: str, message: str, kind: str) -> None:
    text = f"[{GOOD},\n {row}]" if kind == "votes.json" else f"{GOOD}\n\n{row}\n"
    path = tmp_path / kind
    path.write_bytes(gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode())
    place = "item 1" if kind == "votes.json" else "line 3"
    with pytest.raises(DuplicateKeyError, match=f"{place}: the key {message}.*; keep one"):
        read_table(path)


@pytest.mark.parametrize(
    "cell",
    ['[{"role": "user", "content": "a", "content": "b"}]', "[{'role': 'user', 'content': 'a', 'content': 'b'}]"],
)
def test_a_chat_in_a_cell_of_csv(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "votes.csv"
    quoted = cell.replace('"', '""')
    path.write_text(f'prompt,winner\n"{quoted}",model_a\n', encoding="utf-8")
    with pytest.raises(DataError, match="column prompt, row 0: .* stands (2 times|twice) in one object.*keep one"):
        read_prompts(path)


def test_equal_keys_of_different_objects_are_fine(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": 'she said "role": "x"'}, {"role": "user", "content": "b"}]
    path = tmp_path / "votes.jsonl"
    path.write_text(json.dumps({"prompt": chat, "winner": '":', "model_a": {"winner": 1}}) + "\n")
    assert read_table(path)["prompt"][0] == chat


@given(st.lists(st.tuples(st.sampled_from('ab":\\ é'), st.text('a":\\{[ ', max_size=6)), max_size=6))
def test_the_reader_of_lines_finds_what_the_parser_finds(tmp_path_factory, pairs: list[tuple[str, str]]) -> None:
    line = "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs) + "}"
    path = tmp_path_factory.mktemp("rows") / "votes.jsonl"
    path.write_text(GOOD + "\n" + line + "\n")
    if len({key for key, _ in pairs}) == len(pairs):
        assert parse_json(line) == dict(pairs)
        read = read_table(path).iloc[1]
        assert {key: read[key] for key, _ in pairs} == dict(pairs)
    else:
        with pytest.raises(DuplicateKeyError, match="line 2"):
            read_table(path)
