"""The scripts of benchmarks/public as modules, and an encoder for them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import BertConfig, BertModel

from p2l.models.byte_tokenizer import byte_tokenizer
from tests.running import ROOT

FOLDER = ROOT / "benchmarks" / "public"


@pytest.fixture(scope="module")
def public() -> Iterator[dict[str, ModuleType]]:
    """The modules of the folder, which are scripts that import each other by name."""
    names = [path.stem for path in FOLDER.glob("*.py")]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield {name: __import__(name) for name in names}
        for name in names:
            del sys.modules[name]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with random weights."""
    folder, tokenizer = tmp_path_factory.mktemp("encoder"), byte_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.3, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
