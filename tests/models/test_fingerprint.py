"""Equal checkpoints have one fingerprint; whatever changes a ranking changes it."""

import pytest
import torch

from p2l.models import load_checkpoint, save_checkpoint
from p2l.models.fingerprint import fingerprint
from p2l.models.predictor import Predictor


def of(checkpoint) -> str:
    return fingerprint(checkpoint.model, checkpoint.encoder, checkpoint.models, checkpoint.family.name)


def test_a_copy_has_the_same(tiny_checkpoint, tmp_path):
    saved = save_checkpoint(tmp_path / "c", tiny_checkpoint)
    first, second = (load_checkpoint(str(saved)) for _ in range(2))
    assert of(first) == of(second) == of(tiny_checkpoint)
    Predictor(second).warm_up()
    assert of(second) == of(first)


def test_any_changed_value_changes_it(tiny_checkpoint):
    seen = {of(tiny_checkpoint)}
    parameters = dict(tiny_checkpoint.model.named_parameters())
    for parameter in parameters.values():
        with torch.no_grad():
            parameter.view(-1)[parameter.numel() // 2] += 0.01
        seen.add(of(tiny_checkpoint))
    assert len(seen) == len(parameters) + 1


def test_two_models_that_change_places_change_it(tiny_checkpoint):
    before = of(tiny_checkpoint)
    weight = next(p for name, p in tiny_checkpoint.model.head.named_parameters() if p.ndim == 2 and len(p) > 1)
    with torch.no_grad():
        weight[[0, 1]] = weight[[1, 0]].clone()
    assert of(tiny_checkpoint) != before


@pytest.mark.parametrize("change", ["names", "family", "template", "length"])
def test_names_and_encoding_belong_to_it(change, tiny_checkpoint):
    encoder, models, family = tiny_checkpoint.encoder, tiny_checkpoint.models, tiny_checkpoint.family.name
    before = of(tiny_checkpoint)
    if change == "names":
        models = models[::-1]
    elif change == "family":
        family = "bt"
    elif change == "template":
        encoder.tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    else:
        encoder = type(encoder)(encoder.tokenizer, type(encoder.format)(max_length=9))
    after = fingerprint(tiny_checkpoint.model, encoder, models, family)
    assert after != before
    assert (after.split(".")[0] != before.split(".")[0]) == (change in ("names", "family"))
