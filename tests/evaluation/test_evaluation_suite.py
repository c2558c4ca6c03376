"""The whole suite on small tables: layout, categories, model types, training votes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from p2l.composition.config_objects import make
from p2l.errors import ConfigError, DataError, P2LError
from p2l.evaluation import CATEGORY_METRICS, SIMPLE_METRICS
from p2l.outcomes import FAMILIES, get_family
from p2l.types import OUTCOMES
from tests.running import compose

NAMES = np.array(["ant", "bee", "cat", "dog", "eel", "fox"])
SMALL = (
    "rand_subset_sizes=[20,500]",
    "rand_num_samples=[2,1]",
    "aggr_scale_subset_sizes=[1,20]",
    "aggr_scale_num_samples=[3,2]",
)


def draw(number: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    first, step = rng.integers(6, size=number), rng.integers(1, 6, size=number)
    return pd.DataFrame(
        {
            "prompt": [f"prompt {i // 2}" for i in range(number)],
            "model_a": NAMES[first],
            "model_b": NAMES[(first + step) % 6],
            "winner": rng.choice([outcome.value for outcome in OUTCOMES], number, p=[0.4, 0.3, 0.2, 0.1]),
            "language": rng.choice(["Chinese", "English"], number),
            "betas": rng.normal(size=(number, 6)).round(4).tolist(),
            "eta": rng.normal(size=number).round(4),
        }
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    draw(120, 0).to_json(tmp_path / "eval.jsonl", orient="records", lines=True)
    draw(200, 1).drop(columns=["betas", "eta"]).to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    (tmp_path / "models.json").write_text(json.dumps(NAMES.tolist()))
    ratings = {name: {"rating": 1000 + 20 * i} for i, name in enumerate(NAMES[:-1])}
    (tmp_path / "arena.json").write_text(json.dumps({"full": ratings}))
    return tmp_path


@pytest.fixture
def evaluate(folder, monkeypatch) -> Callable[..., dict[str, Any]]:
    """Return the written results of overrides of conf/evaluate.yaml, without plots, which take longest."""

    def run(*overrides: str, pictures: bool = False) -> dict[str, Any]:
        if not pictures:
            monkeypatch.setattr("p2l.evaluation.evaluation_output.draw_plots", lambda models: {})
        paths = (
            f"eval_path={folder / 'eval.jsonl'}",
            f"model_list_path={folder / 'models.json'}",
            f"output_dir={folder / 'out'}",
        )
        cfg = compose(*paths, *SMALL, *overrides, config="evaluate")
        make(cfg.suite).run({"seed": cfg.seed})
        return json.loads((folder / "out" / "eval_metrics.json").read_text())

    return run


@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_layout_for_every_family(evaluate, folder, family) -> None:
    results = evaluate(f"loss_type={family}", 'categories=[all,"language=Chinese",math]')
    assert results["params"] == {
        "seed": 0,
        "eval_path": str(folder / "eval.jsonl"),
        "output_file_name": "eval_metrics",
        "loss_type": family,
    }
    assert list(results["models"]) == ["p2l-all", "p2l-language=Chinese"]
    assert results["omitted"] == {"p2l-math": "the table has no column category_tag.math_v0.1.math or math"}
    entry = results["models"]["p2l-all"]
    named = {*entry["simple_metrics"], *entry["category_metrics"], *entry["omitted"]}
    assert named >= {
        name for name in (*SIMPLE_METRICS, *CATEGORY_METRICS) if name not in ("Aggr_Accuracy", "Aggr_MSELoss")
    }
    assert list(entry["random_subsets"]) == ["20"] and list(entry["aggr_scale"]) == ["1", "20"]
    assert entry["omitted"]["random subsets of 500"] == "there are 120 votes"
    assert entry["omitted"]["Top-k-fraction 10"] == "there are 6 models"
    assert "favours" in entry["proper_metrics"]["minus_marginal"]["fitted_to"]


def test_pictures_stand_beside_the_results(evaluate, folder) -> None:
    evaluate("categories=[all]", pictures=True)
    assert {path.name for path in (folder / "out").glob("*.png")} == {
        f"eval_metrics_{name}.png" for name in ("reliability", "leaderboard", "aggr_scale")
    }


@pytest.mark.parametrize("model_type", ["marginal", "marginal-gt", "arena"])
@pytest.mark.parametrize("family", ["bt", "rk"])
def test_one_leaderboard_for_all_prompts(evaluate, folder, model_type, family) -> None:
    options = (f"train_path={folder / 'train.jsonl'}", f"arena_path={folder / 'arena.json'}", "categories=[all]")
    entry = evaluate(f"loss_type={family}", f"model_type={model_type}", *options)["models"][f"{model_type}-all"]
    assert (entry["simple_metrics"]["Mean-BT"] == 0) == (model_type != "arena")  # the gauge of a fit
    assert "minus_marginal" in entry["omitted"] or "proper_metrics" in entry["omitted"]
    scale = entry["aggr_scale"]
    assert (scale["1"] == scale["20"]) == (model_type != "marginal-gt")
    if model_type == "arena":
        assert entry["omitted"]["models without an Arena rating"] == "fox"
        assert ("Loss" in entry["omitted"]) == (family == "rk")  # ratings do not cover ties
        assert len(entry["category_metrics"]["Leaderboard"]["model-aggr"]) == 5


def test_arena_as_the_truth_of_one_section_or_both(evaluate, folder) -> None:
    options = ('categories=[all,"language=Chinese"]', f"arena_path={folder / 'arena.json'}", "loss_type=grk")
    options += ("metrics_to_inc=[category,aggr_scale]",)
    results = evaluate(*options, "aggr_scale_gt=arena")
    first = results["models"]["p2l-all"]
    assert len(first["category_metrics"]["Leaderboard"]["ground-truth"]) == 6
    assert results["models"]["p2l-language=Chinese"]["omitted"]["aggr_scale"] == "Arena has no ratings of chinese"
    both = evaluate(*options, "ground_truth=arena")["models"]["p2l-all"]
    assert len(both["category_metrics"]["Leaderboard"]["ground-truth"]) == 5
    assert both["aggr_scale"] == first["aggr_scale"] and "Aggr_Loss" in both["omitted"]


def test_training_votes_make_the_marginal_of_a_category_and_of_its_first_votes(evaluate, folder) -> None:
    train = f"train_path={folder / 'train.jsonl'}"
    proper = ("loss_type=grk", "metrics_to_inc=[proper]", 'categories=["language=Chinese"]')
    entry = evaluate(train, *proper)["models"]["p2l-language=Chinese"]
    assert entry["proper_metrics"]["minus_marginal"]["fitted_to"] == "training votes"
    results = evaluate(
        train,
        "model_type=marginal",
        "train_checkpoints=[1,9]",
        "checkpoint_size=50",
        "categories=[all]",
        "metrics_to_inc=[simple]",
    )["models"]
    assert list(results) == ["marginal-all", "marginal-all-checkpoint-1", "marginal-all-checkpoint-9"]
    losses = [entry["simple_metrics"]["Loss"] for entry in results.values()]
    assert losses[0] == losses[2] != losses[1]


def test_several_files_have_names_of_their_own(evaluate, folder) -> None:
    draw(80, 2).to_json(folder / "other.jsonl", orient="records", lines=True)
    files = f"eval_path=[{folder / 'eval.jsonl'},{folder / 'other.jsonl'}]"
    evaluate(files, "output_file_name=[eval_metrics,other]", "categories=[all]", "metrics_to_inc=[simple]")
    losses = [
        json.loads((folder / "out" / f"{name}.json").read_text())["models"]["p2l-all"]["simple_metrics"]["Loss"]
        for name in ("eval_metrics", "other")
    ]
    assert losses[0] != losses[1]
    with pytest.raises(P2LError, match="eval_path names 2 files and output_file_name 1"):
        raise_cause(lambda: evaluate(files))


def test_votes_of_one_kind_and_categories_without_votes_do_not_stop_the_run(evaluate, folder) -> None:
    votes = draw(60, 0)
    votes.loc[votes["language"] == "Chinese", "winner"] = "tie"
    votes.to_json(folder / "eval.jsonl", orient="records", lines=True)
    results = evaluate("loss_type=bt", 'categories=[all,"language=Chinese","language=Finnish"]')
    assert list(results["models"]) == ["p2l-all", "p2l-language=Chinese"]
    ties = results["models"]["p2l-language=Chinese"]
    for name in ("Loss", "category_metrics", "random_subsets", "aggr_scale", "proper_metrics"):
        assert ties["omitted"][name] == "no vote carries evidence under bt"
    assert "Mean-BT" in ties["simple_metrics"]
    assert results["omitted"]["p2l-language=Finnish"] == "no vote is in it"
    with pytest.raises(DataError, match="p2l-language=Finnish: no vote is in it"):
        evaluate('categories=["language=Finnish"]')


def raise_cause(call: Callable[[], Any]) -> None:
    """Unwrap errors of constructors that Hydra wraps."""
    try:
        call()
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise cause from None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model_type=p3l", "model_type must be one of p2l"),
        ("ground_truth=truth", "ground_truth must be one of"),
        ("arena_scale=nats", "arena_scale must be one of elo, published"),
        ("metrics_to_inc=[simple,complex]", "unknown complex in metrics_to_inc"),
        ("simple_metrics=[Loose]", "unknown metric Loose"),
        ("aggr_scale_subset_metrics=[Leaderboard]", "unknown metric Leaderboard"),
        ("categories=[maths]", "unknown category 'maths'"),
        ("train_checkpoints=[1]", "train_checkpoints go with model_type=marginal"),
        ("loss_type=xx", "unknown likelihood family 'xx'"),
    ],
)
def test_bad_options_are_errors(evaluate, override, message) -> None:
    with pytest.raises(ConfigError, match=message):
        raise_cause(lambda: evaluate(override))


def test_the_defaults_are_the_published_ones() -> None:
    cfg = compose(config="evaluate")
    assert set(cfg.simple_metrics) == set(SIMPLE_METRICS)
    assert cfg.categories == ["all", "creative_writing", "math", "language=Chinese", "is_code", "hard"]
    assert (cfg.rand_subset_sizes, cfg.rand_num_samples) == ([250, 500, 1000, 2000], [50, 20, 5, 3])
    assert cfg.aggr_scale_subset_sizes == [1, 10, 25, 100, 250, 500, 1000, 2000]
    assert cfg.aggr_scale_num_samples == [500, 500, 500, 200, 100, 40, 10, 6]
    assert cfg.suite.evaluation.metrics.aggr_scale.metrics == ["L1-Dist-Prob", "Spearman-lbs", "Kendall-lbs"]
    assert (cfg.model_type, cfg.ground_truth, cfg.suite.evaluation.metrics.aggr_scale_gt) == (
        "p2l",
        "marginal-gt",
        "marginal-gt",
    )
    assert get_family("bag").name == "grk"
