import torch

from p2l.models import read_out

STATES = torch.arange(24.0).reshape(2, 4, 3)
IDS = torch.tensor([[5, 6, 9, 0], [5, 9, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])


def test_cls_is_found_wherever_it_stands() -> None:
    expected = torch.stack([STATES[0, 2], STATES[1, 1]])
    assert torch.equal(read_out(STATES, IDS, MASK, "cls", 9), expected)


def test_mean_leaves_padding_out() -> None:
    expected = torch.stack([STATES[0, :3].mean(0), STATES[1, :2].mean(0)])
    torch.testing.assert_close(read_out(STATES, IDS, MASK, "mean", 9), expected)
    assert read_out(STATES.bfloat16(), IDS, MASK, "mean", 9).dtype == torch.bfloat16
