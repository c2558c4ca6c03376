import pytest
import torch

from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.outcomes import FAMILIES, OutcomeFamily
from p2l.types import Ranking

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
HIDDEN = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))


@families
@pytest.mark.parametrize(("rank", "eta_from"), [(None, "hidden"), (3, "hidden"), (3, "bottleneck")])
def test_emits_what_the_family_needs(family: OutcomeFamily, rank: int | None, eta_from: str) -> None:
    ranking = RankingHead(16, 7, family, rank=rank, eta_from=eta_from)(HIDDEN)
    assert ranking.coefs.shape == (5, 7)
    assert (ranking.eta is None) == (family.num_eta == 0)
    assert ranking.eta is None or ranking.eta.shape == (5,)


def test_parameters_have_the_published_names() -> None:
    def shapes(**options) -> dict[str, tuple[int, ...]]:
        return {name: tuple(p.shape) for name, p in RankingHead(16, 8, **options).named_parameters()}

    full = {"head.weight": (8, 16), "head.bias": (8,)}
    eta = {"eta_head.weight": (1, 16), "eta_head.bias": (1,)}
    low_rank = {"head.0.weight": (4, 16), "head.0.bias": (4,), "head.1.weight": (8, 4), "head.1.bias": (8,)}
    assert shapes(family="bt") == full
    assert shapes(family="grk") == full | eta
    assert shapes(family="ba") == full | eta | {"gamma_head.weight": (1, 16), "gamma_head.bias": (1,)}
    assert shapes(family="rk", rank=4) == low_rank | eta
    down = {"eta_head.1.weight": (1, 4), "eta_head.1.bias": (1,)}
    assert shapes(family="rk", rank=4, eta_from="bottleneck") == low_rank | down


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_output_is_float32_whatever_the_backbone_computes_in(dtype: torch.dtype) -> None:
    head = RankingHead(16, 7, "grk")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ranking = head(HIDDEN.to(dtype))
    assert ranking.coefs.dtype == ranking.eta.dtype == torch.float32
    if dtype == torch.float32:
        torch.testing.assert_close(ranking.coefs, head(HIDDEN).coefs, rtol=0, atol=0)


@families
@pytest.mark.parametrize("rank", [None, 3])
def test_bias_set_to_a_leaderboard_is_the_output_without_a_signal(family: OutcomeFamily, rank: int | None) -> None:
    head = RankingHead(16, 7, family, rank=rank, init="zeros")
    marginal = Ranking(torch.linspace(-1, 1, 7), torch.tensor(0.3) if family.num_eta else None)
    head.set_bias(marginal)
    ranking = head(HIDDEN)
    torch.testing.assert_close(ranking.coefs, marginal.coefs.expand(5, 7))
    assert ranking.eta is None or torch.allclose(ranking.eta, torch.tensor(0.3))


def test_threshold_is_subtracted() -> None:
    head = RankingHead(16, 7, "ba")
    before = head(HIDDEN).coefs
    head.gamma_head.bias.data += 2
    torch.testing.assert_close(head(HIDDEN).coefs, before - 2)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"head.rank must .* from 1 to 7 \(hidden size 16, models 7\); got 8"):
        RankingHead(16, 7, "bt", rank=8)
    with pytest.raises(ConfigError, match=r"eta_from must be 'hidden', or 'bottleneck' with head.rank set"):
        RankingHead(16, 7, "rk", eta_from="bottleneck")
