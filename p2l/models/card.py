"""The model card of a checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from p2l.outcomes import OutcomeFamily
from p2l.ranking.leaderboard_table import members_of

if TYPE_CHECKING:
    from p2l.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class CardFacts:
    """What a card says: ``architecture`` is the type of the backbone, ``recipe`` that of ``Checkpoint``.

    ``costs`` is the report of the cost head; empty without one.
    """

    family: OutcomeFamily
    models: Sequence[str]
    recipe: dict[str, Any]
    architecture: str
    num_parameters: int
    rank: int | None
    readout: str
    max_length: int
    costs: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, checkpoint: "Checkpoint") -> "CardFacts":
        model = checkpoint.model
        return cls(
            checkpoint.family,
            checkpoint.models,
            checkpoint.recipe,
            model.model.config.model_type,
            model.num_parameters,
            model.head.rank,
            model.readout,
            checkpoint.encoder.format.max_length,
            {} if model.head.cost_head is None else model.head.cost_head.report,
        )


def model_card(facts: CardFacts) -> str:
    """Return README.md for the hub: what the checkpoint ranks, how it was trained, and how to use it.

    The recipe may give a ``license`` (as the hub names it), and ``card``: sections in Markdown.
    """
    recipe, family = facts.recipe, facts.family
    lines = [
        "---",
        "library_name: p2l",
        *([f"license: {recipe['license']}"] if recipe.get("license") else []),
        "tags: [prompt-to-leaderboard, p2l, preference-model, routing]",
        "---",
        "",
        f"# P2L: {family.name}, {len(facts.models)} models",
        "",
        "Turns a prompt into a leaderboard: one coefficient (in nats) for each of the models below, for that prompt.",
        "Method: Prompt-to-Leaderboard (Frick et al., 2025, arXiv:2502.14855).",
        "",
        *([f"> **Warning.** This model is {recipe['warning']}.", ""] if recipe.get("warning") else []),
        "| | |",
        "|---|---|",
        f"| likelihood | {family.name} ({', '.join(family.outcomes)}) |",
        f"| backbone | {_backbone(facts)} |",
        f"| parameters | {facts.num_parameters:,} |",
        f"| head | {'full' if facts.rank is None else f'rank {facts.rank}'} |",
        f"| readout | {facts.readout}, at most {facts.max_length} tokens |",
        *_training_rows(recipe.get("config") or {}),
        *([f"| published from | {recipe['published_from']} |"] if recipe.get("published_from") else []),
        *(f"| {name} | {value:.4f} |" for name, value in (recipe.get("metrics") or {}).items()),
        *_calibration_row(recipe.get("calibration")),
        *_interval_row(recipe.get("posterior")),
        "",
        "```python",
        "from p2l import load_checkpoint",
        "",
        'checkpoint = load_checkpoint("<this folder or repository>")',
        'print(checkpoint.rank("What is 1+1?"))',
        "```",
        "",
        *([recipe["card"]] if recipe.get("card") else []),
        *_cost_section(facts.costs),
        *_models_section(facts),
    ]
    return "\n".join(lines) + "\n"


def _models_section(facts: CardFacts) -> list[str]:
    """List the models, those of each group under its name."""
    heading = ["## Models ranked", ""]
    if not (groups := facts.recipe.get("groups")):
        return [*heading, *(f"- {name}" for name in facts.models)]
    members = members_of(facts.models, groups)
    lists = [(f"{group}:", "", *(f"- {name}" for name in names), "") for group, names in members.items()]
    return [*heading, *(line for lines in lists for line in lines)][:-1]


def _backbone(facts: CardFacts) -> str:
    """Return the path that the backbone was loaded from; of one that was trained from scratch, what it is."""
    path = facts.recipe.get("pretrain_model_name")
    return str(path) if path else f"{facts.architecture}, trained from random weights"


def _calibration_row(report: dict[str, Any] | None) -> list[str]:
    """Return what ``p2l calibrate`` changed; the metrics above it are of the model before."""
    if not report:
        return []
    loss, change = report["log_loss"], report["difference"]
    return [
        f"| calibration on {report['votes']:,} held-out votes, log loss | {loss['before']:.4f} before, "
        f"{loss['after']:.4f} after ({change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]) |"
    ]


def _interval_row(report: dict[str, Any] | None) -> list[str]:
    """Return how the intervals of ``p2l posterior`` were checked."""
    if not report:
        return []
    if "votes" not in report:
        return ["| intervals | `posterior.npz`; no held-out vote has checked them |"]
    loss = report["log_loss"]
    return [
        f"| intervals | `posterior.npz`, set by {report['votes']:,} held-out votes: log loss {loss['point']:.4f}, "
        f"{loss['calibrated']:.4f} averaged over what the votes leave open |"
    ]


def _cost_section(report: dict[str, Any]) -> list[str]:
    """Return how well the costs are predicted."""
    if not report:
        return []
    rows = [
        f"| {model} | {found['mean']:.4g} | {found['predicted_mean'] / found['mean']:.3f} | {found['r2_log']:.3f} |"
        for model, found in report["models"].items()
    ]
    return [
        "## Predicted costs",
        "",
        f"`costs.npz` predicts the cost of each answer in {report['unit']}. On {report['prompts']:,} held-out prompts:",
        "",
        "| model | mean cost | predicted / actual | R2 of log cost |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _training_rows(config: dict[str, Any]) -> list[str]:
    """Return the size of the steps and the rates, which may follow from the number of votes."""
    try:
        batch, epochs = config["batching"]["batch_size"], config["trainer"]["max_epochs"]
        lr, head_lr = config["optimizer"]["lr"], config["optimizer"]["head_lr"]
    except (KeyError, TypeError):  # the recipe of another program
        return []
    return [
        f"| votes in a step, epochs | {batch}, {epochs} |",
        f"| rate of the backbone, of the head | {lr:g}, {lr if head_lr is None else head_lr:g} |",
    ]
