"""Analyse a table of prompts; write a page and the numbers behind it."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig

from p2l.composition.config_objects import make
from p2l.data.ranking_models import named_models
from p2l.data.readers import parse_json, read_table
from p2l.errors import ConfigError, DataError
from p2l.files import whole_file, write_whole
from p2l.insight.analysis import Insight, Questions, analyse
from p2l.insight.embeddings import HIDDEN
from p2l.insight.html_report import render
from p2l.insight.prompt_groups import CLUSTER
from p2l.insight.ranked_prompts import Columns, RankedPrompts, align, rank_table, read_rankings
from p2l.models import Checkpoint
from p2l.models.checkpoint_reader import load_head
from p2l.options import check_count
from p2l.outcomes import OutcomeFamily, get_family

log = logging.getLogger(__name__)

PAGE = "report.html"


@dataclass(frozen=True)
class InsightJob:
    """Analyse the prompts of a data set.

    Attributes:
        dataset: file, folder or hub dataset of prompts, or of rankings that ``p2l predict`` wrote (column coefs).
        output_dir: folder of the page and its tables.
        questions: which analyses, and their parameters.
        split: of a hub dataset or saved DatasetDict.
        column: holds the prompts: strings, or lists of user turns.
        categories: column, or columns, of labels to group by.
        embedding: for clusters: "hidden", the P2L model's hidden state, or a sentence encoder; None: no clusters.
        reference: another data set to compare with.
        before: rankings of the same prompts and LLMs by another checkpoint, to compare with.
        models: of rankings without a checkpoint: their names, a JSON list of them, or the folder of a checkpoint; not
            needed if the rankings name them.
        family: of rankings without a checkpoint; not needed if ``models`` is the folder of one.
        token_budget: most tokens, padding included, in a batch.
    """

    dataset: str
    output_dir: str
    questions: Questions = field(default_factory=Questions)
    split: str = "train"
    column: str = "prompt"
    categories: str | Sequence[str] = ()
    embedding: str | None = HIDDEN
    reference: str | None = None
    before: str | None = None
    models: str | Sequence[str] | None = None
    family: str | None = None
    token_budget: int = 16384

    def __post_init__(self) -> None:
        check_count("token_budget", self.token_budget)

    def run(self, checkpoint: Checkpoint | None) -> Path:
        """Rank the prompts that are not ranked yet, analyse them, and return the path of the page.

        ``checkpoint`` may be None if ``models`` and ``family`` are given and all data sets hold rankings.
        """
        if checkpoint is not None and torch.cuda.is_available() and next(checkpoint.model.parameters()).is_cpu:
            checkpoint.model.to("cuda")
        if checkpoint is not None:
            self.questions.check(checkpoint.models)  # before the prompts are ranked, which takes long
        categories = (self.categories,) if isinstance(self.categories, str) else tuple(self.categories)
        ranked = self._ranked(self.dataset, checkpoint, categories, self.embedding)
        reference = None if self.reference is None else self._ranked(self.reference, checkpoint)
        before = None if self.before is None else align(self._ranked(self.before, checkpoint), ranked, self.before)
        insight = analyse(ranked, self.questions, reference=reference, before=before)
        folder = Path(self.output_dir)
        write_tables(insight, folder)
        with write_whole(folder / PAGE) as file:
            file.write(render(insight, f"Insight: {Path(self.dataset).name}"))
        log.info("%d prompts, %d groups: %s", len(ranked), len(insight.groups), folder / PAGE)
        return folder / PAGE

    def _ranked(
        self, source: str, checkpoint: Checkpoint | None, categories: tuple[str, ...] = (), embedding: str | None = None
    ) -> RankedPrompts:
        frame = read_table(source, self.split, text=(*categories, self.column))
        columns = Columns(self.column, categories)
        if "coefs" not in frame.columns:  # eval_output.jsonl of a run
            frame = frame.rename(columns={"betas": "coefs"})
        if "coefs" in frame.columns:
            models, family = self._who(checkpoint, frame, source)
            return read_rankings(
                frame, models, family, columns, embedding=embedding, token_budget=self.token_budget, source=source
            )
        if checkpoint is None:
            raise ConfigError(f"{source} holds no rankings (column coefs): give model_path=<checkpoint> to rank it")
        return rank_table(
            frame, checkpoint, columns, embedding=embedding, token_budget=self.token_budget, source=source
        )

    def _who(
        self, checkpoint: Checkpoint | None, frame: pd.DataFrame, source: str
    ) -> tuple[tuple[str, ...], OutcomeFamily]:
        """Return the LLMs and the family of rankings, whose table may name the LLMs."""
        if checkpoint is not None:
            return checkpoint.models, checkpoint.family
        own = _family_of_folder(self.models)
        if own is not None and self.family is not None and get_family(self.family) is not own:
            raise ConfigError(f"family={self.family}, but the checkpoint in {self.models} is of family {own.name}")
        family = get_family(self.family) if own is None and self.family is not None else own
        models = named_models(frame, source) if self.models is None else read_model_list(self.models)
        if models is None or family is None:
            raise ConfigError(
                "rankings do not say which LLMs they rank, and in which family: give model_path=<checkpoint>, or "
                "models=<model_list.json> and family=<bt, rk, grk, ...>"
            )
        return models, family


def _family_of_folder(models: str | Sequence[str] | None) -> OutcomeFamily | None:
    """Return the family of the checkpoint whose folder is given; None if that is no folder with weights."""
    is_folder = isinstance(models, str) and Path(models).is_dir() and any(Path(models).glob("*.safetensors"))
    return load_head(Path(str(models))).head.family if is_folder else None


def read_model_list(path: str | Sequence[str]) -> tuple[str, ...]:
    """Read the LLMs of a JSON list, or of the model_list.json in a folder; DataError if there is none.

    Names that are given as such, each once, are returned.
    """
    if not isinstance(path, str):
        if len({str(name) for name in path}) < len(path) or not path:
            raise ConfigError("models must be the names of LLMs, each once, a JSON list of them, or a folder")
        return tuple(str(name) for name in path)
    file = Path(path) / "model_list.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise DataError(f"no list of LLMs at {file}; give a JSON list of names, or the folder of a checkpoint")
    try:
        names = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    if not isinstance(names, list) or not names or len({str(name) for name in names}) < len(names):
        raise DataError(f"{file} must hold a JSON list of the names of LLMs, each once")
    return tuple(str(name) for name in names)


def write_tables(insight: Insight, folder: Path) -> None:
    """Write the numbers behind the page: CSV files, and ``prompts.jsonl`` with the results of each prompt."""
    level = insight.questions.level
    boards = [("", "all prompts", insight.overall), *((g.kind, g.name, board) for g, board in insight.groups)]
    every = [board.table(level).assign(kind=kind, group=name, prompts=len(board)) for kind, name, board in boards]
    tables: dict[str, pd.DataFrame | None] = {
        "leaderboards": pd.concat(every, ignore_index=True),
        "differences": insight.differences,
        "regression": None if insight.regression is None else insight.regression.table,
        "reference": insight.reference,
        "before": insight.before,
    }
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        if table is None or table.empty:
            path.unlink(missing_ok=True)  # of an earlier run
            continue
        if insight.ranked.warning:
            table = table.assign(warning=insight.ranked.warning)
        with whole_file(path) as part:
            table.to_csv(part, index=False, encoding="utf-8", errors="replace")
    with write_whole(folder / "prompts.jsonl") as file:
        for row in _prompt_rows(insight):
            file.write(json.dumps(row) + "\n")


def _prompt_rows(insight: Insight) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for i, turns in enumerate(insight.ranked.prompts):
        row: dict[str, object] = {"prompt": turns[0] if len(turns) == 1 else list(turns)}
        row |= {kind: list(labels[i]) for kind, labels in insight.ranked.categories.items()}
        if insight.clusters is not None:
            x, y = insight.clusters.positions[i].tolist()
            row |= {CLUSTER: insight.clusters.names[insight.clusters.labels[i]], "x": round(x, 5), "y": round(y, 5)}
        if insight.regression is not None:
            row["score"] = round(float(insight.regression.scores[i]), 6)
        rows.append(row)
    return rows


def run(cfg: DictConfig) -> None:
    job = make(cfg.job)
    job.run(make(cfg.checkpoint) if cfg.model_path else None)
