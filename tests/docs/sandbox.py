"""A folder in which the shown commands run: the files that they name, small, and a trained checkpoint."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from p2l.data.simulated import SimulatedArena, load_prompts, simulate_votes
from tests.docs.rules import SMALL_DEMO
from tests.docs.shown_code import shown_code
from tests.forked_script import ForkedScript
from tests.running import ROOT, script_environment
from tests.scaling.simulated import points, simulate

RUNNER = ROOT / "tests" / "docs" / "command_in_fork.py"
KEYS = {"ANTHROPIC_API_KEY": "sk-anthropic", "OPENAI_API_KEY": "sk-openai", "TEAM_A_KEY": "team", "BATCH_KEY": "batch"}


def run_command(folder: Path, *arguments: str) -> str:
    """Run ``p2l`` in a folder; its output. Fails if its exit status is not 0."""
    here = Path.cwd()
    os.chdir(folder)  # a forked process starts where this one is
    try:
        process = ForkedScript(RUNNER, arguments, script_environment(**KEYS))
        output, _ = process.communicate(timeout=120)
    finally:
        os.chdir(here)
    assert process.returncode == 0, f"p2l {' '.join(arguments)} ended with {process.returncode}:\n{output}"
    return output


def make_sandbox(folder: Path) -> Path:
    """Fill a folder with all files that the pages name."""
    for name in ("docs", "scripts", "deploy", "benchmarks", "conf", "Makefile"):
        (folder / name).symlink_to(ROOT / name)
    arena, prompts = SimulatedArena.from_seed(), load_prompts().assign(math=lambda frame: frame.topic == "math")
    _write_votes(folder, arena, prompts)
    _write_prompts(folder, prompts)
    _write_scores(folder, arena, prompts)
    (folder / "router.yaml").write_text(shown_code(ROOT / "docs" / "tutorial.md", "yaml")[0].text)
    for point in points(simulate()):
        place = folder / "outputs" / "scaling_law" / f"{point.parameters}_{point.votes}"
        place.mkdir(parents=True)
        point.write(place / "result.json")
    _train(folder)
    return folder


def _write_votes(folder: Path, arena: SimulatedArena, prompts: pd.DataFrame) -> None:
    def draw(num_prompts: int, seed: int) -> pd.DataFrame:
        return simulate_votes(arena, prompts.sample(num_prompts, random_state=seed), 12, seed)

    for seed, name in enumerate(("votes", "votes_val", "votes_test")):
        draw(60, seed).to_parquet(folder / f"{name}.parquet")
    (folder / "votes").mkdir()
    for part in range(2):
        draw(60, part).to_parquet(folder / "votes" / f"part-{part}.parquet")
    draw(30, 3).to_json(folder / "votes.jsonl", orient="records", lines=True)
    new = draw(30, 4).replace({"model_b": dict.fromkeys(arena.models, "nova-1")})
    new.to_parquet(folder / "new_votes.parquet")


def _write_prompts(folder: Path, prompts: pd.DataFrame) -> None:
    columns = prompts[["prompt", "topic"]]
    columns.sample(40, random_state=5).to_json(folder / "prompts.jsonl", orient="records", lines=True)
    columns.sample(40, random_state=6).to_json(folder / "other_prompts.jsonl", orient="records", lines=True)


def _write_scores(folder: Path, arena: SimulatedArena, prompts: pd.DataFrame) -> None:
    """One row for each prompt and model: 1 with a probability that rises with the model's strength."""
    models = np.array(arena.models[:6])
    for seed, name in enumerate(("scores", "known_scores", "calibration_scores")):
        drawn, generator = prompts.iloc[40 * seed : 40 * (seed + 1)], np.random.default_rng(seed)
        usable = 1 / (1 + np.exp(-arena.true_coefs(drawn)[:, : len(models)]))
        table = {
            "prompt_id": np.repeat(np.arange(len(drawn)), len(models)),
            "prompt": drawn.prompt.repeat(len(models)).to_numpy(),
            "model": np.tile(models, len(drawn)),
            "score": (generator.random(usable.size) < usable.ravel()).astype(float),
            "cost": np.tile(np.geomspace(0.1, 10, len(models)), len(drawn)),
        }
        pd.DataFrame(table).to_parquet(folder / f"{name}.parquet")
    shutil.copy(ROOT / "docs" / "examples" / "scores.csv", folder / "test_scores.csv")


def _train(folder: Path) -> None:
    """Make ``outputs/demo`` by the README's command, ``outputs/own`` from it, and rankings by the checkpoint."""
    run_command(folder, "train", "experiment=demo", "logger=csv", "output_dir=outputs/demo", *SMALL_DEMO)
    shutil.copytree(folder / "outputs" / "demo", folder / "outputs" / "own")
    checkpoints = folder / "outputs" / "own" / "checkpoints"
    shutil.copy(checkpoints / "best.ckpt", checkpoints / "last.ckpt")
    run_command(
        folder, "predict", "model_path=outputs/demo/checkpoint", "dataset=prompts.jsonl", "output=rankings.parquet"
    )


Runner = Callable[..., str]
