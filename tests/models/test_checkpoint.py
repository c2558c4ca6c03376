"""What a folder must hold, and the one line that says what is wrong with it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from p2l.errors import CheckpointError
from p2l.models import Checkpoint, is_p2l_checkpoint, load_checkpoint, save_checkpoint
from p2l.models.checkpoint_reader import load_encoder, load_head


@pytest.fixture
def copy_of(golden: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a published checkpoint, without some of its files."""

    def copy(name: str, *without: str) -> Path:
        return Path(shutil.copytree(golden / name, tmp_path / name, ignore=shutil.ignore_patterns(*without)))

    return copy


def load_fails(folder: Path, match: str, **options: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(str(folder), **options)
    assert "\n" not in str(caught.value)


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ---- a published checkpoint that does not say what it is


@pytest.mark.parametrize("name", ["qwen2_rk", "qwen2_grk"])
def test_a_head_with_eta_needs_the_loss_type(name: str, copy_of: Callable[..., Path]) -> None:
    folder = copy_of(name, "training_config.json")
    load_fails(folder, "weights fit every family with eta; give --loss-type: rk, rk-reparam, grk, ba")
    load_fails(folder, "give --loss-type", head_type="rk")  # the published head type of all three
    assert load_checkpoint(str(folder), loss_type="bag").family.name == "grk"
    assert load_checkpoint(str(folder), head_type="rk", loss_type="rk").family.name == "rk"


@pytest.mark.parametrize(("name", "family"), [("qwen2_bt", "bt"), ("qwen2_ba", "ba")])
def test_other_heads_say_it_by_their_weights(name: str, family: str, copy_of: Callable[..., Path]) -> None:
    checkpoint = load_checkpoint(str(copy_of(name, "training_config.json")))
    assert checkpoint.family.name == family
    assert checkpoint.encoder.format.max_length == 8192  # published


def test_options_win_over_the_recipe_but_not_over_what_the_weights_are(copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_rk")
    checkpoint = load_checkpoint(str(folder), loss_type="rk-reparam", max_length=32)
    assert (checkpoint.family.name, checkpoint.encoder.format.max_length) == ("rk-reparam", 32)
    load_fails(folder, r"family 'bt' does not fit the head .*emits coefs \+ eta", loss_type="bt")
    load_fails(folder, r"family 'ba' does not fit the head .*emits coefs \+ eta", loss_type="ba")
    load_fails(folder, "unknown likelihood family 'grok'; known: bt, ", loss_type="grok")


def test_ours_says_what_it_is(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "ours", tiny_checkpoint)
    assert is_p2l_checkpoint(str(folder))
    again = load_checkpoint(str(folder), loss_type="grk")
    assert again.family is tiny_checkpoint.family
    assert again.encoder.format == tiny_checkpoint.encoder.format
    assert (again.models, again.recipe) == (tiny_checkpoint.models, tiny_checkpoint.recipe)
    load_fails(folder, "was trained as 'grk'; --loss-type rk does not fit", loss_type="rk")


# ---- folders that are broken


@pytest.mark.parametrize("config", [True, False])
def test_ours_without_its_description_is_read_as_it_was_trained_or_doubted(
    config: bool, tiny_checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_checkpoint(tmp_path / "c", tiny_checkpoint)
    (folder / "p2l.json").unlink()
    edit(folder / "config.json", model_type="bert")
    if config:
        model = {"readout": "mean", "max_length": 40, "cls_position": "start"}
        edit(folder / "training_config.json", config={"model": model})
    assert load_head(folder).readout == ("mean" if config else "cls")
    read = load_encoder(folder).format
    assert (read.max_length, read.cls_position) == ((40, "start") if config else (8192, "end"))
    assert ("says how a model of type bert reads prompts" in caplog.text) is not config


def test_missing_model_list(copy_of: Callable[..., Path]) -> None:
    load_fails(copy_of("qwen2_bt", "model_list.json"), "model_list.json is missing; a P2L checkpoint folder has one")


def test_a_folder_that_holds_the_checkpoint(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "run" / "checkpoint", tiny_checkpoint)
    for name in ("a description", "description"):  # has no weights
        (tmp_path / "run" / name).mkdir()
        shutil.copy(folder / "model_list.json", tmp_path / "run" / name)
    load_fails(tmp_path / "run", re.escape(f"model_list.json is missing; did you mean {folder}?"))
    (tmp_path / "run" / "other").mkdir()
    load_fails(tmp_path / "run" / "other", "model_list.json is missing; a P2L checkpoint folder has one")


@pytest.mark.parametrize("text", ["{}", "[]", "3", "[1, 2]"])
def test_model_list_of_another_kind(text: str, copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    (folder / "model_list.json").write_text(text)
    load_fails(folder, "model_list.json must hold a non-empty list of model names")


def test_model_list_that_does_not_fit_the_head(copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    names = json.loads((folder / "model_list.json").read_text())
    (folder / "model_list.json").write_text(json.dumps(names[:-1]))
    load_fails(folder, "the head ranks 10 models, model_list.json names 9")
    (folder / "model_list.json").write_text(json.dumps([*names[:-1], names[0]]))
    load_fails(folder, "names a model twice: alpha-7b")


@pytest.mark.parametrize("file", ["model_list.json", "training_config.json", "config.json"])
def test_files_that_are_not_json(file: str, copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    (folder / file).write_text('{"cut": ')
    load_fails(folder, f"{file}.*not.*valid JSON")


def test_files_of_another_shape(copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    (folder / "p2l.json").write_text('{"prompt_format": {"max_tokens": 9}}')
    load_fails(folder, "an unknown prompt_format.*max_tokens")
    (folder / "p2l.json").write_text("[]")
    load_fails(folder, "p2l.json must hold a JSON object; found a list")


@pytest.mark.parametrize("size", [0, 4, 1000, 40_000])
def test_weights_cut_short(size: int, copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    load_fails(folder, "damaged or cut short")


def test_a_shard_cut_short_or_missing(golden: Path, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "shards", load_checkpoint(str(golden / "qwen2_bt")), max_shard_size="20KB")
    for shard in sorted(folder.glob("*.safetensors")):
        whole = shard.read_bytes()
        shard.write_bytes(whole[:-8])
        load_fails(folder, "damaged or cut short|not a readable model folder")
        shard.unlink()
        load_fails(folder, "not a readable model folder")
        shard.write_bytes(whole)
    load_checkpoint(str(folder))


def test_missing_weights(copy_of: Callable[..., Path]) -> None:
    load_fails(copy_of("qwen2_bt", "model.safetensors"), "not a readable model folder")


def test_weights_that_lack_a_part(copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    tensors = load_file(folder / "model.safetensors")
    without_norm = {key: value for key, value in tensors.items() if key != "model.norm.weight"}
    save_file(without_norm, folder / "model.safetensors", {"format": "pt"})
    load_fails(folder, "lacks 1 weights of its backbone, norm.weight first")
    without_bias = {key: value for key, value in tensors.items() if key != "head.head.bias"}
    save_file(without_bias, folder / "model.safetensors", {"format": "pt"})
    load_fails(folder, "head weights do not fit together.*head.bias")


def test_a_config_that_is_not_that_of_the_weights(copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    edit(folder / "config.json", hidden_size=32)
    load_fails(folder, r"has the shape \(.*\), but config.json asks for \(.*\)")


# transformers reads the tokenizer's configuration as one of no known model first
@pytest.mark.filterwarnings("ignore:`rope_scaling` is deprecated:FutureWarning")
def test_an_unknown_architecture(copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    edit(folder / "config.json", model_type="no-such-architecture")
    load_fails(folder, "no-such-architecture")


def test_a_plain_language_model(copy_of: Callable[..., Path]) -> None:
    folder = copy_of("qwen2_bt")
    tensors = {key: value for key, value in load_file(folder / "model.safetensors").items() if "head" not in key}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    load_fails(folder, "no head.head.* weights: it is a plain language model, not a P2L checkpoint")
    (folder / "model_list.json").unlink()
    load_fails(folder, "model_list.json is missing")
    assert not is_p2l_checkpoint(str(folder))


def test_a_folder_without_tokenizer(copy_of: Callable[..., Path]) -> None:
    load_fails(copy_of("qwen2_bt", "*token*"), "has no tokenizer files .*tokenizer.json")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    load_fails(tmp_path / "nowhere", "no model folder at .*nowhere")


def test_a_hub_id_without_network() -> None:
    with pytest.raises(CheckpointError, match="could not load someone/p2l-tiny from the Hugging Face hub.*hf download"):
        load_checkpoint("someone/p2l-tiny")
