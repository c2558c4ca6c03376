"""The P2L network: backbone, readout, head."""

from typing import Any, get_args

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from p2l.errors import ConfigError
from p2l.heads import RankingHead
from p2l.models.packed import PackedRow, check_packable, pack_row
from p2l.models.readout import Readout, read_out, read_out_row
from p2l.models.row_attention import WITHIN_PROMPTS, attend_within_prompts, can_attend_within
from p2l.types import Ranking


class P2LModel(nn.Module):
    """Map the token ids of prompts to a ranking of each (Frick et al. 2025, section 2).

    The state dict has the published keys: ``model.*`` is the backbone, ``head.*`` the head. ``packed`` runs the
    prompts of a batch in one row without padding; the rankings are the same.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        head: RankingHead,
        readout: Readout,
        cls_token_id: int,
        packed: bool = False,
    ) -> None:
        super().__init__()
        if readout not in get_args(Readout):
            raise ConfigError(f"model.readout must be one of {get_args(Readout)}; got {readout!r}")
        self.model = backbone
        self.head = head
        self.readout: Readout = readout
        self.cls_token_id = cls_token_id
        if packed:
            check_packable(backbone)
            if can_attend_within(backbone):
                attend_within_prompts(backbone)
        self.packed = packed

    def hidden(
        self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch hidden"]:
        """Return the hidden state of each prompt that the head reads."""
        if self.packed:
            return self.hidden_of_row(pack_row(input_ids, attention_mask))
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return read_out(states, input_ids, attention_mask, self.readout, self.cls_token_id)

    def hidden_of_row(self, row: PackedRow) -> Float[Tensor, "batch hidden"]:
        """Return the hidden states of prompts in one row, for a backbone that keeps them apart."""
        attention = self.model.config._attn_implementation or ""
        arguments: dict[str, Any] = {}
        if "flash" in attention:
            arguments = row.flash_arguments()
        elif attention == WITHIN_PROMPTS:
            arguments = row.run_arguments()
        padding = getattr(getattr(self.model, "embeddings", None), "padding_idx", None)
        states = self.model(input_ids=row.input_ids, position_ids=row.places(padding), **arguments).last_hidden_state
        return read_out_row(states[0], row, self.readout, self.cls_token_id)

    def forward(self, input_ids: Int[Tensor, "batch tokens"], attention_mask: Int[Tensor, "batch tokens"]) -> Ranking:
        """Return the ranking of each prompt; ``attention_mask`` is 1 on tokens and 0 on padding."""
        return self.head(self.hidden(input_ids, attention_mask))

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())
