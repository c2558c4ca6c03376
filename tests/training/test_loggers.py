"""Loggers of a run without network and without a key."""

import socket

import pytest
import wandb

from p2l.training import wandb_logger
from p2l.training.loggers import close
from tests.running import run


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")


def mode_of(logger):
    return logger._wandb_init["mode"]


def test_without_a_key_wandb_is_offline(no_key, tmp_path):
    assert mode_of(wandb_logger(str(tmp_path))) == "offline"


def test_with_a_key_but_no_server_wandb_is_offline(no_key, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert mode_of(wandb_logger(str(tmp_path))) == "offline"


@pytest.mark.parametrize("key_in", ["environment", "netrc"])
def test_with_a_key_and_a_server_wandb_is_online(no_key, tmp_path, monkeypatch, key_in):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        if key_in == "environment":
            monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
        else:
            (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password " + "x" * 40)
        assert mode_of(wandb_logger(str(tmp_path))) == "online"


def test_the_mode_can_be_set_by_hand(no_key, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode_of(wandb_logger(str(tmp_path))) == "disabled"
    assert mode_of(wandb_logger(str(tmp_path), mode="online")) == "online"


def test_wandb_keeps_metrics_and_the_picture(no_key, tmp_path):
    finished = run(tmp_path, "logger=wandb", "trainer.max_steps=2")
    summary = dict(wandb.run.summary)
    close(finished.trainer.loggers)
    assert {"train/loss", "val/log_loss", "leaderboards", "speed/tokens_per_s", "lr-AdamW/head"} <= summary.keys()
    (offline,) = (finished.folder / "wandb").glob("offline-run-*")
    assert list(offline.glob("files/media/images/leaderboards*.png"))
    assert wandb.run is None


def test_the_next_run_of_a_process_is_another_wandb_run(no_key, tmp_path):
    for job in ("first", "second"):
        folder = tmp_path / job
        folder.mkdir()
        finished = run(folder, "logger=wandb", "trainer.max_steps=1", f"output_dir={folder}", "callbacks=none")
        close(finished.trainer.loggers)
    assert len(list(tmp_path.glob("*/wandb/offline-run-*"))) == 2


@pytest.mark.parametrize(
    ("logger", "left"), [("csv", "csv/version_0/metrics.csv"), ("tensorboard", "tensorboard/*/events*")]
)
def test_other_loggers(tmp_path, logger, left):
    finished = run(tmp_path, f"logger={logger}", "trainer.max_steps=1")
    assert list(finished.folder.glob(left))


def test_no_logger(tmp_path):
    finished = run(tmp_path, "logger=none", "trainer.max_steps=1")
    assert "val/log_loss" in finished.metrics
