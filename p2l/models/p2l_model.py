"""The P2L network: backbone, readout, head."""

from typing import get_args

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.models.readout import Readout, read_out
from p2l.types import Ranking


class P2LModel(nn.Module):
    """Token ids of prompts -> a leaderboard for each (Frick et al. 2025, section 2).

    The state dict has the published keys: ``model.*`` is the backbone, ``head.*`` the head.
    """

    def __init__(self, backbone: PreTrainedModel, head: RankingHead, readout: Readout, cls_token_id: int) -> None:
        super().__init__()
        if readout not in get_args(Readout):
            raise ConfigError(f"model.readout must be one of {get_args(Readout)}; got {readout!r}")
        self.model = backbone
        self.head = head
        self.readout: Readout = readout
        self.cls_token_id = cls_token_id

    def hidden(
        self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch hidden"]:
        """The hidden state of each prompt that the head reads."""
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return read_out(states, input_ids, attention_mask, self.readout, self.cls_token_id)

    def forward(self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]) -> Ranking:
        """The ranking of each prompt; ``attention_mask`` is 1 on tokens and 0 on padding."""
        return self.head(self.hidden(input_ids, attention_mask))

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())
