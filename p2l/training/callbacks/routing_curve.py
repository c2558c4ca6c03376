"""Measure routing by the trained model on the validation votes."""

import logging
from collections.abc import Mapping
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger

from p2l.data import VoteDataModule
from p2l.data.measured_scores import measured_votes
from p2l.errors import ConfigError
from p2l.files import whole_file
from p2l.routing.cost_optimizer import Optimizer
from p2l.routing.evaluation.routing_evaluation import GeneralScores, RoutingCurves, evaluate_routing, route_scores
from p2l.routing.evaluation.routing_plots import plot_routing
from p2l.training.callbacks.end_of_run import EndOfRun
from p2l.training.callbacks.rank_in_training import rank_in_training
from p2l.training.lightning_module import P2LModule
from p2l.types import Ranking

log = logging.getLogger(__name__)


class RoutingCurve(EndOfRun):
    """Logs the cost-quality curves of routing with the final weights, and writes ``routing.png``; W&B gets the plot.

    Logs for each policy ``routing/area/<policy>`` (mean quality over costs up to that of the best single LLM) and
    ``routing/quality/<policy>`` (quality at that cost); the best single LLM is one of the policies. Quality is the win
    rate among the validation votes that the chosen LLM took part in (``measured_scores.measured_votes``). Costs and the
    best single LLM are known from the training votes and ``costs``.

    Args:
        folder: folder of the plot.
        costs: cost of a prompt on each LLM; LLMs without a cost or without validation votes are not chosen.
        optimizer: the optimizer whose scores are maximised.
    """

    def __init__(
        self, folder: str, costs: Mapping[str, float], optimizer: Optimizer = "optimal-lp", num_budgets: int = 8
    ) -> None:
        self.folder, self.costs, self.optimizer, self.num_budgets = Path(folder), costs, optimizer, num_budgets

    def finish(self, trainer: Trainer, module: P2LModule, data: VoteDataModule) -> None:
        if data.votes.val is None:
            log.warning("callbacks.routing has no validation votes to measure on")
            return
        rankings = rank_in_training(trainer, module, data.prompts("val"), data.eval_token_budget)
        if not trainer.is_global_zero:
            return
        found = self._evaluate(module, data, rankings)
        if found is None:
            return
        picture = self.folder / "routing.png"
        with whole_file(picture) as part:
            plot_routing([found.plot_data("validation votes", "as given")]).savefig(part, format="png", dpi=110)
        for logger in trainer.loggers:
            logger.log_metrics(_metrics(found))
            if isinstance(logger, WandbLogger):
                logger.log_image("routing", [str(picture)])

    def _evaluate(self, module: P2LModule, data: VoteDataModule, rankings: Ranking) -> RoutingCurves | None:
        """Return the curves; None, with a warning, if the votes are too few, since that must not end a run."""
        votes = data.table("val")
        measured, trained = (measured_votes(table, self.costs) for table in (votes, data.table("train")))
        voted = [model for model, weight in zip(measured.models, measured.weight.sum(axis=0)) if weight > 0]
        if left_out := sorted(set(measured.models) - set(voted)):
            log.warning("callbacks.routing omits LLMs without validation votes: %s", ", ".join(left_out))
        if len(voted) < 2:
            log.warning("callbacks.routing needs two LLMs with a cost and validation votes; there are %d", len(voted))
            return None
        measured, trained = measured.among(voted), trained.among(voted)
        score = route_scores(
            self.optimizer, module.model.head.family, rankings, [votes.models.index(model) for model in voted]
        )
        known = GeneralScores(trained.mean_score(), measured.cost.mean(axis=0))
        try:
            return evaluate_routing(score, known, measured, num_budgets=self.num_budgets)
        except ConfigError as error:
            log.warning("callbacks.routing: %s", error)
            return None


def _metrics(found: RoutingCurves) -> dict[str, float]:
    low, high = found.ends
    metrics = {}
    for name, curve in found.curves.items():
        metrics[f"routing/area/{name}"] = float(curve.area(low, high)[0])
        metrics[f"routing/quality/{name}"] = float(curve.at([high])[0, 0])
    return metrics
