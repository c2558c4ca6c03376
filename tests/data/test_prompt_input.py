"""Every form in which a caller may give prompts."""

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from p2l.data.prompt_input import is_one_prompt, read_prompts
from p2l.errors import DataError, PromptError

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": [{"type": "text", "text": "What is 1+1?"}, {"type": "image_url", "image_url": {}}]},
]
IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}
TURNS = ("Hello.", "What is 1+1?")
MANY = [("one",), ("two", "more")]


@pytest.mark.parametrize(
    ("prompt", "turns"), [("What is 1+1?", ("What is 1+1?",)), (CHAT, TURNS), (tuple(CHAT), TURNS)]
)
def test_one_prompt(prompt: object, turns: tuple[str, ...]) -> None:
    assert is_one_prompt(prompt)
    assert read_prompts(prompt) == [turns]


@pytest.mark.parametrize(
    "prompts",
    [
        ["one", ["two", "more"]],
        ("one", ("two", "more")),
        pd.Series(["one", ["two", "more"]]),
        pd.Series(["one", np.array(["two", "more"], dtype=object)]),
        np.array(["one", ["two", "more"]], dtype=object),
        pd.DataFrame({"prompt": ["one", ["two", "more"]], "other": [1, 2]}),
        [{"prompt": "one"}, {"prompt": ["two", "more"]}],
        datasets.Dataset.from_dict({"prompt": [["one"], ["two", "more"]]}),
        ["one", [{"role": "user", "content": "two"}, {"role": "user", "content": "more"}]],
    ],
    ids=lambda prompts: type(prompts).__name__,
)
def test_many_prompts(prompts: object) -> None:
    assert not is_one_prompt(prompts)
    assert read_prompts(prompts) == MANY


def test_a_file_of_prompts(tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["one", "two"]}).to_csv(tmp_path / "prompts.csv", index=False)
    assert read_prompts(tmp_path / "prompts.csv") == [("one",), ("two",)]


def test_a_list_of_strings_is_many_prompts_and_none_is_none() -> None:
    assert read_prompts(["first", "second"]) == [("first",), ("second",)]
    assert read_prompts([["first", "second"]]) == [("first", "second")]
    assert read_prompts([]) == []


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["fine", 7], r"prompt 1: .*got int"),
        (pd.Series(["fine", None, "fine"]), r"prompt 1: .*got (NoneType|float)"),
        (["fine", []], "prompt 1: .*at least one user turn"),
        ([["fine", None]], "prompt 0: .*turn 1 is NoneType"),
        ([{"role": "assistant", "content": "Hi!"}], "at least one user turn"),
        ([{"text": "Hi!"}], "got dict"),
        ("", "expected a text to rank models for; got ''"),
        (["fine", [" ", "\n\u3000"]], "prompt 1: expected a text"),
        (pd.DataFrame({"prompt": ["fine", " "]}), "prompt 1: expected a text"),
        ([{"role": "user", "content": [IMAGE]}], r"the user's messages hold no text \(image_url\)"),
        ([{"role": "user", "content": "\t"}, {"role": "assistant", "content": "text"}], "hold no text"),
        (
            ["fine", [{"role": "user", "content": [IMAGE, {"type": "input_audio"}]}]],
            r"prompt 1: .*\(image_url, input_audio\)",
        ),
    ],
)
def test_what_is_no_prompt_is_named_with_its_place(prompts: object, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        read_prompts(prompts)


def test_other_types_are_named_with_what_is_taken() -> None:
    read = getattr(read_prompts, "__wrapped__", read_prompts)  # without the tests' own check of types
    for wrong in (7, None, b"bytes", {"prompt": "hi"}):
        with pytest.raises(PromptError, match="expected a string or a list of chat messages") as error:
            read(wrong)
        assert str(error.value).endswith(f"got {wrong!r} ({type(wrong).__name__})")


def test_a_table_without_prompts_names_its_columns() -> None:
    with pytest.raises(DataError, match="the table has no column prompt; it has: text"):
        read_prompts(pd.DataFrame({"text": ["hi"]}))


def test_empty_prompts_are_counted_where_they_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    prompts = ["fine", " ", [{"role": "user", "content": [IMAGE]}], ["", "x"]]
    assert read_prompts(prompts, allow_empty=True) == [("fine",), (" ",), ("",), ("", "x")]
    assert "2 of 4 prompts hold no text (prompt 1 first)" in caplog.text
    caplog.clear()
    read_prompts(["fine", ["", "x"]], allow_empty=True)
    assert not caplog.text


def test_parts_that_are_no_text_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    silent = {"role": "user", "content": [{"type": "tool_result", "content": "42"}, IMAGE, IMAGE]}
    assert read_prompts([CHAT, "plain", [*CHAT, silent]])[0] == TURNS
    assert "no text are not read (chats that have them): image_url 2, tool_result 1" in caplog.text
    caplog.clear()
    read_prompts(["plain", [{"role": "user", "content": [{"type": "text", "text": "x"}]}]])
    assert not caplog.text


@pytest.mark.parametrize("name", ["prompts.csv", "Votes.JSONL.gz"])
def test_the_path_of_a_table_as_text_is_a_prompt_with_a_warning(name, tmp_path, caplog) -> None:
    path = str(tmp_path / name)
    for prompts in (path, ["one", path]):
        read_prompts(prompts)
        assert not caplog.text
    (tmp_path / name).write_text("prompt\none\n")
    for prompts in (path, ["one", path], [["one", path]]):
        assert (path,) in [turns[-1:] for turns in read_prompts(prompts)]
        assert f"the text {path!r} is taken as a prompt" in caplog.text and "pathlib.Path" in caplog.text
        caplog.clear()
    read_prompts(["long " * 10_000 + ".csv", "null\0.csv", "two\nlines.csv"])
