"""The linear head of P2L, full or low rank."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from p2l.errors import ConfigError
from p2l.heads.cost_head import CostHead
from p2l.heads.initialization import initialize_linear
from p2l.heads.posterior_head import PosteriorHead
from p2l.options import check_count
from p2l.outcomes import OutcomeFamily, get_family
from p2l.types import Ranking


class RankingHead(nn.Module):
    """Map the hidden state of a prompt to one coefficient per model (nats), and eta if the family has one.

    coefs = W h + c, or V (U h + u) + c at low rank; eta = w . h + e. With a threshold (family "ba") the head also
    emits gamma and returns coefs - gamma, so that the ranking is a grounded one like any other.

    Parameter names are those of the published checkpoints: ``head``, ``eta_head``, ``gamma_head``. A ``cost_head``, if
    there is one, adds costs to the ranking, and a ``posterior_head`` the states that its posterior reads.
    The state dict holds neither.

    Args:
        hidden_size: width of the hidden state.
        num_models: number of LLMs ranked.
        family: an OutcomeFamily or its name; decides whether eta and gamma are emitted.
        rank: width of the bottleneck, or None for one full linear layer.
        init: one of ``p2l.heads.INITIALIZATIONS``.
        eta_from: at low rank, read eta from the hidden state or (published ``eta_downsize``) from the bottleneck.
    """

    cost_head: CostHead | None
    posterior_head: PosteriorHead | None

    def __init__(
        self,
        hidden_size: int,
        num_models: int,
        family: OutcomeFamily | str,
        rank: int | None = None,
        init: str = "reset_parameters",
        eta_from: Literal["hidden", "bottleneck"] = "hidden",
    ) -> None:
        super().__init__()
        self.family = family if isinstance(family, OutcomeFamily) else get_family(family)
        if rank is not None:
            most = min(hidden_size, num_models)
            check_count("head.rank", rank, most=most, of=f"hidden size {hidden_size}, models {num_models}")
        if eta_from not in ("hidden", "bottleneck") or (eta_from == "bottleneck" and rank is None):
            raise ConfigError(f"head.eta_from must be 'hidden', or 'bottleneck' with head.rank set; got {eta_from!r}")
        self.rank, self.eta_from, self.num_models, self.hidden_size = rank, eta_from, num_models, hidden_size
        self.head: nn.Module = (
            nn.Linear(hidden_size, num_models)
            if rank is None
            else nn.Sequential(nn.Linear(hidden_size, rank), nn.Linear(rank, num_models))
        )
        if self.family.num_eta:
            # the Identity keeps the published key eta_head.1 while the bottleneck is computed once
            self.eta_head: nn.Module = (
                nn.Linear(hidden_size, 1)
                if eta_from == "hidden"
                else nn.Sequential(nn.Identity(), nn.Linear(rank or hidden_size, 1))
            )
        if self.family.has_threshold:
            self.gamma_head = nn.Linear(hidden_size, 1)
        self.register_module("cost_head", None)
        self.register_module("posterior_head", None)
        self.reset_parameters(init)

    def reset_parameters(self, init: str) -> None:
        """Draw all weights by the named scheme; set all biases to zero.

        Under "zeros" a bottleneck is drawn as "reset_parameters": zeros on both sides would get no gradient.
        """
        bottleneck = self.head[0] if isinstance(self.head, nn.Sequential) else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialize_linear(module, "reset_parameters" if module is bottleneck and init == "zeros" else init)

    @property
    def ignores_prompts(self) -> bool:
        """Whether the coefficients are the same for every prompt: the last layer has no weights but its bias."""
        return not bool(_last_linear(self.head).weight.any())

    @torch.no_grad()
    def set_bias(self, ranking: Ranking) -> None:
        """Make ``ranking`` (a single leaderboard, such as the marginal fit) the output for a zero hidden state."""
        _last_linear(self.head).bias.copy_(ranking.coefs)
        if self.family.num_eta and ranking.eta is not None:
            _last_linear(self.eta_head).bias.copy_(ranking.eta.reshape(1))

    @torch.no_grad()
    def rescale(
        self, scale: float, offset: Float[Tensor, " models"], eta_scale: float = 1.0, eta_offset: float = 0.0
    ) -> None:
        """Make every output ``scale`` coefs + ``offset``, and ``eta_scale`` eta + ``eta_offset``; the posterior too."""
        if self.posterior_head is not None:
            self.posterior_head.posterior = self.posterior_head.posterior.rescaled(scale, eta_scale)
        last = _last_linear(self.head)
        last.weight.mul_(scale)
        last.bias.mul_(scale).add_(offset.to(last.bias))
        if self.family.has_threshold:
            self.gamma_head.weight.mul_(scale)
            self.gamma_head.bias.mul_(scale)
        if self.family.num_eta:
            last = _last_linear(self.eta_head)
            last.weight.mul_(eta_scale)
            last.bias.mul_(eta_scale).add_(eta_offset)

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Ranking:
        """Return coefficients (batch, models), eta (batch,), costs and states; None for what there is not; float32."""
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.to(self._dtype)
            first, last = self.head if isinstance(self.head, nn.Sequential) else (nn.Identity(), self.head)
            bottleneck = first(hidden)
            coefs = last(bottleneck)
            eta = None
            if self.family.num_eta:
                eta = self.eta_head(bottleneck if self.eta_from == "bottleneck" else hidden).squeeze(-1).float()
            if self.family.has_threshold:
                coefs = coefs - self.gamma_head(hidden)
            costs = None if self.cost_head is None else self.cost_head(hidden)
            states = None if self.posterior_head is None else self.posterior_head(hidden)
        return Ranking(coefs.float(), eta, costs, states)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def _last_linear(layer: nn.Module) -> nn.Linear:
    return [module for module in layer.modules() if isinstance(module, nn.Linear)][-1]
