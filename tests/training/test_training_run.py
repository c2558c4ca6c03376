"""A small run, from votes to its files."""

import json
import math

import pytest
import torch

from p2l.data.encoding import encode_prompts
from p2l.data.readers import read_table
from p2l.errors import ConfigError
from p2l.evaluation.vote_scores import score_votes
from p2l.leaderboard import fit_votes
from p2l.models import load_checkpoint
from p2l.models.predictor import predict
from p2l.training import train
from p2l.training.callbacks.rank_in_training import rank_in_training
from tests.running import HEADS, build, largest_difference, run, weights, write_votes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    write_votes(folder / "test.jsonl", num_prompts=5, seed=2)
    return run(folder, f"data.test={folder / 'test.jsonl'}", "trainer.max_epochs=4", "trainer.val_check_interval=0.5")


def test_the_loss_falls(finished):
    losses = finished.curve()
    assert len(losses) == 4 * finished.datamodule.steps
    assert sum(losses[-4:]) < sum(losses[:4])


def test_metrics_are_those_of_the_best_validation(finished):
    assert finished.metrics["val/log_loss"] == pytest.approx(min(finished.curve("val/log_loss")), abs=1e-6)
    assert 0 <= finished.metrics["test/accuracy"] <= 1


def test_validation_falls_between_optimizer_steps(finished):
    assert finished.trainer.accumulate_grad_batches > 1
    assert len(finished.curve("val/log_loss")) == 4 * 2 + 1


def test_the_published_folder_predicts_what_the_module_predicts(finished):
    checkpoint = load_checkpoint(str(finished.folder / "checkpoint"))
    assert checkpoint.models == finished.datamodule.models
    prompts = ["What is 1+1?", ["first turn", "second turn"], "x" * 500]
    ours = predict(checkpoint, prompts)
    encoded = encode_prompts(finished.datamodule.encoder, prompts)
    finished.module.eval()
    batch = encoded.pad(range(3))
    with torch.no_grad():
        theirs = finished.module.model(batch.input_ids, batch.attention_mask)
    torch.testing.assert_close(ours.coefs, theirs.coefs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.eta, theirs.eta, atol=1e-5, rtol=1e-5)


def test_the_published_recipe_says_what_was_run(finished):
    recipe = json.loads((finished.folder / "checkpoint" / "training_config.json").read_text())
    assert recipe["head_type"] == "rk"
    assert recipe["loss_type"] == "grk"
    assert recipe["learning_rate"] == 0.01
    assert recipe["metrics"]["val/log_loss"] == pytest.approx(finished.metrics["val/log_loss"])
    assert recipe["config"]["batching"]["batch_size"] == 48


def test_eval_output_has_the_votes_and_their_rankings(finished):
    rows = [json.loads(line) for line in (finished.folder / "eval_output.jsonl").read_text().splitlines()]
    assert len(rows) == len(finished.datamodule.votes.val)
    assert {"prompt", "model_a", "model_b", "winner", "betas", "eta"} <= rows[0].keys()
    checkpoint = load_checkpoint(str(finished.folder / "checkpoint"))
    assert rows[0]["models"] == list(checkpoint.models) and rows[7]["models"] is None
    ranking = predict(checkpoint, [rows[7]["prompt"]])
    assert rows[7]["betas"] == pytest.approx(ranking.coefs[0].tolist(), abs=1e-4)
    assert rows[7]["eta"] == pytest.approx(ranking.eta[0].item(), abs=1e-4)


def test_columns_that_json_cannot_hold_are_left_out_of_eval_output(tmp_path, caplog):
    votes = read_table(str(write_votes(tmp_path / "val.jsonl", num_prompts=6, seed=1)))
    write_votes(tmp_path / "votes.jsonl")
    with_images = votes.assign(image=b"\xff\xd8", note=b"text", nested=[{"bytes": b"\xff"}] * len(votes))
    with_images.to_parquet(tmp_path / "val.parquet")
    finished = run(tmp_path, f"data.val={tmp_path / 'val.parquet'}", "trainer.max_steps=1", "callbacks=none")
    rows = [json.loads(line) for line in (finished.folder / "eval_output.jsonl").read_text().splitlines()]
    assert rows[0].keys() == {*votes.columns, "note", "betas", "eta", "models"}
    assert [row["prompt"] for row in rows] == votes["prompt"].tolist()
    assert "without the columns image, nested" in caplog.text


def test_the_checkpoint_is_published_before_eval_output_is_written(tmp_path):
    (tmp_path / "run" / "eval_output.jsonl").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        run(tmp_path, "trainer.max_steps=1", "callbacks=none")
    assert load_checkpoint(str(tmp_path / "run" / "checkpoint")).models


def test_the_other_files_of_a_run(finished):
    report = json.loads((finished.folder / "test_report.json").read_text())
    assert report["votes"] == len(finished.datamodule.votes.test)
    assert report["model"]["log_loss"] == pytest.approx(finished.metrics["test/log_loss"], abs=1e-5)
    assert (finished.folder / "leaderboards.png").stat().st_size > 1000
    assert (finished.folder / "checkpoints" / "best.ckpt").exists()


def test_limited_validation_scores_the_votes_of_the_prompts_that_were_run(tmp_path):
    finished = run(tmp_path, "+trainer.limit_val_batches=1", "batching.token_budget=64", "trainer.max_steps=1")
    rows = (tmp_path / "run" / "eval_output.jsonl").read_text().splitlines()
    assert 0 < len(rows) < len(finished.datamodule.votes.val)
    assert math.isfinite(finished.metrics["val/log_loss"])


@pytest.mark.parametrize("head", HEADS)
def test_every_head_trains(tmp_path, head):
    finished = run(tmp_path, f"head={head}", "trainer.max_steps=2", "callbacks=none", "~callbacks.last")
    assert all(math.isfinite(value) for value in (*finished.curve(), finished.metrics["val/log_loss"]))
    assert load_checkpoint(str(finished.folder / "checkpoint")).family is finished.module.model.head.family


@pytest.mark.parametrize("rank_options", [["head.rank=2"], ["head.rank=2", "head.eta_from=bottleneck"]])
def test_low_rank(tmp_path, rank_options):
    finished = run(tmp_path, *rank_options, "trainer.max_steps=1", "callbacks=none")
    assert weights(finished.folder / "checkpoint")["head.head.0.weight"].shape == (2, 16)
    assert load_checkpoint(str(finished.folder / "checkpoint")).model.head.rank == 2


def test_a_frozen_backbone_stays_as_it_was(tmp_path):
    module, datamodule, trainer = build(tmp_path, "model.freeze=true", "trainer.max_steps=2")
    before = {name: value.clone() for name, value in module.model.state_dict().items()}
    train(module, datamodule, trainer)
    moved = {name for name, value in module.model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("head.") for name in moved)


def test_training_goes_on_from_a_published_checkpoint(tmp_path, finished):
    start = finished.folder / "checkpoint"
    module, _, _ = build(tmp_path, "model.scratch=null", f"model.path={start}")
    assert largest_difference(module.model.state_dict(), weights(start)) == 0


def test_lora_is_merged_into_the_published_weights(tmp_path):
    finished = run(tmp_path, "lora=default", "model.lora.rank=2", "trainer.max_steps=3")
    trained = {name for name, value in finished.module.model.named_parameters() if value.requires_grad}
    assert all("lora_" in name or name.startswith("head.") for name in trained)
    checkpoint = load_checkpoint(str(finished.folder / "checkpoint"))
    encoded = encode_prompts(finished.datamodule.encoder, ["Write a poem."])
    theirs = finished.module.eval().model(*encoded.pad([0])[:2])
    torch.testing.assert_close(
        predict(checkpoint, ["Write a poem."]).coefs, theirs.coefs.detach(), atol=1e-5, rtol=1e-5
    )


def test_the_published_weights_are_the_averaged_ones_of_the_best_checkpoint(tmp_path):
    finished = run(tmp_path, "callbacks=ema", "callbacks.ema.decay=0.9", "trainer.max_epochs=2")
    best = torch.load(finished.folder / "checkpoints" / "best.ckpt", weights_only=False)
    averaged = {name.removeprefix("model."): value for name, value in best["state_dict"].items()}
    current = {name.removeprefix("model."): value for name, value in best["current_model_state"].items()}
    published = weights(finished.folder / "checkpoint")
    assert largest_difference(published, averaged) == 0
    assert largest_difference(published, current) > 1e-4
    assert finished.metrics["val/log_loss"] == pytest.approx(min(finished.curve("val/log_loss")), abs=1e-6)


def test_without_validation_the_last_averaged_weights_are_published(tmp_path):
    finished = run(tmp_path, "callbacks=ema", "callbacks.ema.decay=0.9", "data.val=null", "trainer.max_epochs=2")
    assert not (finished.folder / "eval_output.jsonl").exists()
    assert (finished.folder / "leaderboards.png").exists()
    assert not any(name.startswith("val/") for name in finished.metrics)
    # at the end of the fit the callback copies the average into the module
    assert largest_difference(weights(finished.folder / "checkpoint"), finished.module.model.state_dict()) == 0


def test_a_run_can_start_from_the_marginal_leaderboard(tmp_path):
    start = "+callbacks.start={_target_: p2l.training.callbacks.StartFromMarginal}"
    module, datamodule, trainer = build(tmp_path, "head.init=zeros", start, "trainer.max_steps=1", "optimizer.lr=0")
    metrics = train(module, datamodule, trainer)
    marginal = fit_votes(datamodule.table("train"), module.family)
    expected = score_votes(module.family, marginal, datamodule.table("val")).mean()["log_loss"]
    assert metrics["val/log_loss"] == pytest.approx(expected, abs=1e-5)
    assert metrics["val/log_loss_minus_marginal"] == pytest.approx(0, abs=1e-5)


def test_early_stopping_ends_the_fit(tmp_path):
    finished = run(
        tmp_path, "callbacks=early_stop", "callbacks.early_stop.patience=1", "optimizer.lr=0", "trainer.max_epochs=9"
    )
    assert len(finished.curve()) == 2 * finished.datamodule.steps


def test_early_stopping_needs_validation_votes(tmp_path):
    with pytest.raises(ConfigError, match="needs validation votes"):
        run(tmp_path, "callbacks=early_stop", "data.val=null")


@pytest.mark.parametrize("max_epochs", ["null", "-1"])
def test_steps_can_limit_a_run_instead_of_epochs(tmp_path, max_epochs):
    options = ["batching.shuffle=votes", "trainer.max_steps=7", "callbacks=none"]
    finished = run(tmp_path, *options, f"trainer.max_epochs={max_epochs}")
    assert len(finished.curve()) == 7
    assert finished.datamodule.epochs == 2


@pytest.mark.parametrize(
    "limit", ["limit_train_batches=3", "limit_train_batches=0.5", "limit_train_batches=1", "limit_train_batches=0"]
)
def test_epochs_are_not_cut_short(tmp_path, limit):
    with pytest.raises(ConfigError, match=rf"trainer\.{limit}.*limit a run by trainer\.max_steps"):
        run(tmp_path, f"+trainer.{limit}")


@pytest.mark.parametrize("option", ["fast_dev_run=True", "fast_dev_run=2", "overfit_batches=2", "overfit_batches=1.0"])
def test_trial_runs_of_lightning_are_refused(tmp_path, option):
    with pytest.raises(ConfigError, match=rf"trainer\.{option}.*limit a run by trainer\.max_steps"):
        run(tmp_path, f"+trainer.{option}")


def test_options_that_limit_nothing_are_accepted(tmp_path):
    options = ["+trainer.limit_train_batches=1.0", "+trainer.fast_dev_run=false", "+trainer.overfit_batches=0"]
    finished = run(tmp_path, *options, "callbacks=none")
    assert len(finished.curve()) == finished.datamodule.steps


def test_the_last_step_of_an_epoch_may_be_smaller(tmp_path):
    finished = run(tmp_path, "batching.batch_size=100", "callbacks=none")
    assert len(finished.datamodule.votes.train) % 100
    assert len(finished.curve()) == finished.datamodule.steps == 2


def test_logging_every_few_steps(tmp_path):
    finished = run(tmp_path, "trainer.log_every_n_steps=2")
    assert len(finished.curve()) == len(finished.curve("speed/tokens_per_s")) == finished.datamodule.steps // 2


@pytest.mark.parametrize(("interval", "validations"), [("0.25", 4), ("2", 2), ("1.0", 1)])
def test_validation_interval(tmp_path, interval, validations):
    finished = run(tmp_path, f"trainer.val_check_interval={interval}", "callbacks=none")
    assert len(finished.curve("val/log_loss")) == validations + 1


def test_a_validation_interval_longer_than_the_epoch(tmp_path):
    with pytest.raises(ConfigError, match="an epoch has only 4"):
        run(tmp_path, "trainer.val_check_interval=5")
    options = ["trainer.val_check_interval=5", "trainer.check_val_every_n_epoch=null", "trainer.max_epochs=3"]
    finished = run(tmp_path, *options, "callbacks=none")
    assert len(finished.curve("val/log_loss")) == 2 + 1


def test_rankings_within_a_run_are_those_of_the_module(tmp_path, finished):
    module, datamodule, trainer = build(tmp_path, "trainer.max_steps=1")
    train(module, datamodule, trainer)
    trainer.strategy.setup_environment()
    encoded = datamodule.prompts("val")
    ours = rank_in_training(trainer, module, encoded, token_budget=100)
    batch = encoded.pad(range(len(encoded)))
    with torch.no_grad():
        theirs = module.eval().model(batch.input_ids, batch.attention_mask)
    torch.testing.assert_close(ours.coefs, theirs.coefs, atol=1e-5, rtol=1e-5)


def test_dropout_does_not_depend_on_where_a_run_started(tmp_path):
    module, datamodule, trainer = build(tmp_path)
    module.trainer, batch = trainer, next(iter(datamodule.train_dataloader()))

    def noise(batch_idx: int) -> torch.Tensor:
        torch.rand(5)  # whatever was drawn before
        module.on_train_batch_start(batch, batch_idx)
        return torch.rand(4)

    trainer.accumulate_grad_batches = 2
    assert torch.equal(noise(0), noise(2))  # the same part of the same step
    assert not torch.equal(noise(0), noise(1))
    first, module.seed = noise(0), 7
    assert not torch.equal(first, noise(0))
