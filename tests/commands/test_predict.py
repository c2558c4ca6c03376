"""The prediction job: a data set in, the same with coefs and eta out; interrupted runs go on."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lightning import Trainer

from p2l.commands.predict import PredictionJob, _describe_network
from p2l.data.prompt_encoder import PromptFormat
from p2l.data.readers import read_table
from p2l.errors import ConfigError, DataError
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.predictor import predict
from p2l.prediction.prediction_file import FORMATS, check_columns_fit, write_table
from p2l.prediction.prediction_parts import PredictionParts
from tests.models.test_cost_file import with_costs
from tests.models.test_posterior_file import with_posterior
from tests.running import run_script

PROMPTS = ["hi", ["a", "b"], "hi", "what is 1+1?", "a longer prompt, with more words than the others have", "ü"]


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": p, "id": i}) for i, p in enumerate(PROMPTS)), encoding="utf-8")
    return str(path)


def trainer() -> Trainer:
    return Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip


def run(job: PredictionJob, checkpoint: Checkpoint, name: str = "checkpoint") -> Path:
    return job.run(checkpoint, trainer(), name)


@pytest.mark.parametrize("suffix", ["parquet", "json", "jsonl"])
def test_every_format_holds_the_rows_and_their_rankings(dataset, tiny_checkpoint, tmp_path, suffix):
    output = run(PredictionJob(dataset, str(tmp_path / f"out.{suffix}"), token_budget=40), tiny_checkpoint)
    frame = pd.read_parquet(output) if suffix == "parquet" else pd.read_json(output, lines=suffix == "jsonl")
    expected = predict(tiny_checkpoint, PROMPTS)
    assert frame["id"].tolist() == list(range(len(PROMPTS)))
    np.testing.assert_allclose(np.stack(frame["coefs"]), expected.coefs.numpy(), atol=1e-5)
    np.testing.assert_allclose(frame["eta"].to_numpy(float), expected.eta.numpy(), atol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"out.{suffix}", "prompts.jsonl"])


def test_output_holds_all_digits_and_times(tiny_checkpoint, tmp_path):
    rows = [
        {
            "prompt": "hi",
            "p": 0.1234567890123456,
            "weight": 1e-12,
            "id": 1152921504606846977,
            "time": "2025-01-01T00:00:00.123456789",
        },
        {"prompt": "ho", "p": 0.30000000000000004, "weight": 2.5e-11, "id": None, "time": None},
    ]
    path = tmp_path / "prompts.parquet"
    frame = pd.DataFrame(rows, dtype=object).astype({"p": float, "weight": float, "time": "datetime64[ns]"})
    frame["id"] = frame["id"].astype("Int64")
    frame.to_parquet(path)
    for suffix in ("json", "jsonl"):
        text = run(PredictionJob(str(path), str(tmp_path / f"out.{suffix}")), tiny_checkpoint).read_text()
        found = [json.loads(line) for line in text.splitlines()] if suffix == "jsonl" else json.loads(text)
        assert [{name: row[name] for name in rows[0]} for row in found] == rows
        expected = predict(tiny_checkpoint, ["hi", "ho"]).coefs.double().tolist()
        np.testing.assert_allclose([row["coefs"] for row in found], expected, atol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_names_and_ranks_on_request(dataset, tiny_checkpoint, tmp_path, suffix):
    output = run(PredictionJob(dataset, str(tmp_path / f"out.{suffix}"), names=True), tiny_checkpoint)
    if suffix == "csv":
        frame = pd.read_csv(output)
        for name in ("models", "ranks", "coefs"):
            frame[name] = frame[name].map(json.loads)
        assert json.loads(frame["prompt"][1]) == PROMPTS[1]
    else:
        frame = pd.read_parquet(output) if suffix == "parquet" else pd.read_json(output, lines=True)
    for row, coefs in enumerate(predict(tiny_checkpoint, PROMPTS).coefs.tolist()):
        assert tuple(frame["models"][row]) == tiny_checkpoint.models
        assert frame["top_model"][row] == tiny_checkpoint.models[coefs.index(max(coefs))]
        assert list(frame["ranks"][row]) == [sorted(coefs, reverse=True).index(coef) + 1 for coef in coefs]


def test_names_from_the_command_line(dataset, tiny_checkpoint, tmp_path):
    save_checkpoint(tmp_path / "model", tiny_checkpoint)
    output = tmp_path / "out.csv"
    options = (
        f"model_path={tmp_path / 'model'}",
        f"dataset={dataset}",
        f"output={output}",
        "names=true",
        "trainer=cpu",
    )
    status, said = run_script(*options, f"output_dir={tmp_path / 'run'}", script="predict")
    assert status == 0, said
    frame = pd.read_csv(output)
    assert [json.loads(cell) for cell in frame["models"]] == [list(tiny_checkpoint.models)] * len(PROMPTS)
    for ranks, top in zip(frame["ranks"].map(json.loads), frame["top_model"], strict=True):
        assert tiny_checkpoint.models[ranks.index(1)] == top
    with pytest.raises(DataError, match="already has coefs, eta, models, top_model, ranks"):
        run(PredictionJob(str(output), str(tmp_path / "again.csv"), names=True), tiny_checkpoint)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_column_of_prompts_by_another_name(tiny_checkpoint, tmp_path, suffix):
    path = tmp_path / f"prompts.{suffix}"
    if suffix == "csv":
        path.write_text('question\n"[""a"", ""b""]"\n"[""1.50""]"\n')
    else:
        path.write_text('{"question": ["a", "b"]}\n{"question": 1.50}\n')
    output = run(PredictionJob(str(path), str(tmp_path / "out.parquet"), column="question"), tiny_checkpoint)
    expected = predict(tiny_checkpoint, [["a", "b"], "1.50"]).coefs.numpy()
    np.testing.assert_allclose(np.stack(pd.read_parquet(output)["coefs"]), expected, atol=1e-5)


def test_hidden_states_give_the_coefficients(dataset, tiny_checkpoint, tmp_path):
    frame = pd.read_parquet(run(PredictionJob(dataset, str(tmp_path / "o.parquet"), keep_hidden=True), tiny_checkpoint))
    head = tiny_checkpoint.model.head.head
    hidden = np.stack(frame["last_hidden_state"])
    expected = hidden @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(np.stack(frame["coefs"]), expected, atol=1e-4)


def test_rows_without_text_get_nulls_and_are_counted(tiny_checkpoint, tmp_path, caplog):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": ["hi"]}\n{"prompt": null}\n{"prompt": []}\n{"prompt": "there"}\n', encoding="utf-8")
    frame = pd.read_parquet(run(PredictionJob(str(path), str(tmp_path / "o.parquet")), tiny_checkpoint))
    assert frame["coefs"].isna().tolist() == [False, True, True, False]
    assert frame["eta"].isna().tolist() == [False, True, True, False]
    assert "2 of 4 rows hold no prompt (row 1 first)" in caplog.text


def test_empty_prompts_get_nulls_too(tiny_checkpoint, tmp_path, caplog):
    rows = ["hi", "", " \n\u3000", ["", "\t"], [{"role": "user", "content": [{"type": "image_url"}]}], ["", "there"]]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": row}) for row in rows), encoding="utf-8")
    frame = pd.read_parquet(run(PredictionJob(str(path), str(tmp_path / "o.parquet"), names=True), tiny_checkpoint))
    for name in ("coefs", "eta", "top_model", "ranks"):
        assert frame[name].isna().tolist() == [False, True, True, True, True, False]
    assert "4 of 6 rows hold no prompt (row 1 first)" in caplog.text


def test_an_interrupted_run_goes_on_where_it_was(dataset, tiny_checkpoint, tmp_path, monkeypatch):
    whole = pd.read_parquet(
        run(PredictionJob(dataset, str(tmp_path / "whole.parquet"), token_budget=20), tiny_checkpoint)
    )
    job = PredictionJob(dataset, str(tmp_path / "o.parquet"), token_budget=20)
    add, kept = PredictionParts.add, []

    def add_until_killed(self: PredictionParts, frame: pd.DataFrame) -> None:
        if len(kept) == 2:
            raise RuntimeError("killed")
        kept.append(frame["prompt"].tolist())
        add(self, frame)

    monkeypatch.setattr(PredictionParts, "add", add_until_killed)
    with pytest.raises(RuntimeError, match="killed"):
        run(job, tiny_checkpoint)
    assert not Path(job.output).exists()

    fed: list[int] = []

    def add_and_note(self: PredictionParts, frame: pd.DataFrame) -> None:
        fed.extend(frame["prompt"].tolist())
        add(self, frame)

    monkeypatch.setattr(PredictionParts, "add", add_and_note)
    again = pd.read_parquet(run(job, tiny_checkpoint))
    assert sorted([*fed, *(number for part in kept for number in part)]) == list(
        range(5)
    )  # five distinct prompts, each once
    np.testing.assert_allclose(np.stack(again["coefs"]), np.stack(whole["coefs"]), atol=1e-6)


def test_another_job_does_not_take_the_parts_of_an_unfinished_one(dataset, tiny_checkpoint, tmp_path):
    parts = PredictionParts(tmp_path / "o.parquet.parts")
    parts.open({"model": "other"})
    with pytest.raises(ConfigError, match=r"unfinished run with another .*model.*delete the folder"):
        run(PredictionJob(dataset, str(tmp_path / "o.parquet")), tiny_checkpoint)


@pytest.mark.parametrize("change", ["weights", "dtype", "max_length"])
def test_another_network_does_not_go_on_with_the_parts_of_the_first(
    change, dataset, tiny_checkpoint, tmp_path, monkeypatch
):
    job = PredictionJob(dataset, str(tmp_path / "o.parquet"))

    def killed(self: PredictionParts) -> pd.DataFrame:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(PredictionParts, "read", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(job, tiny_checkpoint)
    if change == "weights":
        with torch.no_grad():
            tiny_checkpoint.model.head.head.bias += 1
    elif change == "dtype":
        tiny_checkpoint.model.bfloat16()
    else:
        tiny_checkpoint.encoder.format = PromptFormat(max_length=9)
    with pytest.raises(ConfigError, match=f"another .*{'max_length' if change == 'max_length' else 'weights'}"):
        run(job, tiny_checkpoint)


def test_bad_options_are_named(dataset, tiny_checkpoint, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in one of \.parquet"):
        PredictionJob(dataset, "out.xlsx")
    with pytest.raises(DataError, match=r"no column 'question'.*prompt, id"):
        run(PredictionJob(dataset, str(tmp_path / "o.parquet"), column="question"), tiny_checkpoint)
    taken = tmp_path / "taken.jsonl"
    taken.write_text('{"prompt": "hi", "eta": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="already has eta"):
        run(PredictionJob(str(taken), str(tmp_path / "o.parquet")), tiny_checkpoint)


COLUMNS = {
    "id beside a gap": pa.array([2**53 + 1, None]),
    "large number": pa.array([2**63 - 1, None]),
    "category beside a gap": pa.array([2**53 + 1, None]).dictionary_encode(),
    "bool": pa.array([True, None]),
    "date": pa.array([date(1, 1, 1), None]),
    "time": pa.array([datetime(3000, 1, 1, 0, 0, 0, 1), None], pa.timestamp("us")),
    "duration": pa.array([timedelta(days=400, microseconds=5), None]),
    "price": pa.array([Decimal("12345678901234567.90"), None]),
    "nested": pa.array([{"a": 2**60 + 1, "b": [1, None]}, None]),
    "text": pa.array(["a\rb", "007"]),
    "bytes": pa.array([b"abc", None]),
    "float": pa.array([0.1, None], pa.float32()),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", COLUMNS)
def test_what_was_read_is_what_is_written(name, suffix, tmp_path):
    column = COLUMNS[name]
    pq.write_table(pa.table({"prompt": ["hi", "ho"], "x": column}), tmp_path / "in.parquet")
    frame = read_table(tmp_path / "in.parquet")
    output = tmp_path / f"out{suffix}"
    check_columns_fit(frame, output, "in.parquet")
    write_table(frame, output, suffix)
    if suffix == ".parquet":
        assert pq.read_table(output)["x"].to_pylist() == column.to_pylist()
        return
    shown = {
        "bool": "True",
        "date": "0001-01-01",
        "time": "3000-01-01 00:00:00.000001",
        "duration": "400 days 00:00:00.000005",
        "nested": '{"a": 1152921504606846977, "b": [1, null]}',
        "bytes": "abc",
    }
    found = read_table(output)["x"].tolist()
    if suffix == ".csv":
        assert found[0] == shown.get(name, str(column[0].as_py())) or float(found[0]) == pytest.approx(0.1)
        assert name == "text" or pd.isna(found[1])
        return
    shown |= {"time": "3000-01-01T00:00:00.000001", "duration": "P400DT0H0M0.000005S"}
    expected = shown[name] if name in ("date", "time", "duration", "bytes") else column[0].as_py()
    assert found[0] == (str(expected) if name == "price" else expected)


@pytest.mark.parametrize(
    ("value", "suffix", "advice"),
    [
        ("1180591620717411303424", "parquet", r"output=<file>\.jsonl"),
        ("{}", "parquet", r"output=<file>\.jsonl"),
        ("Infinity", "jsonl", r"output=<file>\.parquet"),
        ('{"a": [-Infinity]}', "json", r"output=<file>\.parquet"),
    ],
)
def test_a_value_that_a_format_cannot_hold_is_said_before_anything_is_predicted(
    value, suffix, advice, tiny_checkpoint, tmp_path
):
    path = tmp_path / "in.jsonl"
    path.write_text(f'{{"prompt": "hi", "x": {value}}}\n')
    with pytest.raises(DataError, match=f"column x, does not fit a {suffix} file.*{advice}"):
        run(PredictionJob(str(path), str(tmp_path / f"o.{suffix}")), tiny_checkpoint)
    assert not (tmp_path / f"o.{suffix}.parts").exists()


def test_what_parquet_cannot_hold_is_said_before_anything_is_predicted(tiny_checkpoint, tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"prompt": "hi", "x": 1}\n{"prompt": "there", "x": [1]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"mixed.jsonl, column x, does not fit a parquet file.*output=<file>\.jsonl"):
        run(PredictionJob(str(path), str(tmp_path / "o.parquet")), tiny_checkpoint)
    assert not (tmp_path / "o.parquet.parts").exists()


def test_costs_are_written_if_they_are_asked_for(dataset: str, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="costs: checkpoint predicts no costs; p2l fit-costs adds them"):
        run(PredictionJob(dataset, str(tmp_path / "out.jsonl"), costs=True), tiny_checkpoint)
    priced = with_costs(tiny_checkpoint)
    plain = pd.read_parquet(run(PredictionJob(dataset, str(tmp_path / "plain.parquet")), priced))
    assert "costs" not in plain
    expected = predict(priced, PROMPTS).costs.numpy()
    for suffix in ("parquet", "jsonl"):
        path = run(PredictionJob(dataset, str(tmp_path / f"out.{suffix}"), costs=True), priced)
        found = pd.read_parquet(path) if suffix == "parquet" else pd.read_json(path, lines=True)
        costs = np.array(found["costs"].tolist(), dtype=float)
        np.testing.assert_allclose(costs, expected, rtol=1e-4)


@pytest.mark.parametrize("suffix", [name.removeprefix(".") for name in FORMATS])
def test_intervals_are_written_in_every_format(
    suffix: str, dataset: str, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="intervals: checkpoint has no posterior; p2l posterior adds one"):
        run(PredictionJob(dataset, str(tmp_path / "out.jsonl"), intervals=0.9), tiny_checkpoint)
    sure = with_posterior(tiny_checkpoint)
    job = PredictionJob(dataset, str(tmp_path / f"out.{suffix}"), intervals=0.9, names=True, token_budget=40)
    frame = read_table(str(run(job, sure)), "train")
    assert frame["level"].astype(float).tolist() == [0.9] * len(PROMPTS)
    for row, board in zip(frame.to_dict("records"), sure.rank(PROMPTS), strict=True):
        table = board.table(level=0.9).set_index("model")
        parts = {name: row[name] for name in ("models", "low", "high", "rank_best", "rank_worst")}
        parts = {name: json.loads(part) if isinstance(part, str) else part for name, part in parts.items()}
        for name in ("low", "high", "rank_best", "rank_worst"):
            np.testing.assert_allclose(list(parts[name]), table.loc[list(parts["models"]), name], rtol=1e-3, atol=1e-3)


def test_intervals_are_not_written_unless_they_are_asked_for(
    dataset: str, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    frame = pd.read_parquet(run(PredictionJob(dataset, str(tmp_path / "o.parquet")), with_posterior(tiny_checkpoint)))
    assert list(frame) == ["prompt", "id", "coefs", "eta"]


@pytest.mark.parametrize("change", ["level", "posterior"])
def test_a_run_is_not_resumed_with_other_intervals(
    change: str, dataset: str, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    output = str(tmp_path / "o.parquet")
    parts = PredictionParts(Path(f"{output}.parts"))
    job = PredictionJob(dataset, output, intervals=0.9)
    one = with_posterior(tiny_checkpoint)
    parts.open({**job._describe(job._read(())), "model": "checkpoint", **_describe_network(one)})
    other = PredictionJob(dataset, output, intervals=0.8) if change == "level" else job
    named = "intervals" if change == "level" else "weights"
    with pytest.raises(ConfigError, match=f"unfinished run with another {named}"):
        run(other, one if change == "level" else with_posterior(tiny_checkpoint, seed=1))


@pytest.mark.parametrize("level", [95, True, 1.0])
def test_another_level_is_refused(level: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="intervals must lie between 0 and 1"):
        PredictionJob("x", str(tmp_path / "o.parquet"), intervals=level)
