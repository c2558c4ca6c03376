"""The model card of a checkpoint."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2l.models.checkpoint import Checkpoint


def model_card(checkpoint: "Checkpoint") -> str:
    """Return README.md for the hub: what the checkpoint ranks, how it was trained, and how to use it."""
    metrics = checkpoint.recipe.get("metrics") or {}
    family, fmt = checkpoint.family, checkpoint.encoder.format
    lines = [
        "---",
        "library_name: p2l",
        "tags: [prompt-to-leaderboard, p2l, preference-model, routing]",
        "---",
        "",
        f"# P2L: {family.name}, {len(checkpoint.models)} models",
        "",
        "Turns a prompt into a leaderboard: one coefficient (in nats) for each of the models below, for that prompt.",
        "Method: Prompt-to-Leaderboard (Frick et al., 2025, arXiv:2502.14855).",
        "",
        "| | |",
        "|---|---|",
        f"| likelihood | {family.name} ({', '.join(family.outcomes)}) |",
        f"| backbone | {checkpoint.recipe.get('pretrain_model_name', checkpoint.model.model.config.model_type)} |",
        f"| parameters | {checkpoint.model.num_parameters:,} |",
        f"| head | {'full' if checkpoint.model.head.rank is None else f'rank {checkpoint.model.head.rank}'} |",
        f"| readout | {checkpoint.model.readout}, at most {fmt.max_length} tokens |",
        *(f"| {name} | {value:.4f} |" for name, value in metrics.items()),
        "",
        "```python",
        "from p2l import load_checkpoint",
        "",
        'checkpoint = load_checkpoint("<this folder or repository>")',
        'print(checkpoint.rank("What is 1+1?"))',
        "```",
        "",
        "## Models ranked",
        "",
        *(f"- {name}" for name in checkpoint.models),
    ]
    return "\n".join(lines) + "\n"
