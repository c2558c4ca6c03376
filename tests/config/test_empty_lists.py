"""An empty list or null for any list option: the command leaves that out, or names the option in one line."""

import logging
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from p2l.commands.cli import main
from p2l.composition.hydra_task import HydraTask
from tests.running import TINY, compose, on_votes

SUITE = "callbacks.suite.evaluation.metrics.aggr_scale"
SMALL = ("rand_subset_sizes=[20]", "rand_num_samples=[2]", "aggr_scale_subset_sizes=[1]", "aggr_scale_num_samples=[2]")
# command -> options with which it reads its lists
ARGUMENTS = {
    "train": [*TINY, "logger=wandb", "callbacks=suite", f"{SUITE}.sizes=[1]", f"{SUITE}.num_samples=[2]"],
    "evaluate": ["model_repo={run}/checkpoint", "eval_path={run}/eval_output.jsonl", *SMALL],
    "leaderboard": ["votes={votes}", "folds=2"],
    "insight": ["model_path={run}/checkpoint", "dataset={votes}", "embedding=null"],
    "add_models": ["model_path={run}/checkpoint", "votes={votes}", "precision=float32"],
    "route_eval": ["model_path={run}/checkpoint", "scores={scores}", "num_budgets=2"],
    "scaling_law": ["results={points}", "resamples=2"],
    **{key: [] for key in ("calibrate", "predict", "explore", "publish", "run_page", "validate", "wandb_workspace")},
}
# lists that must not be empty -> what the error says
NEEDED = {
    ("evaluate", "categories"): "categories is empty",
    ("leaderboard", "categories"): "categories is empty",
    ("leaderboard", "compare"): "compare is empty",
    ("add_models", "penalties"): "one or more positive penalties are needed",
    ("train", "callbacks.suite.evaluation.categories"): "categories is empty",
    ("train", "optimizer.factory.betas"): "optimizer.factory: ",
}
PAIRED = ("num_samples", "sizes")  # lists of one length; the other one has one entry


def arguments(command: str, folder: Path) -> list[str]:
    names = {"run": folder / "run", "votes": folder / "votes.jsonl"}
    names |= {"points": folder / "points.csv", "scores": folder / "scores.csv"}
    given = [argument.format(**names) for argument in ARGUMENTS[command]]
    return [*given, *on_votes(folder), "trainer.max_steps=1"] if command == "train" else given


def lists_of(command: str) -> list[str]:
    """Return every option of a command whose value is a list."""
    extra = ["callbacks=suite"] if command == "train" else []
    return sorted(_lists(OmegaConf.to_container(compose(*extra, config=command), resolve=False), ""))


def _lists(node: dict, path: str) -> list[str]:
    found = []
    for key, value in node.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict) and not here.endswith(("category", "known_categories")):
            found += _lists(value, here)
        elif isinstance(value, list):
            found.append(here)
    return found


CASES = [(command, name) for command in ARGUMENTS for name in lists_of(command)]


def test_the_lists_are_found() -> None:
    assert ("train", "example_prompts") in CASES and ("evaluate", "simple_metrics") in CASES
    assert len(CASES) > 20


@pytest.mark.parametrize(("command", "name"), CASES)
def test_an_empty_list(folder, tmp_path, caplog, command, name):
    cfg = compose(*arguments(command, folder), f"output_dir={tmp_path}", f"{name}=[]", config=command)
    expected = NEEDED.get((command, name))
    if name.endswith(PAIRED) and "random" not in name:
        expected = "sizes and num_samples need the same length"
    if expected is None:
        HydraTask(command)(cfg)
        assert command != "train" or (tmp_path / "checkpoint" / "config.json").exists()
        return
    with pytest.raises(SystemExit) as end:
        HydraTask(command)(cfg)
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (end.value.code, error.exc_info) == (2, None)
    assert expected in error.getMessage()


@pytest.mark.parametrize(("command", "name"), [*CASES, ("evaluate", "aggr_scale_metrics"), ("insight", "categories")])
def test_null_for_a_list(folder, capsys, command, name):
    assert main([command, *arguments(command, folder), f"{name}=null"]) == 2
    assert f"{name}=null, but it is a list; {name}=[] leaves it empty" in capsys.readouterr().err


ONE = [
    ("train", "example_prompts", "hello"),
    ("evaluate", "categories", "all"),
    ("evaluate", "rand_subset_sizes", "20"),
    ("leaderboard", "compare", "bt"),
    ("add_models", "penalties", "4"),
    ("route_eval", "beside", "route_eval.json"),
    ("scaling_law", "predict", "5"),
]


@pytest.mark.parametrize(("command", "name", "value"), ONE)
def test_one_value_for_a_list(folder, capsys, command, name, value):
    """A text would else be read letter by letter."""
    assert main([command, *arguments(command, folder), f"{name}={value}"]) == 2
    assert f"{name}={value}, but it is a list; give {name}=[{value}]" in capsys.readouterr().err


def test_one_value_where_one_will_do(folder, capsys):
    assert main(["insight", *arguments("insight", folder), "categories=topic", "--cfg", "job"]) == 0
    assert main(["evaluate", "model_repo=m", "categories=${simple_metrics}", "--cfg", "job"]) == 0


def test_null_for_what_is_no_list(folder, capsys):
    assert main(["train", *arguments("train", folder), "trainer.gradient_clip_val=null", "--cfg", "job"]) == 0
