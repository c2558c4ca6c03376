"""Check tables of votes before training: what they hold, what is doubtful, and every error. Imports no torch."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from p2l.composition.config_objects import make
from p2l.console import table_console
from p2l.data.splits import SplitBy
from p2l.data.table_summary import CountTokens, TableSummary
from p2l.data.validation import TableReport, Validation, Validator
from p2l.data.vote_checks import shown_names
from p2l.data.winner_labels import WinnerMap
from p2l.errors import ConfigError
from p2l.files import write_whole
from p2l.options import check_choice, check_count, check_seed, check_share

Format = Literal["table", "json"]
FILE = "validation.json"


@dataclass(frozen=True)
class ValidationJob:
    """Print what the tables hold, and write it to ``validation.json`` in ``output_dir`` if that is given.

    Attributes:
        votes, val, test: file, folder or hub dataset each; ``votes`` are those to train on.
        split, val_split, test_split, val_share, split_by, max_skipped_share, columns, winner_map, seed: as in
            ``p2l.data.FileVotes``; without ``val``, all ways to hold out ``val_share`` are compared.
        tokenizer: folder or hub id; counts the tokens of prompts.
        format: "table", or "json" on standard output.
        top: how many models are printed.
    """

    votes: str
    val: str | None = None
    test: str | None = None
    split: str = "train"
    val_split: str = "train"
    test_split: str = "train"
    val_share: float = 0.1
    split_by: SplitBy = "auto"
    max_skipped_share: float = 0.05
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    seed: int = 0
    tokenizer: str | None = None
    format: Format = "table"
    top: int = 20
    output_dir: str | None = None

    def __post_init__(self) -> None:
        check_choice("format", self.format, get_args(Format))
        check_choice("split_by", self.split_by, get_args(SplitBy))
        check_share("val_share", self.val_share)
        check_share("max_skipped_share", self.max_skipped_share)
        check_count("top", self.top)
        check_seed(self.seed)

    def run(self) -> Validation:
        """Return what was printed; its ``errors`` are what would stop training."""
        sources = {"votes": (self.votes, self.split)}
        for name, source, split in (("val", self.val, self.val_split), ("test", self.test, self.test_split)):
            if source is not None:
                sources[name] = (source, split)
        validator = Validator(
            val_share=self.val_share,
            split_by=self.split_by,
            max_skipped_share=self.max_skipped_share,
            columns=self.columns,
            winner_map=self.winner_map,
            seed=self.seed,
            count_tokens=None if self.tokenizer is None else token_counter(self.tokenizer),
        )
        found = validator.validate(sources)
        text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        if self.output_dir is not None:
            with write_whole(Path(self.output_dir) / FILE) as file:
                file.write(text + "\n")
        if self.format == "json":
            sys.stdout.write(text + "\n")
        else:
            show(found, self.top, table_console())
        return found


def token_counter(path: str) -> CountTokens:
    """Return a function that counts the tokens of texts, without special ones."""
    from transformers import AutoTokenizer  # only if tokens are counted

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"tokenizer={path}: expected a folder or hub id of a tokenizer: {reason}") from error
    return lambda texts: [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def show(found: Validation, top: int, console: Console) -> None:
    """Print the tables, the models, the ways to split, doubts and errors."""
    if found.tables:
        console.print(_overview(found.tables))
        console.print(_models(found.tables, top))
    if found.splits:
        console.print(_splits(found))
    for sentence in _sentences(found):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _sentences(found: Validation) -> Iterator[str]:
    for name, table in found.tables.items():
        if table.skips.skipped:
            yield f"{name}: {table.skips}"
    for name, overlap in found.overlaps.items():
        yield f"{name}: {overlap}"
    for kind, messages in (("doubt", found.doubts), ("error", found.errors)):
        yield from (f"{kind}: {message}" for message in messages)
    if not found.errors:
        yield "no error: p2l train reads these votes"


def _overview(tables: Mapping[str, TableReport]) -> Table:
    shown = Table("", *tables, title="; ".join(f"{name}: {table.source}" for name, table in tables.items()))
    cells = [_cells(table) for table in tables.values()]
    for label in dict.fromkeys(label for column in cells for label in column):
        shown.add_row(label, *(column.get(label, "") for column in cells))
    return shown


def _cells(table: TableReport) -> dict[str, str]:
    """Return the rows of the overview."""
    summary = table.summary
    num_models = len(summary.models)
    cells = {
        "rows": f"{table.skips.total:,} ({table.skips.total - table.skips.kept:,} skipped)",
        "votes": f"{summary.votes:,}" + (f", weight {summary.weight:,g}" if summary.weight is not None else ""),
        **{f"  {outcome}": f"{share:.1%}" for outcome, share in summary.outcomes.items()},
        **_labels_of(table),
        "models": f"{num_models:,} ({len(summary.rare):,} with fewer than 100 votes)",
        "pairs that met": f"{summary.pairs:,} of {num_models * (num_models - 1) // 2:,}",
        "connected parts": _parts(summary),
        "never won": shown_names(summary.never_won) or "none",
        "never lost": shown_names(summary.never_lost) or "none",
        "prompts": f"{summary.prompts:,} ({summary.repeated:,} with several votes, at most {summary.most_votes:,})",
        "user turns": ", ".join(f"{turns}: {count:,}" for turns, count in list(summary.turns.items())[:6]),
        "characters": _lengths(summary.characters),
        "tokens": _lengths(summary.tokens or {}),
        "time": f"{summary.first} to {summary.last}" if summary.first else "",
        "repeated votes": f"{summary.duplicates:,}",
    }
    return {label: text for label, text in cells.items() if text}


def _labels_of(table: TableReport) -> dict[str, str]:
    """Return a row for each label of a winner that is not spelled as its outcome."""
    others: dict[str, list[str]] = {}
    for label in table.labels:
        if label.label != label.outcome:  # a model's own name is read as its side, row by row
            others.setdefault(label.label, []).append(f"{label.rows:,} rows, read as {label.outcome or 'nothing'}")
    return {f"  label {label[:40]!r}": "; ".join(rows) for label, rows in list(others.items())[:12]}


def _parts(summary: TableSummary) -> str:
    if len(summary.parts) == 1:
        return "1"
    sizes = "; ".join(f"{len(part)}: {shown_names(part)}" for part in summary.parts[:5])
    return f"{len(summary.parts)} ({sizes})"


def _lengths(quantiles: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {length:,}" for name, length in quantiles.items())


def _models(tables: Mapping[str, TableReport], top: int) -> Table:
    names = list(dict.fromkeys(name for table in tables.values() for name in table.summary.models))
    title = "votes of each model" if len(names) <= top else f"votes of {top} of {len(names)} models"
    shown = Table("model", title=title, min_width=len(title) + 2)
    for name in tables:
        shown.add_column(name, justify="right")
    for model in names[:top]:
        shown.add_row(model, *(f"{table.summary.models.get(model, 0):,}" for table in tables.values()))
    return shown


def _splits(found: Validation) -> Table:
    shown = Table(title="ways to hold out votes (*: chosen; shared: trained on too)")
    for column in ("split_by", "votes", "prompts", "shared prompts", "shared votes", "models not trained"):
        shown.add_column(column, justify="left" if column == "split_by" else "right")
    for split in found.splits:
        overlap, name = split.overlap, f"{split.by}{' *' if split.by == found.chosen else ''}"
        counts = (overlap.of_votes, overlap.of_prompts, overlap.prompts)
        shown.add_row(name, *(f"{n:,}" for n in counts), f"{overlap.share:.0%}", f"{len(split.untrained):,}")
    return shown


def run(cfg: DictConfig) -> None:
    job: Any = make(cfg.job)
    if job.run().errors:
        sys.exit(2)
