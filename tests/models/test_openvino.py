"""Encoders through OpenVINO rank as they do through torch; what is exported is kept by its content."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from p2l import extras
from p2l.errors import CheckpointError, ConfigError
from p2l.models import Checkpoint
from p2l.models.predictor import Predictor, predict
from tests.models.test_row_encoder import PROMPTS, TEXTS, checkpoint_of, network_of, states

export = pytest.importorskip("p2l.models.openvino_export", reason="needs the extra openvino")
openvino_states = pytest.importorskip("p2l.models.openvino_states")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("P2L_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


@pytest.mark.parametrize(
    ("kind", "readout"), [("bert", "mean"), ("modernbert", "cls"), ("roberta", "mean"), ("distilbert", "cls")]
)
def test_states_are_those_of_the_backbone(kind: str, readout: str) -> None:
    network = network_of(kind, readout)
    found = openvino_states.OpenVinoStates(network, network.model.config.pad_token_id, 80)(PROMPTS)
    torch.testing.assert_close(found, states(network), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_a_predictor_ranks_as_torch_does(kind: str, dtype: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="p2l")
    checkpoint = checkpoint_of(kind, dtype=dtype, readout="mean")
    expected = predict(checkpoint, TEXTS)
    predictor = Predictor(checkpoint, backend="openvino")
    assert not predictor.pads and predictor.backend == "openvino"
    found, limit = predictor.rank(TEXTS), 1e-5 if dtype == "float32" else 0.1
    torch.testing.assert_close(found.coefs, expected.coefs, rtol=0, atol=limit)
    torch.testing.assert_close(found.eta, expected.eta, rtol=0, atol=limit)
    assert found.coefs.dtype == torch.float32
    assert 0 < predictor.backend_difference < limit
    assert "coefficients differ from torch's by up to" in caplog.text
    torch.testing.assert_close(predict(checkpoint, TEXTS).coefs, expected.coefs)  # torch still computes the checkpoint


def test_eight_bits_are_near(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="p2l")
    checkpoint = checkpoint_of("bert", readout="mean")
    predictor, expected = Predictor(checkpoint, backend="openvino-int8"), predict(checkpoint, TEXTS)
    difference = (predictor.rank(TEXTS).coefs - expected.coefs).abs().max()
    assert 1e-4 < difference < 0.5 * expected.coefs.std()
    assert "int8 and float32" in caplog.text


def test_threads_share_it() -> None:
    network = network_of("bert")
    found, expected = openvino_states.OpenVinoStates(network, 0, 80), states(network)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(found, [PROMPTS[i % 7 :] for i in range(24)]))
    assert all((part - expected[i % 7 :]).abs().max() < 1e-5 for i, part in enumerate(parts))


def test_what_is_exported_is_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = export.exported(network_of("bert"), int8=False)
    assert [path.name for path in cache.iterdir()] == [export.content_digest(network_of("bert"), int8=False)]

    def refuse(network: object) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr(export, "export", refuse)
    again = export.exported(network_of("bert"), int8=False)
    assert len(again.get_ops()) == len(first.get_ops())


def test_other_weights_are_never_those_of_the_cache(cache: Path) -> None:
    network = network_of("bert")
    before = openvino_states.OpenVinoStates(network, 0, 80)(PROMPTS)
    with torch.no_grad():  # one number of one layer
        network.model.encoder.layer[1].output.dense.weight[3, 5] += 20.0
    after = openvino_states.OpenVinoStates(network, 0, 80)(PROMPTS)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(after, states(network), rtol=0, atol=1e-5)
    names = {
        export.content_digest(network_of("bert", readout), int8=int8)
        for readout in ("cls", "mean")
        for int8 in (True, False)
    }
    assert len(names) == 4 and len(list(cache.iterdir())) == 2


def test_a_damaged_file_is_written_again(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = network_of("bert")
    export.exported(network, int8=False)
    (file,) = cache.glob("*/model.xml")
    file.write_text(file.read_text()[:500])
    found = openvino_states.OpenVinoStates(network, 0, 80)(PROMPTS)
    torch.testing.assert_close(found, states(network), rtol=0, atol=1e-5)
    assert "cannot be read and is written again" in caplog.text
    assert len(file.read_text()) > 500
    assert not list(cache.glob(".*"))


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("P2L_CACHE", str(tmp_path / "file"))
    network = network_of("bert")
    found = openvino_states.OpenVinoStates(network, 0, 80)(PROMPTS)
    torch.testing.assert_close(found, states(network), rtol=0, atol=1e-5)
    assert "the next start exports again" in caplog.text


def test_nothing_is_reported_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino_telemetry

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("telemetry")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "__new__", refuse)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "send_event", refuse)
    export.exported(network_of("bert"), int8=False)


def test_states_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = network_of("bert", max_position_embeddings=64)
    checkpoint = checkpoint_of("bert", readout="mean")
    monkeypatch.setattr(openvino_states, "exported", lambda network, int8: export.export(_shuffled(network)))
    with pytest.raises(CheckpointError, match="hidden states that differ from torch's"):
        Predictor(checkpoint, backend="openvino")
    assert wrong is not checkpoint.model


def _shuffled(network: torch.nn.Module) -> torch.nn.Module:
    """The network with the layers in another order."""
    layers = network.model.encoder.layer
    network.model.encoder.layer = torch.nn.ModuleList(reversed(layers))
    exported = export.deepcopy(network)
    network.model.encoder.layer = layers
    return exported


def test_what_it_does_not_run(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="backend=openvino runs encoders with sdpa .*Qwen2Model: give backend=torch"):
        Predictor(tiny_checkpoint, backend="openvino")
    with pytest.raises(ConfigError, match="runs on a CPU, not compiled"):
        Predictor(checkpoint_of("bert"), backend="openvino", compiled=True)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"backend=openvino-int8 needs openvino: run pip install -e '\.\[openvino\]'"):
        Predictor(checkpoint_of("bert"), backend="openvino-int8")


def test_buckets_hold_similar_lengths() -> None:
    lengths = np.array([3, 500, 40, 41, 5, 130, 300, 7, 44, 505, 2])
    buckets = openvino_states.buckets_of(lengths, 505)
    assert sorted(np.concatenate([positions for positions, _ in buckets]).tolist()) == list(range(11))
    for positions, width in buckets:
        assert width % 8 == 0 or width == 505
        assert (lengths[positions] <= width).all()
    assert [width for _, width in buckets] == sorted({width for _, width in buckets})
