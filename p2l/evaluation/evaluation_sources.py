"""Sources of votes and rankings: files, the hub, or a checkpoint that ranks the prompts of the votes."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RemoteEntryNotFoundError
from tqdm import tqdm

from p2l.data.adapters import adapt
from p2l.data.battle_table import BattleTable, load_battles
from p2l.data.column_meanings import warn_of_unread_columns
from p2l.data.measured_scores import MeasuredSource
from p2l.data.ranking_models import named_models
from p2l.data.vote_frame import read_named, read_vote_frame
from p2l.data.vote_table import VoteTable, load_votes
from p2l.data.winner_labels import WinnerMap
from p2l.errors import ConfigError, DataError
from p2l.evaluation.cost_report import evaluate_costs
from p2l.evaluation.ranked_tables import HIDDEN, EvaluationData, plain_votes, ranked_votes, read_checkpoint_file
from p2l.evaluation.ranked_votes import RankedVotes
from p2l.files import write_whole
from p2l.models import Checkpoint, load_checkpoint
from p2l.models.backbone import DTypeName
from p2l.models.checkpoint_reader import model_names
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.models.predictor import TOKEN_BUDGET, predict
from p2l.options import check_count
from p2l.outcomes import get_family
from p2l.types import Ranking

log = logging.getLogger(__name__)

DEFAULT_LOSS_TYPE = "bt"
EVAL_OUTPUT, MODEL_LIST, RECIPE = "eval_output.jsonl", "model_list.json", "training_config.json"
_PROMPTS_AT_ONCE = 2048  # prompts between two updates of the progress bar


@dataclass(frozen=True)
class EvaluationSource:
    """One source of rankings and votes, or several that are evaluated one after the other.

    Attributes:
        model_repo: hub repository or folder of a P2L checkpoint: the model list, and ``eval_output.jsonl`` if no other
            source is given.
        model_list_path: a local ``model_list.json``, instead of the repository's.
        eval_path: votes with ``betas`` and ``eta``, in any format that p2l reads, such as ``eval_output.jsonl``.
        checkpoint_path: the same as JSON by columns; only models of the table are evaluated, not the whole list.
        hf_checkpoint_repo, hf_checkpoint_file: the same in a hub dataset.
        remove_last_hidden_json: rewrite ``checkpoint_path`` without ``last_hidden_state``, which is large.
        model_path, votes: a P2L checkpoint, and a table of votes whose prompts it ranks.
        costs: a table of prompt, model, score and cost; the costs that ``model_path`` predicts are compared to these.
        columns, winner_map: of the votes, as in ``p2l.data.load_votes``.
        loss_type: the likelihood family; None: the checkpoint's, else "bt".
        dtype, max_length, token_budget: of ``model_path``, as in ``load_checkpoint`` and ``predict``.
    """

    model_repo: str | None = None
    model_list_path: str | None = None
    eval_path: str | Sequence[str] | None = None
    checkpoint_path: str | Sequence[str] | None = None
    hf_checkpoint_repo: str | None = None
    hf_checkpoint_file: str | Sequence[str] | None = None
    remove_last_hidden_json: bool = False
    model_path: str | None = None
    votes: str | None = None
    costs: str | None = None
    columns: Mapping[str, str] | None = None
    winner_map: WinnerMap | None = None
    loss_type: str | None = None
    dtype: DTypeName = "float32"
    max_length: int | None = None
    token_budget: int = TOKEN_BUDGET

    def __post_init__(self) -> None:
        check_count("token_budget", self.token_budget)
        if self.max_length is not None:
            check_count("max_length", self.max_length, least=8)
        names = ("eval_path", "checkpoint_path", "hf_checkpoint_repo", "model_path")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(f"give one source of rankings; got {' and '.join(given)}")
        if not given and self.model_repo is None:
            raise ConfigError(f"give a source of rankings: {', '.join(names)}, or model_repo with {EVAL_OUTPUT}")
        for needed, by in (("hf_checkpoint_file", "hf_checkpoint_repo"), ("votes", "model_path")):
            if (getattr(self, by) is None) != (getattr(self, needed) is None):
                raise ConfigError(f"{by} and {needed} are given together or not at all")
        if self.costs is not None and self.model_path is None:
            raise ConfigError("costs are compared to those that a checkpoint predicts: give model_path= and votes= too")

    @property
    def paths(self) -> dict[str, list[str]]:
        """The files named by each option that may name several."""
        options = {name: getattr(self, name) for name in ("eval_path", "checkpoint_path", "hf_checkpoint_file")}
        return {n: [v] if isinstance(v, str) else list(v) for n, v in options.items() if v is not None}

    def load(self, number: int = 0, *, with_rankings: bool = True) -> EvaluationData:
        """Return the checked votes and rankings of the file with this number; see ``p2l.evaluation.ranked_tables``.

        ``with_rankings=False`` reads the votes alone, for leaderboards that ignore the prompt; it needs no model list.
        """
        if self.model_path is not None and self.votes is not None:
            return self._rank(self.model_path, self.votes)
        models, family = self.model_list(), get_family(self._loss_type())
        by_columns = self.checkpoint_path is not None or self.hf_checkpoint_repo is not None
        if by_columns:
            path = self._checkpoint_file(number)
        else:
            path = self.paths["eval_path"][number] if self.eval_path is not None else self._file_of_repo(EVAL_OUTPUT)
        frame = read_checkpoint_file(path) if by_columns else read_named(path, "train", self.columns)
        if not by_columns:
            warn_of_unread_columns(frame.columns, self.columns, path)
        frame = adapt(frame, columns=self.columns, winner_map=self.winner_map, source=path)
        if not with_rankings:
            return plain_votes(frame, family, models, path, only_met=by_columns)
        if models is None:
            models = named_models(frame, path)
        if models is None:
            raise ConfigError("give model_list_path=<model_list.json>, or model_repo=<checkpoint folder or hub id>")
        return ranked_votes(frame, family, models, path, only_met=by_columns)

    def model_list(self) -> tuple[str, ...] | None:
        """Return the model of each coefficient, in order; None if no list is given."""
        if self.model_list_path is None and self.model_repo is None:
            return None
        path = Path(self.model_list_path or self._file_of_repo(MODEL_LIST))
        return model_names(_read_json(path), path, DataError)

    def _loss_type(self) -> str:
        if self.loss_type is not None or self.model_repo is None:
            return self.loss_type or DEFAULT_LOSS_TYPE
        try:
            recipe = Path(self._file_of_repo(RECIPE))
        except _NoSuchFileError:
            return DEFAULT_LOSS_TYPE
        return str(_read_json(recipe).get("loss_type") or DEFAULT_LOSS_TYPE)

    def _file_of_repo(self, name: str) -> str:
        assert self.model_repo is not None
        folder = Path(self.model_repo).expanduser()
        if folder.is_file():
            raise ConfigError(
                f"model_repo={self.model_repo} is a file; give the folder or hub id of a checkpoint, or a list of its "
                "models as model_list_path"
            )
        if not folder.is_dir():
            return _download(self.model_repo, name, "model")
        if not (folder / name).exists():
            raise _NoSuchFileError(f"{folder} has no {name}; scripts/train.py and trainer.validate write one")
        return str(folder / name)

    def _checkpoint_file(self, number: int) -> str:
        if self.hf_checkpoint_repo is not None:
            return _download(self.hf_checkpoint_repo, self.paths["hf_checkpoint_file"][number], "dataset")
        path = self.paths["checkpoint_path"][number]
        if self.remove_last_hidden_json:
            _remove_hidden(path)
        return path

    def _rank(self, model_path: str, votes: str) -> EvaluationData:
        checkpoint = load_checkpoint(model_path, loss_type=self.loss_type, dtype=self.dtype, max_length=self.max_length)
        table, report = load_votes(votes, models=checkpoint.models, columns=self.columns, winner_map=self.winner_map)
        log.info("votes from %s: %s", votes, report)
        rankings = rank_all(checkpoint, table, self.token_budget)
        ranked = RankedVotes(table.battles, rankings, table.prompt_index, table.prompt_index)
        return EvaluationData(ranked, table.frame, checkpoint.family, self._cost_report(checkpoint))

    def _cost_report(self, checkpoint: Checkpoint) -> dict[str, Any] | None:
        if self.costs is None:
            return None
        head = checkpoint.model.head.cost_head
        if head is None:
            raise ConfigError(f"costs: {self.model_path} predicts no costs; p2l fit-costs adds them")

        def hidden_of(prompts: Sequence[tuple[str, ...]]) -> torch.Tensor:
            return rank_with_hidden_states(checkpoint, prompts, token_budget=self.token_budget)[1]

        measured = MeasuredSource(self.costs, key=None, per=1.0, above_zero=True).load()
        return evaluate_costs(head, hidden_of, measured, checkpoint.models)


class _NoSuchFileError(DataError):
    """The folder or repository is readable but has no file of this name."""


def rank_all(checkpoint: Checkpoint, table: VoteTable, token_budget: int = TOKEN_BUDGET) -> Ranking:
    """Rank each prompt of a table, with a progress bar."""
    prompts = [list(turns) for turns in table.prompts]
    parts = [
        predict(checkpoint, prompts[start : start + _PROMPTS_AT_ONCE], token_budget=token_budget)
        for start in tqdm(
            range(0, len(prompts), _PROMPTS_AT_ONCE), desc="ranking", unit_scale=_PROMPTS_AT_ONCE, disable=None
        )
    ]
    etas = [part.eta for part in parts if part.eta is not None]
    return Ranking(torch.cat([part.coefs for part in parts]), torch.cat(etas) if etas else None)


def load_train(
    source: str,
    models: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    winner_map: WinnerMap | None = None,
) -> tuple[BattleTable, Any]:
    """Read training votes and their rows; votes on models outside the list are skipped, counted and logged."""
    frame = read_vote_frame(source, "train", columns=columns, winner_map=winner_map)
    battles, report = load_battles(frame, models=models)
    log.info("training votes from %s: %s", source, report)
    return battles, frame.iloc[report.kept_rows()].reset_index(drop=True)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error


def _remove_hidden(path: str) -> None:
    columns = _read_json(Path(path))
    if isinstance(columns, dict) and columns.pop(HIDDEN, None) is not None:
        with write_whole(path) as file:
            json.dump(columns, file)


def _download(repo: str, name: str, kind: str) -> str:
    try:
        return hf_hub_download(repo_id=repo, filename=name, repo_type=kind)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().split("\n")[0]
        kind_of_error = _NoSuchFileError if isinstance(error, RemoteEntryNotFoundError) else DataError
        raise kind_of_error(
            f"{repo} is not a local folder, and {name} of that hub {kind} cannot be read: {reason}"
        ) from error
