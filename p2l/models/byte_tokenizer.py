"""A tokenizer that needs no file, one token a byte, for backbones trained from scratch and for tests."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


def byte_tokenizer() -> PreTrainedTokenizerBase:
    """Make a tokenizer of 256 byte tokens, with ``<|endoftext|>`` as end and pad token and ``<|cls|>`` as CLS."""
    vocabulary = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        cls_token="<|cls|>",
        model_input_names=["input_ids", "attention_mask"],
    )
