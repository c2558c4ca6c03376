"""Batch size, rates and epochs that are not given follow from the votes and the backbone; the marginal is the start."""

import json

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2l.composition.build_run import build_run
from p2l.evaluation.vote_scores import score_votes
from p2l.leaderboard import fit_votes
from p2l.models import load_checkpoint
from p2l.training import train
from p2l.training.size_rules import LARGEST_BATCH, MOST_EPOCHS, SMALLEST_BATCH, STEPS, recipe_for, validation_interval
from tests.running import TINY, build, compose, run, write_votes

ALL_OPEN = (
    "batching.batch_size=auto",
    "optimizer.lr=auto",
    "optimizer.head_lr=auto",
    "trainer.max_epochs=auto",
    "head.init=zeros",
)


@given(votes=st.integers(1, 3_000_000), parameters=st.integers(1, 10**11))
def test_every_size_has_a_recipe(votes: int, parameters: int) -> None:
    chosen = recipe_for(votes, parameters)
    steps = chosen.max_epochs * -(-votes // chosen.batch_size)
    assert SMALLEST_BATCH <= chosen.batch_size <= LARGEST_BATCH and 1 <= chosen.max_epochs <= MOST_EPOCHS
    assert steps <= 1.5 * STEPS or chosen.max_epochs == 1
    assert steps >= STEPS / 1.5 or chosen.max_epochs == MOST_EPOCHS
    assert 0 < chosen.lr < chosen.head_lr


@pytest.mark.parametrize(
    ("votes", "parameters", "batch_size", "expected"),
    [
        (1_000, 22_000_000, None, (64, 5e-5, 1e-3, 20)),
        (6_400, 22_000_000, None, (64, 5e-5, 2e-3, 4)),
        (160_000, 22_000_000, None, (400, 5e-5, 2e-3, 1)),
        (3_000_000, 1_500_000_000, None, (640, 8e-6, 2e-3, 1)),
        (1_000, 110_000_000, 10, (10, 2e-5, 1e-3, 4)),  # a batch that is given sets the epochs
    ],
)
def test_recipes_by_hand(votes: int, parameters: int, batch_size: int | None, expected: tuple) -> None:
    assert recipe_for(votes, parameters, batch_size) == expected


@pytest.mark.parametrize(
    ("votes", "prompts", "frozen"),
    [(1_034, 299, True), (78_175, 481, True), (4_999, 4_999, True), (5_000, 2_000, False), (144_080, 7_141, False)],
)
def test_few_prompts_or_votes_leave_the_backbone_as_it_is(votes: int, prompts: int, frozen: bool) -> None:
    chosen, trained = recipe_for(votes, 22_000_000, prompts=prompts), recipe_for(votes, 22_000_000)
    assert chosen == (trained._replace(lr=0.0) if frozen else trained) and trained.lr == 5e-5


@pytest.mark.parametrize(
    ("steps", "epoch", "lr", "interval"),
    [
        (400, 400, 0.0, 20),
        (401, 401, 5e-5, 101),
        (340, 17, 0.0, 17),
        (120, 6, 5e-5, 6),
        (3, 3, 0.0, 1),
        (10, 400, 5e-5, 10),
    ],
)
def test_validations_of_a_run(steps: int, epoch: int, lr: float, interval: int) -> None:
    assert validation_interval(steps, epoch, lr) == interval


@pytest.mark.parametrize(
    ("pairs", "prompts", "expected"),
    [
        (1, 1_000, (64, 5e-5, 1e-3, 20)),
        (6, 1_000, (64, 5e-5, 2e-3, 4)),
        (20, 8_000, (400, 5e-5, 2e-3, 1)),
        (1_081, 8_000, (21_620, 5e-5, 2e-3, 1)),  # 20 prompts in a step, 400 steps, instead of half a prompt
        (1_081, 100, (3_459, 5e-5, 1e-3, 12)),  # the rate and the number of steps of 2,000 votes
    ],
)
def test_a_prompt_with_many_pairs_counts_as_twenty_votes(pairs: int, prompts: int, expected: tuple) -> None:
    assert recipe_for(pairs * prompts, 22_000_000, paired_prompts=prompts) == expected


def test_a_run_on_scores_of_many_models_has_whole_prompts_in_a_step(tmp_path) -> None:
    """Twenty LLMs make 190 pairs on each of 40 prompts."""
    rows = [(f"prompt {i}", f"model {j}", (i * j) % 7, 0.1) for i in range(40) for j in range(20)]
    pd.DataFrame(rows, columns=["prompt", "model", "score", "cost"]).to_csv(tmp_path / "scores.csv", index=False)
    source = (f"data.train={tmp_path / 'scores.csv'}", "data.val_share=0.1", f"output_dir={tmp_path / 'run'}")
    open_sizes = [option for option in TINY if not option.startswith(("optimizer.", "batching.b"))]
    cfg = compose("experiment=own_scores", *source, *open_sizes, "trainer.max_epochs=auto")
    _, datamodule, trainer = build_run(cfg)
    assert datamodule.plan.batch_size == round(64 * 190 / 20) and trainer.max_epochs == 20


def test_a_run_fills_in_what_is_not_given(tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    module, datamodule, trainer = build(tmp_path, *ALL_OPEN)
    expected = recipe_for(len(datamodule.table("train")), 0, prompts=16)
    assert (datamodule.plan.batch_size, trainer.max_epochs) == (expected.batch_size, expected.max_epochs)
    rates = {group["name"]: group["lr"] for group in module._optimizer.parameter_groups(module.model)}
    assert rates == {"head": expected.head_lr, "backbone": expected.lr} and expected.lr == 0
    assert not module.model.model.training and not any(p.requires_grad for p in module.model.model.parameters())
    assert f"batching.batch_size={expected.batch_size} optimizer.lr={expected.lr}" in caplog.text


@pytest.mark.parametrize("given_value", [option for option in TINY if option.startswith(("opt", "batching.b"))])
def test_a_value_that_is_given_wins(given_value: str, tmp_path) -> None:
    module, datamodule, _ = build(tmp_path, *ALL_OPEN, given_value)
    head, backbone = (group["lr"] for group in module._optimizer.parameter_groups(module.model))
    found = {"batching.batch_size": datamodule.plan.batch_size, "optimizer.lr": backbone, "optimizer.head_lr": head}
    name, value = given_value.split("=")
    assert found[name] == (backbone if value == "null" else float(value))


def test_a_limit_of_steps_is_not_cut_by_the_epochs_of_the_rule(tmp_path) -> None:
    finished = run(tmp_path, "trainer.max_epochs=auto", "trainer.max_steps=25", "batching.batch_size=96")
    assert len(finished.curve()) == 25  # in 13 epochs; the rule alone would stop after 20 epochs of 2 steps
    assert finished.trainer.current_epoch == 13


def test_what_was_chosen_is_published(tmp_path) -> None:
    run(tmp_path, *ALL_OPEN, "trainer.max_epochs=1")
    folder = tmp_path / "run" / "checkpoint"
    recipe = json.loads((folder / "training_config.json").read_text())
    assert (recipe["learning_rate"], recipe["config"]["batching"]["batch_size"]) == (0, SMALLEST_BATCH)
    assert "auto" not in {recipe["config"]["optimizer"]["head_lr"], recipe["config"]["trainer"]["max_epochs"]}
    card = (folder / "README.md").read_text()
    assert "| rate of the backbone, of the head | 0, 0.001 |" in card
    assert f"| votes in a step, epochs | {SMALLEST_BATCH}, 1 |" in card


@pytest.mark.parametrize("head", ["head=grk", "head=bt", "head.rank=2"])
def test_training_starts_from_the_marginal_and_leaves_it(head: str, tmp_path) -> None:
    still = ("optimizer.lr=0", "optimizer.head_lr=0", "trainer.max_steps=1")
    module, datamodule, trainer = build(tmp_path, head, "head.init=zeros", *still)
    metrics = train(module, datamodule, trainer)
    marginal = fit_votes(datamodule.table("train"), module.family)
    expected = score_votes(module.family, marginal, datamodule.table("val")).mean()["log_loss"]
    assert metrics["val/log_loss"] == pytest.approx(expected, abs=1e-5)
    moved = run(tmp_path, head, "head.init=zeros", "trainer.max_steps=3", f"output_dir={tmp_path / 'moved'}")
    assert not moved.module.model.head.ignores_prompts


def test_a_checkpoint_that_is_trained_on_keeps_its_head(tmp_path) -> None:
    run(tmp_path, "trainer.max_steps=2")
    folder = tmp_path / "run" / "checkpoint"
    still = ("optimizer.lr=0", "trainer.max_steps=1", "head.init=zeros", f"output_dir={tmp_path / 'again'}")
    module, datamodule, trainer = build(tmp_path, f"model.path={folder}", "model.scratch=null", *still)
    train(module, datamodule, trainer)
    before, after = load_checkpoint(folder).model.head.state_dict(), module.model.head.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_adapters_are_trained_on_few_votes_too(tmp_path) -> None:
    module, _, _ = build(tmp_path, *ALL_OPEN, "lora=default")
    assert module._optimizer.lr == 5e-5 and any(p.requires_grad for p in module.model.model.parameters())


def test_a_run_on_own_votes_validates_as_often_as_the_rule_says(tmp_path) -> None:
    source = f"data.train={write_votes(tmp_path / 'votes.jsonl', num_prompts=40)}"
    open_sizes = [option for option in TINY if not option.startswith(("optimizer.", "batching.b", "trainer.max"))]
    cfg = compose("experiment=own_votes", source, *open_sizes, f"output_dir={tmp_path / 'run'}")
    _, datamodule, trainer = build_run(cfg)
    assert (datamodule.steps, trainer.max_epochs, trainer.val_check_interval) == (7, 20, 7)
