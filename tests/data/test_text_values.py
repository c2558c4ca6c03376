"""Names and prompts arrive as the file spells them, in every format; numbers are numbers where they are meant."""

import gzip
import json
import re
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2l.data.adapters import adapt
from p2l.data.categories import Category
from p2l.data.count_battles import count_battles
from p2l.data.measured_scores import MeasuredSource
from p2l.data.prompt_input import read_prompts
from p2l.data.readers import blocked_table, read_table
from p2l.data.splits import by_time, split_votes
from p2l.data.vote_table import load_votes
from p2l.errors import ConfigError, DataError
from p2l.evaluation import ArenaRatings
from p2l.explorer import Prices
from p2l.leaderboard import fit

LARGE = 1152921504606846976  # 2^60: floats here are 256 apart


def votes_with_a_gap() -> list[dict[str, object]]:
    pairs = [(100, 200), (200, 300), (300, 100)] * 10
    rows = [{"model_a": a, "model_b": b, "winner": ("model_a", "model_b")[i % 2]} for i, (a, b) in enumerate(pairs)]
    return [*rows, {"model_a": 100, "model_b": None, "winner": "model_a"}]


def write(rows: list[dict[str, object]], path: Path) -> object:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    if path.suffix == ".csv":
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    elif path.name.endswith(".jsonl.gz"):
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    elif path.suffix in (".json", ".jsonl"):
        path.write_text(json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows)))
    elif path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".saved":
        datasets.Dataset.from_dict(columns).save_to_disk(path)
    elif path.suffix == ".memory":
        return rows
    elif path.suffix == ".dataset":
        return datasets.Dataset.from_dict(columns)
    else:
        return pd.DataFrame(rows)  # pandas makes floats of the integers beside a gap
    return str(path)


EXACT = ("csv", "jsonl", "jsonl.gz", "json", "parquet", "saved", "memory", "dataset")


@pytest.mark.parametrize("kind", [*EXACT, "frame"])
def test_models_that_are_numbers_survive_a_gap(tmp_path: Path, kind: str) -> None:
    source = write(votes_with_a_gap(), tmp_path / f"votes.{kind}")
    assert sorted(fit(source, "bt").table().model) == ["100", "200", "300"]


@pytest.mark.parametrize("kind", EXACT)
def test_large_ids_beside_a_gap_stay_distinct(tmp_path: Path, kind: str) -> None:
    ids = [LARGE, LARGE + 1, None, LARGE + 3]
    rows = [{"prompt": "p", "model_a": "x", "model_b": "y", "winner": "tie", "conversation_id": i} for i in ids]
    found = load_votes(write(rows, tmp_path / f"votes.{kind}"))[0].frame["conversation_id"]
    assert found.dropna().tolist() == [str(i) for i in ids if i is not None]


def test_ids_that_were_rounded_before_are_an_error() -> None:
    rows = {"prompt": "p", "model_a": "x", "model_b": "y", "winner": "tie"}
    with pytest.raises(DataError, match="rounded before p2l read it"):
        load_votes(pd.DataFrame([rows | {"conversation_id": LARGE}, rows | {"conversation_id": None}]))


@pytest.mark.parametrize(
    "name", ["0613", "1e5", "1.50", "NaN", "null", "True", "-0", "+1", "1_000", "٣", "0x1F", "inf"]
)
def test_a_name_is_never_read_as_a_number(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(f"prompt,model_a,model_b,winner,language\n{name},{name},x,tie,{name}\n")
    table, _ = load_votes(str(tmp_path / "a.csv"))
    assert table.prompts == ((name,),)
    assert set(table.models) == {name, "x"}
    assert Category("c", ("language",), value=name).rows(table.frame).all()
    assert not Category("c", ("language",), value=f"0{name}").rows(table.frame).any()


def test_json_numbers_keep_their_text_as_names(tmp_path: Path) -> None:
    text = '{"prompt": 1.50, "model_a": 4.10, "model_b": 7, "winner": "tie", "weight": 0.50}\n'
    (tmp_path / "a.jsonl").write_text(text + text.replace("1.50", '"x"').replace("7", "2e3"))
    table, _ = load_votes(str(tmp_path / "a.jsonl"))
    assert table.prompts == (("1.50",), ("x",))
    assert table.models == ("2e3", "4.10", "7")
    assert table.weight.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "jsonl.gz"])
def test_minus_zero_is_a_name(tmp_path: Path, suffix: str) -> None:
    """-0 is the one integer that JSON readers write differently; other zeros stay, and turns are no numbers."""
    row = '{"prompt": %s, "model_a": %s, "model_b": 0, "winner": "tie", "conversation_id": -0}'
    rows = [row % ("-0", "-0"), row % ('"p"', "-0"), row % ("[-0]", "-0"), row % ("[0]", "-0")]
    text = f"[{','.join(rows)}]" if suffix == "json" else "\n".join(rows)
    (tmp_path / f"a.{suffix}").write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    table, report = load_votes(str(tmp_path / f"a.{suffix}"), max_skipped_share=0.5)
    assert table.prompts[:2] == (("-0",), ("p",))
    assert table.models == ("-0", "0")
    assert table.frame["conversation_id"].tolist()[0] == "-0"
    assert 3 in report.skipped["non-string turn"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_renamed_columns_are_text_and_lists_too(tmp_path: Path, suffix: str) -> None:
    columns = {"prompt": "q", "model_a": "left", "model_b": "right", "winner": "choice"}
    if suffix == "csv":
        (tmp_path / "a.csv").write_text('q,left,right,choice\n"[""a"", ""b""]",0613,1.50,0613\n')
    elif suffix == "jsonl":
        text = '{"q": ["a", "b"], "left": "0613", "right": 1.50, "choice": "A"}\n'
        (tmp_path / "a.jsonl").write_text(text)
    else:
        row = {"q": [["a", "b"]], "left": ["0613"], "right": ["1.50"], "choice": ["A"]}
        pq.write_table(pa.table(row), tmp_path / "a.parquet")
    table, _ = load_votes(str(tmp_path / f"a.{suffix}"), columns=columns)
    assert table.prompts == (("a", "b"),) and table.models == ("0613", "1.50")
    assert table.outcome_shares.argmax(axis=1).tolist() == [0]


def test_spaces_around_a_name_do_not_make_another_model() -> None:
    rows = [("gpt ", "x", "model_a"), ("x", "gpt", "model_b "), (" gpt", "x\t", "tie")]
    table, _ = load_votes([dict(zip(("model_a", "model_b", "winner"), row), prompt="p") for row in rows])
    assert table.models == ("gpt", "x")
    assert load_votes(table.frame, models=["gpt ", "x"])[1].kept == 3  # a list from before names were stripped


def test_numbers_of_a_csv_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "prompt,model_a,model_b,winner,weight,timestamp,length,flag\np,x,y,tie,0.5,1e9,3,True\nq,x,y,tie,1e-12,999999999,12.0,False\n"
    )
    table, _ = load_votes(str(tmp_path / "a.csv"))
    assert table.weight.tolist() == [0.5, np.float32(1e-12)]
    assert by_time(table.frame).tolist() == [1, 0]
    assert Category("long", ("length",), "at_least", 5).rows(table.frame).tolist() == [False, True]
    assert Category("long", ("length",), value="12").rows(table.frame).tolist() == [False, True]
    assert Category("flag", ("flag",)).rows(table.frame).tolist() == [True, False]


def test_scores_ratings_and_prices(tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("prompt_id,prompt,model,score,cost\n01,007,0613,1,0.5\n1,1.50,0613,0,0.5\n01,007,613,0,1\n")
    measured = MeasuredSource(str(scores)).load()
    assert measured.models == ("0613", "613")
    assert measured.prompts == (("007",), ("1.50",))
    assert measured.score.tolist() == [[1, 0], [0, 0]] and measured.weight.tolist() == [[1, 1], [1, 0]]
    for name, value in (("score", "good"), ("cost", "$0.001")):
        cells = {"score": "1", "cost": "1", name: value}
        scores.write_text(f"prompt_id,prompt,model,score,cost\na,p,m,{cells['score']},{cells['cost']}\n")
        message = rf"scores.csv, column {name}: expected finite numbers.*; row 0 holds '{re.escape(value)}'"
        with pytest.raises(DataError, match=message):
            MeasuredSource(str(scores)).load()
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("model_name,category,rating\n0613,007,1000\n0125,007,1400\n")
    assert ArenaRatings.read(str(ratings)).by_category == {"007": {"0613": 1000, "0125": 1400}}
    ratings.write_text("model_name,category,rating\nx,all,1 000\n")
    with pytest.raises(DataError, match="column rating: expected finite numbers; row 0 holds '1 000'"):
        ArenaRatings.read(str(ratings))
    for prices in (lambda: Prices({613: [1, 2]}), lambda: MeasuredSource("x", prices={613: [1, 2]})):
        with pytest.raises(ConfigError, match="613 is a number to YAML; quote the name"):
            prices()


CHAT = [{"role": "system", "content": "s"}, {"role": "user", "content": "it's"}, {"role": "user", "content": "two"}]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "memory"])
@pytest.mark.parametrize("spell", [json.dumps, repr])
def test_messages_as_prompts(tmp_path: Path, kind: str, spell) -> None:
    row = {"model_a": "x", "model_b": "y", "winner": "tie"}
    if kind == "csv":
        pd.DataFrame([{"prompt": spell(CHAT), **row}]).to_csv(tmp_path / "a.csv", index=False)
        source: object = str(tmp_path / "a.csv")
    else:
        source = write([{"prompt": CHAT, **row}], tmp_path / f"a.{kind}")
    assert load_votes(source)[0].prompts == (("it's", "two"),)


@pytest.mark.parametrize("spell", [json.dumps, repr])
def test_lists_of_turns_in_a_csv(tmp_path: Path, spell) -> None:
    prompts = [["turn 1", 'it\'s "turn" 2\n[x]'], ["only"]]
    frame = pd.DataFrame({"prompt": map(spell, prompts), "model_a": "x", "model_b": "y", "winner": "tie"})
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert load_votes(str(tmp_path / "a.csv"))[0].prompts == tuple(map(tuple, prompts))
    assert read_prompts(tmp_path / "a.csv") == list(map(tuple, prompts))


def test_text_that_looks_like_a_list_is_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = ['["a", "b"]', "[1, 2]", "plain", "[not a list]", "[]"]
    pd.DataFrame({"prompt": texts}).to_csv(tmp_path / "a.csv", index=False)
    assert read_prompts(tmp_path / "a.csv") == [(text,) for text in texts]
    assert "column prompt: 1 of 5 cells look like lists (row 0 first)" in caplog.text
    pd.DataFrame({"prompt": ["['a']", "['b']", "plain"]}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DataError, match=r"b.csv, column prompt: 2 of 3 cells spell lists.*row 2 does not: 'plain'"):
        read_prompts(tmp_path / "b.csv")


def test_the_text_of_a_numpy_array_is_an_error(tmp_path: Path) -> None:
    prompts = [np.array(["a", "b"], dtype=object), np.array(["c"], dtype=object)]
    pd.DataFrame({"prompt": prompts}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="column prompt, row 0: .*NumPy array.*no commas"):
        read_prompts(tmp_path / "a.csv")


def test_conversations_in_a_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"model_a": ["x", "y"], "model_b": ["y", "x"], "winner": "tie", "conversation_a": [repr(CHAT)] * 2}
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert load_votes(str(tmp_path / "a.csv"))[0].prompts == (("it's", "two"),)
    frame.assign(conversation_a="<user> hi").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="column conversation_a: expected a list of messages.*row 0 holds '<user> hi'"):
        load_votes(str(tmp_path / "a.csv"))


def test_columns_are_named_by_the_caller() -> None:
    frame = pd.DataFrame({"question": ["p"], "left": ["x"], "model_b": ["y"], "winner": ["tie"], "prompt": ["other"]})
    columns = {"prompt": "question", "model_a": "left"}
    assert load_votes(frame, columns=columns)[0].prompts == (("p",),)
    with pytest.raises(DataError, match="no column quest; it has question, left"):
        adapt(frame, columns={"prompt": "quest"})


def test_columns_may_change_places_but_not_share_one() -> None:
    frame = pd.DataFrame({"prompt": ["p", "q"], "model_a": ["x", "x"], "model_b": ["y", "z"], "winner": ["A", "tie"]})
    swapped = load_votes(frame, columns={"model_a": "model_b", "model_b": "model_a"})[0]
    assert [swapped.models[i] for i in swapped.model_a] == ["y", "z"]
    with pytest.raises(DataError, match="model_a and model_b are both to be read from the column model_a; give each"):
        load_votes(frame, columns={"model_a": "model_a", "model_b": "model_a"})


@pytest.mark.parametrize("columns", [["model_a"], ["prompt"], ["winner"], ["prompt", "model_a", "model_b", "winner"]])
def test_binary_columns_are_text(tmp_path: Path, columns: list[str]) -> None:
    rows = {"prompt": ["é ", "q"], "model_a": ["ü", " x"], "model_b": ["y", "y"], "winner": ["ü", "tie"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "text.parquet")
    binary = {name: [value.encode() for value in rows[name]] for name in columns}
    pd.DataFrame(rows | binary).to_parquet(tmp_path / "binary.parquet")
    for stream in (False, True):
        right, found = (
            fit(count_battles(blocked_table(str(path)))[0]["all"] if stream else str(path), "grk").table()
            for path in (tmp_path / "text.parquet", tmp_path / "binary.parquet")
        )
        pd.testing.assert_frame_equal(found, right)
    assert load_votes(str(tmp_path / "binary.parquet"))[0].prompts == (("é ",), ("q",))
    pd.DataFrame(rows | {"model_a": [b"\xff", b"x"]}).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"b'\\xff' is not UTF-8 text"):
        load_votes(str(tmp_path / "bad.parquet"))


def test_an_unknown_model_is_named() -> None:
    rows = [{"prompt": "p", "model_a": "x", "model_b": m, "winner": "tie"} for m in ("y", "new", "new", "old")]
    report = load_votes(rows, models=["x", "y"], max_skipped_share=0.9)[1]
    assert str(report).endswith("unknown model: 3 (row 1, 2, 3): 'new' 2, 'old' 1")


def test_a_mistyped_local_path_is_not_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    with pytest.raises(DataError, match=f"no file or folder at {tmp_path}/outputs/nope"):
        read_table("outputs/nope")


TIMES = {
    "iso": (["2025-01-02", "2025-01-01T23:59:59+02:00", "2025-01-01"], [2, 1, 0]),
    "text of seconds": (["10", "9.5", "1e1"], [1, 0, 2]),
    "dates": (pd.to_datetime(["2025-01-02", "2025-01-01"]), [1, 0]),
    "large": ([LARGE + 1, LARGE], [1, 0]),
    "days of an experiment": ([200, 0, -3, 1], [2, 1, 3, 0]),
    "milliseconds since a start": ([5e9 + 1, 1e6, 5e7, 8e8, 0, 90], [4, 5, 1, 2, 3, 0]),
    "dates as numbers": ([20240201, 20240131, 20231231], [2, 1, 0]),
    "moments as text": (["20240131120001", "20240131120000"], [1, 0]),
    "padded steps": (["000002", "000001"], [1, 0]),
    "year first, two digits": (["240201", "240131"], [1, 0]),
    "steps of seven digits": ([1022024, 1022023, 9999999], [1, 0, 2]),
    "days in nanoseconds": (["1.7356896e+18", "1.7356032e+18"], [1, 0]),
    "seconds with an exponent": (["1.735689601e+09", "1.735689600e+09"], [1, 0]),
    "short numbers with an exponent": (["1.5e+03", "1.4e+03"], [1, 0]),
    "small numbers of float32": (np.array([2, 1], dtype=np.float32), [1, 0]),
}


@pytest.mark.parametrize("name", TIMES)
def test_timestamps_are_ordered(name: str) -> None:
    times, order = TIMES[name]
    assert by_time(pd.DataFrame({"timestamp": times})).tolist() == order


BAD_TIMES = {
    "day or month first": (["2025-01-01", "03/04/2025"], r"row 1\); it holds '03/04/2025', whose day and month cannot"),
    "dots": (["3.4.2025"], "day and month cannot be told apart"),
    "words": (["2025-01-01", "yesterday"], r"row 1\); it holds 'yesterday'; write seconds, or ISO 8601"),
    "mixed": (["2025-01-01", "1735689600"], "mixes numbers and dates: row 1 holds '1735689600' and row 0 '2025-01-01'"),
    "units": ([1735689600, 1735689600000], "mixes units: row 0 holds 1735689600 and row 1"),
    "dates beside seconds": ([20250401, 1735689600], "mixes units: row 0 holds 20250401 and row 1 1735689600"),
    "days beside seconds": ([1735689600, 1735689601.5, 45000.25], "row 0 holds 1735689600 and row 2 45000.25"),
    "days beside dates": ([45000, 20250401], "row 0 holds 45000 and row 1 20250401"),
    "years beside dates": ([2025, 20250401], "row 0 holds 2025 and row 1 20250401"),
    "a date beside milliseconds": ([1735689600000, 20250401120000], "row 0 holds 1735689600000 and row 1 2025040112"),
    "a date of minutes": ([1735689600000, 202504011200], "row 0 holds 1735689600000 and row 1 202504011200"),
    "dates of two lengths": ([20250401120000, 202504011200], "row 0 holds 20250401120000 and row 1 202504011200"),
    "0 for missing": ([1735689600, 0, 1735689700], "row 0 holds 1735689600 and row 1 0, .* leave missing ones empty"),
    "-1 for missing": (["1735689600", "-1"], "row 1 -1, which cannot"),
    "infinite": ([1735689600, float("inf")], "not finite: row 1 holds inf"),
    "a spreadsheet": (["1.73569E+09", "1.73570E+09"], r"rounded .* in 2 votes \(the first: row 0, .*'1\.73569E\+09'"),
    "a spreadsheet, milliseconds": (["1735689600000", "1,73569E+12"], "in 1 votes .the first: row 1"),
    "%g of C": (["1.73569e+09", "1.7357e+09"], "rounded before"),
    "float32": (np.array([1735689600, 1735689700], dtype=np.float32), "rounded before p2l read it in 2 votes"),
    "day first": (["01022024", "03012024"], "row 0 holds '01022024', whose day and month cannot be told apart"),
    "day first, zeros lost": ([25122024, 1022024], "row 0 holds '25122024', whose day"),
    "day first in floats": ([25122024.0, 1022024.0], "row 0 holds '25122024', whose day"),
    "month first": (["12252024", "01132024"], "day and month cannot be told apart"),
    "day first, two digits of the year": (["030124", "311223"], "day and month cannot be told apart"),
    "day first, with minutes": (["030120241530", "040120241530"], "day and month cannot be told apart"),
    "a date that is none": (
        [20241231, 20240101, 20241331],
        "such as 20241231, but row 2 holds 20241331, which is none",
    ),
    "gap": (["2025-01-01", None], r"missing or unreadable in 1 votes \(the first: row 1\)"),
}


@pytest.mark.parametrize("name", BAD_TIMES)
def test_timestamps_that_have_no_order_are_an_error(name: str) -> None:
    times, message = BAD_TIMES[name]
    rows = {"prompt": "p", "model_a": "x", "model_b": "y", "winner": "tie", "timestamp": times}
    table, _ = load_votes(pd.DataFrame(rows))
    with pytest.raises(DataError, match=message):
        split_votes(table, 0.5, "time")
