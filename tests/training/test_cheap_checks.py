"""What is missing is found before data is read or W&B starts; a run from scratch has a backbone in its card."""

import logging

import pytest

from p2l.composition.hydra_task import HydraTask
from p2l.extras import missing_package
from p2l.training.loggers import close, wandb_logger
from tests.running import TINY, compose, on_votes, run

BITSANDBYTES = "run pip install -e '.[gpu]' in a clone of p2l, or pip install "
MISSING = {
    "weights": (["model.scratch=null", "model.path=owner/name"], "could not load owner/name"),
    "an optimizer's package": (["optimizer=adamw_8bit"], "bitsandbytes is not installed; " + BITSANDBYTES),
    "a strategy's package": (["trainer=deepspeed_zero1"], "deepspeed is not installed; " + BITSANDBYTES),
    "a state to resume": (["resume=nowhere"], "nothing to resume"),
    "a table": (["data.train=nowhere.csv"], "nowhere.csv"),
}


@pytest.mark.parametrize(("options", "message"), MISSING.values(), ids=MISSING)
def test_nothing_starts_if_something_is_missing(tmp_path, caplog, monkeypatch, options, message):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if "is not installed" in message and missing_package(message.partition(" ")[0]) is None:
        pytest.skip("it is installed (extra: gpu)")
    cfg = compose(*TINY, *on_votes(tmp_path), "logger=wandb", f"output_dir={tmp_path / 'run'}", *options)
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as end:
        HydraTask("train")(cfg)
    assert end.value.code == 2
    assert message in caplog.records[-1].getMessage()
    assert "W&B" not in caplog.text and not (tmp_path / "run" / "wandb").exists()


def test_the_package_that_a_library_asks_for():
    text = "FlashAttention2 has been toggled on, but it cannot be used: the package doesn't seem to be installed."
    assert missing_package("No module named 'torch'") is None
    found = missing_package(text)
    assert found is None or found.startswith("flash-attn is not installed; run pip install -e '.[gpu]'")


def test_w_and_b_says_in_one_line_where_it_is(tmp_path, caplog, monkeypatch, capfd):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with caplog.at_level(logging.INFO, logger="p2l"):
        logger = wandb_logger(str(tmp_path))
    close([logger])  # not started yet: nothing to finish
    logger.log_metrics({"x": 1.0})
    close([logger])
    (line,) = [record.getMessage() for record in caplog.records if "W&B" in record.getMessage()]
    assert line == (
        f"W&B: offline (no key; 'wandb login' sets one), in {tmp_path}/wandb; "
        f"'wandb sync {tmp_path}/wandb/offline-run-*' uploads it"
    )
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1
    assert "wandb" not in "".join(capfd.readouterr())


def test_the_card_names_the_backbone(tmp_path):
    card = (run(tmp_path, "callbacks=none", "trainer.max_steps=1").folder / "checkpoint" / "README.md").read_text()
    assert "| backbone | qwen2, trained from random weights |" in card and "None" not in card
