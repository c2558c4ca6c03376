"""The gradient of an optimizer step is that of the plain mean over its votes."""

import pytest
import torch

from p2l.outcomes.battle_likelihood import battle_log_probs
from p2l.types import Battle
from tests.running import build

MICRO_BATCH = 4


def plain_gradients(module, datamodule):
    """Return gradients the published way: one row a vote, padded, micro-batches of four, mean loss over the step."""
    model, table, prompts = module.model, datamodule.table("train"), datamodule.prompts("train")
    model.zero_grad()
    rows = range(datamodule.plan.batch_size)
    total = 0.0
    for start in range(0, len(rows), MICRO_BATCH):
        votes = list(rows[start : start + MICRO_BATCH])
        batch = prompts.pad(table.prompt_index[votes])
        ranking = model(batch.input_ids, batch.attention_mask)
        battle = Battle(
            torch.arange(len(votes)), torch.from_numpy(table.model_a[votes]), torch.from_numpy(table.model_b[votes])
        )
        log_probs = battle_log_probs(module.family, ranking, battle)
        targets = torch.from_numpy(table.outcome_shares[votes]) @ module.family.target_matrix(log_probs)
        weight = torch.from_numpy(table.weight[votes])
        loss = module.objective(log_probs, targets, weight).sum() / len(rows)
        loss.backward()
        total += loss.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def step_gradients(module, datamodule, trainer, world_size):
    """Return the gradients that Lightning passes to the optimizer: mean over micro-batches and ranks."""
    module.model.zero_grad()
    module.trainer, module.log = trainer, lambda *args, **kwargs: None
    trainer.accumulate_grad_batches = parts = datamodule.micro_batches(world_size)
    for rank in range(world_size):
        loader = iter(datamodule._train_loader(rank, world_size))
        for part in range(parts):
            (module.training_step(next(loader), part) / parts / world_size).backward()
    return parts, {name: p.grad.clone() for name, p in module.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("head", ["bt_tie", "grk"])
@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("token_budget", [40, 100, 100_000])
def test_the_gradient_of_a_step_is_that_of_the_plain_loop(tmp_path, head, world_size, token_budget):
    module, datamodule, trainer = build(tmp_path, f"head={head}", f"batching.token_budget={token_budget}")
    _, expected = plain_gradients(module, datamodule)
    parts, found = step_gradients(module, datamodule, trainer, world_size)
    assert (parts > 1) == (token_budget < 1000)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=name)


def test_the_gradient_of_prompts_in_a_row(tmp_path):
    module, datamodule, trainer = build(tmp_path, "model.packed=true", "batching.token_budget=100")
    parts, found = step_gradients(module, datamodule, trainer, 1)
    assert parts > 1
    module.model.packed = False
    _, expected = plain_gradients(module, datamodule)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=name)


def test_weights_scale_the_gradient(tmp_path):
    module, datamodule, trainer = build(tmp_path, "loss.reweight_scale=3", "batching.token_budget=100")
    _, expected = plain_gradients(module, datamodule)
    _, found = step_gradients(module, datamodule, trainer, 1)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=name)


def test_the_logged_loss_is_the_mean_over_the_votes_of_the_step(tmp_path):
    module, datamodule, trainer = build(tmp_path, "batching.token_budget=100")
    expected, _ = plain_gradients(module, datamodule)
    logged = []
    module.trainer, module.log = trainer, lambda name, value, **kwargs: logged.append(value.item())
    trainer.accumulate_grad_batches = parts = datamodule.micro_batches(1)
    loader = iter(datamodule.train_dataloader())
    for part in range(parts):
        module.training_step(next(loader), part)
    assert logged == [pytest.approx(expected, abs=1e-5)]


def test_a_strategy_that_divides_the_loss_itself_gets_it_undivided(tmp_path):
    """DeepSpeed divides by the accumulated micro-batches, after Lightning has done so."""
    module, datamodule, trainer = build(tmp_path, "batching.token_budget=100")
    module.trainer, module.log = trainer, lambda *args, **kwargs: None
    trainer.accumulate_grad_batches = parts = datamodule.micro_batches(1)
    batch = next(iter(datamodule.train_dataloader()))
    plain = module.training_step(batch, 0)

    class DividingStrategy(type(trainer.strategy)):
        handles_gradient_accumulation = True

    trainer.strategy.__class__ = DividingStrategy
    assert module.training_step(batch, 0).item() == pytest.approx(parts * plain.item())
