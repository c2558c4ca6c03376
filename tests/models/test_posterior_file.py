"""posterior.npz beside a checkpoint: written, read, and refused if it does not belong there."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from p2l.data.vote_table import load_votes
from p2l.errors import CheckpointError
from p2l.head_posterior import HeadPosterior
from p2l.heads.posterior_head import PosteriorHead
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import Predictor, predict
from p2l.uncertainty.posterior_fit import fit_posterior

PROMPTS = ["hello", ["first", "second"], "a much longer prompt " * 9]


def with_posterior(checkpoint: Checkpoint, seed: int = 0) -> Checkpoint:
    rng, hidden, outputs = np.random.default_rng(seed), checkpoint.model.head.hidden_size, len(checkpoint.models) + 1
    root = rng.normal(size=(outputs, outputs))
    checkpoint.model.head.posterior_head = PosteriorHead(
        HeadPosterior(
            centre=rng.normal(size=hidden),
            directions=np.linalg.qr(rng.normal(size=(hidden, hidden)))[0],
            curvature=rng.random(hidden),
            output_directions=root / 5,
            output_information=rng.random(outputs) * 100,
            level_covariance=root @ root.T / 100,
            scale=1.2,
            residual=0.3,
            num_models=len(checkpoint.models),
            report={"votes": 3},
        )
    )
    return checkpoint


def test_the_posterior_is_one_more_file_and_the_others_are_the_same(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    plain = save_checkpoint(tmp_path / "plain", tiny_checkpoint)
    before = predict(tiny_checkpoint, PROMPTS)
    sure = save_checkpoint(tmp_path / "sure", with_posterior(tiny_checkpoint))
    assert {file.name for file in sure.iterdir()} - {file.name for file in plain.iterdir()} == {"posterior.npz"}
    for file in plain.iterdir():
        assert file.read_bytes() == (sure / file.name).read_bytes(), file.name
    read = load_checkpoint(sure)
    after = predict(read, PROMPTS)
    torch.testing.assert_close(after.coefs, before.coefs, rtol=0, atol=0)
    assert read.posterior is not None and read.posterior.report == {"votes": 3}
    tables = [one.rank(PROMPTS).table() for one in (tiny_checkpoint, read)]
    for name in ("low", "high", "elo_low", "elo_high"):
        np.testing.assert_allclose(tables[1][name], tables[0][name], rtol=1e-4, atol=1e-3)
    assert load_checkpoint(plain).posterior is None and "low" not in load_checkpoint(plain).rank("hi").table()


def test_all_ways_to_rank_give_the_same_states(tiny_checkpoint: Checkpoint) -> None:
    checkpoint = with_posterior(tiny_checkpoint)
    expected = predict(checkpoint, PROMPTS).states
    torch.testing.assert_close(Predictor(checkpoint).rank(PROMPTS).states, expected, rtol=1e-3, atol=1e-3)


def test_a_checkpoint_saved_over_another_leaves_no_posterior_behind(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = save_checkpoint(tmp_path / "c", with_posterior(tiny_checkpoint))
    tiny_checkpoint.model.head.posterior_head = None
    save_checkpoint(folder, tiny_checkpoint)
    assert not (folder / "posterior.npz").exists() and load_checkpoint(folder).posterior is None


def test_a_recalibrated_checkpoint_keeps_a_posterior_of_its_scale(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    before = with_posterior(tiny_checkpoint).rank(PROMPTS[0]).table().set_index("model")
    tiny_checkpoint.model.head.rescale(0.5, torch.zeros(4))
    found = (
        load_checkpoint(save_checkpoint(tmp_path / "c", tiny_checkpoint)).rank(PROMPTS[0]).table().set_index("model")
    )
    width = [table.loc["beta", "high"] - table.loc["beta", "low"] for table in (before, found)]
    assert width[1] == pytest.approx(width[0] / 2, rel=1e-4)


def test_a_posterior_of_other_weights_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "c", with_posterior(tiny_checkpoint))
    with torch.no_grad():
        tiny_checkpoint.model.head.head.bias[0] += 1e-3
    other = save_checkpoint(tmp_path / "other", tiny_checkpoint)
    shutil.copy(folder / "posterior.npz", other)
    with pytest.raises(CheckpointError, match=r"posterior.npz was written beside other weights.*p2l posterior.*delete"):
        load_checkpoint(other)


def test_a_posterior_of_other_models_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "c", with_posterior(tiny_checkpoint))
    names = ("alpha", "beta", "delta", "omega")
    other = save_checkpoint(tmp_path / "other", replace(tiny_checkpoint, models=names))
    shutil.copy(folder / "posterior.npz", other)
    with pytest.raises(CheckpointError, match=r"other models than model_list.json \(gamma, omega in one only\)"):
        load_checkpoint(other)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("curvature", np.full(32, np.nan, dtype=np.float32), "not finite"),
        ("curvature", np.full(32, -1, dtype=np.float32), "negative"),
        ("centre", np.zeros(31, dtype=np.float32), r"shape \(31,\)"),
        ("scale", np.array(0.0), "negative|above 0"),
        ("level_covariance", -np.eye(5, dtype=np.float32), "no covariance"),
        ("centre", np.zeros(32, dtype=np.complex64), "expected real numbers"),
    ],
)
def test_damaged_numbers_are_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path, name: str, value: np.ndarray, why: str
) -> None:
    folder = save_checkpoint(tmp_path / "c", with_posterior(tiny_checkpoint))
    with np.load(folder / "posterior.npz") as file:
        parts = {key: file[key] for key in file.files} | {name: value}
    np.savez(folder / "posterior.npz", **parts)
    with pytest.raises(CheckpointError, match=why):
        load_checkpoint(folder)


def test_numbers_that_would_be_refused_are_not_written(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    head = with_posterior(tiny_checkpoint).model.head
    assert head.posterior_head is not None
    broken = replace(head.posterior_head.posterior, curvature=np.full(32, -1e-3))
    head.posterior_head = PosteriorHead(broken)
    with pytest.raises(CheckpointError, match="negative information.*not written"):
        save_checkpoint(tmp_path / "c", tiny_checkpoint)
    assert not (tmp_path / "c" / "posterior.npz").exists()


def test_fewer_prompts_than_hidden_units_give_a_posterior_that_can_be_read(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """The covariance of the hidden states is singular: rounding makes some of its variances negative."""
    models, rng = tiny_checkpoint.models, np.random.default_rng(5)
    pairs = [rng.choice(models, 2, replace=False) for _ in range(60)]
    rows = [{"prompt": f"p{i % 7}", "model_a": a, "model_b": b, "winner": "model_a"} for i, (a, b) in enumerate(pairs)]
    votes, _ = load_votes(rows, models=models)
    hidden = rng.normal(size=(len(votes.prompts), tiny_checkpoint.model.head.hidden_size))
    posterior = fit_posterior(tiny_checkpoint.model.head.float(), votes, hidden)
    assert posterior.curvature.min() >= 0
    tiny_checkpoint.model.head.posterior_head = PosteriorHead(posterior)
    assert load_checkpoint(save_checkpoint(tmp_path / "c", tiny_checkpoint)).posterior is not None


def test_a_cut_file_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "c", with_posterior(tiny_checkpoint))
    path = folder / "posterior.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(folder)
