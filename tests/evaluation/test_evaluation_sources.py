"""Sources of rankings."""

import json
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

from p2l.errors import ConfigError, DataError
from p2l.evaluation import EvaluationSource
from p2l.evaluation.evaluation_sources import load_train
from p2l.models import Checkpoint, save_checkpoint
from p2l.models.predictor import predict

MODELS = ["alpha", "beta", "delta", "gamma"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Write a checkpoint folder without weights, and the same rows as JSON by columns."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i // 2}" for i in range(12)],
            "model_a": ["alpha", "beta"] * 6,
            "model_b": ["gamma"] * 12,
            "winner": ["model_a", "model_b", "tie", "tie (bothbad)"] * 3,
            "betas": rng.normal(size=(12, 4)).round(4).tolist(),
            "eta": rng.normal(size=12).round(4),
        }
    )
    frame.to_json(tmp_path / "eval_output.jsonl", orient="records", lines=True)
    frame.assign(last_hidden_state=[[0.0]] * 12).to_json(tmp_path / "checkpoint.json")
    (tmp_path / "model_list.json").write_text(json.dumps(MODELS))
    (tmp_path / "training_config.json").write_text('{"loss_type": "bag"}')
    return tmp_path


def test_a_local_folder_is_a_model_repo_and_says_its_family(folder) -> None:
    data = EvaluationSource(model_repo=str(folder)).load()
    assert (data.family.name, data.votes.models, len(data.votes)) == ("grk", tuple(MODELS), 12)
    assert EvaluationSource(model_repo=str(folder), loss_type="bt").load().family.name == "bt"


def test_a_checkpoint_file_is_read_at_the_models_of_the_table(folder) -> None:
    path = folder / "checkpoint.json"
    source = EvaluationSource(
        model_list_path=str(folder / "model_list.json"), checkpoint_path=str(path), loss_type="rk"
    )
    data = source.load()
    assert data.votes.models == ("alpha", "beta", "gamma") and data.votes.rankings.coefs.shape == (12, 3)
    assert "last_hidden_state" in json.loads(path.read_text())
    again = EvaluationSource(model_repo=str(folder), checkpoint_path=[str(path)], remove_last_hidden_json=True).load()
    assert "last_hidden_state" not in json.loads(path.read_text()) and len(again.votes) == 12


def test_votes_alone_need_neither_rankings_nor_a_model_list(folder) -> None:
    votes = pd.read_json(folder / "eval_output.jsonl", lines=True).drop(columns=["betas", "eta", "prompt"])
    votes.to_csv(folder / "votes.csv", index=False)
    data = EvaluationSource(eval_path=str(folder / "votes.csv"), loss_type="rk").load(with_rankings=False)
    assert (
        data.votes.models == ("alpha", "beta", "gamma") and len(data.votes) == len(set(data.votes.prompt_index)) == 12
    )
    known = EvaluationSource(model_repo=str(folder), eval_path=str(folder / "votes.csv")).load(with_rankings=False)
    assert known.votes.models == tuple(MODELS) and known.family.name == "grk"


def test_the_hub_is_asked_for_what_is_no_folder(folder, monkeypatch) -> None:
    asked = []

    def download(*, repo_id: str, filename: str, repo_type: str) -> str:
        asked.append((repo_id, filename, repo_type))
        return str(folder / filename)

    monkeypatch.setattr("p2l.evaluation.evaluation_sources.hf_hub_download", download)
    EvaluationSource(model_repo="me/model", loss_type="grk").load()
    EvaluationSource(
        model_repo="me/model", hf_checkpoint_repo="me/data", hf_checkpoint_file="checkpoint.json", loss_type="grk"
    ).load()
    assert asked == [
        ("me/model", "model_list.json", "model"),
        ("me/model", "eval_output.jsonl", "model"),
        ("me/model", "model_list.json", "model"),
        ("me/data", "checkpoint.json", "dataset"),
    ]


def test_the_recipe_of_a_hub_repository_says_the_family(folder, monkeypatch) -> None:
    response = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
    error: Exception = RemoteEntryNotFoundError("no such entry", response=response)

    def download(*, repo_id: str, filename: str, repo_type: str) -> str:
        if not (folder / filename).exists():
            raise error
        return str(folder / filename)

    monkeypatch.setattr("p2l.evaluation.evaluation_sources.hf_hub_download", download)
    assert EvaluationSource(model_repo="me/model").load().family.name == "grk"
    (folder / "training_config.json").unlink()
    assert EvaluationSource(model_repo="me/model").load().family.name == "bt"
    error = LocalEntryNotFoundError("the hub cannot be reached")
    with pytest.raises(DataError, match=r"training_config\.json of that hub model cannot be read: the hub cannot"):
        EvaluationSource(model_repo="me/model").load()


def test_the_recipe_of_a_folder_under_home_says_the_family(folder, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    source = EvaluationSource(model_repo=f"~/{folder.name}")
    assert source.load().family.name == "grk"
    (folder / "training_config.json").unlink()
    assert source.load().family.name == "bt"


def test_a_checkpoint_ranks_the_prompts_of_votes_now(tiny_checkpoint: Checkpoint, folder, tmp_path) -> None:
    save_checkpoint(tmp_path / "model", tiny_checkpoint)
    votes = pd.read_json(folder / "eval_output.jsonl", lines=True).drop(columns=["betas", "eta"])
    votes.to_json(tmp_path / "votes.jsonl", orient="records", lines=True)
    data = EvaluationSource(model_path=str(tmp_path / "model"), votes=str(tmp_path / "votes.jsonl")).load()
    expected = predict(tiny_checkpoint, list(votes["prompt"]))
    assert data.family.name == "grk" and len(data.votes.rankings.coefs) == 6
    np.testing.assert_allclose(data.votes.rankings.coefs[data.votes.ranking_index], expected.coefs, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give a source of rankings"),
        ({"eval_path": "x", "model_path": "y", "votes": "z"}, "got eval_path and model_path"),
        ({"model_path": "y"}, "model_path and votes are given together"),
        ({"eval_path": "x", "costs": "z"}, "costs are compared to those that a checkpoint predicts"),
        ({"hf_checkpoint_repo": "y"}, "hf_checkpoint_repo and hf_checkpoint_file are given together"),
    ],
)
def test_options_that_do_not_fit_are_errors(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluationSource(**options)


def test_a_file_is_no_model_repo(folder, monkeypatch) -> None:
    monkeypatch.setattr("p2l.evaluation.evaluation_sources.hf_hub_download", lambda **_: pytest.fail("asked the hub"))
    with pytest.raises(ConfigError, match=r"model_list.json is a file; give the folder .* as model_list_path"):
        EvaluationSource(model_repo=str(folder / "model_list.json"), eval_path="votes.jsonl").load()


def test_what_is_missing_or_bad_is_named(folder) -> None:
    with pytest.raises(ConfigError, match="give model_list_path"):
        EvaluationSource(eval_path=str(folder / "eval_output.jsonl")).load()
    (folder / "eval_output.jsonl").unlink()
    with pytest.raises(DataError, match="has no eval_output.jsonl"):
        EvaluationSource(model_repo=str(folder)).load()
    for text, message in (
        ("[1]", "list of model names"),
        ('["a", "a"]', "names a model twice: a"),
        ("[", "not valid JSON"),
    ):
        (folder / "model_list.json").write_text(text)
        with pytest.raises(DataError, match=message):
            EvaluationSource(model_repo=str(folder)).load()
    with pytest.raises(DataError, match="cannot be read"):
        EvaluationSource(model_repo=str(folder), model_list_path="none.json").load()
    with pytest.raises(DataError, match=r"no/where is not a local folder, and model_list\.json of that hub model"):
        EvaluationSource(model_repo="no/where").load()


def test_lists_in_a_csv_and_labels_and_columns_of_its_own(folder) -> None:
    expected = EvaluationSource(model_repo=str(folder)).load()
    frame = pd.read_json(folder / "eval_output.jsonl", lines=True)
    for spell in (json.dumps, repr):
        frame.assign(betas=frame["betas"].map(spell)).to_csv(folder / "eval.csv", index=False)
        found = EvaluationSource(model_repo=str(folder), eval_path=str(folder / "eval.csv")).load()
        assert torch.equal(found.votes.rankings.coefs, expected.votes.rankings.coefs)
        assert torch.equal(found.votes.rankings.eta, expected.votes.rankings.eta)
    own = frame.assign(winner=frame["winner"].replace("tie", "same")).rename(columns={"model_a": "left"})
    own.to_json(folder / "eval.jsonl", orient="records", lines=True)
    source = EvaluationSource(
        model_repo=str(folder),
        eval_path=str(folder / "eval.jsonl"),
        columns={"model_a": "left"},
        winner_map={"same": "tie"},
    )
    for votes in (source.load().votes.battles, source.load(with_rankings=False).votes.battles):
        np.testing.assert_array_equal(votes.outcome_shares, expected.votes.battles.outcome_shares)
        assert [votes.models[i] for i in votes.model_a] == ["alpha", "beta"] * 6
    train, _ = load_train(str(folder / "eval.jsonl"), MODELS, columns={"model_a": "left"}, winner_map={"same": "tie"})
    np.testing.assert_array_equal(train.outcome_shares, expected.votes.battles.outcome_shares)
