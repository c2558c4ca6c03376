"""Small training runs for the tests: compose a configuration, train in this process or in another."""

import csv
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning import Trainer
from omegaconf import DictConfig, open_dict

from p2l.composition.build_run import build_run
from p2l.composition.config_objects import register_resolvers
from p2l.data import VoteDataModule
from p2l.data.simulated import SimulatedArena, load_prompts, simulate_votes
from p2l.training import P2LModule, train
from tests.forked_script import ForkedScript

ROOT = Path(__file__).parents[1]
HEADS = sorted(path.stem for path in (ROOT / "conf" / "head").glob("*.yaml"))

# sizes of a decoder that is made in no time, for AutoConfig.for_model
DECODER_SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
}

# the same for encoders
ENCODER_SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
    "initializer_range": 0.3,
}
# what some of them need beside that
ENCODERS = {
    "bert": {},
    "camembert": {},
    "distilbert": {"hidden_dim": 32},
    "electra": {"embedding_size": 8},
    "ernie": {},
    "eurobert": {},
    "modernbert": {"local_attention": 6, "num_hidden_layers": 4, "initializer_cutoff_factor": 3.0},
    "nomic_bert": {},
    "roberta": {},
    "xlm-roberta": {"pad_token_id": 1},
}

# a network of some thousand weights on short prompts, one rate for all of them, one epoch in the order of the file from
# random weights; everything else as in conf/train.yaml
TINY = (
    "model=tiny",
    "model.max_length=32",
    "model.scratch.hidden_size=16",
    "model.scratch.intermediate_size=32",
    "model.scratch.num_attention_heads=2",
    "model.scratch.num_key_value_heads=1",
    "trainer=cpu",
    "trainer.enable_model_summary=false",
    "logger=csv",
    "callbacks.progress=null",
    "optimizer.lr=0.01",
    "optimizer.head_lr=null",
    "scheduler=constant",
    "trainer.max_epochs=1",
    "trainer.gradient_clip_val=null",
    "head.init=reset_parameters",
    "batching.shuffle=none",
    "batching.batch_size=48",
    "batching.token_budget=256",
)


def compose(*overrides: str, config: str = "train") -> DictConfig:
    """The configuration that a script would get."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        cfg = hydra_compose(config, overrides=list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    cfg = cfg.copy()
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def write_votes(path: Path, num_prompts: int = 16, votes_per_prompt: int = 12, seed: int = 0) -> Path:
    """Votes of the simulated arena on some of its prompts, as JSON lines."""
    arena = SimulatedArena.from_seed(num_models=6, seed=0)
    prompts = load_prompts().sample(num_prompts, random_state=seed)
    simulate_votes(arena, prompts, votes_per_prompt, seed).to_json(path, orient="records", lines=True)
    return path


@dataclass(frozen=True)
class Run:
    """A finished run and its parts."""

    module: P2LModule
    datamodule: VoteDataModule
    trainer: Trainer
    metrics: dict[str, float]
    folder: Path

    def curve(self, name: str = "train/loss") -> list[float]:
        return curve(self.folder, name)


def build(folder: Path, *overrides: str) -> tuple[P2LModule, VoteDataModule, Trainer]:
    """The parts of a small run on ``folder``/votes.jsonl, validated on ``folder``/val.jsonl."""
    return build_run(compose(*TINY, *on_votes(folder), f"output_dir={folder / 'run'}", *overrides))


def run(folder: Path, *overrides: str) -> Run:
    """Train a small model in this process."""
    cfg = compose(*TINY, *on_votes(folder), f"output_dir={folder / 'run'}", *overrides)
    parts = build_run(cfg)
    return Run(*parts, train(*parts, resume=cfg.resume), Path(cfg.output_dir))


def on_votes(folder: Path) -> list[str]:
    """The overrides that name the vote files of a folder; they are written if they are not there."""
    train_file, val_file = folder / "votes.jsonl", folder / "val.jsonl"
    if not train_file.exists():
        write_votes(train_file)
        write_votes(val_file, num_prompts=6, seed=1)
    return ["data=local", f"data.train={train_file}", f"data.val={val_file}", "data.val_share=0"]


def start_script(*arguments: str, script: str = "train", **environment: str) -> ForkedScript:
    """A script of this repository in another process, on one thread and without network."""
    return ForkedScript(ROOT / "scripts" / f"{script}.py", arguments, script_environment(**environment))


def run_script(*arguments: str, script: str = "train", **environment: str) -> tuple[int | None, str]:
    """Exit status and output of a script."""
    process = start_script(*arguments, script=script, **environment)
    output, _ = process.communicate(timeout=180)
    return process.returncode, output


def start_process(*arguments: str, script: str = "train", **environment: str) -> "subprocess.Popen[str]":
    """The same in an interpreter that starts from nothing, as a user starts it."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *arguments],
        env=script_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_process(*arguments: str, script: str = "train", **environment: str) -> tuple[int, str]:
    """Exit status and output of ``start_process``."""
    process = start_process(*arguments, script=script, **environment)
    output, _ = process.communicate(timeout=180)
    return process.returncode, output


def script_environment(**changes: str) -> dict[str, str]:
    """The environment of a script: one thread, no network."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PL_", "WANDB_"))}
    ours = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_SILENT": "true"}
    return {**inherited, **ours, **changes}


def curve(folder: Path, name: str = "train/loss") -> list[float]:
    """The logged values of a metric, in their order, over all parts of a run."""
    files = sorted(folder.glob("csv/version_*/metrics.csv"), key=lambda file: int(file.parent.name.split("_")[1]))
    rows = [row for file in files for row in csv.DictReader(file.read_text().splitlines())]
    return [float(row[name]) for row in rows if row.get(name)]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The tensors of a published folder."""
    from safetensors.torch import load_file

    return load_file(checkpoint / "model.safetensors")


def largest_difference(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference between two sets of weights of equal names."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
