"""Every choice of every group composes, and makes its object as far as a machine without a GPU can."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.utils import get_class
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from omegaconf import OmegaConf

from p2l.composition.build_run import make_trainer
from p2l.composition.config_objects import make, register_resolvers
from p2l.heads import RankingHead
from p2l.losses import NegativeLogLikelihood
from p2l.models import ModelRecipe
from p2l.training import OptimizerByPart, Schedule
from p2l.training.sharding import FSDP2Strategy
from tests.running import ROOT, compose

CONF = ROOT / "conf"


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


GROUPS = sorted({name for entry in OmegaConf.load(CONF / "train.yaml").defaults if entry != "_self_" for name in entry})


@pytest.mark.parametrize(("group", "choice"), [(g, c) for g in GROUPS for c in choices(g)])
def test_every_choice_composes(group, choice):
    if group == "sweep" and importlib.util.find_spec("optuna") is None:
        pytest.skip("optuna is not installed (extra: sweep)")
    config = compose(f"{group}={choice}")
    assert set(config) >= {"model", "head", "loss", "data", "optimizer", "trainer", "callbacks", "logger"}


@pytest.mark.parametrize("choice", choices("head"))
def test_heads(choice):
    head = make(compose(f"head={choice}").head)(hidden_size=8, num_models=5)
    assert isinstance(head, RankingHead)
    assert head.family.name.replace("-", "_") == choice


@pytest.mark.parametrize("choice", choices("loss"))
def test_losses(choice):
    assert isinstance(make(compose(f"loss={choice}").loss), NegativeLogLikelihood)


@pytest.mark.parametrize("choice", choices("data"))
def test_sources(choice):
    assert make(compose(f"data={choice}", *(["data.train=x"] if choice in ("local", "scores") else [])).data).load


@pytest.mark.parametrize("choice", choices("model"))
def test_models(choice):
    recipe = make(compose(f"model={choice}", *(["model.path=x"] if choice == "default" else [])).model)
    assert isinstance(recipe, ModelRecipe)


def test_lora():
    recipe = make(compose("model=tiny", "lora=default", "model.lora.rank=3").model)
    assert recipe.lora.rank == 3


@pytest.mark.parametrize("choice", choices("buffer"))
def test_buffers(choice):
    """The file lists every field, so that each can be overridden by name."""
    plan = make(compose(f"buffer={choice}", "batching.shuffle=time", "batching.batch_size=512").batching)
    assert type(plan.buffer).__name__ == f"{choice.title()}Buffer"
    assert set(compose(f"buffer={choice}").batching.buffer) - {"_target_"} == set(vars(plan.buffer))
    assert "buffer" not in compose().batching


@pytest.mark.parametrize("choice", choices("optimizer"))
def test_optimizers(choice):
    config = compose(f"optimizer={choice}", "optimizer.lr=1e-5", "optimizer.head_lr=null").optimizer
    module = config.factory._target_.split(".")[0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (extra: gpu)")
    recipe = make(config)
    assert isinstance(recipe, OptimizerByPart)
    optimizer = recipe.factory([torch.nn.Parameter(torch.zeros(2, 2))], lr=recipe.lr)
    assert tuple(optimizer.defaults["betas"]) == (0.9, 0.999)
    assert optimizer.defaults["eps"] == 1e-8


@pytest.mark.parametrize("choice", choices("scheduler"))
def test_schedulers(choice):
    assert isinstance(make(compose(f"scheduler={choice}").scheduler), Schedule)


@pytest.mark.parametrize("choice", choices("callbacks"))
def test_callbacks(choice):
    callbacks = make(compose(f"callbacks={choice}").callbacks)
    assert all(isinstance(callback, Callback) for callback in callbacks.values() if callback is not None)


@pytest.mark.parametrize("choice", choices("logger"))
def test_loggers(choice, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert isinstance(make(compose(f"logger={choice}", f"output_dir={tmp_path}").logger), Logger)


@pytest.mark.parametrize("choice", ["auto", "cpu", "ddp", "default", "fsdp2", "gpu"])
def test_trainers_that_also_run_without_a_gpu(choice, tmp_path):
    overrides = ["trainer.accelerator=cpu", "trainer.devices=2"] if choice in ("ddp", "fsdp2") else []
    overrides += ["trainer.accelerator=cpu"] if choice == "gpu" else []
    trainer = make_trainer(compose(f"trainer={choice}", *overrides, f"output_dir={tmp_path}").trainer, [])
    assert isinstance(trainer, Trainer)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("fsdp", FSDPStrategy),
        ("fsdp2", FSDP2Strategy),
        ("deepspeed_zero1", DeepSpeedStrategy),
        ("deepspeed_zero2", DeepSpeedStrategy),
        ("deepspeed_zero3", DeepSpeedStrategy),
    ],
)
def test_strategies(choice, expected):
    if expected is DeepSpeedStrategy and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("deepspeed is not installed (extra: gpu)")
    strategy = make(compose(f"trainer={choice}").trainer.strategy)
    assert isinstance(strategy, expected)
    if expected is DeepSpeedStrategy:
        assert strategy.config["zero_optimization"]["stage"] == int(choice[-1])


def test_no_trainer_is_left_out():
    seen = {"auto", "cpu", "ddp", "default", "fsdp2", "gpu", "fsdp"}
    assert set(choices("trainer")) == seen | {f"deepspeed_zero{stage}" for stage in (1, 2, 3)}


def experiment(name: str, *overrides: str):
    needed = ["data.train=x"] if name != "demo" else []
    needed += ["model.path=x"] if name == "head_first_then_all" else []
    return compose(f"experiment={name}", *needed, *overrides)


@pytest.mark.parametrize("name", choices("experiment"))
def test_experiments(name):
    config = experiment(name, *(["optimizer.lr=1e-5", "optimizer.head_lr=1e-3"] if name.startswith("own_") else []))
    assert config.name == name
    assert isinstance(make(config.model), ModelRecipe)
    assert isinstance(make(config.head)(hidden_size=64, num_models=9), RankingHead)
    assert isinstance(make(config.optimizer), OptimizerByPart)
    assert issubclass(get_class(config.module._target_), LightningModule)
    make(config.loss)
    buffer = make(config.batching.buffer) if "buffer" in config.batching else None
    assert (type(buffer).__name__.lower() == f"{name.removeprefix('grk_')}buffer") == (buffer is not None)
    make(config.callbacks)


@pytest.mark.parametrize("name", choices("experiment"))
def test_an_experiment_says_how_to_run_it(name):
    first, second, *_ = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert first == "# @package _global_"
    assert re.match(rf"# p2l train (-m )?experiment={name}\b", second)


ROW = re.compile(r"\| (?P<name>[^|]+) \| `(?P<command>[^`]+)` \| (?P<lr>\S+) \| (?P<votes>\d+) \| (?P<length>\d+) \|")
PUBLISHED = [match.groupdict() for match in ROW.finditer((CONF / "experiment" / "README.md").read_text())]


def test_there_are_36_published_recipes():
    assert len({row["name"] for row in PUBLISHED}) == 36


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["name"])
def test_published_recipes(row):
    """The table of ``conf/experiment/README.md`` against what its commands compose to."""
    config = compose("data.train=x", *row["command"].replace("<run>", "run").split())
    assert config.optimizer.lr == float(row["lr"])
    assert config.batching.batch_size == int(row["votes"])
    assert config.model.max_length == int(row["length"])
    assert (config.batching.shuffle, config.scheduler.name, config.trainer.max_epochs) == ("none", "constant", 1)
    drawn = re.search("(he|xavier)$", row["name"])
    assert config.head.init == (f"{drawn[1]}_unif" if drawn else "reset_parameters")
    assert config.optimizer.head_lr is None
    assert (config.callbacks.start, config.data.val_share, config.trainer.gradient_clip_val) == (None, 0.0, 1.0)
    assert "auto" not in OmegaConf.to_yaml(OmegaConf.masked_copy(config, ["batching", "optimizer"]))
    assert config.trainer.strategy.stage == 1
    assert config.trainer.precision == "bf16-mixed"
    assert config.model.gradient_checkpointing or config.model.path == "run/checkpoint"
    size = re.search(r"(\d\.?\d?)b", row["name"].lower())
    if size and config.model.path != "run/checkpoint":
        assert f"-{size[1]}b-" in config.model.path.lower()
    family = "grk" if re.search("bag|geom", row["name"]) else "rk" if "rk" in row["name"] else "bt"
    assert config.head.family.startswith(family)


def test_a_typo_fails_at_composition():
    with pytest.raises(ConfigCompositionException, match="trainer.max_step") as caught:
        compose("trainer.max_step=3")
    assert "not in struct" in str(caught.value.__cause__)


def test_a_choice_that_is_not_there_names_those_that_are():
    with pytest.raises(Exception, match="Could not find 'head/grok'[\\s\\S]*rk_reparam"):
        compose("head=grok")


def test_no_file_repeats_a_field_that_its_class_lacks():
    """``data=local`` and ``model=default`` list every field, so that each can be overridden by name."""
    import dataclasses

    from p2l.data import FileVotes

    for config, made in ((compose("data=local").data, FileVotes), (compose("model=default").model, ModelRecipe)):
        assert set(config) - {"_target_"} == {field.name for field in dataclasses.fields(made)}


def test_a_slurm_job_has_a_task_for_each_gpu():
    pytest.importorskip("submitit", reason="extra: sweep")
    compose("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=4")
    launcher = HydraConfig.get().launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert launcher.tasks_per_node == 4


def test_the_points_of_a_scaling_law_have_folders_of_their_own():
    compose("experiment=scaling_law", "data.train=x", "model.path=owner/name", "model.num_layers=3")
    hydra = HydraConfig.get()
    assert hydra.sweep.subdir == "owner_name_layers-3_share-1.0"
    sizes = [len(str(values).split(",")) for values in hydra.sweeper.params.values()]
    assert sizes == [4, 4]


def test_output_folders_are_named_after_model_and_head():
    assert re.fullmatch(r"outputs/tiny-rk/[\d_-]+", compose("model=tiny", "head=rk").output_dir)


def test_conf_has_no_stray_files():
    assert not [path for path in CONF.rglob("*") if path.is_file() and path.suffix not in (".yaml", ".md")]
    assert Path(CONF / "train.yaml").exists()


@pytest.mark.parametrize("config", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_script_composes(config):
    """With an object to make, or the parts of a run; a script of the same name reads it."""
    assert (ROOT / "scripts" / f"{config}.py").exists()
    assert set(compose(config=config)) & {"job", "suite", "module"}


def test_a_sweep_makes_its_folder_before_hydra_sets_its_config():
    register_resolvers()
    HydraConfig.instance().cfg = None
    with initialize_config_dir(str(CONF), version_base=None):
        cfg = hydra_compose("train", ["model=tiny", "head=rk"], return_hydra_config=True)
    assert cfg.hydra.sweep.dir.startswith("outputs/tiny-rk/sweep_")
