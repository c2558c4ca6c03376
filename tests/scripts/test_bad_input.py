"""Bad input ends a run with one message and status 2, or is counted, reported and left out; never with a traceback."""

import json
import logging
from collections.abc import Callable

import pytest

from p2l.composition.hydra_task import HydraTask
from tests.running import TINY, compose, on_votes, run, run_process

Rows = list[dict]


def change_first(**values: object) -> Callable[[Rows], Rows]:
    return lambda rows: [{**rows[0], **values}, *rows[1:]]


def change_all(**values: object) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **values} for row in rows]


def drop(column: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{name: value for name, value in row.items() if name != column} for row in rows]


def damage(path, how: Callable[[Rows], Rows]) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in how(rows)))


def call(folder, *overrides: str) -> int:
    """Exit status of the script, run in this process."""
    cfg = compose(*TINY, *on_votes(folder), "callbacks=none", f"output_dir={folder / 'run'}", *overrides)
    try:
        HydraTask("train")(cfg)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def errors(caplog) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


VOTES = {
    "an empty file": (lambda rows: [], "has no rows|is empty|the table contains no valid votes"),
    "a missing column": (drop("winner"), "has no column winner"),
    "no known winner": (change_all(winner="who knows"), "unknown winner: 192"),
    "one unknown winner": (change_first(winner="who knows"), "1 of 192 rows: 'who knows' 1"),
    "models against themselves": (change_all(model_a="x", model_b="x"), "model against itself: 192"),
    "empty prompts": (change_all(prompt=""), "empty prompt: 192"),
    "prompts of numbers": (change_all(prompt=[1, 2]), "non-string turn: 192"),
}


@pytest.mark.parametrize(("how", "message"), VOTES.values(), ids=VOTES)
def test_bad_votes_end_the_run(tmp_path, caplog, how, message):
    on_votes(tmp_path)
    damage(tmp_path / "votes.jsonl", how)
    assert call(tmp_path) == 2
    (error,) = errors(caplog)
    assert error.exc_info is None
    assert_matches(message, error.getMessage())


OPTIONS = {
    "loss and head that do not fit": (["head=bt", "loss=nll_ties_merged"], "has only the columns"),
    "a rank above the number of models": (["head.rank=7"], "head.rank must .* from 1 to 6 .* got 7"),
    "a length above the positions": (
        ["model.max_length=999999"],
        "model.max_length=999999, but .* only 32768 positions",
    ),
    "an unknown initialisation": (["head.init=random"], "unknown head.init 'random'; known: "),
    "a warmup in steps": (["scheduler.warmup=500"], "warmup, a share of all steps, must be .* below 1; got 500"),
    "an argument that is not one": (["+data.foo=1"], "FileVotes.*foo"),
    "an unknown option of the trainer": (["+trainer.foo=1"], "trainer: .*unexpected keyword argument 'foo'"),
    "an unknown strategy": (["trainer.strategy=dpp"], "trainer: .*dpp"),
    "a GPU that is not there": (["trainer.accelerator=cuda"], "(?i)no supported gpu|cuda"),
    "a model that is not named": (["model.scratch=null"], "model.path is not set"),
    "a folder that is not there": (["model.scratch=null", "model.path=./nowhere"], "no model folder at ./nowhere"),
    "a hub id without network": (["model.scratch=null", "model.path=owner/name"], "could not load owner/name"),
    "votes that are not named": (["data.train=???"], "no value given; add data.train=..."),
    "a file that is not there": (["data.train=nowhere.jsonl"], "nowhere.jsonl"),
    "an ending that is not known": (["data.train=README.md"], "README.md"),
    "early stop without validation": (["callbacks=early_stop", "data.val=null"], "needs validation votes"),
    "no run to resume": (["resume=nowhere"], "nothing to resume: there is no nowhere"),
}


@pytest.mark.parametrize(("overrides", "message"), OPTIONS.values(), ids=OPTIONS)
def test_options_that_do_not_fit_end_the_run(tmp_path, caplog, overrides, message):
    assert call(tmp_path, *overrides) == 2
    (error,) = errors(caplog)
    assert error.exc_info is None
    assert_matches(message, error.getMessage())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    return run(folder, "trainer.max_steps=1", "callbacks=none").folder / "checkpoint"


def copy_of(checkpoint, folder):
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_a_checkpoint_of_another_family(tmp_path, caplog, checkpoint):
    assert call(tmp_path, "model.scratch=null", f"model.path={checkpoint}", "head=rk") == 2
    (error,) = errors(caplog)
    assert_matches("the checkpoint has a grk head .* set head=", error.getMessage())


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "model_list.json", "tokenizer.json"])
@pytest.mark.parametrize("how", ["cut short", "missing"])
def test_a_damaged_checkpoint(tmp_path, caplog, checkpoint, file, how):
    broken = copy_of(checkpoint, tmp_path / "broken")
    if how == "missing":
        (broken / file).unlink()
    else:
        (broken / file).write_bytes((broken / file).read_bytes()[:50])
    assert call(tmp_path, "model.scratch=null", f"model.path={broken}") == 2
    (error,) = errors(caplog)
    assert error.exc_info is None
    assert "broken" in error.getMessage()


SKIPPED = {
    "a missing winner": ("votes", change_first(winner=None), "missing value: 1 (row 0)"),
    "a model against itself": ("votes", change_first(model_a="x", model_b="x"), "model against itself: 1 (row 0)"),
    "an empty prompt": ("votes", change_first(prompt=""), "empty prompt: 1 (row 0)"),
    "a model that only validation has": ("val", change_first(model_a="unheard of"), "unknown model: 1 (row 0)"),
}


@pytest.mark.parametrize(("file", "how", "report"), SKIPPED.values(), ids=SKIPPED)
def test_a_bad_row_is_reported_and_left_out(tmp_path, caplog, file, how, report):
    on_votes(tmp_path)
    damage(tmp_path / f"{file}.jsonl", how)
    with caplog.at_level(logging.INFO, logger="p2l"):
        assert call(tmp_path, "trainer.max_steps=1") == 0
    assert report in caplog.text


@pytest.mark.parametrize("prompt", ["tell me <|cls|> about <|cls|>", "<|endoftext|>", "x" * 1_000_000, "\ud83d", " "])
def test_odd_prompts_train(tmp_path, prompt):
    on_votes(tmp_path)
    damage(tmp_path / "votes.jsonl", change_first(prompt=prompt))
    finished = run(tmp_path, "trainer.max_steps=1", "callbacks=none")
    ids, cls = finished.datamodule.prompts("train"), finished.datamodule.encoder.cls_token_id
    assert all((ids[i] == cls).sum() == 1 for i in range(len(ids)))
    assert ids.lengths.max() <= 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "status", "message"),
    [
        (["trainer.max_step=3"], 2, "unknown option trainer.max_step; did you mean trainer.max_steps=3?"),
        (["head=grok"], 2, "head has no choice grok"),
        (["data=local", "data.train=nowhere.jsonl"], 2, "nowhere.jsonl"),
    ],
)
def test_the_script_itself(tmp_path, overrides, status, message):
    found, output = run_process("model=tiny", "trainer=cpu", "logger=none", *overrides, f"output_dir={tmp_path}")
    assert found == status
    assert "Traceback" not in output
    assert message in output


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(AssertionError, match=pattern):
        raise AssertionError(text)
