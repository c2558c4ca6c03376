"""Every command and program that the README and the pages show is run; ``rules`` says how."""

import contextlib
import importlib.util
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import anthropic
import openai
import pytest

from p2l.composition.config_check import check_options
from p2l.composition.config_folder import config_folder
from p2l.composition.hydra_options import read_options
from p2l.serving.endpoint.endpoint_options import read_options as read_endpoint_options
from tests.docs.live_servers import LiveServers
from tests.docs.rules import RULES, Rule, rule_for
from tests.docs.sandbox import run_command
from tests.docs.shown_code import PAGES, ShownCommand, commands_in_tables, shown_code, shown_commands
from tests.running import ROOT
from tests.serving.router.fakes import Reply, completion, model, router, upstream

WITH_COMMANDS = [page for page in PAGES if shown_commands(page)]
WITH_PROGRAMS = [page for page in PAGES if shown_code(page, "python")]
HAS_SWEEPS = importlib.util.find_spec("submitit") is not None
SWEEPS = re.compile(r"^(?:hydra/launcher|hydra\.launcher\..*|sweep|hydra\.sweeper\..*)=")  # of the extra sweep
FILES = re.compile(r"^(?:votes|scores|known_scores|dataset|data\.(?:train|val|test)|reference|eval_path|run|results)$")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_every_command_has_a_rule_and_every_rule_a_command():
    commands = [command.text for page in PAGES for command in shown_commands(page)]
    assert [command for command in commands if rule_for(command) is None] == []
    used = {rule_for(command) for command in commands}
    assert [rule.pattern for rule in RULES if rule not in used] == []


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_commands(page: Path, sandbox: Path, live: LiveServers):
    for command in shown_commands(page):
        rule = rule_for(command.text)
        assert rule is not None
        follow(rule, command, sandbox, live)


def test_commands_in_tables_compose(sandbox: Path):
    for page in PAGES:
        for command in commands_in_tables(page):
            if len(command.words) > 2 and command.words[1] not in ("endpoint", "router"):
                compose(command.words[1:], sandbox)


def follow(rule: Rule, command: ShownCommand, sandbox: Path, live: LiveServers) -> None:
    """Do with a command what its rule says."""
    words = command.words
    if rule.way == "run" or rule.way == "start":
        run_command(sandbox, *words[1:], *rule.added)
    elif rule.way == "ask":
        ask(live.at_these_ports(command.text))
    elif rule.way == "compose":
        compose(of_training(words), sandbox)
    elif rule.way == "help":
        check_help(words)
    elif rule.way == "make":
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)


def make_what_they_read(page: Path, programs: list[str], sandbox: Path) -> None:
    """Run the commands of a page whose output its programs read, unless they have run."""
    for command in shown_commands(page):
        (made,) = [word.removeprefix("output_dir=") for word in command.words if word.startswith("output_dir=")] or [""]
        if made and any(made in text for text in programs) and not (sandbox / made).exists():
            run_command(sandbox, *command.words[1:])


def of_training(words: list[str]) -> list[str]:
    """Return the arguments of ``p2l`` that torchrun and sbatch lead to."""
    if words[0] == "torchrun":
        return ["train", *words[words.index("scripts/train.py") + 1 :]]
    if words[0] == "sbatch":
        assert (ROOT / words[1]).is_file()
        return ["train", *words[2:]]
    return words[1:]


def compose(arguments: list[str], sandbox: Path) -> None:
    """Check the options of a command, and that the files which it names are there."""
    command, *options = arguments
    if command == "endpoint":
        read_endpoint_options(options, {})
        return
    options = [option for option in options if HAS_SWEEPS or not SWEEPS.match(option)]
    check_options(command.replace("-", "_"), config_folder(), read_options(options))
    for option, _, value in (word.partition("=") for word in options):
        assert not FILES.match(option) or any(sandbox.glob(value)), f"{value} of {arguments}"


def ask(command: str) -> None:
    """Run a curl command, and expect JSON that is no error."""
    shown = subprocess.run(["bash", "-c", f"{command} --silent --show-error"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    answer = json.loads(shown.stdout)
    assert "error" not in answer, answer
    assert "detail" not in answer, answer


def check_help(words: list[str]) -> None:
    """Expect the options of ``python <path>`` in its help."""
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(shown):
        patch.setattr(sys, "argv", [words[1], "--help"])
        patch.syspath_prepend(str((ROOT / words[1]).parent))
        with pytest.raises(SystemExit):
            runpy.run_path(str(ROOT / words[1]), run_name="__main__")
    for option in (word for word in words[2:] if word.startswith("--")):
        assert option in shown.getvalue(), f"{shlex.join(words)}: {option}"


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=name)
def test_programs(page: Path, sandbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The programs of a page run one after the other, in one namespace; what they ask for chat is faked."""
    monkeypatch.chdir(sandbox)
    names: dict[str, object] = {"__name__": "shown"}
    programs = [block.text for block in shown_code(page, "python")]
    make_what_they_read(page, programs, sandbox)
    with contextlib.redirect_stdout(io.StringIO()):
        if not any("localhost:8000" in text for text in programs):
            for text in programs:
                exec(compile(text, name(page), "exec"), names)
            return
        with (
            upstream(lambda seen: Reply(body=scores() if seen.path != "/models" else {"models": ["a", "b"]})) as scorer,
            upstream(lambda seen: Reply(body=completion())) as llm,
            router(
                tmp_path,
                {"model_configs": {"a": model(llm.url), "b": model(llm.url)}},
                router_type="grk-endpoint",
                router_model_endpoint=scorer.url,
                api_key="my-key",
            ) as running,
        ):
            for text in programs:
                exec(compile(text.replace("http://localhost:8000", running.url), name(page), "exec"), names)
            for client in names.values():
                if isinstance(client, (openai.OpenAI, anthropic.Anthropic)):
                    client.close()


def scores() -> dict[str, object]:
    return {"coefs": [1.0, 0.5], "eta": 0.1}
