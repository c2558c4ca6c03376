"""Search for strings that steer a router to one LLM, with its weights at hand (greedy coordinate gradient).

The gradient of the margin by the embedding of each token of the string names the tokens that may raise it most
(HotFlip, Ebrahimi et al. 2018, arXiv:1712.06751). Strings with one of them changed are then scored exactly, and the
best is kept (Zou et al. 2023, arXiv:2307.15043).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from p2l.data.encoding import encode_prompts
from p2l.models import Checkpoint
from p2l.models.hidden_states import hidden_states
from p2l.types import Ranking

TOKEN_BUDGET = 4096
Turns = tuple[str, ...]


def at_end(turns: Turns, text: str) -> Turns:
    """Return the user turns with a string behind the last one."""
    return (*turns[:-1], f"{turns[-1]} {text}")


@dataclass(frozen=True, eq=False)
class Margin:
    """The value of one LLM minus that of the best other one; above 0 the LLM is chosen.

    Attributes:
        model: index of the LLM.
        penalty: price x cost of each LLM, in units of the score.
    """

    model: int
    penalty: np.ndarray

    def __call__(self, ranking: Ranking) -> Tensor:
        """Return the margin of each prompt: the score is P(usable answer)."""
        value = torch.sigmoid(ranking.coefs) - torch.from_numpy(self.penalty).float()
        others = torch.arange(value.shape[1]) != self.model
        return value[:, self.model] - value[:, others].max(dim=1).values


@dataclass(frozen=True)
class SearchOptions:
    """How long to search.

    Attributes:
        steps: changes of a token.
        prompts: drawn for each step.
        candidates: strings that are scored exactly in each step.
        top: tokens by gradient, at each place, of which candidates are drawn.
    """

    steps: int
    prompts: int = 10
    candidates: int = 14
    top: int = 64


class SuffixSearch:
    """Searches strings that raise the mean margin of prompts when they stand at the end of each."""

    def __init__(self, checkpoint: Checkpoint, margin: Margin) -> None:
        self.checkpoint, self.margin = checkpoint, margin
        self.network, self.tokenizer = checkpoint.model, checkpoint.encoder.tokenizer
        self.network.requires_grad_(False)

    @cached_property
    def target(self) -> str:
        """A digest of the head and the margin that are attacked."""
        parts = (*(value.numpy() for value in self.network.head.state_dict().values()), self.margin.penalty)
        return blake2b(b"".join(part.tobytes() for part in parts), digest_size=8).hexdigest()

    @cached_property
    def vocabulary(self) -> np.ndarray:
        """The tokens that are printable text of their own and come back from their text."""
        special = set(self.tokenizer.all_special_ids)
        tokens = [token for token in range(len(self.tokenizer)) if token not in special]
        texts = [self.tokenizer.decode([token]) for token in tokens]
        again = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return np.array(
            [
                token
                for token, text, ids in zip(tokens, texts, again, strict=True)
                if ids == [token] and text.isascii() and text.isprintable() and not text.isspace()
            ]
        )

    def random(self, length: int, generator: np.random.Generator) -> str:
        """Return a string of ``length`` random tokens."""
        while True:
            text = self._text(generator.choice(self.vocabulary, size=length))
            if len(self._ids(text)) == length:
                return text

    def search(self, prompts: Sequence[Turns], start: str, options: SearchOptions, seed: int) -> str:
        """Return a string for all of these prompts; each step draws some of them."""
        generator, found = np.random.default_rng(seed), start
        for _ in range(options.steps):
            drawn = generator.choice(len(prompts), size=min(options.prompts, len(prompts)), replace=False)
            batch = [prompts[at] for at in drawn]
            tried = [found, *self._candidates(batch, found, options, generator)]
            margins = self.margins([at_end(prompt, text) for text in tried for prompt in batch])
            found = tried[int(margins.reshape(len(tried), len(batch)).mean(axis=1).argmax())]
        return found

    def margins(self, prompts: Sequence[Turns]) -> np.ndarray:
        """Return the margin of each prompt."""
        return self.margin(self.rank(prompts)).double().numpy()

    @torch.no_grad()
    def rank(self, prompts: Sequence[Turns]) -> Ranking:
        """Return the ranking of each prompt."""
        encoded = encode_prompts(self.checkpoint.encoder, prompts, progress=False)
        return self.network.head(hidden_states(self.network, self.network.hidden, encoded, TOKEN_BUDGET))

    def _candidates(
        self, prompts: Sequence[Turns], text: str, options: SearchOptions, generator: np.random.Generator
    ) -> list[str]:
        """Return strings with one token changed, of the same length in tokens."""
        ids = self._ids(text)
        promising = self._promising(prompts, text, len(ids), options.top)
        found: list[str] = []
        for place in generator.integers(len(ids), size=options.candidates):
            changed = [*ids[:place], int(generator.choice(promising[place])), *ids[place + 1 :]]
            candidate = self._text(changed)
            if self._ids(candidate) == changed:
                found.append(candidate)
        return found

    def _promising(self, prompts: Sequence[Turns], text: str, length: int, top: int) -> np.ndarray:
        """Return the tokens (places x top) that raise the mean margin most, to first order."""
        texts = [at_end(prompt, text) for prompt in prompts]
        batch = encode_prompts(self.checkpoint.encoder, texts, progress=False).pad(range(len(texts)))
        slopes = self._slopes(batch.input_ids, batch.attention_mask)
        closing = len(self.checkpoint.encoder.encode("")) - 1  # CLS stands in front, the rest of an empty text behind
        ends = batch.attention_mask.sum(dim=1) - closing
        own = torch.stack([slope[end - length : end] for slope, end in zip(slopes, ends.tolist(), strict=True)])
        table = self.network.model.get_input_embeddings().weight[torch.from_numpy(self.vocabulary)]
        gains = own.sum(dim=0) @ table.T
        return self.vocabulary[gains.topk(min(top, len(self.vocabulary)), dim=1).indices.numpy()]

    def _slopes(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the gradient of the mean margin by the embedding of each token."""
        kept: list[Tensor] = []

        def keep(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            kept.append(output.detach().requires_grad_())
            return kept[0]

        handle = self.network.model.get_input_embeddings().register_forward_hook(keep)
        try:
            margin = self.margin(self.network(input_ids, attention_mask)).mean()
        finally:
            handle.remove()
        return torch.autograd.grad(margin, kept)[0]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _text(self, ids: Sequence[int] | np.ndarray) -> str:
        return str(self.tokenizer.decode(list(map(int, ids))))
