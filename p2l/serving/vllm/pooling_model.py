"""P2L checkpoints as pooling models of vLLM."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsPP, SupportsQuant
from vllm.model_executor.models.llama import LlamaModel
from vllm.model_executor.models.qwen2 import Qwen2Model
from vllm.model_executor.models.qwen3 import Qwen3Model
from vllm.model_executor.models.utils import AutoWeightsLoader, maybe_prefix

from p2l.errors import ConfigError
from p2l.models.finite_weights import check_read_weights
from p2l.serving.vllm.ranking_pooler import RankingPooler
from p2l.serving.vllm.served_checkpoint import read_served_checkpoint

BACKBONES: dict[str, Any] = {"qwen2": Qwen2Model, "qwen3": Qwen3Model, "llama": LlamaModel}


class P2LPoolingModel(nn.Module, SupportsPP, SupportsQuant):
    """vLLM's own backbone, and the head of the checkpoint in float32 as ``load_checkpoint`` has it.

    vLLM reads the class attributes. Quantisation and parallelism apply to the backbone alone.
    """

    is_pooling_model = True
    default_seq_pooling_type = "LAST"
    hf_to_vllm_mapper = Qwen2Model.hf_to_vllm_mapper  # the same in every backbone
    packed_modules_mapping = {  # noqa: RUF012
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config
        kind = config.hf_config.model_type
        if kind not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ConfigError(f"vLLM serves P2L checkpoints on {known}; {config.model} is on {kind}: use p2l endpoint")
        checkpoint = read_served_checkpoint(vllm_config)
        self._name = config.model
        self.config = config.hf_config
        self.model = BACKBONES[kind](vllm_config=vllm_config, prefix=maybe_prefix(prefix, "model"))
        self.pooler = RankingPooler(checkpoint.head, checkpoint.encoder.cls_token_id)
        self.make_empty_intermediate_tensors = self.model.make_empty_intermediate_tensors

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        return self.model.embed_input_ids(input_ids)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
    ) -> Any:
        """Return the hidden state of every token, or what the next stage of a pipeline needs."""
        return self.model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the backbone; the head came with the checkpoint's description. CheckpointError if one is not finite."""
        loaded = AutoWeightsLoader(self, ignore_unexpected_prefixes=["lm_head."]).load_weights(self._backbone(weights))
        return loaded | {f"pooler.{name}" for name, _ in self.pooler.named_parameters()}

    def _backbone(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in weights:
            if not name.startswith("head."):
                check_read_weights(self._name, [(name, tensor)])
                yield name, tensor
