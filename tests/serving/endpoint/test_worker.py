"""What a worker does when its model cannot be loaded or its accelerator fails."""

import logging
import threading
import time

import requests
import torch

from p2l.models import save_checkpoint
from p2l.serving.endpoint.endpoint_settings import Settings
from p2l.serving.endpoint.endpoint_worker import DEVICE_LOST, Worker
from p2l.serving.http.supervisor import listen
from p2l.serving.http.worker_process import WorkerLink

HERE = {"host": "127.0.0.1", "port": 0}


def test_a_checkpoint_that_is_not_there_is_said_in_one_line(tmp_path, caplog):
    settings = Settings(model_path=str(tmp_path / "nowhere"), cuda=False, **HERE)
    with listen("127.0.0.1", 0) as listening:
        assert Worker(settings, WorkerLink("", listening, True, tmp_path / "ready")).run() == 2
    assert not (tmp_path / "ready").exists()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "no model folder at" in record.message and record.exc_info is None


def test_a_worker_whose_accelerator_fails_answers_and_ends(tiny_checkpoint, tmp_path):
    folder, sign = save_checkpoint(tmp_path / "checkpoint", tiny_checkpoint), tmp_path / "ready"
    answers = []

    def broken(ids, prefixes=None):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with listen("127.0.0.1", 0) as listening:
        settings = Settings(model_path=str(folder), cuda=False, **HERE)
        worker = Worker(settings, WorkerLink("", listening, True, sign))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/predict"

        def ask():
            while not sign.exists():
                time.sleep(0.01)
            worker._service.batcher.predictor.forward = broken
            answers.append(requests.post(url, json={"prompt": ["hi"]}, timeout=30).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        assert worker.run() == DEVICE_LOST
        asking.join()
    assert answers == [500]
