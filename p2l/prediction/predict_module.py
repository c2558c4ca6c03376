"""The LightningModule that ranks prompts, and the callback that saves each batch."""

from typing import Any, NamedTuple

import pandas as pd
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from p2l.data.encoding import PromptBatch
from p2l.models import P2LModel
from p2l.prediction.prediction_parts import PredictionParts
from p2l.types import Ranking


class PredictedBatch(NamedTuple):
    """Rankings of a batch and, if ``keep_hidden`` is set, the hidden states that the head reads."""

    prompt_index: Tensor
    ranking: Ranking
    hidden: Tensor | None


class PredictModule(LightningModule):
    """Ranks batches of prompts."""

    def __init__(self, model: P2LModel, *, keep_hidden: bool = False) -> None:
        super().__init__()
        self.model = model
        self.keep_hidden = keep_hidden

    def predict_step(self, batch: PromptBatch, batch_idx: int) -> PredictedBatch:
        hidden = self.model.hidden(batch.input_ids, batch.attention_mask)
        return PredictedBatch(batch.prompt_index, self.model.head(hidden), hidden if self.keep_hidden else None)


class SaveParts(Callback):
    """Writes the predictions of each batch to its own file, on every rank, as soon as they are made."""

    def __init__(self, parts: PredictionParts) -> None:
        self.parts = parts

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: PredictedBatch,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.parts.add(_frame(outputs))


def _frame(prediction: PredictedBatch) -> pd.DataFrame:
    columns = {
        "prompt": prediction.prompt_index.cpu().numpy(),
        "coefs": list(prediction.ranking.coefs.float().cpu().numpy()),
    }
    if prediction.ranking.eta is not None:
        columns["eta"] = prediction.ranking.eta.float().cpu().numpy()
    if prediction.hidden is not None:
        columns["last_hidden_state"] = list(prediction.hidden.float().cpu().numpy())
    return pd.DataFrame(columns)
