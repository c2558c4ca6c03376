"""Every number of every command: NaN, infinity, a negative number or text is one message that names the option.

The options are read off the configurations and the types of what they make, so that a new one is tested without a line
here.
"""

import inspect
import logging
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from p2l.commands.cli import CONFIGURED
from p2l.composition.hydra_task import HydraTask
from tests.ranks import on_ranks
from tests.running import TINY, compose, on_votes

BAD = ("nan", "inf", "-inf", "-3", "abc")
SIGNED = ("data.rule.bad_below",)  # scores may be negative
# what a command needs beside its defaults to reach its work
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "train": (),
    "predict": ("model_path={run}/checkpoint", "dataset={votes}", "output={out}/p.jsonl"),
    "evaluate": ("model_repo={run}/checkpoint", "eval_path={run}/eval_output.jsonl"),
    "leaderboard": ("votes={votes}",),
    "calibrate": ("model_path={run}/checkpoint", "votes={votes}"),
    "fit_costs": ("model_path={run}/checkpoint", "scores={scores}"),
    "posterior": ("model_path={run}/checkpoint", "votes={votes}"),
    "insight": ("model_path={run}/checkpoint", "dataset={votes}", "embedding=null"),
    "route_eval": ("model_path={run}/checkpoint", "scores={scores}"),
    "explore": ("model_path={run}/checkpoint",),
    "publish": ("run={run}", "output={out}/made"),
    "run_page": ("run={run}",),
    "add_models": ("model_path={run}/checkpoint", "votes={votes}"),
    "scaling_law": ("results={points}",),
    "update": ("model_path={run}/checkpoint", "votes={votes}"),
    "validate": ("votes={votes}",),
    "wandb_workspace": ("entity=nobody",),
}
# choices that add options to those of the defaults
CHOICES = {
    "train": (
        (),
        ("data=simulated",),
        ("data=simulated_stream",),
        ("buffer=geometric", "batching.shuffle=none"),
        ("buffer=replay", "batching.shuffle=none"),
        ("lora=default",),
        ("callbacks=ema",),
        ("callbacks=early_stop",),
        ("callbacks=suite",),
        ("scheduler=linear",),
        ("experiment=own_votes", "model=tiny"),
        ("experiment=own_scores", "model=tiny"),
    ),
}
# option of `p2l evaluate` -> how messages call it
SHOWN_AS = {
    "rand_subset_sizes": "subset sizes",
    "rand_num_samples": "subset num_samples",
    "aggr_scale_subset_sizes": "subset sizes",
    "aggr_scale_num_samples": "subset num_samples",
}
# sizes that transformers checks, and values of groups that users write
FREE = ("model.scratch", "hydra", "prices", "category", "callbacks.suite.evaluation.known_categories")


def given(command: str, folder: Path, out: Path, choice: tuple[str, ...]) -> list[str]:
    names = {"run": folder / "run", "votes": folder / "votes.jsonl", "out": out}
    names |= {"points": folder / "points.csv", "scores": folder / "scores.csv"}
    arguments = [argument.format(**names) for argument in ARGUMENTS[command]]
    if command == "train":
        votes = [] if any(option.startswith("data=") for option in choice) else on_votes(folder)
        if "experiment=own_scores" in choice:
            votes = [f"data.train={folder / 'scores.csv'}"]
        arguments = [*TINY, "logger=none", "trainer.max_steps=1", *votes, *choice]
    return [*arguments, f"output_dir={out}"]


@cache
def numbers_of(command: str, choice: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options of a command that hold a number, or that make an object which takes one."""
    votes = [] if any(option.startswith("data=") for option in choice) else ["data=local", "data.train=votes"]
    if "experiment=own_scores" in choice:
        votes = ["data.train=scores"]
    options = [*TINY, "logger=none", *votes, *choice] if command == "train" else choice
    cfg = OmegaConf.to_container(compose(*options, config=command), resolve=False)
    return tuple(sorted(name for name in set(_numbers(cfg, "")) if not name.startswith(FREE)))


def _numbers(node: Any, path: str) -> Iterator[str]:
    if not isinstance(node, dict):
        return
    hints = _hints(node["_target_"]) if "_target_" in node else {}
    for key, value in node.items():
        here = f"{path}.{key}" if path else str(key)
        takes_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if takes_number or (_is_numeric(hints.get(key)) and not isinstance(value, (dict, list))):
            yield value[2:-1] if isinstance(value, str) and value.startswith("${") else here
        yield from _numbers(value, here)


def _hints(target: str) -> dict[str, Any]:
    made = get_object(target)
    function = made.__init__ if inspect.isclass(made) else made
    try:
        return get_type_hints(made if inspect.isclass(made) and not get_type_hints(function) else function)
    except (NameError, TypeError):
        return {}


def _is_numeric(hint: Any) -> bool:
    parts = getattr(hint, "__args__", (hint,))
    return any(part in (int, float) for part in parts)


CASES = [(command, choice) for command in CONFIGURED for choice in CHOICES.get(command, ((),))]


def own_numbers(command: str, choice: tuple[str, ...]) -> list[str]:
    """Return the options that the defaults of a command do not have."""
    usual = numbers_of(command, ()) if choice else ()
    return [name for name in numbers_of(command, choice) if name not in usual]


def test_the_numbers_are_found() -> None:
    found = {(command, name) for command, choice in CASES for name in own_numbers(command, choice)}
    expected = {("train", "optimizer.head_lr"), ("train", "loss.reweight_scale"), ("leaderboard", "level")}
    assert expected <= found and len(found) > 80


def complaints(command: str, choice: tuple[str, ...], folder: Path, out: Path) -> list[str]:
    """Give each number each bad value; return what is wrong with the answers."""
    told: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = told.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    found = []
    usual = compose(*given(command, folder, out, choice), config=command)
    for name, value in product(own_numbers(command, choice), BAD):
        if name in SIGNED and value == "-3":
            continue
        told.clear()
        before = OmegaConf.select(usual, name)
        bad = f"[{','.join([value] * max(1, len(before)))}]" if OmegaConf.is_list(before) else value
        try:
            cfg = compose(*given(command, folder, out, choice), f"{name}={bad}", config=command)
            HydraTask(command)(cfg)
            found.append(f"{name}={value}: accepted")
        except SystemExit as end:
            message = " ".join(record.getMessage() for record in told)
            shown = SHOWN_AS.get(name, name.rpartition(".")[2])
            if end.code != 2 or len(told) != 1 or shown not in message or value not in message:
                found.append(f"{name}={value}: status {end.code}, {message}")
        except Exception as error:
            found.append(f"{name}={value}: {type(error).__name__}: {str(error)[:200]}")
    return found


@pytest.mark.parametrize(("command", "choice"), CASES)
def test_a_number_that_is_none(command, choice, folder, tmp_path):
    """In a process of its own, where no types are checked as a user's are not."""
    if own_numbers(command, choice):
        assert on_ranks(1, complaints, command, choice, folder, tmp_path) == [[]]
