"""Write a configuration of the router for the LLMs of measured scores."""

import logging
from pathlib import Path

import yaml
from lightning import Trainer

from p2l.data import ScoreVotes, VoteDataModule
from p2l.errors import ConfigError
from p2l.files import write_whole
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.lightning_module import P2LModule

log = logging.getLogger(__name__)

HEADER = """\
# The LLMs of the measured scores; cost is the mean dollars of an answer{predicted}.
# Before the first request give each one its base_url, its api_key and the name that its provider knows. Then check it:
# p2l router --config <file> --check-config
"""
_PREDICTED = ', or "predicted": by the checkpoint, for each prompt'


class WriteRouterConfig(EndOfRun):
    """Writes ``router.yaml``: one entry for each LLM with its mean measured cost; needs ``data.cost_column``.

    The cost is ``predicted`` where the cost head is nearer to the held-out costs than one cost for all prompts.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        if not isinstance(data.source, ScoreVotes):
            raise ConfigError("callbacks.router needs measured scores: data=scores, or drop it by ~callbacks.router")
        if data.source.cost_column is None or not trainer.is_global_zero:
            return
        train, cost_head = data.source.measured["train"], module.model.head.cost_head
        found = {} if cost_head is None else cost_head.report.get("models", {})
        predicted = [model for model, figures in found.items() if figures["r2_log"] > 0]
        costs = zip(train.models, train.cost.mean(axis=0).tolist(), strict=True)
        models = {
            model: {
                "name": model,
                "type": "openai",
                "base_url": "${BASE_URL:-https://api.openai.com/v1}",
                "api_key": "${API_KEY:-none}",
                "cost": "predicted" if model in predicted else float(f"{cost:.6g}"),
            }
            for model, cost in costs
        }
        path = self.folder / "router.yaml"
        with write_whole(path) as file:
            file.write(HEADER.format(predicted=_PREDICTED if predicted else ""))
            unit = {"router": {"cost_unit": cost_head.unit}} if cost_head is not None and predicted else {}
            yaml.safe_dump({"model_configs": models, **unit}, file, sort_keys=False, allow_unicode=True)
        log.info("a configuration of the router is in %s", path)
