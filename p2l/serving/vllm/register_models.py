"""Entry point of the group ``vllm.general_plugins``, which every process of vLLM calls."""

from vllm import ModelRegistry

ARCHITECTURE = "P2LModel"  # in config.json of every P2L checkpoint


def register() -> None:
    """Register P2L checkpoints with vLLM; their code is imported when one is loaded."""
    ModelRegistry.register_model(ARCHITECTURE, "p2l.serving.vllm.pooling_model:P2LPoolingModel")
