"""Write the page of a run while it trains and when it ends."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn

from p2l.data import VoteDataModule
from p2l.data.encoding import encode_prompts
from p2l.data.prompt_encoder import Prompt, check_prompts, turns_of
from p2l.data.vote_table import VoteTable
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.leaderboard import leaderboard_tables
from p2l.run_page import RunRecord, read_run, write_page
from p2l.run_page.metric_history import MetricHistory
from p2l.run_page.read_run import HISTORY, PARTS, RECORD
from p2l.run_page.run_record import FINISHED, RUNNING, STOPPED
from p2l.run_page.run_votes import calibration_of, doubts, summaries
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.rank_in_training import rank_in_training
from p2l.training.callbacks.ranking_callback import RankingCallback
from p2l.training.callbacks.run_parts import ends_step, run_parts
from p2l.training.lightning_module import P2LModule
from p2l.types import Ranking

log = logging.getLogger(__name__)

FEW_STEPS = 500  # of a run whose every step is recorded
SECONDS_BETWEEN_PAGES = 60.0


class WriteRunPage(RankingCallback, EndOfRun):
    """Writes ``run.html``: losses beside the marginal leaderboard's, calibration, leaderboards of example prompts,
    votes, warnings and configuration. W&B gets it as ``run_page``, and the configuration.

    The metrics go to ``page/history.jsonl`` line by line, so that ``p2l run-page`` can write the page of a run that was
    killed. A page that cannot be written is a warning: it must not end a run.

    Args:
        folder: folder of the run.
        prompts: example prompts to rank when the run is over.
        name: of the run.
    """

    def __init__(self, folder: str, prompts: Sequence[Prompt] = (), name: str = "") -> None:
        super().__init__()
        check_prompts("example_prompts", prompts)
        self.folder, self.prompts = Path(folder), list(prompts)
        self.record = RunRecord(name=name, status=RUNNING)
        self._history: MetricHistory | None = None
        self._written = 0.0

    def show_config(self, config: Mapping[str, Any]) -> None:
        """Show this resolved configuration on the page."""
        self.record = replace(self.record, config=config)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        module, data = run_parts(trainer, pl_module)
        resumed = trainer.global_step if trainer.ckpt_path is not None else None
        self._history = MetricHistory(self.folder / PARTS / HISTORY, resumed)
        tables = dict(data.votes.items())
        self.record = replace(
            self.record,
            status=RUNNING,
            steps=module.num_steps,
            family=module.family.name,
            outcomes=module.family.outcomes,
            models=data.models,
            votes=summaries(tables),
            doubts=doubts(tables, data.votes.advice),
        )
        for logger in _wandb_loggers(trainer):
            logger.log_hyperparams(dict(self.record.config))  # a sweep is compared by them
        self._write(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        every = 1 if self.record.steps <= FEW_STEPS else trainer.log_every_n_steps  # type: ignore[attr-defined]
        if ends_step(trainer, batch_idx) and trainer.global_step % every == 0:
            self._add(trainer, "train/", "speed/")

    def evaluate(
        self, split: str, trainer: Trainer, module: P2LModule, data: VoteDataModule, votes: VoteTable, rankings: Ranking
    ) -> None:
        if split == "val" and trainer.is_global_zero:
            ranked = RankedVotes(votes.battles, rankings, votes.prompt_index, votes.prompt_index)
            self.record = replace(self.record, calibration=calibration_of(ranked, module.family))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._add(trainer, "val/")
            if time.monotonic() - self._written > SECONDS_BETWEEN_PAGES:
                self._write(trainer)
        super().on_validation_end(trainer, pl_module)

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        encoded = encode_prompts(data.encoder, self.prompts, progress=False)
        rankings = rank_in_training(trainer, module, encoded, data.eval_token_budget) if self.prompts else None
        if not trainer.is_global_zero:
            return
        tables = [] if rankings is None else leaderboard_tables(data.models, rankings, module.model.head.family)
        boards = [
            {"prompt": list(turns_of(prompt)), "rows": table.to_dict("records")}
            for prompt, table in zip(self.prompts, tables, strict=True)
        ]
        self.record = replace(self.record, status=FINISHED, leaderboards=boards)
        self._write(trainer, log_page=data.votes.test is None)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, log_page=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        reason = str(exception).strip().split("\n")[0][:300] or type(exception).__name__
        self.record = replace(self.record, status=STOPPED, reason=reason)
        self._write(trainer, log_page=True)

    def _add(self, trainer: Trainer, *prefixes: str) -> None:
        if self._history is not None:
            metrics = trainer.callback_metrics.items()
            self._history.add(
                trainer.global_step, {name: float(value) for name, value in metrics if name.startswith(prefixes)}
            )
            self.record = replace(self.record, step=trainer.global_step)

    def _write(self, trainer: Trainer, *, log_page: bool = False) -> None:
        if self._history is None:  # not rank 0, or nothing was trained
            return
        self._written = time.monotonic()
        try:
            self.record.save(self.folder / PARTS / RECORD)
            page = write_page(read_run(self.folder), self.folder)
            if log_page:
                log.info("page of the run: %s", page)
                _log_to_wandb(trainer, page)
        except Exception as error:  # whatever it is, it must not end the run
            log.warning("the page of the run could not be written: %s", error)


def _log_to_wandb(trainer: Trainer, page: Path) -> None:
    import wandb  # which a run with another logger does not need

    for logger in _wandb_loggers(trainer):
        logger.experiment.log({"run_page": wandb.Html(page.read_text(encoding="utf-8"), inject=False)})


def _wandb_loggers(trainer: Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
