import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, BertConfig

from p2l.errors import CheckpointError, ConfigError
from p2l.models import load_backbone, load_checkpoint, local_folder, prepare_backbone
from p2l.models.backbone import explain_load_error, load_tokenizer, resolve_path, set_dropout


def test_package_paths_are_folders_of_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights_of_mine" / "model").mkdir(parents=True)
    (tmp_path / "weights_of_mine" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert local_folder("package:weights_of_mine/model") == str(tmp_path / "weights_of_mine" / "model")
    assert resolve_path("owner/name") == "owner/name"
    for wrong in ("package:no_such_package/model", "package:", "package:a-b/model"):
        with pytest.raises(CheckpointError, match="which is not installed"):
            local_folder(wrong)


def test_every_dropout_of_the_configuration_is_set() -> None:
    config = BertConfig()
    set_dropout(config, 0.25)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.25, 0.25)
    assert config.classifier_dropout is None
    with pytest.raises(ConfigError, match="Mamba.* has no dropout to set"):
        set_dropout(AutoConfig.for_model("mamba"), 0.1)


def test_room_for_new_tokens_is_made_and_none_is_taken_away(golden: Path) -> None:
    folder = str(golden / "qwen2_bt")  # 416 rows for 400 tokens
    backbone = load_backbone(folder, key_mapping={r"^model\.": ""})
    assert prepare_backbone(backbone, vocab_size=400).get_input_embeddings().weight.shape[0] == 416
    assert prepare_backbone(backbone, vocab_size=420).get_input_embeddings().weight.shape[0] == 420
    assert backbone.config.vocab_size == 420


def test_reasons_are_one_line_and_say_what_to_do(tmp_path: Path) -> None:
    error = OSError("first line\nsecond line")
    assert explain_load_error(str(tmp_path), error).endswith("files expected): first line")
    assert "no model folder at ./here" in explain_load_error("./here", error)
    assert "'hf download owner/name'" in explain_load_error("owner/name", error)


def test_a_mistyped_folder_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slash makes a hub id, unless the folder before it is here."""
    (tmp_path / "outputs").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in ("outputs/nope", "outputs/nope/checkpoint", str(tmp_path / "nope")):
        with pytest.raises(CheckpointError, match=f"no model folder at {path}") as caught:
            load_checkpoint(path)
        assert "hf download" not in str(caught.value)


def test_no_tokenizer_is_made_up(tmp_path: Path) -> None:
    AutoConfig.for_model("qwen2").save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"has no tokenizer files \(vocab.json, merges.txt, tokenizer.json expected"
    ):
        load_tokenizer(str(tmp_path))
