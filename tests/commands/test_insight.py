"""The job: files in, a page and tables out; bad questions and files are answered in one line."""

import csv
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from p2l.commands.insight import InsightJob
from p2l.errors import ConfigError, DataError
from p2l.insight import Questions
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.hidden_states import rank_with_hidden_states
from tests.insight.rankings import needs_extra

pytestmark = needs_extra

PROMPTS = [f"{word} number {i}" for i in range(8) for word in ("court", "genes", "code")]


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": prompt, "topic": prompt.split()[0]} for prompt in PROMPTS]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def write_rankings(checkpoint: Checkpoint, path: Path, shift: float = 0.0) -> str:
    rankings, _ = rank_with_hidden_states(checkpoint, PROMPTS, token_budget=400)
    frame = pd.DataFrame({"prompt": PROMPTS, "coefs": list((rankings.coefs + shift).numpy()), "eta": rankings.eta})
    frame.to_parquet(path)
    return str(path)


def test_a_table_of_prompts_becomes_a_page_and_tables(dataset, tiny_checkpoint, tmp_path) -> None:
    questions = Questions(focus="beta", old="alpha", new="beta", num_clusters=3)
    job = InsightJob(dataset, str(tmp_path / "out"), questions, categories="topic", reference=dataset)
    page = job.run(tiny_checkpoint)
    assert "Insight: prompts.jsonl" in page.read_text(encoding="utf-8")
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "differences.csv",
        "leaderboards.csv",
        "prompts.jsonl",
        "reference.csv",
        "regression.csv",
        "report.html",
    ]
    boards = pd.read_csv(page.parent / "leaderboards.csv")
    assert len(boards) == 4 * (1 + 3 + boards[boards["kind"] == "cluster"]["group"].nunique())
    rows = [json.loads(line) for line in (page.parent / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == PROMPTS and {*rows[0]} == {
        "prompt",
        "topic",
        "cluster",
        "x",
        "y",
        "score",
    }
    before = page.read_bytes()
    assert job.run(tiny_checkpoint).read_bytes() == before  # the same names and numbers twice
    InsightJob(dataset, str(tmp_path / "out"), embedding=None).run(tiny_checkpoint)
    assert not (page.parent / "regression.csv").exists()  # of the earlier questions


def test_rankings_need_no_checkpoint_but_its_list_and_family(tiny_checkpoint, tmp_path) -> None:
    rankings = write_rankings(tiny_checkpoint, tmp_path / "now.parquet")
    before = write_rankings(tiny_checkpoint, tmp_path / "before.parquet", shift=0.1)
    (tmp_path / "model_list.json").write_text(json.dumps(tiny_checkpoint.models), encoding="utf-8")
    job = InsightJob(rankings, str(tmp_path / "out"), embedding=None, before=before, models=str(tmp_path), family="grk")
    moved = pd.read_csv(job.run(None).parent / "before.csv")
    assert moved["difference"].abs().max() < 3 and len(moved) == 4  # all coefficients moved alike: nobody did
    with pytest.raises(ConfigError, match="rankings do not say which LLMs they rank"):
        InsightJob(rankings, str(tmp_path / "out"), embedding=None).run(None)


def test_rankings_that_name_their_models_are_read_by_these_names(tiny_checkpoint, tmp_path, caplog) -> None:
    path = tmp_path / "named.jsonl"
    frame = pd.read_parquet(write_rankings(tiny_checkpoint, tmp_path / "plain.parquet"))
    frame.assign(models=[list(tiny_checkpoint.models)] * len(frame)).to_json(path, orient="records", lines=True)
    options = {"embedding": None, "family": "grk"}
    own = InsightJob(str(path), str(tmp_path / "own"), **options).run(None)
    listed = InsightJob(str(path), str(tmp_path / "listed"), models=tiny_checkpoint.models, **options).run(None)
    assert (own.parent / "leaderboards.csv").read_bytes() == (listed.parent / "leaderboards.csv").read_bytes()
    other = list(reversed(tiny_checkpoint.models))
    with pytest.raises(DataError, match="number 1 is alpha, but gamma in the list of 4"):
        InsightJob(str(path), str(tmp_path / "out"), models=other, **options).run(None)
    with pytest.raises(ConfigError, match="names of LLMs, each once"):
        InsightJob(str(path), str(tmp_path / "out"), models=["alpha", "alpha"], **options).run(None)
    InsightJob(str(path), str(tmp_path / "out"), embedding=None, family="bt").run(None)
    assert "has eta, which family bt does not use; check family" in caplog.text


def test_the_folder_of_a_checkpoint_tells_the_family(tiny_checkpoint, tmp_path) -> None:
    rankings = write_rankings(tiny_checkpoint, tmp_path / "now.parquet")
    folder = str(save_checkpoint(tmp_path / "c", tiny_checkpoint))
    page = InsightJob(rankings, str(tmp_path / "out"), embedding=None, models=folder).run(None)
    assert (page.parent / "leaderboards.csv").exists()
    with pytest.raises(ConfigError, match="family=bt, but the checkpoint in .* is of family grk"):
        InsightJob(rankings, str(tmp_path / "out"), embedding=None, models=folder, family="bt").run(None)


VOTES = """prompt,model_a,model_b,winner,topic,tags
007,alpha,beta,model_a,01,"['new', 'old']"
007,beta,gamma,tie,01,"['new', 'old']"
"say ""hi"", twice; then
stop",alpha,gamma,model_b,1,[]
1.50,alpha,beta,model_a,1,['old']
"""


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_votes_as_csv_are_prompts_once_each_with_text_as_it_stands(tiny_checkpoint, tmp_path, separator) -> None:
    path = tmp_path / "votes.csv"
    rows = csv.reader(VOTES.splitlines(keepends=True))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    questions = Questions(min_prompts=2)
    job = InsightJob(str(path), str(tmp_path / "out"), questions, embedding=None, categories=["topic", "tags"])
    folder = job.run(tiny_checkpoint).parent
    rows = [json.loads(line) for line in (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == ["007", 'say "hi", twice; then\nstop', "1.50"]
    assert [row["topic"] for row in rows] == [["01"], ["1"], ["1"]]
    assert [row["tags"] for row in rows] == [["new", "old"], [], ["old"]]
    boards = pd.read_csv(folder / "leaderboards.csv", dtype=str)
    assert set(boards.loc[boards["kind"] == "topic", "group"]) == {"1"}  # 01 is another group, of one prompt
    assert set(boards["prompts"]) == {"2", "3"}


def test_turns_in_votes_as_csv(tiny_checkpoint, tmp_path) -> None:
    path = tmp_path / "votes.csv"
    turns = [["a", "b"], ["c, d"]]
    pd.DataFrame({"prompt": map(json.dumps, turns), "winner": "tie"}).to_csv(path, index=False)
    folder = InsightJob(str(path), str(tmp_path / "out"), embedding=None).run(tiny_checkpoint).parent
    rows = [json.loads(line) for line in (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == [["a", "b"], "c, d"]


def test_rankings_as_csv_are_those_of_parquet(tiny_checkpoint, tmp_path) -> None:
    frame = pd.read_parquet(write_rankings(tiny_checkpoint, tmp_path / "now.parquet"))
    frame.assign(coefs=[json.dumps(row.tolist()) for row in frame["coefs"]]).to_csv(tmp_path / "now.csv", index=False)
    boards = []
    for kind in ("parquet", "csv"):
        job = InsightJob(str(tmp_path / f"now.{kind}"), str(tmp_path / kind), embedding=None)
        boards.append(pd.read_csv(job.run(tiny_checkpoint).parent / "leaderboards.csv"))
    pd.testing.assert_frame_equal(*boards, rtol=1e-6)


def test_a_list_of_llms_that_is_none_is_named(tiny_checkpoint, tmp_path) -> None:
    rankings = write_rankings(tiny_checkpoint, tmp_path / "now.parquet")
    bad = {"[1": "is not JSON", '["a", "a"]': "each once", "{}": "must hold a JSON list", None: "no list of LLMs at"}
    for text, message in bad.items():
        path = tmp_path / "list.json"
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            InsightJob(rankings, str(tmp_path / "o"), embedding=None, models=str(path), family="bt").run(None)


def test_bad_questions_are_answered_before_anything_is_written(dataset, tiny_checkpoint, tmp_path, monkeypatch) -> None:
    def run(**options: object) -> None:
        questions = {name: options.pop(name) for name in list(options) if name in Questions.__dataclass_fields__}
        options = {"dataset": dataset, "output_dir": str(tmp_path / "out"), **options}
        InsightJob(**options, questions=Questions(**questions)).run(tiny_checkpoint)

    cluster = tmp_path / "cluster.csv"
    cluster.write_text("prompt,cluster\na,b\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no LLM 'gama'; did you mean gamma"):
        run(focus="gama", embedding=None)
    with pytest.raises(ConfigError, match="needs old=<LLM> and new=<LLM>"):
        run(old="alpha")
    with pytest.raises(ConfigError, match="level must lie between 0 and 1, say 0.95; got 95; did you mean 0.95"):
        run(level=95)
    with pytest.raises(ConfigError, match="min_prompts must be a whole number, at least 2"):
        run(min_prompts=1)
    with pytest.raises(ConfigError, match="num_clusters=99, but there are"):
        run(num_clusters=99)
    with pytest.raises(ConfigError, match="cannot be named 'cluster' beside clusters"):
        run(dataset=str(cluster), categories="cluster")
    with pytest.raises(DataError, match="has no column tag"):
        run(categories=["tag"])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "p2l.insight.clusters", None)
        with pytest.raises(ConfigError, match=r"need BERTopic: run pip install -e '\.\[insight\]'.* embedding=null"):
            run()
    with pytest.raises(ConfigError, match="holds no rankings .*give model_path="):
        InsightJob(dataset, str(tmp_path / "out")).run(None)
    assert not (tmp_path / "out").exists()
