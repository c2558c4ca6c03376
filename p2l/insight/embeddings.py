"""Embeddings of prompts for clustering: hidden states of the P2L model, or vectors of a sentence encoder."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from p2l.data.encoding import encode_prompts
from p2l.data.prompt_encoder import Prompt, PromptEncoder, PromptFormat, prepare_tokenizer
from p2l.errors import ConfigError
from p2l.models import load_backbone, local_folder, prepare_backbone, read_out
from p2l.models.backbone import load_tokenizer
from p2l.models.hidden_states import hidden_states

HIDDEN = "hidden"  # the P2L model's own hidden state; any other value is the path of a sentence encoder
ENCODER_TOKENS = 256  # all-MiniLM-L6-v2 was trained with 256; of a longer prompt the end is read

Vectors = Float32[np.ndarray, "prompts hidden"]


def sentence_vectors(path: str, prompts: Sequence[Prompt], *, token_budget: int) -> Vectors:
    """Return the mean hidden state of each prompt in a Hugging Face text model.

    ``path`` is a folder, hub id or ``package:NAME/folder``. Raises CheckpointError, with what to install or give, if
    there is no such model.
    """
    folder = local_folder(path)
    encoder = PromptEncoder(prepare_tokenizer(load_tokenizer(folder)), PromptFormat(ENCODER_TOKENS, "start"))
    backbone = prepare_backbone(load_backbone(folder), vocab_size=len(encoder.tokenizer))
    if torch.cuda.is_available():
        backbone.to(torch.device("cuda"))  # type: ignore[arg-type]  # stubs: transformers wraps Module.to

    def read(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states = backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return read_out(states, input_ids, attention_mask, "mean", encoder.cls_token_id)

    return hidden_states(backbone, read, encode_prompts(encoder, prompts), token_budget).float().cpu().numpy()


def embed(embedding: str, prompts: Sequence[Prompt], hidden: Vectors | None, token_budget: int) -> Vectors:
    """Return ``hidden`` if ``embedding`` is "hidden", else the vectors of the sentence encoder at that path.

    Raises ConfigError if ``hidden`` is needed and None.
    """
    if embedding != HIDDEN:
        return sentence_vectors(embedding, prompts, token_budget=token_budget)
    if hidden is None:
        raise ConfigError("embedding=hidden needs the hidden states of the P2L model; give embedding=<a text model>")
    return hidden
