"""Encode prompts: the only place that makes token ids, for training, prediction, serving and routing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any, Literal

import numpy as np
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from p2l.errors import ConfigError, PromptError
from p2l.options import check_count

Prompt = str | Sequence[str]

# User turns one after the other, for tokenizers that bring no chat template (sentence encoders, base models).
PLAIN_TEMPLATE = "{{ messages | map(attribute='content') | join('\\n\\n') }}"
PLAIN_JOINT = "\n\n"
# Replacement of a CLS string that a user typed (published behaviour); the second if the first is that string.
NEUTRAL_CLS = ("<cls>", "[cls]")
# No tokenizer has more characters a token than this over a long text. Text before the last max_length times as many
# cannot reach the model after left truncation, so it is cut before tokenising.
MAX_CHARS_PER_TOKEN = 32
# Prompts without a common beginning.
UNLIKE = ("a", "Z", "7", "é", "界", "\n", " ", "")


@dataclass(frozen=True)
class PromptFormat:
    """How a prompt is encoded; written into every checkpoint.

    Attributes:
        max_length: most tokens of a prompt, CLS included; longer ones are cut on the left.
        cls_position: "end" appends CLS after the text (published; decoders read left to right), "start" wraps the
            text as encoders were pretrained: CLS, text, SEP.
    """

    max_length: int = 8192
    cls_position: Literal["start", "end"] = "end"

    def __post_init__(self) -> None:
        check_count("max_length", self.max_length, least=8)
        if self.cls_position not in ("start", "end"):
            raise ConfigError(f"cls_position must be 'start' or 'end'; got {self.cls_position!r}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def prepare_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    *,
    cls_token: str = "<|cls|>",
    pad_token: str = "<|pad|>",
    chat_template: str | None = None,
) -> PreTrainedTokenizerBase:
    """Add the CLS token, pad token and chat template that the tokenizer lacks, in place.

    A token that it already has is kept. ``chat_template`` replaces the tokenizer's own, if given.
    """
    tokenizer.truncation_side = "left"
    tokenizer.padding_side = "right"
    if chat_template or not tokenizer.chat_template:
        tokenizer.chat_template = chat_template or PLAIN_TEMPLATE
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": pad_token})
    if tokenizer.cls_token is None:
        tokenizer.add_special_tokens({"cls_token": cls_token})
    return tokenizer


class PromptEncoder:
    """Encode user turns as token ids: chat template, CLS token, left truncation.

    A CLS string inside a prompt is replaced by ``<cls>``, so that the result always has exactly one CLS token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt_format: PromptFormat) -> None:
        if tokenizer.cls_token_id is None or tokenizer.pad_token_id is None or not tokenizer.chat_template:
            raise ConfigError("the tokenizer lacks a CLS token, a pad token or a chat template; use prepare_tokenizer")
        self.tokenizer = tokenizer
        self.format = prompt_format
        self.cls_token: str = tokenizer.cls_token
        self.cls_token_id: int = tokenizer.cls_token_id
        self.pad_token_id: int = tokenizer.pad_token_id
        self._neutral_cls = next(text for text in NEUTRAL_CLS if self.cls_token not in text)
        wraps = prompt_format.cls_position == "start"
        self._prefix = [self.cls_token_id] if wraps else []
        self._suffix = [tokenizer.sep_token_id] if wraps and tokenizer.sep_token_id is not None else []
        if not wraps:
            self._suffix = [self.cls_token_id]

    def __repr__(self) -> str:
        fmt, tokenizer = self.format, type(self.tokenizer).__name__
        return f"PromptEncoder({tokenizer}, {fmt.max_length:,} tokens, CLS at the {fmt.cls_position})"

    def encode(self, prompt: Prompt) -> list[int]:
        """Return the token ids of one prompt; PromptError unless it is a string or a non-empty list of strings."""
        return self.encode_batch([prompt])[0]

    def encode_batch(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the token ids of each prompt, unpadded; ``PromptError`` for a single string."""
        if isinstance(prompts, str):
            raise PromptError(f"expected a list of prompts; got one string, {prompts[:40]!r}: give [prompt], or encode")
        texts = [self._text(turns_of(prompt)) for prompt in prompts]
        encoded = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
        keep = self.format.max_length - len(self._prefix) - len(self._suffix)
        return [self._prefix + self._body(ids)[-keep:] + self._suffix for ids in encoded["input_ids"]]

    def opening(self) -> list[int]:
        """Return the ids that every prompt begins with: those of the template."""
        beginnings = self.encode_batch(UNLIKE)
        same = (len(set(ids)) == 1 for ids in zip(*beginnings, strict=False))
        return beginnings[0][: sum(takewhile(bool, same))]

    def _body(self, ids: list[int]) -> list[int]:
        # a tokenizer that normalises may make the CLS string of other characters, such as full-width brackets
        return [i for i in ids if i != self.cls_token_id] if self.cls_token_id in ids else ids

    def _text(self, turns: tuple[str, ...]) -> str:
        text = self._rendered(turns)
        text = text[-self.format.max_length * MAX_CHARS_PER_TOKEN :]
        text = text.encode("utf-8", "replace").decode()  # a lone surrogate becomes "?"; tokenizers refuse it
        return text.replace(self.cls_token, self._neutral_cls)

    def _rendered(self, turns: tuple[str, ...]) -> str:
        if self.tokenizer.chat_template == PLAIN_TEMPLATE:
            return PLAIN_JOINT.join(turns)  # rendering a template takes as long as the tokens
        messages = [{"role": "user", "content": turn} for turn in turns]
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False))
        except TemplateError as error:
            raise PromptError(f"the chat template does not take a prompt of {len(turns)} user turns: {error}") from None


def turns_of(prompt: object) -> tuple[str, ...]:
    """Return the user turns of a prompt: a string is one turn; PromptError for anything but text."""
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, (Sequence, np.ndarray)):
        raise PromptError(f"a prompt is a string or a list of user turns; got {type(prompt).__name__}")
    turns = tuple(prompt)
    if not turns:
        raise PromptError("a prompt needs at least one user turn; got an empty list")
    for position, turn in enumerate(turns):
        if not isinstance(turn, str):
            raise PromptError(f"every user turn must be a string; turn {position} is {type(turn).__name__}")
    return turns


def text_turns_of(prompt: object) -> tuple[str, ...]:
    """Return the user turns of a prompt; PromptError for anything but text, and if no turn holds any."""
    turns = turns_of(prompt)
    if not holds_text(turns):
        raise PromptError(f"expected a text to rank models for; got {prompt!r}, which is empty")
    return turns


def holds_text(turns: Sequence[str]) -> bool:
    """Return whether a turn has a character that can be seen."""
    return any(map(str.strip, turns))


def check_prompts(option: str, prompts: Sequence[object]) -> None:
    """Raise ConfigError, with position and value, if an option that lists prompts has an entry that is none."""
    for position, prompt in enumerate(prompts):
        try:
            text_turns_of(prompt)
        except PromptError as error:
            raise ConfigError(
                f"{option}: entry {position} is {prompt!r}: {error}. Quote numbers, as in {option}=[\"'7'\"]"
            ) from None
