"""``p2l`` as a user calls it: help and mistakes come at once, without torch, and with the option that was meant."""

import logging
import os
import pickle
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from p2l.commands.cli import CONFIGURED, SERVERS, main
from p2l.composition.hydra_task import HydraTask
from p2l.composition.one_line_errors import quiet_closed_pipes
from p2l.composition.option_names import nearest
from p2l.composition.override_quotes import explain_grammar
from tests.ports import free_port
from tests.running import HEADS, ROOT
from tests.serving.router.fakes import HELLO, Reply, Seen, completion, model, upstream
from tests.waiting import wait_until

HEAVY = ("torch", "lightning", "transformers", "pandas", "numpy", "scipy.stats", "datasets", "matplotlib")
# runs its argument as a program, and lists the heavy modules that it imported
PROBE = f"""
import atexit, runpy, sys
atexit.register(lambda: print("imported:", [name for name in {HEAVY} if name in sys.modules]))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
P2L = ROOT / "p2l" / "__main__.py"
TRAIN = ROOT / "scripts" / "train.py"
ROUTER = ROOT / "p2l" / "routing" / "openai_server.py"
ROUTER_FILE = ROOT / "docs" / "examples" / "router" / "shrinkage.yaml"


def call(program: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a program, the heavy modules last."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROBE, str(program), *arguments]
    found = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return found.returncode, found.stdout


LIGHT = {
    "help": (P2L, ["--help"], 0, "leaderboard  Fit leaderboards to votes"),
    "help of train": (P2L, ["train", "--help"], 0, f"head: {', '.join(HEADS)}"),
    "help of a script": (TRAIN, ["--help"], 0, "batch_size: auto # votes in an optimizer step"),
    "another project's name": (P2L, ["train", "learning_rate=1e-5"], 2, "did you mean optimizer.lr=1e-5?"),
    "a key without its node": (P2L, ["train", "batch_size=8"], 2, "did you mean batching.batch_size=8?"),
    "a mistyped group": (P2L, ["train", "hed=bt"], 2, "unknown option hed; did you mean head=bt?"),
    "a mistyped choice": (P2L, ["train", "head=grkk"], 2, "head has no choice grkk; did you mean head=grk?"),
    "a mistyped nested key": (TRAIN, ["trainer.max_step=3"], 2, "did you mean trainer.max_steps=3?"),
    "a later value of a sweep": (TRAIN, ["-m", "head=bt,grkk"], 2, "did you mean head=grk?"),
    "the group of another command": (P2L, ["train", "prices=mmlu_pro"], 2, "unknown option prices"),
    "an option of another choice": (P2L, ["train", "data.val=x.csv"], 2, "data=arena55k, data=local"),
    "no value": (P2L, ["predict"], 2, "no value given; add dataset=... model_path=..."),
    "a published configuration": (TRAIN, ["--config", "x.yaml"], 2, "give experiment=<name>"),
    "text without quotes": (
        P2L,
        ["leaderboard", "categories=[all,language=Chinese]"],
        2,
        """did you mean 'categories=[all,"language=Chinese"]'?""",
    ),
    "a value without a name": (P2L, ["validate", "own.csv"], 2, "own.csv has no name; did you mean votes=own.csv?"),
    "a second value": (P2L, ["add-models", "votes=v.csv", "my model"], 2, "did you mean 'model_path=my model'?"),
    "a value beside no needed option": (
        P2L,
        ["train", "v.csv"],
        2,
        "v.csv has no name; options are written NAME=VALUE",
    ),
    "a mistyped command": (P2L, ["trian"], 2, "did you mean train?"),
}


@pytest.mark.parametrize(("program", "arguments", "status", "text"), LIGHT.values(), ids=LIGHT)
def test_help_and_mistakes_need_no_torch(program, arguments, status, text) -> None:
    found, output = call(program, *arguments)
    assert found == status, output
    assert text in output and "Traceback" not in output
    assert output.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize(
    ("command", "imported"),
    [
        ("leaderboard", ["torch", "pandas", "numpy", "matplotlib"]),  # which fits, and draws
        ("validate", ["pandas", "numpy"]),
    ],
)
def test_commands_on_votes_load_what_they_use(tmp_path, command, imported) -> None:
    votes = ROOT / "docs" / "examples" / "votes.csv"
    found, output = call(P2L, command, f"votes={votes}", f"output_dir={tmp_path / 'found'}")
    assert found == 0, output
    assert output.splitlines()[-1] == f"imported: {imported}"


@pytest.mark.parametrize("arguments", [["--help"], ["--check-config", "-c", str(ROUTER_FILE)]], ids=["help", "check"])
def test_the_router_answers_without_the_packages_of_models(arguments) -> None:
    found, output = call(ROUTER, *arguments)
    assert found == 0, output
    assert output.splitlines()[-1] == "imported: ['numpy']"


@pytest.mark.parametrize(
    ("router_type", "optimizer"), [("bt-endpoint", "optimal-lp"), ("grk-endpoint", "simple-lp")], ids=["bt", "grk"]
)
def test_a_router_that_asks_an_endpoint_for_scores_needs_numpy_alone(tmp_path, router_type, optimizer) -> None:
    """A worker, after requests that were routed by score."""
    with (
        upstream(lambda seen: Reply(body=scores(seen))) as endpoint,
        upstream(lambda seen: Reply(body=completion())) as llm,
    ):
        config = {"model_configs": {"a": model(llm.url, 1.0), "b": model(llm.url, 2.0)}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        options = ["-c", str(tmp_path / "config.yaml"), "--host", "127.0.0.1", "--port", str(free_port())]
        scored = ["--router-type", router_type, "--router-model-endpoint", endpoint.url]
        command = [sys.executable, "-c", PROBE, str(ROUTER), *options, *scored, "--cost-optimizer", optimizer]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (tmp_path / "log").open("w+") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)
            reasons = [ask(options[-1], process, cost) for cost in (None, 1.5)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert reasons == ["routed", "routed"]
        assert (tmp_path / "log").read_text().splitlines()[-1] == "imported: ['numpy']"


def scores(seen: Seen) -> dict[str, object]:
    return {"models": ["a", "b"]} if seen.path == "/models" else {"coefs": [0.2, 0.7], "eta": 0.1}


def ask(port: str, process: "subprocess.Popen[str]", cost: float | None) -> str:
    """The reason of the router's choice for a chat, once the router listens."""
    body = {"messages": HELLO} | ({} if cost is None else {"cost": cost})

    def listens() -> bool:
        assert process.poll() is None
        with suppress(httpx.ConnectError):
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).status_code == 200
        return False

    wait_until(listens, 60)
    url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"authorization": "Bearer -"}
    answer = httpx.post(url, json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-p2l-reason"]


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ('a=[x, k=v ,"k=w"]', 'a=[x,"k=v","k=w"]'),
        ("a=k=v", 'a="k=v"'),
        ("a=[f(x)]", 'a=["f(x)"]'),
        ("a=it's", 'a="it\'s"'),
        ("a={Neither: tie (bothbad)}", 'a={Neither: "tie (bothbad)"}'),
        ("a={prompt: User prompt, winner: Better (of 2)?}", 'a={prompt: User prompt, winner: "Better (of 2)?"}'),
    ],
)
def test_text_that_hydra_cannot_read_is_quoted(override, meant) -> None:
    with pytest.raises(HydraException) as error:
        OverridesParser.create().parse_override(override)
    message = explain_grammar(override, str(error.value))
    assert f"did you mean {shlex.quote(meant)}?" in message and "hydra.cc" not in message
    parsed = OverridesParser.create().parse_override(meant).value()
    assert parsed in (
        *(["x", "k=v", "k=w"], "k=v", ["f(x)"], "it's"),
        *({"Neither": "tie (bothbad)"}, {"prompt": "User prompt", "winner": "Better (of 2)?"}),
    )


def test_keys_of_a_mapping_take_no_quotes() -> None:
    message = explain_grammar('a={"k": v}', "no viable alternative")
    assert "did you mean" not in message and "take none" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["rank", "hello"],
        ["leaderboard", f"votes={ROOT / 'docs' / 'examples' / 'votes.csv'}"],
    ],
    ids=["help", "rank", "leaderboard"],
)
def test_a_reader_that_leaves_gets_no_traceback(arguments, tmp_path) -> None:
    command = [sys.executable, "-m", "p2l", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait() in (0, 1) and complaint == ""


def test_a_log_without_a_reader_is_quiet_and_other_errors_of_it_are_not(monkeypatch, capsys) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as stream:
        handler = logging.StreamHandler(stream)
        monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
        quiet_closed_pipes()
        logging.getLogger().warning("nobody reads this")
        assert capsys.readouterr().err == ""
        logging.getLogger().warning("%d", "no number")
        assert "Logging error" in capsys.readouterr().err
        with suppress(BrokenPipeError):
            stream.close()


@pytest.mark.parametrize("command", CONFIGURED)
def test_the_help_of_a_command_names_its_options_alone(command, capsys) -> None:
    assert main([command.replace("_", "-"), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: p2l {command.replace('_', '-')} " in text
    assert "output_dir: " in text and "\n  hydra:" not in text and "\n  job:" not in text
    assert ("experiment: " in text) == (command == "train")


@pytest.mark.parametrize("command", CONFIGURED)
def test_every_command_answers_a_typo(command, capsys) -> None:
    assert main([command, "output_dr=x"]) == 2
    assert "did you mean output_dir=x?" in capsys.readouterr().err


def test_help_has_the_values_after_the_overrides(capsys) -> None:
    assert main(["train", "--help", "model=tiny", "seed=7"]) == 0
    text = capsys.readouterr().out
    assert "seed: 7" in text and "hidden_size: 64" in text
    assert "# A Qwen2 of random weights and a byte tokenizer" in text


def test_a_folder_of_own_files(tmp_path, capsys) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\noptimizer:\n  lr: 0.5\n")
    own = ["train", "--help", "--config-dir", str(tmp_path)]
    assert main([*own, "experiment=mine"]) == 0
    assert "lr: 0.5" in capsys.readouterr().out
    assert main([*own, "experiment=mime"]) == 2
    assert "did you mean experiment=mine?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "meant"),
    [("learning_rate", "optimizer.lr"), ("max_length", "model.max_length"), ("traner.devices", "trainer.devices")],
)
def test_the_nearest_option(name, meant) -> None:
    known = ["optimizer.lr", "callbacks.learning_rate", "model.max_length", "trainer.devices", "model", "seed"]
    assert nearest(name, known) == meant
    assert nearest("zzz", known) is None


def test_a_task_is_sent_to_other_processes() -> None:
    task = pickle.loads(pickle.dumps(HydraTask("train", ["p2l", "train"])))
    assert (task.command, task.arguments, task.__module__) == ("train", ["p2l", "train"], "p2l.commands.train")


def test_every_configured_command_has_a_file_and_a_script() -> None:
    assert sorted(CONFIGURED) == sorted(path.stem for path in (ROOT / "conf").glob("*.yaml"))
    assert sorted(CONFIGURED) == sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
    assert set(SERVERS) == {"endpoint", "router"}


@pytest.mark.parametrize(
    ("module", "arguments", "command"),
    [
        ("eval", ["--model", "M", "--dataset", "D", "--batch-size", "2"], "p2l predict model_path=M dataset=D"),
        ("auto_evals", ["--eval_path", "E", "--categories", "all", "math"], "'categories=[all,math]'"),
    ],
)
def test_published_commands_name_their_successors(module, arguments, command) -> None:
    status, output = call(ROOT / "p2l" / f"{module}.py", *arguments)
    assert status == 2 and command in output
    assert output.splitlines()[-1] == "imported: []"
