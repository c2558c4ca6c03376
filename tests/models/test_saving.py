"""The folder that is written: whole or not at all, and with the keys that the published loader looks for."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from p2l.heads import RankingHead
from p2l.models import Checkpoint, LoRA, ModelRecipe, load_checkpoint, save_checkpoint, saving
from p2l.models.predictor import predict

PROMPTS = ["hello", ["first", "second"], "a much longer prompt " * 9]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def same_rankings(checkpoint: Checkpoint, folder: Path, atol: float = 1e-5) -> None:
    for found, expected in zip(
        predict(load_checkpoint(str(folder)), PROMPTS), predict(checkpoint, PROMPTS), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def of_recipe(recipe: ModelRecipe, family: str = "grk") -> Checkpoint:
    encoder, models = recipe.encoder(), ("alpha", "beta", "gamma")
    return Checkpoint(recipe.build(encoder, partial(RankingHead, family=family), models).eval(), encoder, models)


# ---- what the published loader looks for


@pytest.mark.parametrize("theta", [10_000.0, 1_000_000.0])
def test_rope_theta_stands_where_transformers_4_looks(tiny_recipe: ModelRecipe, theta: float, tmp_path: Path) -> None:
    scratch = {**tiny_recipe.scratch, "rope_parameters": {"rope_type": "default", "rope_theta": theta}}
    checkpoint = of_recipe(ModelRecipe(scratch=scratch, max_length=64))
    config = read(save_checkpoint(tmp_path / "new", checkpoint) / "config.json")
    assert (config["rope_theta"], config["rope_scaling"]) == (theta, None)
    assert config["architectures"] == ["P2LModel"]
    assert config["torch_dtype"] == "float32"
    assert config["tie_word_embeddings"] is False
    same_rankings(checkpoint, tmp_path / "new")


def test_rope_scaling_of_llama_stands_where_transformers_4_looks(golden: Path, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "copy", load_checkpoint(str(golden / "llama_bt_tie")))
    published, config = read(golden / "llama_bt_tie" / "config.json"), read(folder / "config.json")
    differing = {key for key in published if config.get(key) != published[key]}
    assert config["rope_scaling"].pop("rope_theta", None) is None
    assert differing <= {"use_cache", "transformers_version"}


@pytest.mark.parametrize("name", ["llama_bt_tie", "qwen2_bt", "qwen2_bt_lowrank"])
def test_tokenizer_files_say_what_transformers_4_reads(name: str, golden: Path, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "copy", load_checkpoint(str(golden / name)))
    published, config = read(golden / name / "tokenizer_config.json"), read(folder / "tokenizer_config.json")
    for key in ("cls_token", "pad_token", "eos_token", "chat_template", "model_input_names", "model_max_length"):
        assert config[key] == published[key]
    assert config["additional_special_tokens"] == published["additional_special_tokens"]
    assert "extra_special_tokens" not in config
    assert (config["truncation_side"], config["padding_side"]) == ("left", "right")
    assert config["tokenizer_class"] in ("PreTrainedTokenizerFast", "Qwen2Tokenizer")
    assert not (folder / "chat_template.jinja").exists()


def test_a_tokenizer_of_ours_is_one_that_transformers_4_knows(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    config = read(save_checkpoint(tmp_path / "new", tiny_checkpoint) / "tokenizer_config.json")
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["model_input_names"] == ["input_ids", "attention_mask"]
    assert config["cls_token"] == "<|cls|>"


def test_a_saved_tokenizer_gives_the_same_ids(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Also of a backbone whose model type has a tokenizer class of its own, with a normaliser of its own."""
    encoder = load_checkpoint(str(save_checkpoint(tmp_path / "new", tiny_checkpoint))).encoder
    for text in ("monta\u006e\u0303a", "mon\u00f1a", "\ufb01 \u2460 \uff21", "x  y\n\n 123's", "<|cls|> <|endoftext|>"):
        assert encoder.encode(text) == tiny_checkpoint.encoder.encode(text)


def test_weights_have_the_published_keys_and_the_bottleneck_is_written_once(golden: Path, tmp_path: Path) -> None:
    name = "qwen2_rk_lowrank_etadown"
    folder = save_checkpoint(tmp_path / "copy", load_checkpoint(str(golden / name)))
    theirs, ours = load_file(golden / name / "model.safetensors"), load_file(folder / "model.safetensors")
    assert set(theirs) - set(ours) == {"head.eta_head.0.weight", "head.eta_head.0.bias"}  # shared with head.head.0
    assert set(ours) <= set(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_no_path_of_this_machine_is_written(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path / "first", tiny_checkpoint)
    second = save_checkpoint(tmp_path / "second", load_checkpoint(str(first)))
    for file in (file for file in second.iterdir() if file.suffix != ".safetensors"):
        assert str(tmp_path) not in file.read_text(encoding="utf-8"), file.name


def test_the_card_names_the_models_and_metrics(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    tiny_checkpoint.recipe["metrics"] = {"val/log_loss": 1.25}
    card = (save_checkpoint(tmp_path / "new", tiny_checkpoint) / "README.md").read_text()
    assert "| val/log_loss | 1.2500 |" in card
    assert "- alpha\n" in card


# ---- adapters and quantised weights


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
def test_adapters_are_merged_into_the_published_weights(
    targets: str | list[str], tiny_recipe: ModelRecipe, tmp_path: Path
) -> None:
    lora = LoRA(rank=4, alpha=12, target_modules=targets)
    plain = set(of_recipe(tiny_recipe).model.state_dict())
    checkpoint = of_recipe(ModelRecipe(scratch=tiny_recipe.scratch, max_length=64, lora=lora))
    before = predict(checkpoint, PROMPTS).coefs
    for name, parameter in checkpoint.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    assert (predict(checkpoint, PROMPTS).coefs - before).abs().max() > 0.1
    folder = save_checkpoint(tmp_path / "merged", checkpoint)
    assert set(load_file(folder / "model.safetensors")) == plain
    same_rankings(checkpoint, folder)


def test_adapters_of_a_gathered_state_are_merged_from_that_state(tiny_recipe: ModelRecipe, tmp_path: Path) -> None:
    checkpoint = of_recipe(ModelRecipe(scratch=tiny_recipe.scratch, max_length=64, lora=LoRA(rank=4)))
    for name, parameter in checkpoint.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    gathered = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    expected = predict(checkpoint, PROMPTS).coefs
    for parameter in checkpoint.model.parameters():
        parameter.data.zero_()  # as a rank that holds another shard
    folder = save_checkpoint(tmp_path / "merged", checkpoint, state_dict=gathered)
    torch.testing.assert_close(predict(load_checkpoint(str(folder)), PROMPTS).coefs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lora", [None, LoRA(rank=2, target_modules=["q_proj"])], ids=["frozen", "adapted"])
def test_quantised_weights_are_restored(lora: LoRA | None, golden: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="8-bit weights need bitsandbytes (extra: gpu)")
    whole = load_checkpoint(str(golden / "qwen2_bt"))
    recipe = ModelRecipe(
        path=str(golden / "qwen2_bt"), max_length=64, quantization="8bit", freeze=lora is None, lora=lora
    )
    model = recipe.build(whole.encoder, partial(RankingHead, family="bt"), whole.models).eval()
    eight_bit = Checkpoint(model, whole.encoder, whole.models)
    coefs = predict(whole, PROMPTS).coefs
    assert 1e-4 < (predict(eight_bit, PROMPTS).coefs - coefs).abs().max() < 1
    folder = save_checkpoint(tmp_path / "restored", eight_bit)
    tensors, published = load_file(folder / "model.safetensors"), load_file(golden / "qwen2_bt" / "model.safetensors")
    assert set(tensors) == set(published)
    for key, value in tensors.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, published[key], rtol=0, atol=float(published[key].abs().max()) / 100)
    assert "quantization_config" not in read(folder / "config.json")
    load_checkpoint(str(folder))


def test_adapters_of_4_bit_weights_train_and_are_merged(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes (extra: gpu)")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    wide = {"model_type": "qwen2", **sizes, "num_key_value_heads": 2, "initializer_range": 0.2}
    start = ModelRecipe(scratch=wide, max_length=64)
    encoder, bt = start.encoder(), partial(RankingHead, family="bt")
    models = ("a", "b", "c")
    whole = Checkpoint(start.build(encoder, bt, models).eval(), encoder, models)
    save_checkpoint(tmp_path / "whole", whole)
    recipe = ModelRecipe(path=str(tmp_path / "whole"), max_length=64, quantization="4bit", lora=LoRA(rank=2))
    model = recipe.build(encoder, bt, models)
    four_bit = Checkpoint(model, encoder, models)
    assert 1e-4 < (predict(four_bit, PROMPTS).coefs - predict(whole, PROMPTS).coefs).abs().max() < 1
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(p.numel() for p in trained) < 0.2 * whole.model.num_parameters
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    ids = torch.tensor([encoder.encode("hello there")])
    losses = []
    for _ in range(5):
        loss = (model(ids, torch.ones_like(ids)).coefs - 1).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    expected = predict(four_bit, PROMPTS).coefs
    folder = save_checkpoint(tmp_path / "merged", four_bit)
    # the 4-bit layers compute in bfloat16
    torch.testing.assert_close(predict(load_checkpoint(str(folder)), PROMPTS).coefs, expected, rtol=0, atol=0.05)


# ---- whole or not at all


def test_what_another_checkpoint_left_is_gone(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    save_checkpoint(folder, tiny_checkpoint, max_shard_size="20KB")
    (folder / "chat_template.jinja").write_text("stale")
    (folder / "notes.txt").write_text("mine")
    save_checkpoint(folder, tiny_checkpoint)
    assert [file.name for file in folder.glob("*.safetensors*")] == ["model.safetensors"]
    assert not (folder / "chat_template.jinja").exists()
    assert (folder / "notes.txt").read_text() == "mine"
    same_rankings(tiny_checkpoint, folder)


@pytest.mark.parametrize(
    "step", ["save_torch_state_dict", "_save_tokenizer", "describe", "model_card", "published_config"]
)
def test_an_error_on_the_way_leaves_everything_as_it_was(
    step: str, tiny_checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = save_checkpoint(tmp_path / "old", tiny_checkpoint)
    before = {file.name: file.read_bytes() for file in old.iterdir()}

    def full_disk(*args: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(saving, step, full_disk)
    for name in ("old", "new"):
        with pytest.raises(OSError, match="no space"):
            save_checkpoint(tmp_path / name, tiny_checkpoint)
    assert os.listdir(tmp_path) == ["old"]
    assert {file.name: file.read_bytes() for file in old.iterdir()} == before


def test_files_have_the_usual_permissions(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    (tmp_path / "folder").mkdir()
    folder = save_checkpoint(tmp_path / "deep" / "new", tiny_checkpoint)
    assert {file.stat().st_mode for file in folder.iterdir()} == {(tmp_path / "usual").stat().st_mode}
    assert folder.stat().st_mode == (tmp_path / "folder").stat().st_mode
    assert os.listdir(tmp_path / "deep") == ["new"]
