"""The LightningModule that ranks prompts, and the callback that saves each batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from p2l.data.encoding import PromptBatch
from p2l.models import P2LModel
from p2l.models.batch_ranking import check_rankings
from p2l.models.prompt_states import PromptStates
from p2l.prediction.prediction_parts import PredictionParts
from p2l.types import Ranking


class PredictedBatch(NamedTuple):
    """Rankings of a batch and, if they are asked for, the hidden states that the head reads, and intervals by name."""

    prompt_index: Tensor
    ranking: Ranking
    hidden: Tensor | None
    intervals: dict[str, np.ndarray]


class PredictModule(LightningModule):
    """Ranks batches of prompts; ``states`` computes the hidden states in place of the model, on a CPU.

    ``keep_costs``: keep the predicted costs of the rankings. ``intervals``: from the rankings and the posterior of the
    head, the columns to write beside them; None for none.
    """

    def __init__(
        self,
        model: P2LModel,
        *,
        keep_hidden: bool = False,
        keep_costs: bool = False,
        intervals: Callable[[Ranking], dict[str, np.ndarray]] | None = None,
        states: PromptStates | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.keep_hidden, self.keep_costs, self.intervals = keep_hidden, keep_costs, intervals
        self.states = states

    def predict_step(self, batch: PromptBatch, batch_idx: int) -> PredictedBatch:
        if self.states is None:
            hidden = self.model.hidden(batch.input_ids, batch.attention_mask)
        else:
            hidden = self.states(_without_padding(batch))
        ranking = self.model.head(hidden)
        if not self.keep_costs:
            ranking = ranking._replace(costs=None)
        intervals = {} if self.intervals is None else self.intervals(ranking)
        return PredictedBatch(batch.prompt_index, ranking, hidden if self.keep_hidden else None, intervals)


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


def _without_padding(batch: PromptBatch) -> list[np.ndarray]:
    lengths = batch.attention_mask.sum(1).tolist()
    return [ids[:length] for ids, length in zip(batch.input_ids.numpy(), lengths, strict=True)]


def _frame(prediction: PredictedBatch) -> pd.DataFrame:
    check_rankings(prediction.ranking.map(lambda x: x.cpu()), prediction.prompt_index.tolist())
    columns = {
        "prompt": prediction.prompt_index.cpu().numpy(),
        "coefs": list(prediction.ranking.coefs.float().cpu().numpy()),
    }
    if prediction.ranking.eta is not None:
        columns["eta"] = prediction.ranking.eta.float().cpu().numpy()
    if prediction.ranking.costs is not None:
        columns["costs"] = list(prediction.ranking.costs.float().cpu().numpy())
    columns |= {name: list(values) for name, values in prediction.intervals.items()}
    if prediction.hidden is not None:
        columns["last_hidden_state"] = list(prediction.hidden.float().cpu().numpy())
    return pd.DataFrame(columns)
