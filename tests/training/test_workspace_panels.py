"""The W&B workspace shows what runs log, and is refused in one line without its package or W&B."""

import json
import re
import sys

import pytest
import wandb

from p2l.errors import ConfigError
from p2l.training.loggers import close
from p2l.training.workspace_panels import LOWEST, MEDIA, SECTIONS, SWEPT, build_workspace, save_workspace
from tests.running import TINY, build_run, compose, train

# the package declares its models in the style of Pydantic 1
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")


def test_every_chart_shows_a_metric_that_a_run_logs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    votes = ["data=simulated", "data.num_models=5", "data.votes_per_prompt=2", "trainer.max_steps=1"]
    truth = "+callbacks.truth._target_=p2l.training.callbacks.RecoverTruth"
    cfg = compose(*TINY, *votes, truth, "logger=wandb", f"output_dir={tmp_path}")
    module, data, trainer = build_run(cfg)
    train(module, data, trainer)
    logged, config = set(dict(wandb.run.summary)), dict(wandb.run.config)
    close(trainer.loggers)
    charts = [chart for found in SECTIONS.values() for chart in found]
    assert {metric for chart in charts for metric in chart.metrics} | {*MEDIA, LOWEST} <= logged
    patterns = [chart.pattern for chart in charts if chart.pattern]
    assert patterns and all(any(re.search(pattern, name) for name in logged) for pattern in patterns)
    for path in SWEPT:
        value: object = config
        for key in path.split("."):
            assert isinstance(value, dict) and key in value, path
            value = value[key]


def test_the_workspace_has_these_charts() -> None:
    pytest.importorskip("wandb_workspaces", reason="extra: workspace")
    workspace = build_workspace("team", "p2l", "runs")
    assert [section.name for section in workspace.sections] == [*SECTIONS, "Pages and leaderboards", "Sweep"]
    for section, charts in zip(workspace.sections, SECTIONS.values()):
        assert [tuple(panel.y) for panel in section.panels] == [chart.metrics for chart in charts]
    spec = json.loads(workspace._to_model().model_dump_json())
    written = json.dumps(spec)
    assert all(f'"{name}"' in written for name in (*MEDIA, "val/log_loss_minus_marginal", "^lr-"))
    assert "config:optimizer.value.lr" in written and "summary:val/log_loss" in written


def test_without_a_key_it_is_refused_in_one_line(monkeypatch, tmp_path) -> None:
    pytest.importorskip("wandb_workspaces", reason="extra: workspace")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigError, match="W&B did not save the workspace: .*'wandb login' sets a key"):
        save_workspace(build_workspace("team", "p2l", "runs"))


def test_without_the_package_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ConfigError, match=r"needs wandb-workspaces: run pip install -e '\.\[workspace\]'"):
        build_workspace("team", "p2l", "runs")
