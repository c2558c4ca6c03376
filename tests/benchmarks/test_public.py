"""The benchmark of public tables on small made tables: readers of each layout, fits, budgets, and the whole command."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from p2l.data.measured_scores import MeasuredScores
from p2l.errors import DataError
from p2l.models import load_checkpoint
from tests.running import ROOT

FOLDER = ROOT / "benchmarks" / "public"
OURS = "p2l, frozen backbone"
MODELS = ("cheap", "dear", "middle")
COSTS = {"cheap": 1e-4, "middle": 1e-3, "dear": 1e-2}


def made_table(num_prompts: int, seed: int = 0) -> pd.DataFrame:
    """Sums, which the cheap LLM gets wrong, and poems, which all can write; the dear LLM is always right."""
    generator = np.random.default_rng(seed)
    rows = []
    for at in range(num_prompts):
        hard = at % 2 == 0
        number = int(generator.integers(10**6))
        prompt = (
            f"{number} + {number * 7} + {number * 3} = ?" if hard else f"please write a poem,\u2028about tree {number}"
        )
        right = {"cheap": 0.1 if hard else 0.9, "middle": 0.6 if hard else 0.9, "dear": 0.95}
        for model in MODELS:
            cost = COSTS[model] * (2.0 if hard else 0.5) * generator.uniform(0.8, 1.2)
            score = float(generator.random() < right[model])
            rows.append((prompt, model, score, cost, "sums" if hard else "poems"))
    return pd.DataFrame(rows, columns=["prompt", "model", "score", "cost", "group"])


def measured(num_prompts: int, num_models: int = 3, seed: int = 0) -> MeasuredScores:
    generator = np.random.default_rng(seed)
    score, cost = generator.random((2, num_prompts, num_models))
    names = tuple(f"model-{i}" for i in range(num_models))
    prompts = tuple((f"prompt {i}",) for i in range(num_prompts))
    return MeasuredScores(names, prompts, score, np.ones_like(score), cost)


def run(public: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["route_table.py", *options])
    public["route_table"].main()


def test_the_command_on_any_table(
    public: dict[str, ModuleType],
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """P2L sends sums to better LLMs: above mixtures at the same cost, and above the cheap LLM on both tasks."""
    made_table(300).to_csv(tmp_path / "train.csv", index=False)
    made_table(200, seed=1).to_json(tmp_path / "test.jsonl", orient="records", lines=True)
    files = ("--train", str(tmp_path / "train.csv"), "--test", str(tmp_path / "test.jsonl"))
    work = ("--work", str(tmp_path / "work"), "--backbone", str(backbone), "--budgets", "8e-4", "4e-3")
    run(public, monkeypatch, "table", *files, *work)
    found = json.loads((tmp_path / "work" / "table.json").read_text())["test"]
    curves = found["budgets"]["curves"]
    mixture = curves["random mixture of single LLMs"]["quality"]
    assert all(np.array(curves[OURS]["quality"]) - np.array(mixture) > [0.02, 0.0])
    assert abs(np.mean(found["budgets"]["over"][OURS], axis=0)).max() < 0.03
    assert found["explained"][OURS]["value"] > 0.15 and found["cost_explained"] > 0.8
    assert found["calibration_error"][OURS] < 0.08
    fitted = f"{OURS}: as fitted"
    assert found["reliability"][fitted]["error"]["value"] == found["calibration_error"][fitted]
    shown = capsys.readouterr().out
    assert "## test, 200 prompts\n0 prompts that are in the part to fit were left out" in shown
    assert found["ordered"]["sums"]["value"]["value"] > 0.8 and "| poems | 100 |" in shown
    assert f"| {OURS}: over budget |" in shown and f"| {OURS} minus random mixture of single LLMs |" in shown
    assert (tmp_path / "work" / "table.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_without_costs_on_one_file(
    public: dict[str, ModuleType], backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores out of 100, missing ones, a column ``split`` with two tests, and a picture elsewhere."""
    frame = made_table(240).drop(columns="cost").drop(index=[0, 4, 11])
    place = np.arange(len(frame)) // 3
    frame["split"] = np.select([place < 160, place < 200], ["train", "test"], "later")
    frame["score"] *= 100
    frame.to_parquet(tmp_path / "scores.parquet")
    options = ("--train", str(tmp_path / "scores.parquet"), "--picture", str(tmp_path / "choice.png"))
    run(public, monkeypatch, "table", *options, "--work", str(tmp_path / "work"), "--backbone", str(backbone))
    found = json.loads((tmp_path / "work" / "table.json").read_text())
    assert "budgets" not in found["test"] and found["later"]["prompts"] > 30
    assert 80 < found["test"]["choices"][OURS]["value"] <= 100
    assert found["test"]["explained"][OURS]["value"] > 0.1  # in units of the scores, shrunk or not
    assert found["test"]["calibration_error"][f"{OURS}: recalibrated"] < 0.2
    assert (tmp_path / "choice.png").is_file()


def test_the_command_trains_the_backbone_too(
    public: dict[str, ModuleType], backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its predictions are kept, chosen by the error on the prompts to fit, and read again by the next run."""
    made_table(90).to_csv(tmp_path / "train.csv", index=False)
    options = ("--work", str(tmp_path / "work"), "--backbone", str(backbone), "--end-to-end", "2", "--rehearse")
    arguments = ("table", "--train", str(tmp_path / "train.csv"), *options)
    run(public, monkeypatch, *arguments)
    found = json.loads((tmp_path / "work" / "table.json").read_text())
    assert found["options"]["p2l, end to end"]["epochs"] in (1, 2)
    assert found["ours"] == min((one for one in found["errors"] if "p2l" in one), key=found["errors"].get)
    shapes = [np.load(path).shape for path in (tmp_path / "work" / "end_to_end").iterdir()]
    assert sorted(shapes) == [(2, 13, 3), (2, 16, 3), (2, 17, 3), (2, 17, 3)]  # 63 of 90 prompts are not the test
    monkeypatch.setattr(public["end_to_end"], "Evidence", None)
    run(public, monkeypatch, *arguments)
    assert json.loads((tmp_path / "work" / "table.json").read_text())["errors"] == found["errors"]


def test_a_rehearsal_does_not_read_the_test(public: dict[str, ModuleType]) -> None:
    frame = made_table(50)
    parts = public["route_table"].rehearsal(frame)
    assert set(parts) == {"fit", "rehearsal"} and sum(map(len, parts.values())) == len(frame)
    assert not set(parts["fit"]["prompt"]) & set(parts["rehearsal"]["prompt"])


def test_states_are_computed_once(
    public: dict[str, ModuleType], backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = public["cached_states"].StateCache(tmp_path, str(backbone), max_length=64)
    prompts = [(f"prompt {'x' * (i % 7)} {i}",) for i in range(300)]
    first = cache.states(prompts)
    again = public["cached_states"].StateCache(tmp_path, str(backbone), max_length=64)
    monkeypatch.setattr(public["cached_states"], "rank_with_hidden_states", None)
    np.testing.assert_array_equal(again.states(prompts), first)
    monkeypatch.undo()
    np.testing.assert_allclose(cache.states(prompts[5:6])[0], first[5], atol=1e-5)


def test_test_prompts_that_were_fitted_are_left_out(public: dict[str, ModuleType], tmp_path: Path) -> None:
    fit, test = made_table(20), made_table(20, seed=1)
    both = pd.concat([test, fit[:6]])
    table = public["public_tables"].load_table("t", {"fit": fit, "test": both}, tmp_path)
    assert len(table.tests["test"]) == 20 and table.models == tuple(sorted(MODELS))
    assert table.left_out == {"test": 2}
    only = test[test["model"] == "dear"]
    with pytest.raises(DataError, match="two LLMs or more"):
        public["public_tables"].load_table("t", {"fit": fit, "test": only}, tmp_path)


def test_prompts_that_no_shared_llm_answered_are_left_out(
    public: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """They would count as a score of 0. An LLM that only the test has is named, too."""
    fit, test = made_table(20), made_table(10, seed=1)
    lone = pd.DataFrame(
        {"prompt": ["alone", "two"], "model": ["new", "old"], "score": 1.0, "cost": 1.0, "group": "sums"}
    )
    parts = {"fit": pd.concat([fit, lone[1:]]), "test": pd.concat([test, lone[:1]])}
    table = public["public_tables"].load_table("made", parts, tmp_path)
    assert (len(table.fit), len(table.tests["test"])) == (20, 10) and table.models == MODELS
    shown = capsys.readouterr().out
    assert "LLMs without scores in some part are left out: new, old" in shown
    assert "fit: 1 prompts without a score" in shown and "test: 1 prompts without a score" in shown
    parts["test"] = lone[:1].assign(model="old")
    with pytest.raises(DataError, match="two LLMs or more with scores in every part"):
        public["public_tables"].load_table("made", parts, tmp_path)


def test_a_split_without_a_part_to_fit_or_to_test_is_an_error(public: dict[str, ModuleType]) -> None:
    for value in ("test", "train"):
        with pytest.raises(DataError, match="the column split needs"):
            public["public_tables"].split_by_column(made_table(4).assign(split=value))


def test_a_head_without_prompts_fits_the_logit_of_the_mean(public: dict[str, ModuleType]) -> None:
    """With states of 0 the score votes have a closed form: sigmoid(coefficient) is the mean score."""
    heads, scores = public["score_heads"], measured(40)
    options = heads.HeadOptions(ridge=0.1)
    start = heads.RankingHead(4, 3, heads.GRK, init="zeros")
    states = torch.zeros(40, 4)
    head = heads.fit_head(states, heads.Evidence.of(scores, options), options, start)
    np.testing.assert_allclose(heads.usable(head, states)[0], scores.score.mean(axis=0), atol=1e-3)


def test_evidence_of_some_prompts_is_that_of_their_scores_alone(public: dict[str, ModuleType]) -> None:
    heads, scores = public["score_heads"], measured(30, num_models=4)
    options, chosen = heads.HeadOptions(ridge=1.0, pairs=0.5), np.array([3, 17, 29])
    ranking = heads.Ranking(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(3))
    part = heads.Evidence.of(scores, options).on(chosen, 30)
    alone = heads.Evidence.of(scores.rows(chosen), replace(options))
    torch.testing.assert_close(part.loss(ranking), alone.loss(ranking))


def test_ridge_without_penalty_is_least_squares_with_gaps(public: dict[str, ModuleType]) -> None:
    generator = np.random.default_rng(0)
    states, scores = generator.normal(size=(50, 3)), measured(50)
    weight = (generator.random(scores.score.shape) < 0.7).astype(float)
    scores = replace(scores, weight=weight)
    found = public["score_baselines"].fit_ridge(states, scores, 0.0)(states)
    for model in range(3):
        rows = weight[:, model] > 0
        design = np.column_stack((np.ones(rows.sum()), states[rows]))
        truth = design @ np.linalg.lstsq(design, scores.score[rows, model], rcond=None)[0]
        np.testing.assert_allclose(found[rows, model], truth)


def test_neighbours_of_a_prompt(public: dict[str, ModuleType]) -> None:
    states = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]])
    scores = replace(measured(4, 2), score=np.array([[1.0, 0.0], [1.0, 0.5], [0.0, 1.0], [0.0, 0.0]]))
    predict = public["score_baselines"].fit_neighbours(states, scores, 2)
    np.testing.assert_allclose(predict(np.array([[5.0, 0.0], [0.0, 5.0]])), [[1.0, 0.25], [0.0, 0.5]])


def test_predicted_costs_have_the_right_mean_and_free_llms_their_own(public: dict[str, ModuleType]) -> None:
    states = np.random.default_rng(1).normal(size=(60, 2))
    scores = replace(measured(60), cost=np.exp(states[:, :1] + np.arange(3)))
    found = public["score_baselines"].predict_costs(states, {"test": states}, scores)
    np.testing.assert_allclose(found.fit.mean(axis=0), scores.cost.mean(axis=0))
    np.testing.assert_allclose(found.tests["test"], scores.cost, rtol=0.2)
    free = public["score_baselines"].predict_costs(states, {}, replace(scores, cost=np.zeros((60, 3))))
    assert (free.fit == 0).all()


def test_a_stream_of_equal_prompts_spends_its_budget(public: dict[str, ModuleType]) -> None:
    """Half of the prompts can have the better LLM; the mixture of the two scores the same."""
    spend = public["spend_budgets"]
    score, cost = np.tile([0.0, 1.0], (400, 1)), np.tile([1.0, 3.0], (400, 1))
    test = MeasuredScores(("a", "b"), tuple((str(i),) for i in range(400)), score, np.ones_like(score), cost)
    prices = spend.known_prices(score, cost, test, [2.0])
    spent = spend.stream(score, cost, cost, [2.0], prices)
    assert abs(spent.over).max() < 0.02
    curves = spend.measure({"p2l": spent}, test, [2.0])
    assert curves["p2l"].quality[0, 0] == pytest.approx(curves[spend.MIXTURE].quality[0, 0], abs=0.02)


def test_means_over_tasks_count_each_task_once(public: dict[str, ModuleType]) -> None:
    figures = public["routed_figures"]
    group = np.array(["a"] * 9 + ["b"])
    draws = figures._mean_over_tasks(np.array([0.0] * 9 + [1.0]), group)
    assert draws[0] == 0.5 and np.isfinite(draws).all()


def test_the_routed_loss_counts_each_task_once(public: dict[str, ModuleType]) -> None:
    """By hand: task a routes to 1, 0, 1, task b to 0; an unknown score is never chosen."""
    score = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    scores = replace(measured(4, 2), score=score, weight=np.array([[1.0, 1], [1, 1], [1, 1], [1, 0]]))
    part = public["public_tables"].Part(scores, np.array(["a", "a", "a", "b"]))
    predicted = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    assert public["predictions"].error_of(part, has_costs=False)(predicted) == pytest.approx(-1 / 3)
    error = public["predictions"].error_of(part, has_costs=True)(predicted)
    assert error == public["predictions"].relative_error(scores, predicted)


def test_balanced_weights_count_each_task_once(public: dict[str, ModuleType]) -> None:
    scores = replace(measured(4, 2), weight=np.array([[1.0, 1], [1, 1], [1, 1], [1, 0]]))
    found = public["public_tables"].Part(scores, np.array(["a", "a", "a", "b"])).balanced()
    np.testing.assert_allclose(found.weight, [[2 / 3] * 2] * 3 + [[2.0, 0.0]])


def test_recalibration_undoes_what_was_too_sure(public: dict[str, ModuleType]) -> None:
    """Coefficients three times as far from their mean as the truth; the map also applies to other prompts."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(600, 2))
    chance = 1 / (1 + np.exp(-truth))
    sure = 1 / (1 + np.exp(-(truth.mean(axis=0) + 3 * (truth - truth.mean(axis=0)))))
    scores = replace(measured(600, 2), score=chance)
    found = public["calibrate_heads"].recalibrated(scores, sure, {"test": sure[:7]})
    np.testing.assert_allclose(found["test"], chance[:7], atol=0.01)


def test_reliability_by_hand(public: dict[str, ModuleType]) -> None:
    """Two bins: 0.25 given to answers of which half are usable, 0.75 to usable ones; unknown scores do not count."""
    scores = replace(measured(4, 2), score=np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 9.0]]))
    scores.weight[3, 1] = 0.0
    given = np.tile([0.25, 0.75], (4, 1))
    scale = public["predictions"].UnitRange.of(scores)
    found = public["reliability_figures"].reliability_of(scores, given, scale)
    assert found.curve == {"predicted": [0.25, 0.75], "observed": [0.5, 1.0], "votes": [4.0, 3.0]}
    assert found.error.value == pytest.approx((4 * 0.25 + 3 * 0.25) / 7)
    assert found.error.low <= found.error.value <= found.error.high
    sure = public["reliability_figures"].reliability_of(scores, scores.score, scale)
    assert (sure.error.value, sure.error.low, sure.error.high) == (0.0, 0.0, 0.0)


def test_the_table_of_calibration(
    public: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A row and a panel for each test part of each file; a part without these figures has none."""
    names = public["routed_figures"].AS_FITTED, public["routed_figures"].RECALIBRATED
    curve = {"predicted": [0.2, 0.7], "observed": [0.1, 0.8], "votes": [300.0, 100.0]}
    errors = [{"value": value, "low": value / 2, "high": 2 * value} for value in (0.1, 0.0202, 0.02)]
    for table, parts in {"first": ["test", "ood"], "second": ["mmlu"]}.items():
        pairs = dict(zip(parts, [errors[:2], errors[1:]], strict=False))
        found = {
            part: {"prompts": 1234, "reliability": {n: {"error": e, "curve": curve} for n, e in zip(names, pair)}}
            for part, pair in pairs.items()
        }
        content = {"table": table, "options": {}, "without": {"prompts": 3}, **found}
        (tmp_path / f"{table}.json").write_text(json.dumps(content))
    paths = [str(tmp_path / f"{name}.json") for name in ("first", "second")]
    monkeypatch.setattr(sys, "argv", ["calibration_table.py", *paths, "--picture", str(tmp_path / "all.png")])
    public["calibration_table"].main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert rows[0] == "| first, test | 1,234 | 400 | 0.1000 [0.0500, 0.2000] | 0.0202 [0.0101, 0.0404] | no |"
    assert rows[1].endswith("| recalibrated |") and rows[2].startswith("| second, mmlu |") and len(rows) == 3
    figure = public["calibration_table"].figure_of(public["calibration_table"].read_tests([Path(one) for one in paths]))
    assert [axis.get_title() for axis in figure.axes] == ["first, test", "first, ood", "second, mmlu"]
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")


def test_pairs_ordered_right(public: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: two pairs differ on the first prompt, one is ordered right and one tied; none counts on the second."""
    figures = public["pair_figures"]
    score = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 1.0], [1.0, 0.5, 0.0]])
    weight = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    test = replace(measured(3), score=score, weight=weight)
    predicted = np.array([[0.7, 0.7, 0.1], [0.9, 0.1, 0.5], [0.3, 0.2, 0.1]])
    monkeypatch.setattr(figures, "BLOCK", 3)
    assert figures.ordered_pairs(test, predicted).tolist() == [[1.5, 2.0], [0.0, 0.0], [3.0, 3.0]]
    part = public["public_tables"].Part(test, np.array(["x", "y", "x"]))
    rows = figures.ordered_by_task(part, predicted, {"reversed": -predicted})
    assert [(row.task, row.prompts) for row in rows] == [("all", 3), ("x", 2)]
    assert rows[0].value.value == 0.9 and rows[0].gains["reversed"].value == pytest.approx(0.8)


def test_leaderboards_of_tasks(public: dict[str, ModuleType]) -> None:
    """An LLM without scores in a task has its mean over all; a task that was not fitted has the general means."""
    score = np.array([[1.0, 0.0], [0.5, 1.0], [0.0, 0.0]])
    scores = replace(measured(3, 2), score=score, weight=np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]))
    part = public["public_tables"].Part(scores, np.array(["a", "a", "b"]))
    test = public["public_tables"].Part(measured(3, 2), np.array(["b", "a", "c"]))
    found = public["pair_figures"].leaderboards(part, {"test": test})
    assert found["a leaderboard of each task"].tests["test"].tolist() == [[0.0, 0.5], [0.75, 0.5], [0.5, 0.5]]
    assert found["one leaderboard"].tests["test"].tolist() == [[0.5, 0.5]] * 3
    alone = public["pair_figures"].leaderboards(replace(part, group=np.array(["a"] * 3)), {"test": test})
    assert list(alone) == ["one leaderboard"]


def test_the_gap_that_is_recovered(public: dict[str, ModuleType]) -> None:
    """By hand: one of four prompts gains; asking it first recovers all at once, asking it last only at the end."""
    recovered = public["routed_figures"].recovered_gap
    score = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    test = MeasuredScores(("strong", "weak"), tuple((str(i),) for i in range(4)), score, np.ones((4, 2)), score)
    first = np.array([[0.9, 0.0], [0.5, 0.1], [0.5, 0.2], [0.5, 0.3]])
    assert recovered(test, first).value == 1.0
    assert recovered(test, -first).value == 0.25


@pytest.mark.parametrize("costs", [(1e-4, 1e-4, 3e-4, 1e-2), (0.0, 0.5, 0.5, 1.0)], ids=["log", "with a free LLM"])
def test_names_in_a_picture_stay_within_it_and_apart(
    public: dict[str, ModuleType], tmp_path: Path, costs: tuple[float, ...]
) -> None:
    """Also those of the lowest and the highest LLM, at the edges, and of two LLMs at one place."""
    names = ("owner/lowest-of-all-the-models-with-a-name", "owner/twin-of-the-next", "owner/twin", "owner/highest")
    chances = dict(zip(names, (0.1, 0.5, 0.5, 0.9), strict=True))
    rows = [
        (f"prompt {at}", name, float((7 * at) % 10 < 10 * chances[name]), cost)
        for at in range(40)
        for name, cost in zip(names, costs, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["prompt", "model", "score", "cost"])
    parts = {"fit": frame[:80], "test": frame[80:]}
    table = public["public_tables"].load_table("table", parts, tmp_path)
    fit, test = table.fit.measured, table.tests["test"].measured
    scores, spent = (
        public["predictions"].Predictions(getattr(fit, name), {"test": getattr(test, name)}, {})
        for name in ("score", "cost")
    )
    report = public["show_routes"].Report(table, OURS, {}, {}, {}, choices={"test": []})
    report.budgets = public["routed_figures"].spend({OURS: scores}, spent, fit, {"test": test}, (2e-4, 5e-3))
    figure = public["draw_routes"].figure_of(report)
    figure.draw_without_rendering()
    panel = figure.axes[0].get_window_extent()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert next(text.get_text() for text in figure.axes[0].texts) == "highest" and len(boxes) == 4
    assert all(panel.x0 <= box.x0 and box.x1 <= panel.x1 for box in boxes)
    assert all(panel.y0 <= box.y0 and box.y1 <= panel.y1 for box in boxes)
    assert not any(box.count_overlaps(boxes[:at]) for at, box in enumerate(boxes))


def write_layouts(folder: Path) -> None:
    """Write each set's own layout, small."""
    frame = made_table(12)
    for suffix in ("", "_k4"):
        for at, name in enumerate(("val", "test")):
            lines = []
            for prompt, rows in made_table(12, seed=at).groupby("prompt"):
                arms = {row.model: {"reward": row.score, "cost": row.cost} for row in rows.itertuples()}
                one = {"prompt": prompt, "source": rows["group"].iloc[0], "arms": arms}
                lines.append(json.dumps(one, ensure_ascii=False))
            (folder / f"{name}{suffix}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    number = frame.groupby("prompt", sort=False).ngroup()
    split = np.select([number < 6, number < 9], ["train", "test"], "ood")
    common = frame.rename(columns={"group": "task"}).assign(split=split, prompt_id=number)
    common.assign(accuracy=common["score"], score=7.0).to_parquet(folder / "split2_model7.parquet")
    common.assign(price_per_million=2.0).to_parquet(folder / "dcrouter_preprocessed.parquet")


def test_the_layouts_of_two_llms_and_of_human_ratings(public: dict[str, ModuleType], tmp_path: Path) -> None:
    at = np.arange(30)
    columns = {"benchmark": np.where(at < 20, "mmlu", "gsm8k"), "domain": "d", "prompt": [f"question {i}" for i in at]}
    right = {"mixtral_8x7b": at % 2, "gpt4_1106": np.ones(30, dtype=int), "contaminated": at == 29}
    pd.DataFrame(columns | right).to_parquet(tmp_path / "mmlu_gsm8k.parquet")
    layouts, load = public["set_layouts"].LAYOUTS, public["public_tables"].load_table
    table = load("routellm", layouts["routellm"](tmp_path), tmp_path / "work")
    assert table.models == ("gpt4_1106", "mixtral_8x7b")
    assert (len(table.fit), len(table.tests["mmlu"]), len(table.tests["gsm8k"])) == (14, 6, 9)
    assert (table.fit.measured.cost == [1.0, 0.0]).all() and (table.fit.measured.score[:, 0] == 1).all()

    rating = {"prompt": [f"translate {i // 2}" for i in at], "doc": at // 6, "system": np.where(at % 2, "x", "y")}
    ratings = pd.DataFrame(rating | {"score": 3.0 * at, "langs": "en-ja"})
    pd.concat([ratings, ratings.assign(system="refA")]).to_parquet(tmp_path / "ratings.parquet")
    table = load("wmt24_esa", layouts["wmt24_esa"](tmp_path), tmp_path / "work")
    assert table.models == ("x", "y") and not table.has_costs and len(table.tests["test"]) == 6


def test_the_layouts_with_prompts_in_another_file(public: dict[str, ModuleType], tmp_path: Path) -> None:
    rows = [(number, model, number % 2) for number in range(20) for model in ("x", "y")]
    scores = pd.DataFrame(rows, columns=["question_id", "model", "correct"])
    for start, split in ((0, "train"), (8, "val"), (12, "test")):
        some = scores[scores["question_id"].between(start, start + (3 if split == "val" else 7))]
        some.to_parquet(tmp_path / f"correct_{split}.parquet")
        votes = some.assign(prompt=[f"question {number}" for number in some["question_id"]], category="law")
        votes[["question_id", "prompt", "category"]].to_parquet(tmp_path / f"votes_{split}.parquet")
    layouts, load = public["set_layouts"].LAYOUTS, public["public_tables"].load_table
    table = load("mmlu_pro", layouts["mmlu_pro"](tmp_path), tmp_path / "work")
    assert (len(table.fit), len(table.tests["test"])) == (12, 8) and set(table.fit.group) == {"law"}
    texts = [turns[0] for turns in table.fit.measured.prompts]
    assert [[int(text.split()[1]) % 2] * 2 for text in texts] == table.fit.measured.score.tolist()

    renamed = scores.rename(columns={"question_id": "prompt_id", "correct": "score"}).astype({"prompt_id": str})
    renamed.assign(cost=0.5).to_parquet(tmp_path / "scores_open.parquet")
    prompts = {"prompt_id": list(map(str, range(20))), "prompt": [[f"turn {i}", "more"] for i in range(20)]}
    pd.DataFrame(prompts | {"category": "mbpp"}).to_parquet(tmp_path / "prompts_open.parquet")
    table = load("routerbench", layouts["routerbench"](tmp_path), tmp_path / "work")
    assert (len(table.fit), len(table.tests["test"])) == (14, 6) and table.has_costs
    assert all(turns[1] == "more" for turns in table.tests["test"].measured.prompts)


@pytest.mark.parametrize("layout", ["paretobandit", "paretobandit_k4", "routerdc", "llmrouter"])
def test_layouts(public: dict[str, ModuleType], layout: str, tmp_path: Path) -> None:
    write_layouts(tmp_path)
    parts = public["set_layouts"].LAYOUTS[layout](tmp_path)
    table = public["public_tables"].load_table(layout, parts, tmp_path / "work")
    assert table.models == tuple(sorted(MODELS)) and set(table.fit.group) == {"sums", "poems"}
    assert table.has_costs == (layout != "routerdc")
    assert set(np.unique(table.fit.measured.score)) <= {0.0, 1.0}
    assert set(table.tests) == ({"test"} if layout.startswith("pareto") else {"test", "ood"})


def test_every_layout_is_tested(public: dict[str, ModuleType]) -> None:
    tested = next(mark for mark in test_layouts.pytestmark if mark.name == "parametrize").args[1]
    assert list(public["set_layouts"].LAYOUTS) == [*tested, "routellm", "wmt24_esa", "mmlu_pro", "routerbench"]


def test_published_figures_are_complete(public: dict[str, ModuleType]) -> None:
    published = public["route_table"].yaml.safe_load((FOLDER / "published.yaml").read_text())
    assert published.keys() <= public["set_layouts"].LAYOUTS.keys()
    for one in published.values():
        assert one["source"]
        assert all(len(row) == len(one["budgets"]) for row in one.get("rows", {}).values())


def write_sets(folder: Path) -> None:
    """A set in the layout of ParetoBandit and one in that of MMLU-Pro, made from the same sums and poems."""
    for seed, part in enumerate(("val", "test")):
        rows = made_table(200, seed=seed).groupby("prompt", sort=False)
        lines = [
            {
                "prompt": prompt,
                "source": one["group"].iloc[0],
                "arms": {row.model: {"reward": row.score, "cost": row.cost} for row in one.itertuples()},
            }
            for prompt, one in rows
        ]
        (folder / f"{part}_k4.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for seed, part in enumerate(("train", "val", "test"), start=2):
        made = made_table(120, seed=seed).replace({"model": {name: f"own {name}" for name in MODELS}})
        made["question_id"] = made.groupby("prompt", sort=False).ngroup() + 1000 * seed
        made.rename(columns={"score": "correct"})[["question_id", "model", "correct"]].to_parquet(
            folder / f"correct_{part}.parquet"
        )
        made.rename(columns={"group": "category"})[["question_id", "prompt", "category"]].to_parquet(
            folder / f"votes_{part}.parquet"
        )


def test_the_ready_checkpoint_is_made_by_one_command(
    public: dict[str, ModuleType],
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    write_sets(tmp_path)
    folder = tmp_path / "made"
    options = ["--paretobandit", str(tmp_path), "--mmlu-pro", str(tmp_path), "--work", str(tmp_path / "work")]
    monkeypatch.setattr(
        sys, "argv", ["ready_checkpoint.py", *options, "--backbone", str(backbone), "--output", str(folder)]
    )
    public["ready_checkpoint"].main()
    card = (folder / "README.md").read_text()
    assert "| prompts fitted, held out | 240 and 120 | 200 and 200 |" in card and "license: apache-2.0" in card
    made = load_checkpoint(folder)
    assert made.models == (*MODELS, *(f"own {name}" for name in MODELS))
    assert [len(names) for names in made.groups.values()] == [3, 3]
    hard, easy = made.rank("837575 + 5863025 + 2512725 = ?"), made.rank("please write a poem,\u2028about tree 238436")
    for cheap, dear in (("cheap", "dear"), ("own cheap", "own dear")):
        assert hard.predict(dear, cheap)["a wins"] > easy.predict(dear, cheap)["a wins"] + 0.2
    right = torch.sigmoid(hard.ranking.coefs)[made.models.index("cheap")]  # 0.1 in truth
    assert 0.02 < float(right) < 0.3
    first = load_file(folder / "model.safetensors")
    public["ready_checkpoint"].main()
    assert all(torch.equal(value, first[name]) for name, value in load_file(folder / "model.safetensors").items())
