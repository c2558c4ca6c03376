"""Tell models apart, so that no answer of one is taken for that of another."""

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import torch
from torch import Tensor, nn

from p2l.data.prompt_encoder import PromptEncoder

SAMPLE = 512  # values of a backbone's tensor
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@torch.no_grad()
def fingerprint(network: nn.Module, encoder: PromptEncoder, models: Sequence[str], family: str) -> str:
    """Return two digests with a dot between: of what a ranking is of, the names and the family, and of what it depends
    on, the encoding and the weights. Copies of a checkpoint have the same. Predicted costs belong to both, and the
    posterior to the second.

    The head is read in full. Of the other tensors, the sum of all bit patterns and a sample are read, since a digest of
    billions of bytes would delay the start: training changes the sum of a tensor, and a copy does not.
    """
    tokenizer = encoder.tokenizer
    cost_head, posterior_head = (
        getattr(network.get_submodule("head"), name, None) for name in ("cost_head", "posterior_head")
    )
    priced = [] if cost_head is None else [cost_head.facts(models).to_dict()]
    ranked = blake2b(json.dumps([family, *models, *priced]).encode(), digest_size=8)
    known = [encoder.format.to_dict(), tokenizer.chat_template, len(tokenizer), encoder.cls_token_id]
    digest = blake2b(json.dumps(known).encode(), digest_size=16)
    tensors = {**network.state_dict(), **{name: x for name, x in network.named_buffers() if ".cost_head." in name}}
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        bits = _bits(tensor)
        if "head." not in name:
            digest.update(str(int(bits.sum(dtype=torch.int64))).encode())
            bits = bits[:: max(1, len(bits) // SAMPLE)]
        digest.update(bits.cpu().numpy().tobytes())
    if posterior_head is not None:
        for name, numbers in posterior_head.posterior.numbers().items():
            digest.update(f"{name} {numbers.shape}".encode() + numbers.tobytes())
    return f"{ranked.hexdigest()}.{digest.hexdigest()}"


def head_digest(weights: Mapping[str, Tensor]) -> str:
    """Return a digest of the weights of a ranking head, which no training leaves as they were."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        raw = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {raw.dtype} {list(raw.shape)}".encode())
        digest.update(raw.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _bits(tensor: Tensor) -> Tensor:
    """Return the bit patterns of a tensor as integers, in one row."""
    return tensor.detach().reshape(-1).view(_INTEGERS[tensor.element_size()])
