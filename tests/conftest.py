"""Offline, quiet and on one thread; shapes and types are checked at every call of p2l while tests run."""

import gc
import logging
import os

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "WANDB_MODE": "offline",
}

from jaxtyping import install_import_hook

# the numeric tower of PEP 484: an int will do for a float
install_import_hook("p2l", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from p2l.heads import RankingHead
from p2l.models import Checkpoint, ModelRecipe

torch.set_num_threads(1)
gc.freeze()  # the libraries stay: the search for cycles in them takes a seventh of the time of tests
settings.register_profile("p2l", deadline=None, derandomize=True)
settings.load_profile("p2l")

TINY_QWEN = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,  # wide, so that prompts differ visibly
}


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that runs in this process sets up logging for it; the handler would outlive the captured stream."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Numbers and checkpoints made by the published code; see its README.md."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def tiny_recipe() -> ModelRecipe:
    """A two-layer Qwen2 of random weights with a byte tokenizer; prompts of at most 64 tokens."""
    return ModelRecipe(scratch=TINY_QWEN, max_length=64)


@pytest.fixture
def tiny_checkpoint(tiny_recipe: ModelRecipe) -> Checkpoint:
    """The tiny model with a grounded Rao-Kupper head over four LLMs."""
    encoder, models = tiny_recipe.encoder(), ("alpha", "beta", "delta", "gamma")
    model = tiny_recipe.build(encoder, partial(RankingHead, family="grk"), models)
    return Checkpoint(model.eval(), encoder, models, {"loss_type": "grk", "head_type": "rk"})
