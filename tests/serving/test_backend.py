"""Endpoint, router and predict compute an encoder by the backend that they are told to."""

import asyncio
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from p2l.composition.build_run import make_trainer
from p2l.composition.config_objects import make
from p2l.errors import ConfigError
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import Predictor, predict
from p2l.serving.endpoint.build_endpoint import load_predictor
from p2l.serving.endpoint.endpoint_options import read_options
from p2l.serving.endpoint.scoring_service import ScoringService
from p2l.serving.router.command_line import options_of, parser
from p2l.serving.router.selection.model_scorer import ModelScorer
from tests.models.test_row_encoder import TEXTS, checkpoint_of
from tests.running import compose

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs the extra openvino")
CASES = ["torch", pytest.param("openvino", marks=needs_openvino)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("served") / "checkpoint", checkpoint_of("bert", readout="mean"))


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return load_checkpoint(folder)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2L_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize("backend", CASES)
def test_the_endpoint(backend: str, folder: Path, checkpoint: Checkpoint) -> None:
    arguments = ["-m", str(folder), "--no-cuda", "--dtype", "float32", "--backend", backend, "-a", "k"]
    predictor = load_predictor(read_options(arguments, os.environ), "cpu")
    assert predictor.backend == backend
    torch.testing.assert_close(predictor.rank(TEXTS).coefs, predict(checkpoint, TEXTS).coefs, rtol=0, atol=1e-5)
    service = ScoringService()
    service.start(predictor)
    try:
        name = f'p2l_backend_difference_nats{{backend="{backend}"}}'
        (line,) = [line for line in service.metrics.exposition().decode().splitlines() if line.startswith(name)]
        assert float(line.split()[-1]) == pytest.approx(predictor.backend_difference)
    finally:
        service.close()


@pytest.mark.parametrize("backend", CASES)
def test_the_router(backend: str, folder: Path, checkpoint: Checkpoint) -> None:
    arguments = ["-c", "config.yaml", "--router-model-path", str(folder), "--router-model-backend", backend]
    options = options_of(parser().parse_args(arguments))

    async def score() -> list[float]:
        scorer = ModelScorer.load(str(folder), backend=options.router_model_backend)
        try:
            return (await scorer.score(("hi",), ())).coefs.tolist()
        finally:
            await scorer.close()

    assert asyncio.run(score()) == pytest.approx(predict(checkpoint, ["hi"]).coefs[0].tolist(), abs=1e-5)


@pytest.mark.parametrize("backend", CASES)
def test_predict(backend: str, folder: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    pd.DataFrame({"prompt": [text for text in TEXTS if text and isinstance(text, str)]}).to_json(
        tmp_path / "prompts.jsonl", orient="records", lines=True
    )
    cfg = compose(
        f"model_path={folder}", f"dataset={tmp_path / 'prompts.jsonl'}", f"output={tmp_path / 'out.parquet'}",
        f"output_dir={tmp_path}", "trainer=cpu", "hidden=true", f"backend={backend}", config="predict",
    )  # fmt: skip
    make(cfg.job).run(make(cfg.checkpoint), make_trainer(cfg.trainer, []), str(folder))
    found = pd.read_parquet(tmp_path / "out.parquet")
    expected = predict(checkpoint, list(found["prompt"]))
    torch.testing.assert_close(torch.from_numpy(np.stack(found["coefs"])), expected.coefs, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.tensor(found["eta"].tolist()), expected.eta, rtol=0, atol=1e-5)
    hidden = torch.from_numpy(np.stack(found["last_hidden_state"]))
    torch.testing.assert_close(checkpoint.model.head(hidden).coefs, expected.coefs, rtol=0, atol=1e-5)


def test_what_does_not_go_together(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="--backend openvino computes without --compile"):
        read_options(["--backend", "openvino", "--compile", "-a", "k"], os.environ)
    with pytest.raises(ConfigError, match="--router-model-backend openvino needs --router-model-path"):
        options_of(parser().parse_args(["-c", "c", "--router-type", "random", "--router-model-backend", "openvino"]))
    assert Predictor(checkpoint).backend_difference == 0
