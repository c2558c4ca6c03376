"""A vector for each prompt, for clusters: the hidden state of the P2L model, or that of a sentence encoder."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from p2l.data.encoding import EncodedPrompts, encode_prompts
from p2l.data.packing import pack_within
from p2l.data.prompt_encoder import Prompt, PromptEncoder, PromptFormat, prepare_tokenizer
from p2l.errors import ConfigError
from p2l.models import Checkpoint, load_backbone, local_folder, prepare_backbone, read_out
from p2l.models.backbone import load_tokenizer
from p2l.models.predict import evaluating
from p2l.types import Ranking

HIDDEN = "hidden"  # the P2L model's own hidden state; any other embedding is the path of a sentence encoder
ENCODER_TOKENS = 256  # as all-MiniLM-L6-v2 was trained; the end of a longer prompt is what is read

Vectors = Float32[np.ndarray, "prompts hidden"]


def rank_and_read(
    checkpoint: Checkpoint, prompts: Sequence[Prompt], *, token_budget: int
) -> tuple[Ranking, Float[Tensor, "prompts hidden"]]:
    """The ranking of each prompt and the hidden state that its head reads, in one pass; float32 on the CPU."""
    model = checkpoint.model
    encoded = encode_prompts(checkpoint.encoder, prompts)
    hidden = _read(model, model.hidden, encoded, token_budget)
    with torch.no_grad():
        ranking = model.head(hidden)
    return ranking.map(lambda x: x.float().cpu()), hidden.float().cpu()


def sentence_vectors(path: str, prompts: Sequence[Prompt], *, token_budget: int) -> Vectors:
    """The mean hidden state of each prompt in a Hugging Face text model: a folder, hub id or ``package:NAME/folder``.

    CheckpointError, saying what to install or give, where there is no such model.
    """
    folder = local_folder(path)
    encoder = PromptEncoder(prepare_tokenizer(load_tokenizer(folder)), PromptFormat(ENCODER_TOKENS, "start"))
    backbone = prepare_backbone(load_backbone(folder), vocab_size=len(encoder.tokenizer))
    if torch.cuda.is_available():
        backbone.to(torch.device("cuda"))  # type: ignore[arg-type]  # stubs: transformers wraps Module.to

    def read(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return read_out(states, input_ids, attention_mask, "mean", encoder.cls_token_id)

    return _read(backbone, read, encode_prompts(encoder, prompts), token_budget).float().cpu().numpy()


def embed(embedding: str, prompts: Sequence[Prompt], hidden: Vectors | None, token_budget: int) -> Vectors:
    """``hidden`` itself where that is what is asked for, else the vectors of the sentence encoder at ``embedding``."""
    if embedding != HIDDEN:
        return sentence_vectors(embedding, prompts, token_budget=token_budget)
    if hidden is None:
        raise ConfigError("embedding=hidden needs the hidden states of the P2L model; give embedding=<a text model>")
    return hidden


@torch.no_grad()
def _read(
    model: nn.Module, read: Callable[[Tensor, Tensor], Tensor], prompts: EncodedPrompts, token_budget: int
) -> Float[Tensor, "prompts hidden"]:
    """``read`` of each prompt, in batches of like length, in their order, on the device of the model."""
    device = next(model.parameters()).device
    with evaluating(model):
        batches = [prompts.pad(batch) for batch in pack_within(prompts.lengths, token_budget)]
        states = [read(batch.input_ids.to(device), batch.attention_mask.to(device)) for batch in batches]
    order = torch.cat([batch.prompt_index for batch in batches])
    return torch.cat(states)[torch.argsort(order).to(device)]
