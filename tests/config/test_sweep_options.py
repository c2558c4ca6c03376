"""Sweeps and the choices that options mean, as they are checked and composed before a job starts."""

from pathlib import Path

import pytest
import yaml

from p2l.commands.cli import CONFIGURED, main
from p2l.composition.config_check import check_options
from p2l.composition.config_folder import config_folder
from p2l.composition.hydra_options import read_options
from p2l.composition.implied_overrides import implied_choices
from p2l.errors import ConfigError
from tests.running import TINY, on_votes, run_script

GROUPS = {
    "model": "tiny,minilm",
    "head": "bt,rk",
    "loss": "nll,nll_ties_merged",
    "data": "simulated,simulated_stream",
    "optimizer": "adamw,adamw_8bit",
    "scheduler": "constant,linear",
    "trainer": "cpu,ddp",
    "callbacks": "default,ema",
    "logger": "csv,none",
    "lora": "default",
    "buffer": "replay,geometric",
    "experiment": "demo,bt",
}


@pytest.mark.parametrize(("group", "choices"), GROUPS.items())
def test_every_group_can_be_swept(group, choices):
    check("train", "-m", f"{group}={choices}", "seed=1,2")
    with pytest.raises(ConfigError, match=f"{group} has no choice nonsense"):
        check("train", "-m", f"{group}={choices},nonsense")


def check(command: str, *arguments: str) -> None:
    check_options(command, config_folder(), read_options(arguments))


TABLE = ("data.train=votes.csv", "batching.shuffle=time", "buffer=geometric")


@pytest.mark.parametrize(
    ("overrides", "implied"),
    [
        (TABLE, ["data=local"]),
        (("data.train=a.csv", "data.val=b.csv"), ["data=local"]),
        (("data=arena55k", "data.train=x"), []),
        (("experiment=grk", "data.train=x"), []),
        (("data.votes_per_prompt=4",), []),
        (("seed=1",), []),
    ],
)
def test_the_choice_that_an_option_means(overrides, implied):
    assert implied_choices(overrides) == implied


@pytest.mark.parametrize("more", [(), ("batching.buffer.gamma=0.9", "data.val=more.csv"), ("lora=default",)])
def test_a_table_alone_means_local_data(more, capsys):
    assert main(["train", "model=tiny", *TABLE, *more, "--cfg", "job"]) == 0
    assert "_target_: p2l.data.FileVotes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("batching.buffer.share=0.1", "buffer=replay"),
        ("model.lora.rank=4", "lora=default"),
        ("callbacks.ema.decay=0.9", "callbacks=ema"),
        ("data.columns={prompt: question}", "data=arena100k, data=arena140k, data=arena55k, data=local"),
    ],
)
def test_an_option_of_a_choice_that_is_not_made_names_it(option, choices, capsys):
    assert main(["train", option]) == 2
    assert f"unknown option {option.partition('=')[0]}; it needs one of {choices}\n" in capsys.readouterr().err


def test_null_as_a_key_is_explained(capsys):
    for command, option in (
        ("validate", "winner_map={first: model_a, null: tie}"),
        ("leaderboard", "columns={null: x}"),
    ):
        assert main([command, "votes=v.csv", option]) == 2
        assert f"{option}: null cannot be a key; an empty cell" in capsys.readouterr().err


@pytest.mark.parametrize("group", ["lora", "buffer", "experiment", "sweep"])
def test_null_turns_a_group_off(group, capsys):
    assert main(["train", "model=tiny", f"{group}=null", "--cfg", "job"]) == 0
    assert "hidden_size: 64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "option"), [("train", "logger=null"), ("train", "model=null"), ("route_eval", "prices=null")]
)
def test_null_for_a_group_that_needs_a_choice(command, option, capsys):
    assert main([command, option]) == 2
    assert f"{option}: null is no choice of {option.partition('=')[0]}; choices: " in capsys.readouterr().err


@pytest.mark.parametrize("command", CONFIGURED)
def test_the_jobs_of_a_sweep_do_not_share_a_folder(command, capsys):
    assert main([command, "-m", "output_dir=outputs/one", "hydra.job.name=a,b"]) == 2
    assert "output_dir=outputs/one would be the same for all jobs of the sweep" in capsys.readouterr().err
    check(command, "-m", "output_dir=a,b")
    check(command, "-m", "output_dir=outputs/one")  # one job


@pytest.mark.slow
@pytest.mark.parametrize("given", [[], ["output_dir='x/${family}'"]])
def test_each_job_of_any_command_writes_to_its_own_folder(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    on_votes(tmp_path)
    status, output = run_script("-m", f"votes={tmp_path / 'votes.jsonl'}", "family=bt,rk", *given, script="leaderboard")
    assert status == 0, output
    assert len(list(tmp_path.rglob("leaderboard*.csv"))) == 2


@pytest.mark.slow
def test_the_sweep_of_the_readme_runs(tmp_path: Path) -> None:
    """The sweep as the issue has it, three widths of a network from scratch, each in its folder."""
    tiny = [o for o in TINY if not o.startswith(("model=", "model.scratch.hidden_size", "model.scratch.num_"))]
    sweep = ["model=tiny", "model.scratch.hidden_size=64,128,256", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    status, output = run_script("-m", *tiny, *on_votes(tmp_path)[1:], *sweep, "trainer.max_steps=1", "callbacks=none")
    assert status == 0, output
    widths = [yaml.safe_load((tmp_path / "sweep" / n / "checkpoint" / "config.json").read_text()) for n in "012"]
    assert [config["hidden_size"] for config in widths] == [64, 128, 256]
