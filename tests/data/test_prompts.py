"""The prompt encoder: one CLS token always, the right end kept, whatever the prompt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from p2l.data.prompt_encoder import (
    PLAIN_TEMPLATE,
    PromptEncoder,
    PromptFormat,
    check_prompts,
    prepare_tokenizer,
    turns_of,
)
from p2l.errors import ConfigError, PromptError
from p2l.models.byte_tokenizer import byte_tokenizer

CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}"
CLS = "<|cls|>"

# any text at all, with CLS strings and pieces of them more often than chance has it
turns = st.lists(st.one_of(st.text(), st.sampled_from([CLS, "<|cls", "|>", "<", ">"])), max_size=8).map("".join)
prompts = st.one_of(turns, st.lists(turns, min_size=1, max_size=4))
positions = pytest.mark.parametrize("position", ["start", "end"])


def make_encoder(position: str = "end", max_length: int = 24, **options: str) -> PromptEncoder:
    return PromptEncoder(prepare_tokenizer(byte_tokenizer(), **options), PromptFormat(max_length, position))


@positions
@given(prompt=prompts)
def test_every_prompt_has_exactly_one_cls_token_and_fits(position: str, prompt: str | list[str]) -> None:
    encoder = make_encoder(position)
    ids = encoder.encode(prompt)
    assert ids.count(encoder.cls_token_id) == 1
    assert ids[0 if position == "start" else -1] == encoder.cls_token_id
    assert len(ids) <= 24


def test_a_prompt_that_the_template_refuses_is_told() -> None:
    strict = "{% if messages|length > 1 %}{{ raise_exception('roles must alternate') }}{% endif %}" + CHAT
    encoder = make_encoder(max_length=99, chat_template=strict)
    assert encoder.encode("one")
    with pytest.raises(PromptError, match="2 user turns: roles must alternate"):
        encoder.encode(["one", "two"])


def test_a_prompt_is_the_chat_template_of_its_user_turns_then_cls() -> None:
    encoder = make_encoder(max_length=99, chat_template=CHAT)
    assert encoder.tokenizer.decode(encoder.encode(["one", "two"])) == f"<user>one</><user>two</>{CLS}"


def test_a_string_is_one_turn() -> None:
    encoder = make_encoder(chat_template=CHAT)
    assert encoder.encode("hello") == encoder.encode(["hello"])


def test_a_cls_string_in_a_prompt_becomes_the_published_neutral_text() -> None:
    encoder = make_encoder(max_length=99)
    assert encoder.encode(f"say {CLS} twice {CLS}") == encoder.encode("say <cls> twice <cls>")


def test_the_neutral_text_makes_no_new_cls_string() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"cls_token": "<cls>"})
    encoder = PromptEncoder(prepare_tokenizer(tokenizer), PromptFormat(64))
    assert encoder.encode("<<cls>>").count(encoder.cls_token_id) == 1
    assert encoder.tokenizer.decode(encoder.encode("<<cls>>")) == "<[cls]><cls>"


def test_what_normalisation_turns_into_the_cls_string_is_left_out() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_tokens("x[CLS]")
    tokenizer.cls_token = "x[CLS]"  # matched after normalisation, as the pieces of sentencepiece models are
    encoder = PromptEncoder(prepare_tokenizer(tokenizer), PromptFormat(64))
    full_width = "say x\uff3bCLS\uff3d"  # brackets that NFKC makes plain
    assert encoder.encode(full_width).count(encoder.cls_token_id) == 1


@positions
def test_truncation_keeps_the_right_end_and_cls(position: str) -> None:
    encoder = make_encoder(position, max_length=8)
    shown = encoder.tokenizer.decode(encoder.encode("0123456789"))
    assert shown == {"start": f"{CLS}3456789", "end": f"3456789{CLS}"}[position]


def test_encoders_with_a_separator_wrap_the_text() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"sep_token": "[SEP]"})
    encoder = PromptEncoder(prepare_tokenizer(tokenizer), PromptFormat(8, "start"))
    assert encoder.tokenizer.decode(encoder.encode("0123456789")) == f"{CLS}456789[SEP]"


@positions
def test_an_empty_turn_is_the_empty_text(position: str) -> None:
    encoder = make_encoder(position)
    assert encoder.encode("") == encoder.encode([""]) == [encoder.cls_token_id]


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    encoder = make_encoder()
    assert encoder.encode("a\ud83db") == encoder.encode("a?b")


def test_a_very_long_prompt_is_its_right_end() -> None:
    encoder = make_encoder(max_length=32)
    assert encoder.encode("x" * 1_000_000 + "the end of it, kept whole") == encoder.encode(
        "xxxxxx" + "the end of it, kept whole"
    )


def test_a_batch_is_its_prompts_one_by_one() -> None:
    encoder = make_encoder()
    batch = ["one", ["two", "turns"], "", "long " * 20]
    assert encoder.encode_batch(batch) == [encoder.encode(prompt) for prompt in batch]


def test_turns_of_arrays_tuples_and_lists() -> None:
    assert turns_of(("a", "b")) == turns_of(["a", "b"]) == turns_of(np.array(["a", "b"], dtype=object)) == ("a", "b")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "at least one user turn"),
        (["a", 3], "turn 1 is int"),
        ([None], "turn 0 is NoneType"),
        ([["a"]], "turn 0 is list"),
        (b"bytes", "turn 0 is int"),
        (None, "got NoneType"),
        (7, "got int"),
        ({"role": "user"}, "got dict"),
    ],
)
def test_what_is_not_text_is_refused(prompt: object, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        turns_of(prompt)


def test_prepare_adds_only_what_a_tokenizer_lacks() -> None:
    tokenizer = byte_tokenizer()
    size = len(tokenizer)
    prepare_tokenizer(tokenizer, cls_token="[other]", pad_token="[pad]")
    assert (tokenizer.cls_token, tokenizer.pad_token, len(tokenizer)) == (CLS, "<|endoftext|>", size)
    assert tokenizer.chat_template == PLAIN_TEMPLATE
    assert (tokenizer.truncation_side, tokenizer.padding_side) == ("left", "right")
    tokenizer.cls_token = None
    tokenizer.pad_token = None
    prepare_tokenizer(tokenizer, cls_token="[other]", pad_token="[pad]", chat_template=CHAT)
    assert (tokenizer.cls_token, tokenizer.pad_token, len(tokenizer)) == ("[other]", "[pad]", size + 2)
    assert tokenizer.chat_template == CHAT


@pytest.mark.parametrize(
    "turns", [("a",), ("",), ("a\n", " b "), ("{{ x }} {% if %}", "<&>'\"", "日本 😀\r\n"), ("", "")]
)
def test_the_plain_template_is_joined_as_jinja_renders_it(turns: tuple[str, ...]) -> None:
    encoder = PromptEncoder(prepare_tokenizer(byte_tokenizer()), PromptFormat(64))
    messages = [{"role": "user", "content": turn} for turn in turns]
    assert encoder.tokenizer.chat_template == PLAIN_TEMPLATE
    assert encoder._rendered(turns) == encoder.tokenizer.apply_chat_template(messages, tokenize=False)


def test_an_unprepared_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="use prepare_tokenizer"):
        PromptEncoder(byte_tokenizer(), PromptFormat())


def test_a_format_is_checked() -> None:
    with pytest.raises(ConfigError, match="at least 8"):
        PromptFormat(max_length=7)
    assert PromptFormat().to_dict() == {"max_length": 8192, "cls_position": "end"}


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([7, 1.5], r"examples: entry 0 is 7: .*got int. Quote numbers, as in examples=\[\"'7'\"\]"),
        (["fine", ["a", 1.5]], r"examples: entry 1 is \['a', 1.5\]: .*turn 1 is float"),
        (["fine", None], "examples: entry 1 is None"),
        (["fine", " "], "examples: entry 1 is ' ': .*empty"),
        ([{"role": "user", "content": "a"}], "examples: entry 0 is .*got dict"),
    ],
)
def test_what_is_no_prompt_in_an_option_is_named_with_place_and_value(prompts, message) -> None:
    check_prompts("examples", ["fine", ["two", "turns"]])
    with pytest.raises(ConfigError, match=message):
        check_prompts("examples", prompts)
