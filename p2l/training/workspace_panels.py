"""A W&B workspace for runs and sweeps, as code: sections of charts of the metrics that runs log."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import wandb

from p2l.errors import ConfigError
from p2l.extras import missing_extra

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace


@dataclass(frozen=True)
class Chart:
    """Lines of metrics over steps, with the unit of their axis; ``pattern`` takes all metrics whose name it matches."""

    title: str
    metrics: tuple[str, ...] = ()
    unit: str | None = None
    pattern: str | None = None


SECTIONS: dict[str, tuple[Chart, ...]] = {
    "Losses": (
        Chart("Training log loss", ("train/loss",), "nats a vote"),
        Chart("Validation log loss", ("val/log_loss",), "nats a vote"),
        Chart("Validation minus marginal: below 0 is better", ("val/log_loss_minus_marginal",), "nats a vote"),
        Chart("Validation accuracy", ("val/accuracy",), "share of votes"),
        Chart("Learning rates", pattern="^lr-"),
    ),
    "Speed": (
        Chart("Votes", ("speed/votes_per_s",), "votes a second"),
        Chart("Tokens", ("speed/tokens_per_s",), "tokens a second"),
        Chart("Padding", ("speed/padding",), "share of tokens"),
    ),
    "Simulated arena": (
        Chart("Spearman with the truth", ("truth/spearman_p2l", "truth/spearman_marginal"), "mean over prompts"),
    ),
}
MEDIA = ("run_page", "leaderboards")
LOWEST = "val/log_loss"  # what a sweep minimises
SWEPT = ("optimizer.lr", "optimizer.head_lr", "batching.batch_size", "trainer.max_epochs", "seed")


def build_workspace(entity: str, project: str, name: str) -> "Workspace":
    """Return a workspace, without a call to W&B. Raises ConfigError if wandb-workspaces is not installed."""
    try:
        import wandb_workspaces.reports.v2 as charts
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise ConfigError(f"a W&B workspace needs wandb-workspaces: {missing_extra('workspace')}") from error
    media = workspaces.Section(
        name="Pages and leaderboards", is_open=True, panels=[charts.MediaBrowser(media_keys=[key]) for key in MEDIA]
    )
    lines = [_section(section, found, is_open=section == "Losses") for section, found in SECTIONS.items()]
    return workspaces.Workspace(entity=entity, project=project, name=name, sections=[*lines, media, _sweep()])


def save_workspace(workspace: "Workspace") -> str:
    """Save a workspace in W&B and return its address. Raises ConfigError if W&B refuses it or is not reached."""
    try:
        workspace.save()
    except wandb.errors.Error as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(f"W&B did not save the workspace: {reason} ('wandb login' sets a key)") from error
    return str(workspace.url)


def _section(name: str, found: tuple[Chart, ...], *, is_open: bool) -> "Section":
    import wandb_workspaces.reports.v2 as charts
    import wandb_workspaces.workspaces as workspaces

    panels = [
        charts.LinePlot(title=chart.title, y=list(chart.metrics), title_y=chart.unit, metric_regex=chart.pattern)
        for chart in found
    ]
    return workspaces.Section(name=name, is_open=is_open, panels=panels)


def _sweep() -> "Section":
    """Return what compares the runs of a sweep: options beside the loss, and which of them matter."""
    import wandb_workspaces.reports.v2 as charts
    import wandb_workspaces.workspaces as workspaces

    lowest = charts.SummaryMetric(LOWEST)
    columns = [charts.ParallelCoordinatesPlotColumn(charts.Config(name)) for name in SWEPT]
    rates = [
        charts.ScatterPlot(title=f"Loss by {name}", x=charts.Config(name), y=lowest, log_x=True) for name in SWEPT[:2]
    ]
    panels = [
        charts.ParallelCoordinatesPlot(columns=[*columns, charts.ParallelCoordinatesPlotColumn(lowest)]),
        charts.ParameterImportancePlot(with_respect_to=LOWEST),
        *rates,
        charts.RunComparer(diff_only="split"),
    ]
    return workspaces.Section(name="Sweep", panels=panels)
