"""Print and plot leaderboards of example prompts at the end of a run."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

import pandas as pd
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger
from rich.table import Table

from p2l.console import table_console
from p2l.data import VoteDataModule
from p2l.data.encoding import encode_prompts
from p2l.data.prompt_encoder import Prompt, check_prompts, turns_of
from p2l.drawing import best_of
from p2l.leaderboard import leaderboard_tables, plot_leaderboards
from p2l.ranking.leaderboard_table import warned
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.rank_in_training import rank_in_training
from p2l.training.lightning_module import P2LModule
from p2l.training.marginal_verdict import warning_about


class ExampleLeaderboards(EndOfRun):
    """Prints the top of each example prompt's leaderboard and writes ``leaderboards.png``; W&B gets the plot."""

    def __init__(self, folder: str, prompts: Sequence[Prompt], top: int = 8) -> None:
        check_prompts("example_prompts", prompts)
        self.folder, self.prompts, self.top = Path(folder), list(prompts), top

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        if not self.prompts:
            return
        encoded = encode_prompts(data.encoder, self.prompts, progress=False)
        rankings = rank_in_training(trainer, module, encoded, data.eval_token_budget)
        if not trainer.is_global_zero:
            return
        tables = leaderboard_tables(data.models, rankings, module.model.head.family)
        warning = warning_about(trainer.callback_metrics, data.unbounded)
        tables = [warned(table, warning) for table in tables]
        titles = [" / ".join(turns_of(prompt)) for prompt in self.prompts]
        self._print(titles, tables)
        self.folder.mkdir(parents=True, exist_ok=True)
        picture = self.folder / "leaderboards.png"
        plot_leaderboards(titles, tables).savefig(picture, dpi=120)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("leaderboards", [str(picture)])

    def _print(self, titles: list[str], tables: list[pd.DataFrame]) -> None:
        console = table_console()
        if warning := next((table.attrs.get("warning") for table in tables), None):
            console.print(f"Warning: this model is {warning}.", style="bold red", markup=False)
        for title, table in zip(titles, tables, strict=True):
            part = best_of(self.top, len(table))
            heading = shorten(title, 70, placeholder=" ...") + (f" ({part})" if part else "")
            console.print(heading, style="italic", markup=False)
            shown = Table()
            for column in ("rank", "model", "coef", "elo", "win rate"):
                shown.add_column(column, justify="left" if column == "model" else "right", overflow="fold")
            for row in table.head(self.top).itertuples():
                shown.add_row(str(row.rank), row.model, f"{row.coef:+.2f}", f"{row.elo:+.0f}", f"{row.win_rate:.1%}")
            console.print(shown)
