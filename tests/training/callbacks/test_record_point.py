from pathlib import Path

import pytest

from p2l.scaling import read_points
from p2l.training.callbacks.record_point import num_parameters_without_embeddings, tokens_fed
from tests.running import run

RECORD = "+callbacks.record={_target_: p2l.training.callbacks.RecordPoint, folder: '${output_dir}'}"


def test_what_a_run_had_and_reached(tmp_path: Path) -> None:
    finished = run(tmp_path, "callbacks=none", "data.test=${data.val}", RECORD, "trainer.max_epochs=2")
    (point,) = read_points(tmp_path / "run")
    model = finished.module.model
    assert point.parameters_with_embeddings == sum(p.numel() for p in model.parameters())
    table = model.model.get_input_embeddings().weight
    assert point.parameters == point.parameters_with_embeddings - table.numel()
    assert (point.votes, point.prompts, point.steps) == (192, 16, 8)
    assert point.flops == 6 * point.parameters * point.tokens
    assert point.seconds > 0
    for split in ("val", "test"):
        assert point.log_loss(split) == finished.metrics[f"{split}/log_loss"]
        difference = finished.metrics[f"{split}/log_loss_minus_marginal"]
        assert point.log_loss(split) - getattr(point, f"{split}_marginal") == pytest.approx(difference)


def test_without_validation_or_test(tmp_path: Path) -> None:
    run(tmp_path, "callbacks=none", "data.val=null", RECORD, "trainer.max_steps=1")
    (point,) = read_points(tmp_path / "run")
    assert (point.val_log_loss, point.test_log_loss, point.steps) == (None, None, 1)


@pytest.mark.parametrize("shuffle", ["none", "votes", "prompts"])
@pytest.mark.parametrize("steps", [3, 8])
def test_tokens_are_those_that_the_loader_feeds(tmp_path: Path, shuffle: str, steps: int) -> None:
    data = run(tmp_path, "callbacks=none", f"batching.shuffle={shuffle}", "trainer.max_epochs=2").datamodule
    loader, fed = data.train_dataloader(), []
    for _ in range(2):
        fed += [int(batch.prompts.attention_mask.sum()) for batch in loader]
    assert tokens_fed(data, steps) == sum(fed[: steps * loader.micro_batches])


def test_lookup_tables_are_no_parameters_of_the_law(tmp_path: Path) -> None:
    """A hidden size of 16, 2 layers: 2 heads of 8, key and value of one head, 32 wide, norms; a head over 6 LLMs."""
    model = run(tmp_path, "callbacks=none", "trainer.max_steps=1").module.model
    attention = (16 * 16 + 16) + 2 * (16 * 8 + 8) + 16 * 16
    layer = attention + 3 * 16 * 32 + 2 * 16
    head = (16 + 1) * 6 + (16 + 1)
    assert num_parameters_without_embeddings(model) == 2 * layer + 16 + head
