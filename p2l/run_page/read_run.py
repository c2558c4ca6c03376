"""Read the record of a run from its folder: what it recorded for its page, else what its other files tell."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2l.data.readers import read_table
from p2l.data.vote_table import VoteTable
from p2l.errors import DataError, P2LError
from p2l.evaluation.ranked_tables import ranked_votes
from p2l.outcomes import get_family
from p2l.run_page.metric_history import read_csv_history, read_history
from p2l.run_page.run_record import FINISHED, STOPPED, RunRecord
from p2l.run_page.run_votes import calibration_of, doubts, summaries

log = logging.getLogger(__name__)

PARTS = "page"  # folder of the record and the history
HISTORY, RECORD = "history.jsonl", "record.json"


def read_run(folder: str | Path) -> RunRecord:
    """Return the record of a run, whether or not it wrote one, finished or was killed.

    Raises DataError if the folder has nothing of a run.
    """
    folder = Path(folder)
    path = folder / PARTS / RECORD
    record = RunRecord.load(path) if path.is_file() else _from_files(folder)
    history = read_history(folder / PARTS / HISTORY) or read_csv_history(folder)
    if not history and record == RunRecord():
        raise DataError(
            f"{folder} holds no run: expected {PARTS}/{HISTORY}, csv/version_*/metrics.csv, description/ or checkpoint/"
        )
    last = max((int(row["step"]) for row in history), default=0)
    return replace(record, history=history, step=record.step or last, test=_json(folder / "test_report.json"))


def _from_files(folder: Path) -> RunRecord:
    """Return what the published files of a run tell; a run with a checkpoint is finished."""
    described = next((path for path in (folder / "checkpoint", folder / "description") if path.is_dir()), None)
    if described is None:
        return RunRecord()
    recipe, models = _json(described / "training_config.json"), _json(described / "model_list.json")
    family = get_family(recipe["loss_type"]) if recipe.get("loss_type") else None
    record = RunRecord(
        name=str(recipe.get("proj_name", folder.name)),
        status=FINISHED if described.name == "checkpoint" else STOPPED,
        family="" if family is None else family.name,
        outcomes=() if family is None else family.outcomes,
        models=tuple(models) if isinstance(models, list) else (),
        config=recipe.get("config") or recipe,
    )
    return record if family is None else _with_validation(record, folder / "eval_output.jsonl")


def _with_validation(record: RunRecord, path: Path) -> RunRecord:
    if not path.is_file():
        return record
    try:
        frame, family = read_table(str(path)), get_family(record.family)
        votes = ranked_votes(frame, family, record.models, path.name).votes
        tables = {"val": VoteTable.from_frame(frame, record.models)}
    except P2LError as error:
        log.warning("the page has no calibration: %s", error)
        return record
    return replace(record, calibration=calibration_of(votes, family), votes=summaries(tables), doubts=doubts(tables))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        log.warning("%s is not JSON, and left out: %s", path, error)
        return {}
