"""costs.npz beside a checkpoint: written, read, and refused if it does not belong there."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from p2l.errors import CheckpointError
from p2l.evaluation.cost_fit import fit_cost_head
from p2l.models import Checkpoint, load_checkpoint, save_checkpoint
from p2l.models.predictor import Predictor, predict
from p2l.new_models.extend_checkpoint import extend_checkpoint

PROMPTS = ["hello", ["first", "second"], "a much longer prompt " * 9]


def with_costs(checkpoint: Checkpoint, seed: int = 0) -> Checkpoint:
    """The checkpoint with a cost head for all models but the last."""
    rng = np.random.default_rng(seed)
    costs = np.exp(rng.normal(size=(60, len(checkpoint.models))))
    costs[:, -1] = np.nan
    checkpoint.model.head.cost_head = fit_cost_head(rng.normal(size=(60, 32)), costs, "dollars")
    return checkpoint


def test_costs_are_one_more_file_and_the_others_are_the_same(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    plain = save_checkpoint(tmp_path / "plain", tiny_checkpoint)
    priced = save_checkpoint(tmp_path / "priced", with_costs(tiny_checkpoint))
    assert {file.name for file in priced.iterdir()} - {file.name for file in plain.iterdir()} == {"costs.npz"}
    for file in plain.iterdir():
        assert file.read_bytes() == (priced / file.name).read_bytes(), file.name
    before, after = (predict(load_checkpoint(folder), PROMPTS) for folder in (plain, priced))
    assert before.costs is None
    torch.testing.assert_close(after.coefs, before.coefs, rtol=0, atol=0)
    torch.testing.assert_close(after.costs, predict(tiny_checkpoint, PROMPTS).costs, equal_nan=True)
    assert after.costs[:, :-1].isfinite().all() and after.costs[:, -1].isnan().all()


def test_all_ways_to_rank_give_the_same_costs(tiny_checkpoint: Checkpoint) -> None:
    checkpoint = with_costs(tiny_checkpoint)
    expected = predict(checkpoint, PROMPTS).costs
    torch.testing.assert_close(Predictor(checkpoint).rank(PROMPTS).costs, expected, equal_nan=True, rtol=1e-4, atol=0)
    table = checkpoint.rank(PROMPTS[:1]).table(costs=True)
    assert table.set_index("model")["cost"].reindex(checkpoint.models).to_numpy() == pytest.approx(
        expected[0].numpy(), nan_ok=True, rel=1e-4
    )
    assert "cost" not in checkpoint.rank(PROMPTS[0]).table()
    assert checkpoint.cost_facts.unit == "dollars" and len(checkpoint.cost_facts.mean) == 3


def test_a_checkpoint_saved_over_another_leaves_no_costs_behind(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "c", with_costs(tiny_checkpoint))
    tiny_checkpoint.model.head.cost_head = None
    save_checkpoint(folder, tiny_checkpoint)
    assert not (folder / "costs.npz").exists() and load_checkpoint(folder).cost_facts is None


def test_a_recalibrated_checkpoint_keeps_its_costs(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    expected = predict(with_costs(tiny_checkpoint), PROMPTS).costs
    tiny_checkpoint.model.head.rescale(0.5, torch.zeros(4))
    found = predict(load_checkpoint(save_checkpoint(tmp_path / "c", tiny_checkpoint)), PROMPTS)
    torch.testing.assert_close(found.costs, expected, equal_nan=True)


def test_costs_of_other_weights_are_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "c", with_costs(tiny_checkpoint))
    with torch.no_grad():
        tiny_checkpoint.model.head.head.bias[0] += 1e-3
    other = save_checkpoint(tmp_path / "other", tiny_checkpoint)
    shutil.copy(folder / "costs.npz", other)
    with pytest.raises(CheckpointError, match=r"costs.npz was written beside other weights.*p2l fit-costs.*delete"):
        load_checkpoint(other)


def test_costs_of_other_models_are_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "c", with_costs(tiny_checkpoint))
    for names, why in (
        (("alpha", "beta", "delta", "new"), "gamma, new in one only"),
        (("beta", "alpha", "delta", "gamma"), "in another order"),
    ):
        other = save_checkpoint(tmp_path / names[0] / names[-1], replace(tiny_checkpoint, models=names))
        shutil.copy(folder / "costs.npz", other)
        with pytest.raises(CheckpointError, match=why):
            load_checkpoint(other)


def changed(folder: Path, **arrays: np.ndarray) -> None:
    with np.load(folder / "costs.npz") as file:
        known = dict(file)
    np.savez(folder / "costs.npz", **known | arrays)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"weight": np.zeros((4, 16), dtype=np.float32)}, "hidden size 32"),
        ({"low": np.full(4, -1.0, dtype=np.float32)}, "not above 0"),
        ({"mean": np.full(4, np.inf, dtype=np.float32)}, "not finite"),
        ({"report": np.array("{")}, "cannot be read"),
        ({"weight": np.array([["a"] * 32] * 4)}, "weight of shape"),
        ({"weight": np.full((4, 32), {}, dtype=object)}, "cannot be read"),  # never unpickled
    ],
)
def test_damaged_numbers_are_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path, arrays: dict[str, np.ndarray], why: str
) -> None:
    folder = save_checkpoint(tmp_path / "c", with_costs(tiny_checkpoint))
    changed(folder, **arrays)
    with pytest.raises(CheckpointError, match=rf"costs.npz .*{why}.*delete costs.npz"):
        load_checkpoint(folder)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-200], lambda raw: raw[:100] + b"x" + raw[101:], lambda raw: b""])
def test_a_file_cut_short_or_changed_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path, damage) -> None:
    folder = save_checkpoint(tmp_path / "c", with_costs(tiny_checkpoint))
    raw = (folder / "costs.npz").read_bytes()
    (folder / "costs.npz").write_bytes(damage(raw))
    with pytest.raises(CheckpointError, match="delete costs.npz"):
        load_checkpoint(folder)


def test_the_name_of_a_model_tells_its_costs(tiny_checkpoint: Checkpoint) -> None:
    plain = Predictor(tiny_checkpoint).fingerprint()
    first, second = (Predictor(with_costs(tiny_checkpoint, seed)).fingerprint() for seed in (0, 1))
    parts = [set(each) for each in zip(*(name.split(".") for name in (plain, first, second)), strict=True)]
    assert [len(part) for part in parts] == [3, 3]


def test_a_new_model_has_no_cost(tiny_checkpoint: Checkpoint) -> None:
    checkpoint = with_costs(tiny_checkpoint)
    before = predict(checkpoint, PROMPTS).costs
    longer = extend_checkpoint(checkpoint, ["new"], np.zeros((1, 32)), np.zeros(1))
    after = predict(longer, PROMPTS).costs
    torch.testing.assert_close(after[:, :4], before, equal_nan=True)
    assert after[:, 4].isnan().all() and "new" not in longer.cost_facts.mean
