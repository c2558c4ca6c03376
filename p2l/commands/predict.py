"""Rank the prompts of a data set and write it with coefs and eta; ``p2l.eval`` of the published code."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import RichProgressBar
from omegaconf import DictConfig

from p2l.arrays import to_numpy
from p2l.commands.predict_shards import predict_shards
from p2l.composition.build_run import make_trainer
from p2l.composition.config_objects import make
from p2l.data.batches import PromptLoader
from p2l.data.encoding import encode_prompts
from p2l.data.prompt_cells import read_prompt_column
from p2l.data.prompt_encoder import Prompt, text_turns_of
from p2l.data.readers import read_table
from p2l.errors import ConfigError, DataError, PromptError
from p2l.files import whole_file
from p2l.head_posterior import HeadPosterior
from p2l.models import Checkpoint
from p2l.models.prompt_states import PromptStates, backend_states, states_without_padding
from p2l.options import check_choice, check_count, check_level, check_number
from p2l.prediction.predict_module import PredictModule, SaveParts
from p2l.prediction.prediction_file import FORMATS, check_columns_fit, write_table
from p2l.prediction.prediction_parts import PredictionParts
from p2l.ranking.leaderboard_intervals import coef_covariance, coef_intervals
from p2l.ranking.leaderboard_table import compared
from p2l.types import Backend, Ranking

log = logging.getLogger(__name__)

PREDICTED = ("coefs", "eta", "costs", "last_hidden_state")
INTERVALS = ("low", "high", "rank_best", "rank_worst", "level")
NAMED = ("models", "top_model", "ranks")
WARNING = "warning"  # a column that only predictions of such a checkpoint have


@dataclass(frozen=True)
class PredictionJob:
    """Rank the prompts of a data set.

    Attributes:
        dataset: file, folder or hub dataset.
        output: file to write; .parquet, .json (records), .jsonl or .csv, whose lists are JSON.
        split: of a hub dataset or saved DatasetDict.
        column: holds the prompts: strings, or lists of user turns.
        names: also write ``models`` (in the order of ``coefs``), ``top_model`` and ``ranks`` (1 is best).
        keep_hidden: also write ``last_hidden_state``, the hidden state that the head reads.
        costs: also write ``costs``, the expected cost of each model's answer; NaN for a model without a prediction.
        intervals: level at which to write, for each model, ``low`` and ``high`` of its coefficient, ``rank_best`` and
            ``rank_worst``; None for none. ``level`` is a column, too. Needs a posterior.
        token_budget: most tokens, padding included, in a batch.
        backend: what computes the hidden states, see ``Predictor``; other than torch on the CPU.
    """

    dataset: str
    output: str
    split: str = "train"
    column: str = "prompt"
    keep_hidden: bool = False
    costs: bool = False
    names: bool = False
    intervals: float | None = None
    token_budget: int = 16384
    backend: Backend = "torch"

    def __post_init__(self) -> None:
        if Path(self.output).suffix not in FORMATS:
            raise ConfigError(f"output must end in one of {', '.join(FORMATS)}; got {self.output}")
        check_count("token_budget", self.token_budget)
        check_choice("backend", self.backend, get_args(Backend))
        if self.intervals is not None:
            check_level(self.intervals, "intervals")

    def run(self, checkpoint: Checkpoint, trainer: Trainer, model_path: str) -> Path:
        """Predict the prompts that are left, then write ``output``: the data set with ``coefs`` and ``eta``.

        A row whose prompt is not text, or is empty, gets nulls; how many is logged. On all ranks; rank 0 writes.
        """
        if self.costs and checkpoint.cost_facts is None:
            raise ConfigError(f"costs: {model_path} predicts no costs; p2l fit-costs adds them")
        if self.intervals is not None and checkpoint.posterior is None:
            raise ConfigError(f"intervals: {model_path} has no posterior; p2l posterior adds one")
        frame = self._read((WARNING,) if checkpoint.warning else ())
        rows, prompts = _unique_prompts(frame[self.column])
        parts = PredictionParts(Path(f"{self.output}.parts"))
        if trainer.is_global_zero:
            parts.open({**self._describe(frame), "model": model_path, **_describe_network(checkpoint)})
        trainer.strategy.barrier()
        self._predict(checkpoint, trainer, parts, prompts)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            predictions = parts.read() if prompts else pd.DataFrame({"prompt": []})
            if checkpoint.warning:
                frame[WARNING] = checkpoint.warning
            self._write(frame, rows, _with_names(predictions, checkpoint.models) if self.names else predictions)
            parts.remove()
            log.info("%d rows, %d distinct prompts: %s", len(frame), len(prompts), self.output)
        return Path(self.output)

    def _read(self, more: tuple[str, ...]) -> pd.DataFrame:
        frame = read_table(self.dataset, self.split, text=(self.column,))
        if self.column not in frame.columns:
            raise DataError(
                f"{self.dataset} has no column {self.column!r}; give column=<one of {', '.join(map(str, frame))}>"
            )
        predicted = [name for name in PREDICTED if name != "costs" or self.costs]
        new = (*predicted, *(NAMED if self.names else ()), *(INTERVALS if self.intervals else ()), *more)
        taken = [name for name in new if name in frame.columns]
        if taken:
            raise DataError(f"{self.dataset} already has {', '.join(taken)}, which predictions would replace")
        prompts = read_prompt_column(frame[self.column], f"{self.dataset}, column {self.column}")
        frame = frame.assign(**{self.column: _of_one_type(prompts)})
        check_columns_fit(frame, Path(self.output), self.dataset)  # before the prediction, which takes long
        return frame

    def _describe(self, frame: pd.DataFrame) -> dict[str, object]:
        text = frame[self.column].astype(str).str.cat(sep="\0").encode("utf-8", "replace")
        digest = hashlib.sha256(text).hexdigest()
        job = {"dataset": self.dataset, "column": self.column, "prompts": digest, "keep_hidden": self.keep_hidden}
        job |= {"costs": True} if self.costs else {}  # older jobs name neither this nor intervals nor a backend
        job |= {"intervals": self.intervals} if self.intervals else {}
        return job if self.backend == "torch" else {**job, "backend": self.backend}

    def _predict(self, checkpoint: Checkpoint, trainer: Trainer, parts: PredictionParts, prompts: list[Prompt]) -> None:
        done = parts.done()
        left = np.setdiff1d(np.arange(len(prompts)), done)
        if len(done):
            log.info("resuming: %d of %d prompts are done", len(prompts) - len(left), len(prompts))
        if not len(left):
            return
        encoded = encode_prompts(checkpoint.encoder, prompts)
        loader = PromptLoader(
            encoded,
            only=left,
            token_budget=self.token_budget,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        trainer.callbacks.append(SaveParts(parts))  # type: ignore[attr-defined]
        states = self._states(checkpoint, trainer)
        module = PredictModule(
            checkpoint.model,
            keep_hidden=self.keep_hidden,
            keep_costs=self.costs,
            intervals=self._intervals(checkpoint),
            states=states,
        )
        trainer.predict(module, loader, return_predictions=False)

    def _intervals(self, checkpoint: Checkpoint) -> Callable[[Ranking], dict[str, np.ndarray]] | None:
        if self.intervals is None or checkpoint.posterior is None:
            return None
        return partial(_intervals, checkpoint, checkpoint.posterior, self.intervals)

    def _states(self, checkpoint: Checkpoint, trainer: Trainer) -> PromptStates | None:
        """Return what computes the hidden states in place of the network; None on a GPU or in mixed precision."""
        plain = trainer.strategy.root_device.type == "cpu" and trainer.precision == "32-true"
        if self.backend == "torch":
            return states_without_padding(checkpoint) if plain else None
        if not plain:
            raise ConfigError(f"backend={self.backend} runs on a CPU in the precision of dtype=; give trainer=cpu")
        return backend_states(checkpoint, self.backend)[0]

    def _write(self, frame: pd.DataFrame, rows: np.ndarray, predictions: pd.DataFrame) -> None:
        path = Path(self.output)
        known = rows >= 0
        for name in (*PREDICTED, *NAMED, *INTERVALS):
            if name in predictions:
                column = np.full(len(frame), None, dtype=object)
                column[known] = predictions[name].to_numpy(dtype=object)[rows[known]]
                frame[name] = column if name != "eta" else pd.Series(column, index=frame.index).astype("Float32")
        with whole_file(path) as part:
            write_table(frame, part, path.suffix)


def _intervals(
    checkpoint: Checkpoint, posterior: HeadPosterior, level: float, ranking: Ranking
) -> dict[str, np.ndarray]:
    """Return the columns ``INTERVALS`` of a batch of prompts."""
    comparable = compared(checkpoint.models, checkpoint.groups)
    rows = []
    for prompt in range(len(ranking.coefs)):  # one by one: a covariance has models x models numbers
        one = ranking.map(lambda x: x[prompt])  # noqa: B023
        rows.append(coef_intervals(to_numpy(one.coefs), coef_covariance(one, posterior), level, comparable))
    found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return {**found, "level": np.full(len(rows), level)}


def _with_names(predictions: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Add the names of the models, the best one, and the rank of each; equal coefficients share the better rank."""
    coefs = np.stack(predictions["coefs"].to_list()) if len(predictions) else np.zeros((0, len(models)))
    return predictions.assign(
        models=[list(models)] * len(coefs),
        top_model=[models[best] for best in coefs.argmax(axis=1)],
        ranks=[(1 + (row[None] > row[:, None]).sum(axis=1)).tolist() for row in coefs],
    )


def _describe_network(checkpoint: Checkpoint) -> dict[str, object]:
    """Describe what predictions depend on: the format of prompts, and the type and first numbers of each weight."""
    digest = hashlib.sha256()
    for name, weight in checkpoint.model.state_dict().items():
        numbers = weight.flatten()[:256].cpu().contiguous().view(torch.uint8).numpy()
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode() + numbers.tobytes())
    if (cost_head := checkpoint.model.head.cost_head) is not None:
        digest.update(b"".join(part.tobytes() for part in cost_head.weights))
    if checkpoint.posterior is not None:
        digest.update(b"".join(part.tobytes() for part in checkpoint.posterior.numbers().values()))
    return {**checkpoint.encoder.format.to_dict(), "weights": digest.hexdigest()}


def _of_one_type(column: pd.Series) -> pd.Series:
    """Turn a column that mixes strings and lists into lists of turns; return any other column unchanged."""
    strings = column.map(lambda value: isinstance(value, str))
    if strings.all() or not strings.any() or (column[~strings].map(pd.api.types.is_scalar)).all():
        return column
    return column.where(~strings, column.map(lambda value: [value]))


def _unique_prompts(column: pd.Series) -> tuple[np.ndarray, list[Prompt]]:
    """Return the index of each row's prompt among the distinct ones (-1: no text), and the distinct ones."""
    seen: dict[tuple[str, ...], int] = {}
    rows = np.full(len(column), -1, dtype=np.int64)
    for i, value in enumerate(column):
        try:
            rows[i] = seen.setdefault(text_turns_of(value), len(seen))
        except PromptError:
            continue
    if (rows < 0).any():
        bad = np.flatnonzero(rows < 0)
        log.warning("%d of %d rows hold no prompt (row %d first) and get nulls", len(bad), len(rows), bad[0])
    return rows, list(seen)


def run(cfg: DictConfig) -> None:
    check_choice("engine", cfg.engine, ("local", "ray"))
    check_count("workers", cfg.workers)
    check_number("gpus", cfg.gpus, least=0)
    if cfg.engine == "ray":
        predict_shards(cfg)
        return
    job, trainer = make(cfg.job), make_trainer(cfg.trainer, [RichProgressBar()])
    job.run(make(cfg.checkpoint), trainer, cfg.model_path)
