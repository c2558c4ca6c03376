"""A place that cannot be written to is found before anything is read, in every command."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from p2l.commands.cli import CONFIGURED, main
from p2l.composition.config_folder import config_folder
from p2l.composition.config_help import format_help
from p2l.composition.hydra_options import read_options
from p2l.errors import ConfigError
from p2l.files import check_file_to_write, check_folder_to_write
from tests.running import compose


def needed(command: str) -> list[str]:
    """Return a value for each option without which a command would not start."""
    options = OmegaConf.to_container(compose(config=command), resolve=False)
    return [f"{name}=x" for name, value in options.items() if value == "???"]


def outputs_of(command: str) -> list[str]:
    """Return the options of a command that name what it writes."""
    text = format_help(command, command, config_folder(), read_options([]))
    return [name for name in ("output_dir", "output") if f"\n  {name}:" in text]


CASES = [(command, name) for command in CONFIGURED for name in outputs_of(command)]


def test_all_commands_have_an_output() -> None:
    assert {command for command, _ in CASES} == set(CONFIGURED)
    assert ("predict", "output") in CASES and ("publish", "output") in CASES


@pytest.mark.parametrize(("command", "name"), CASES)
@pytest.mark.parametrize("place", ["{file}/below", "{file}", "/proc/p2l/out"])
def test_an_output_that_cannot_be_written(command, name, place, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    given = place.format(file=file) + (".csv" if (command, name) == ("predict", "output") else "")
    if given == f"{file}.csv":
        Path(given).mkdir()
    assert main([command, *needed(command), f"{name}={given}"]) == 2
    error = capsys.readouterr().err
    assert f"{name}={given}: " in error and "\n" not in error.strip()
    assert file.read_text() == ""


@pytest.mark.parametrize("command", CONFIGURED)
def test_a_sweep_that_cannot_be_written(command, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    place = f"hydra.sweep.dir={tmp_path / 'file'}"
    assert main([command, "-m", *needed(command), place, "hydra.job.name=a,b"]) == 2
    assert f"{place}: cannot write to {tmp_path / 'file'}: it is not a folder" in capsys.readouterr().err


def test_what_can_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "old.csv").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path)
    check_folder_to_write("output_dir", tmp_path / "a" / "b")
    check_folder_to_write("output_dir", tmp_path / "link" / "c")
    check_file_to_write("output", tmp_path / "old.csv")
    check_file_to_write("output", tmp_path / "deep" / "new.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old.csv"]


def test_a_link_to_nowhere(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match="it is not a folder"):
        check_folder_to_write("output_dir", tmp_path / "link" / "c")


@pytest.mark.parametrize("question", [["--cfg", "job"], ["--help"]])
def test_a_question_about_a_command_is_answered_wherever_it_writes(question, capsys):
    assert main(["train", "output_dir=/proc/p2l", *question]) == 0
    assert "output_dir: /proc/p2l" in capsys.readouterr().out
