"""``p2l`` as a user calls it: help and mistakes come at once, without torch, and with the option that was meant."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from p2l.commands.cli import CONFIGURED, SERVERS, main
from p2l.composition.hydra_task import HydraTask
from p2l.composition.option_names import nearest
from tests.running import HEADS, ROOT

HEAVY = ("torch", "lightning", "transformers", "pandas", "numpy", "datasets", "matplotlib")
# runs its argument as a program, and lists the heavy modules that it imported
PROBE = f"""
import atexit, runpy, sys
atexit.register(lambda: print("imported:", [name for name in {HEAVY} if name in sys.modules]))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
P2L = ROOT / "p2l" / "__main__.py"
TRAIN = ROOT / "scripts" / "train.py"


def call(program: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a program, the heavy modules last."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROBE, str(program), *arguments]
    found = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return found.returncode, found.stdout


LIGHT = {
    "help": (P2L, ["--help"], 0, "leaderboard  Fit leaderboards to votes"),
    "help of train": (P2L, ["train", "--help"], 0, f"head: {', '.join(HEADS)}"),
    "help of a script": (TRAIN, ["--help"], 0, "batch_size: 512 # votes in an optimizer step"),
    "another project's name": (P2L, ["train", "learning_rate=1e-5"], 2, "did you mean optimizer.lr=1e-5?"),
    "a key without its node": (P2L, ["train", "batch_size=8"], 2, "did you mean batching.batch_size=8?"),
    "a mistyped group": (P2L, ["train", "hed=bt"], 2, "unknown option hed; did you mean head=bt?"),
    "a mistyped choice": (P2L, ["train", "head=grkk"], 2, "head has no choice grkk; did you mean head=grk?"),
    "a mistyped nested key": (TRAIN, ["trainer.max_step=3"], 2, "did you mean trainer.max_steps=3?"),
    "a later value of a sweep": (TRAIN, ["-m", "head=bt,grkk"], 2, "did you mean head=grk?"),
    "the group of another command": (P2L, ["train", "prices=mmlu_pro"], 2, "unknown option prices"),
    "an option of another choice": (P2L, ["train", "data.val=x.csv"], 2, "data=arena55k, data=local"),
    "no value": (P2L, ["predict"], 2, "no value given; add dataset=... model_path=..."),
    "a published configuration": (TRAIN, ["--config", "x.yaml"], 2, "give experiment=<name>"),
    "a mistyped command": (P2L, ["trian"], 2, "did you mean train?"),
}


@pytest.mark.parametrize(("program", "arguments", "status", "text"), LIGHT.values(), ids=LIGHT)
def test_help_and_mistakes_need_no_torch(program, arguments, status, text) -> None:
    found, output = call(program, *arguments)
    assert found == status, output
    assert text in output and "Traceback" not in output
    assert output.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize("command", CONFIGURED)
def test_the_help_of_a_command_names_its_options_alone(command, capsys) -> None:
    assert main([command.replace("_", "-"), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: p2l {command.replace('_', '-')} " in text
    assert "output_dir: " in text and "\n  hydra:" not in text and "\n  job:" not in text
    assert ("experiment: " in text) == (command == "train")


@pytest.mark.parametrize("command", CONFIGURED)
def test_every_command_answers_a_typo(command, capsys) -> None:
    assert main([command, "output_dr=x"]) == 2
    assert "did you mean output_dir=x?" in capsys.readouterr().err


def test_help_has_the_values_after_the_overrides(capsys) -> None:
    assert main(["train", "--help", "model=tiny", "seed=7"]) == 0
    text = capsys.readouterr().out
    assert "seed: 7" in text and "hidden_size: 64" in text
    assert "# A Qwen2 of random weights and a byte tokenizer" in text


def test_a_folder_of_own_files(tmp_path, capsys) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\noptimizer:\n  lr: 0.5\n")
    own = ["train", "--help", "--config-dir", str(tmp_path)]
    assert main([*own, "experiment=mine"]) == 0
    assert "lr: 0.5" in capsys.readouterr().out
    assert main([*own, "experiment=mime"]) == 2
    assert "did you mean experiment=mine?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "meant"),
    [("learning_rate", "optimizer.lr"), ("max_length", "model.max_length"), ("traner.devices", "trainer.devices")],
)
def test_the_nearest_option(name, meant) -> None:
    known = ["optimizer.lr", "callbacks.learning_rate", "model.max_length", "trainer.devices", "model", "seed"]
    assert nearest(name, known) == meant
    assert nearest("zzz", known) is None


def test_a_task_is_sent_to_other_processes() -> None:
    task = pickle.loads(pickle.dumps(HydraTask("train", ["p2l", "train"])))
    assert (task.command, task.arguments, task.__module__) == ("train", ["p2l", "train"], "p2l.commands.train")


def test_every_configured_command_has_a_file_and_a_script() -> None:
    assert sorted(CONFIGURED) == sorted(path.stem for path in (ROOT / "conf").glob("*.yaml"))
    assert sorted(CONFIGURED) == sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
    assert set(SERVERS) == {"endpoint", "router"}


@pytest.mark.parametrize(
    ("module", "arguments", "command"),
    [
        ("eval", ["--model", "M", "--dataset", "D", "--batch-size", "2"], "p2l predict model_path=M dataset=D"),
        ("auto_evals", ["--eval_path", "E", "--categories", "all", "math"], "'categories=[all,math]'"),
    ],
)
def test_published_commands_name_their_successors(module, arguments, command) -> None:
    status, output = call(ROOT / "p2l" / f"{module}.py", *arguments)
    assert status == 2 and command in output
    assert output.splitlines()[-1] == "imported: []"
