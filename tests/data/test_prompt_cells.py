"""What a cell of a column of prompts means: the same in every format, or an error that shows it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2l.data.conversations import prompts_of_conversations
from p2l.data.prompt_cells import read_cell, read_prompt_column
from p2l.data.prompt_input import read_prompts
from p2l.data.vote_table import load_votes
from p2l.errors import DataError, PromptError


def lang_chain(name: str, **kwargs: object) -> dict[str, object]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", name], "kwargs": kwargs}


CHAT = [{"role": "user", "content": "it's"}, {"role": "assistant", "content": "no"}, {"role": "user", "content": "b"}]
SHARE_GPT = [{"from": "human", "value": "it's"}, {"from": "gpt", "value": "no"}, {"from": "human", "value": "b"}]
LISTS = {
    "list": ["it's", "b"],
    "tuple": ("it's", "b"),
    "chat": CHAT,
    "ShareGPT": SHARE_GPT,
    "roles in capitals": [{"role": "System", "content": "s"}, {"role": "Human ", "content": "it's"}, CHAT[2]],
    "other order": [{"content": "it's", "role": "USER"}, {"content": "no", "role": "model"}, CHAT[2]],
    "parts": [{"role": "user", "parts": [{"text": "it's"}]}, {"role": "model", "parts": ["no"]}, CHAT[2]],
    "parts of text": [{"role": "user", "parts": ["it's"]}, CHAT[2]],
    "wrapped": {"messages": CHAT},
    "wrapped ShareGPT": {"id": 1, "conversations": SHARE_GPT},
    "LangChain": [{"type": "system", "content": "s"}, {"type": "human", "content": "it's"}, CHAT[1], CHAT[2]],
    "LangChain, dicts": [
        {"type": kind, "data": {"content": text, "type": kind}}
        for kind, text in (("human", "it's"), ("ai", "n"), ("human", "b"))
    ],
    "LangChain, serialised": [
        lang_chain("HumanMessage", content="it's"),
        lang_chain("AIMessageChunk", content="n"),
        CHAT[2],
    ],
    "LangChain, ChatMessage": [
        lang_chain("ChatMessage", content="it's", role="user"),
        lang_chain("HumanMessage", content="b"),
    ],
    "LangChain, a prompt": lang_chain(
        "ChatPromptValue", messages=[lang_chain("HumanMessage", content=text) for text in ("it's", "b")]
    ),
    "a message": {"role": "user", "content": "it's"},
}
FORMATS = ("a.csv", "a.jsonl", "a.parquet")


def write(prompts: list[object], path: Path) -> Path:
    frame = pd.DataFrame({"prompt": pd.Series(prompts, dtype=object)})
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("spell", [json.dumps, repr, lambda value: value], ids=["json", "python", "as it is"])
@pytest.mark.parametrize("file", FORMATS)
def test_lists_and_chats_arrive(tmp_path: Path, name: str, spell: Callable[[object], object], file: str) -> None:
    right = ("it's",) if name == "a message" else ("it's", "b")
    if name.startswith("parts") and file.endswith(".parquet") and spell(1) == 1:
        pytest.skip("Arrow has no lists of texts and dicts")
    assert read_prompts(write([spell(LISTS[name])] * 2, tmp_path / file)) == [right, right]


OBJECTS = {
    "LangChain": """[SystemMessage(content='s', additional_kwargs={}), HumanMessage(content="it's", id=UUID('x')),
 AIMessage(content='no', tool_calls=[], usage_metadata=Usage(1)), HumanMessageChunk(content='b')]""",
    "ChatPromptValue": """messages=[HumanMessage(content="it's"), ChatMessage(content='b', role='user')]""",
    "Spark": """[Row(role='user', content="it's"),
 Row(content='no', role='assistant'), Row(role='user', content='b')]""",
    "parts": """[HumanMessage(content=[{'type': 'text', 'text': "it's"}]), HumanMessage(content='b')]""",
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("file", FORMATS)
def test_texts_of_message_objects_are_read(name: str, file: str, tmp_path: Path) -> None:
    cells = [OBJECTS[name], "HumanMessage(content='one')", "Row(role='user', content='two')"]
    assert read_prompts(write(cells, tmp_path / file)) == [("it's", "b"), ("one",), ("two",)]
    chat = [{"role": "user", "content": "a"}]
    column = pd.DataFrame({"conversation_a": [cells[0], chat]})
    assert prompts_of_conversations(column).tolist() == [["it's", "b"], ["a"]]


ARRAY = np.array(["it's", "b"], dtype=object)
UNREADABLE = {
    "array": (str(ARRAY), "NumPy array.*no commas"),
    "array on two lines": ("['a'\n 'b']", "NumPy array.*no commas"),
    "array of messages": (str(np.array(CHAT, dtype=object)), "NumPy and R"),
    "array of arrays": (str([ARRAY]), "NumPy and R"),
    "array in a message": (repr([{"role": "user", "content": ARRAY}]), "NumPy and R"),
    "repr of an array": (repr(ARRAY), "NumPy and R"),
    "long array": (np.array2string(np.array(["a"] * 2000, dtype=object), threshold=10), "NumPy"),
    "vector of R": ('c("a", "b")', "NumPy and R"),
    "NaN of Python": ("['a', nan]", "NumPy and R"),
    "cut after an item": ("['a', 'b'", "cut"),
    "cut within an item": ('["a", "b', "cut"),
    "cut chat": ('[{"role": "user", "content": "a', "cut"),
    "cut message": ('{"role": "user", "content": "a', "cut"),
    "cut with dots": ("['a', 'b'...", "cut"),
    "encoded twice": (json.dumps(json.dumps(["a", "b"])), "encoded twice"),
    "bytes": (repr("é".encode()), "bytes"),
    "cut LangChain": ("[HumanMessage(content='a'), AIMess", "text of objects"),
    "str of LangChain": ("content='a' additional_kwargs={} response_metadata={}", "text of objects"),
    "Spark, no Python": ("[Row(from='human', value='a')]", "text of objects"),
    "set": ('{"a", "b"}', "set"),
    "unknown role": (json.dumps([{"role": "critic", "content": "a"}]), "unknown role 'critic'"),
    "no role": (json.dumps([{"role": None, "content": "a"}]), "unknown role None"),
}


@pytest.mark.parametrize("file", FORMATS)
@pytest.mark.parametrize(("cell", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_list_that_cannot_be_read_is_an_error(tmp_path: Path, cell: str, message: str, file: str) -> None:
    path = write(['["fine"]', cell], tmp_path / file)
    with pytest.raises(DataError, match=rf"(?s){re.escape(str(path))}, column prompt, row 1: .*{message}"):
        read_prompts(path)
    if "role" not in message:
        lone = write([*(f"text {row}" for row in range(9)), cell], tmp_path / file)
        assert read_prompts(lone)[-1] == (cell,)


TEXTS = [
    *("[INST] hi [/INST]", "[1, 2, 3] sort this list", "['a', 'b'] is a list in which language?", "[hello] or [you]"),
    *("(mt) (base) $ ls", '["a", "b"].map(x => x)', "('x') + 1 = ?", '{"batch": {"a": 1}}', '{"review": "good"}'),
    *('"To be" or "not"', "[System Prompt]: be brief", "c(1, 2)", "[", "{", "(", '"', "b' is a prime", "[x", "[1, 2"),
    *('Why ["a"]?', "def f(): return ['a'", "{'a': [1]", '"[not a list]"', "[citation needed]", '"hi"', "{1, 2}"),
    *("array([1, 2])", "[[]", "HumanMessage is a class of?", "Row(1, 2)", "content='a'", "messages=[1]", "Row, row"),
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("file", FORMATS)
def test_prose_and_code_are_text(tmp_path: Path, text: str, file: str, caplog: pytest.LogCaptureFixture) -> None:
    assert read_cell(text) is None
    assert read_prompts(write([text] * 3, tmp_path / file)) == [(text,)] * 3
    assert not caplog.records


BARE_LISTS = {
    "Spark": ["[What is 1+1?, And 2+2?]", "[Hello]", "[it's, so]"],
    "PostgreSQL": ["{Hello,Goodbye}", '{"What is 1+1?",Thanks}', "{Why}"],
    "rows of Spark": ["[{What is 1+1?, 3}]", "[{Hello, 4}]"],
    "a name for each": ["[first: a, second: b]", "{first=a, second=b}"],
}


@pytest.mark.parametrize("file", FORMATS)
@pytest.mark.parametrize("cells", BARE_LISTS.values(), ids=BARE_LISTS)
def test_lists_without_quotes_are_an_error_or_counted(
    cells: list[str], file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(cells * 3, tmp_path / file)
    with pytest.raises(
        DataError, match=rf"(?s){re.escape(str(path))}, column prompt: all {3 * len(cells)} cells stand"
    ):
        read_prompts(path)
    assert read_prompts(write([json.dumps([cell]) for cell in cells], tmp_path / file)) == [(cell,) for cell in cells]
    beside = ["a text", *cells]
    assert read_prompts(write(beside, tmp_path / file)) == [(cell,) for cell in beside]
    (said,) = (record.getMessage() for record in caplog.records)
    with_comma = [cell for cell in cells if "," in cell]
    assert f"column prompt: {len(with_comma)} of {len(beside)} cells stand in brackets (row 1 first)" in said


@pytest.mark.parametrize("spell", [json.dumps, repr], ids=["json", "python"])
def test_texts_encoded_twice(spell: Callable[[object], str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cells = [spell(f"a\nprompt {row}") for row in range(3)]
    with pytest.raises(
        DataError, match="3 of 3 cells are texts in quotes .row 0 first.*encoded twice: write the texts"
    ):
        read_prompts(write(cells, tmp_path / "a.csv"))
    assert not caplog.records
    assert read_prompts(write([*cells, "a", "b"], tmp_path / "a.csv"))[0] == (cells[0],)
    assert "3 of 5 cells are texts in quotes (row 0 first)" in caplog.text
    caplog.clear()
    assert len(read_prompts(write([*cells, *"abc"], tmp_path / "a.csv"))) == 6  # people do quote
    assert not caplog.records


PARTS = {
    "image_url": {"type": "image_url", "image_url": {"url": "x"}},
    "tool_result": {"type": "tool_result", "content": "42"},
    "inline_data": {"inline_data": {"data": "x"}},  # of Gemini, which names no type
    "video": {"type": "video", "text": None},
    "int": 7,
}


@pytest.mark.parametrize(("kind", "part"), PARTS.items(), ids=PARTS)
def test_parts_that_are_no_text_are_counted(
    kind: str, part: object, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    text = {"type": "text", "text": "what is this"}
    chat = [{"role": "user", "content": [text, part]}, {"role": "assistant", "content": [part]}, CHAT[2]]
    told = [{"role": "user", "content": [text]}, {"role": "assistant", "content": [part]}, CHAT[2]]
    assert read_prompts(write([told, chat, chat], tmp_path / "a.jsonl"))[1] == ("what is this", "b")
    assert f"2 of 3 prompts have parts that are no text and are left out (row 1 first: {kind})" in caplog.text
    caplog.clear()
    prompts_of_conversations(pd.concat([both(told, told), both(chat, chat)], ignore_index=True))
    (said,) = (record.getMessage() for record in caplog.records)
    assert (
        f"column conversation_a: 1 of 2 prompts have parts that are no text and are left out (row 1 first: {kind}"
        in said
    )


@pytest.mark.parametrize("file", FORMATS)
def test_lists_of_other_things_are_reported_by_row_and_value(tmp_path: Path, file: str) -> None:
    odd = ['["a", null]', '["a", ["b"]]', "[1, 2]", "[]", "[null]", '[{"text": "a"}]']
    votes = pd.DataFrame({"prompt": ['["fine"]'] * 20 + odd, "model_a": "x", "model_b": "y", "winner": "tie"})
    path = tmp_path / file
    if file.endswith(".csv"):
        votes.to_csv(path, index=False)
    elif file.endswith(".jsonl"):
        votes.to_json(path, orient="records", lines=True)
    else:
        votes.to_parquet(path)
    table, report = load_votes(str(path), max_skipped_share=0.5)
    assert table.prompts == (("fine",),)
    assert report.skipped == {"non-string turn": [20, 21, 22, 24, 25], "empty prompt": [23]}
    assert "['a', None]" in str(report)


@pytest.mark.parametrize("cell", ["[1, 2]", '["a", null]', '[["a"]]'])
def test_a_column_of_other_lists_is_an_error_that_shows_one(cell: str) -> None:
    rows = [{"prompt": cell, "model_a": "x", "model_b": "y", "winner": "tie"}] * 3
    with pytest.raises(DataError, match="no valid votes") as error:
        load_votes(rows)
    assert "a prompt is a text or a list of texts" in str(error.value)


def test_a_text_beside_lists_is_its_own_prompt_in_a_list(tmp_path: Path) -> None:
    text = '["a", "b"]'
    assert read_prompts(write([json.dumps([text]), json.dumps(["c"])], tmp_path / "a.csv")) == [(text,), ("c",)]


def test_prompts_given_in_python_are_not_parsed() -> None:
    assert read_prompts(['["a", "b"]']) == [('["a", "b"]',)]
    assert read_prompts('["a", "b"]') == [('["a", "b"]',)]
    assert read_prompts(pd.Series(['["a", "b"]'])) == [("a", "b")]  # a column of a table


@pytest.mark.parametrize("role", ["User", "HUMAN", " user"])
def test_roles_of_a_chat_in_python(role: str) -> None:
    assert read_prompts([{"role": role, "content": "a"}, {"role": "Assistant", "content": "b"}]) == [("a",)]
    with pytest.raises(PromptError, match="unknown role 'judge'; use user"):
        read_prompts([{"role": "judge", "content": "a"}])


def test_known_from_other_rows() -> None:
    lists, texts = pd.Series(['["a"]'] * 200), pd.Series(["a"] * 200)
    assert read_prompt_column(lists, "t", listed=True)[0] == ["a"]
    assert read_prompt_column(lists[:1], "t", listed=False).tolist() == ['["a"]']
    with pytest.raises(DataError, match=r"t, row 0: earlier rows hold text, but most of these lists: '\[\"a\"\]'"):
        read_prompt_column(lists, "t", listed=False)
    with pytest.raises(DataError, match="t: 0 of 200 cells spell lists of turns, but row 0 does not: 'a'"):
        read_prompt_column(texts, "t", listed=True)


def both(a: object, b: object, rows: int = 1) -> pd.DataFrame:
    return pd.DataFrame({"conversation_a": [a] * rows, "conversation_b": [b] * rows})


def asked(*turns: str) -> list[dict[str, str]]:
    return [m for t in turns for m in ({"role": "user", "content": t}, {"role": "assistant", "content": "x"})]


def test_conversations_with_different_prompts(caplog: pytest.LogCaptureFixture) -> None:
    same, other = both(asked("a"), asked("a"), 40), both(asked("a"), asked("b"))
    read = prompts_of_conversations(pd.concat([same, other], ignore_index=True), "t, ")
    assert read.tolist() == [["a"]] * 40 + [None]
    assert "t, the user's messages of conversation_a and conversation_b differ in 1 of 41 rows (row 40" in caplog.text
    with pytest.raises(DataError, match=r"differ in 1 of 1 rows \(row 0 first: \['a'\] and \['a', 'b'\]\)"):
        prompts_of_conversations(both(asked("a"), json.dumps(asked("a", "b"))))


def test_conversations_of_one_side(caplog: pytest.LogCaptureFixture) -> None:
    assert prompts_of_conversations(both(asked("a"), None)).tolist() == [["a"]]
    assert not caplog.records
    frame = pd.DataFrame({"conversation_a": [asked("a"), "hello", None]})
    assert prompts_of_conversations(frame).tolist() == [["a"], None, None]
    assert "column conversation_a: 1 of 2 cells hold no list of messages and count as missing" in caplog.text
    with pytest.raises(DataError, match="column conversation_a, row 0: this list was cut; got"):
        prompts_of_conversations(pd.DataFrame({"conversation_a": [json.dumps(asked("a"))[:-9], asked("a")]}))


def test_a_prompt_beside_conversations_is_the_prompt() -> None:
    row = {"model_a": "x", "model_b": "y", "winner": "tie", "conversation_a": asked("a"), "question": "q"}
    assert load_votes([row], columns={"prompt": "question"})[0].prompts == (("q",),)
    assert load_votes([row | {"prompt": "p"}])[0].prompts == (("p",),)
    assert load_votes([row])[0].prompts == (("a",),)
