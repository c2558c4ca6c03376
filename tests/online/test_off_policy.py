"""Estimates of policies: exact where they must be, intervals that hold a simulated truth, and faulty logs named."""

import json
from pathlib import Path

import numpy as np
import pytest

from p2l.commands.cli import main
from p2l.errors import ConfigError, DataError
from p2l.online.decision_log import DecisionLog, policies
from p2l.online.off_policy import LoggedRewards, policy_value

MODELS = ("cheap", "middle", "dear")


def simulated(count: int, seed: int, cluster: int = 1) -> tuple[LoggedRewards, np.ndarray, float]:
    """Return a log, a policy that differs from it, and the policy's true mean reward over all such prompts."""
    rng = np.random.default_rng(seed)
    quality = np.array([0.5, 0.6, 0.7]) + 0.15 * rng.standard_normal((count, 1))
    quality = np.repeat(quality[::cluster], cluster, axis=0)[:count]
    chance = np.clip(quality + 0.1 * rng.standard_normal((count, 3)), 0.02, 0.98)
    score = chance + 0.1 * rng.standard_normal((count, 3))  # what was predicted
    propensity = rng.dirichlet([2, 2, 1], count) * 0.85 + 0.05
    chosen = (propensity.cumsum(1) > rng.random((count, 1))).argmax(1)
    reward = (rng.random(count) < chance[np.arange(count), chosen]).astype(float)
    policy = np.eye(3)[(score - np.array([0.0, 0.05, 0.2])).argmax(1)]
    logged = LoggedRewards(chosen, propensity, reward, score, np.arange(count) // cluster)
    return logged, policy, float((policy * chance).sum(1).mean())


def test_intervals_hold_the_truth() -> None:
    """The truth differs from log to log; its spread is part of none of the intervals, so that of the log's prompts."""
    truth = np.mean([simulated(4000, seed)[2] for seed in range(40)])
    held, errors = [], []
    for seed in range(200):
        logged, policy, _ = simulated(600, 1000 + seed)
        value = policy_value(logged, policy)
        all_three = (value.ips, value.self_normalised, value.doubly_robust)
        held.append([one.low <= truth <= one.high for one in all_three])
        errors.append([one.value - truth for one in all_three])
    coverage = np.mean(held, axis=0)
    assert ((coverage > 0.905) & (coverage < 0.995)).all(), coverage
    assert np.abs(np.mean(errors, axis=0)).max() < 0.006
    spread = np.std(errors, axis=0)
    assert spread[2] < spread[1] < spread[0]  # the doubly robust one is the sharpest


def test_decisions_that_depend_on_each_other_widen_the_interval() -> None:
    truth = np.mean([simulated(4000, seed)[2] for seed in range(40)])
    held = {"together": [], "apart": []}
    for seed in range(200):
        logged, policy, _ = simulated(600, 1000 + seed, cluster=20)
        alone = LoggedRewards(logged.chosen, logged.propensity, logged.reward, logged.score, np.arange(600))
        for name, one in (("together", logged), ("apart", alone)):
            value = policy_value(one, policy).doubly_robust
            held[name].append(value.low <= truth <= value.high)
    assert np.mean(held["together"]) > 0.9
    assert np.mean(held["apart"]) < np.mean(held["together"]) - 0.05


def test_the_logged_policy_has_the_logged_mean() -> None:
    logged, _, _ = simulated(300, 0)
    value = policy_value(logged, logged.propensity)
    assert value.ips.value == pytest.approx(logged.reward.mean())
    assert value.self_normalised.value == pytest.approx(logged.reward.mean())
    assert (value.effective, value.largest_weight, value.unsupported) == (pytest.approx(300), pytest.approx(1), 0)


def test_three_decisions_by_hand() -> None:
    logged = LoggedRewards(
        np.array([0, 1, 0]),
        np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]),
        np.array([1.0, 0.5, 0.2]),
        np.zeros((3, 2)),
        np.arange(3),
    )
    value = policy_value(logged, np.tile([0.0, 1.0], (3, 1)))
    assert value.ips.value == pytest.approx(4 * 0.5 / 3)
    assert value.self_normalised.value == pytest.approx(0.5)
    assert (value.largest_weight, value.effective) == (4, 1)
    assert value.unsupported == pytest.approx(1 / 3)


def written(folder: Path, rows: list[dict]) -> Path:
    path = folder / "decisions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def a_row(**changes: object) -> dict:
    row: dict = {"decision": "d1", "models": list(MODELS), "propensities": [0.5, 0.3, 0.2], "scores": [0.5, 0.6, 0.7]}
    return row | {"costs": [1, 2, None], "chosen": "middle", "reward": 1.0, "cost": 2.5} | changes


def rows_of(count: int) -> list[dict]:
    logged, _, _ = simulated(count, 3)
    return [
        a_row(decision=f"d{i}", propensities=logged.propensity[i].tolist(), scores=logged.score[i].tolist())
        | {"chosen": MODELS[logged.chosen[i]], "reward": float(logged.reward[i]), "costs": [1, 2, 6]}
        | {"cost": float([1, 2, 6][logged.chosen[i]])}
        for i in range(count)
    ]


def test_the_command_prints_a_row_for_each_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*rows_of(400), a_row(decision="pinned", propensities=None), a_row(decision="silent", reward=None)]
    path = written(tmp_path, rows)
    specs = ["logged", "always:dear", "price:0.05", "uniform"]
    assert main(["replay", str(path), *(part for spec in specs for part in ("--policy", spec))]) == 0
    text = capsys.readouterr().out
    assert "401 decisions with propensities (1 without were left out), 1 of them without a reward" in text
    assert all(spec in text for spec in specs)
    assert main(["replay", str(path), "--policy", "always:dear", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["policies"]["always:dear"]
    assert found["cost"]["doubly_robust"]["value"] == pytest.approx(6, abs=0.2)
    assert 0.6 < found["reward"]["doubly_robust"]["value"] < 0.8


def test_a_policy_outside_the_log_is_doubted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [a_row(decision=str(i), propensities=[0.5, 0.5, None], chosen=MODELS[i % 2]) for i in range(100)]
    assert main(["replay", str(written(tmp_path, rows)), "--policy", "always:dear"]) == 0
    text = capsys.readouterr().out
    assert "100.0% of its choices could not have been logged" in text and "worth 0 decisions" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"propensities": [0.5, 0.3, 0.1]}, r"line 1: propensities of 0 or more with the sum 1 .* sum is 0.9"),
        ({"propensities": [0.5, 0.0, 0.5]}, "the chosen model 'middle' has no propensity above 0"),
        ({"chosen": "other"}, "the chosen model 'other'"),
        ({"scores": [1, 2]}, "scores must have a number or null for each of the 3 models"),
        ({"reward": "good"}, "reward must be a finite number or null; got 'good'"),
        ({"propensities": None}, "no decision has propensities"),
    ],
)
def test_a_faulty_log_is_named_by_its_line(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        DecisionLog.read(written(tmp_path, [a_row(**changes)]))


def test_a_decision_counts_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: decision 'd1' stands there twice"):
        DecisionLog.read(written(tmp_path, [a_row(), a_row()]))


def test_policies_are_checked(tmp_path: Path) -> None:
    log = DecisionLog.read(written(tmp_path, [a_row(), a_row(decision="d2")]))
    for spec, message in (
        ("best", "unknown policy 'best'; known: logged"),
        ("always:none", "no such model; it has cheap, middle, dear"),
        ("price:-1", "a finite number of 0 or more"),
    ):
        with pytest.raises(ConfigError, match=message):
            policies([spec], log)
    table = tmp_path / "policy.jsonl"
    table.write_text('{"decision": "d1", "probabilities": {"dear": 1}}\n')
    with pytest.raises(DataError, match="decision 'd2' needs probabilities"):
        policies([f"file:{table}"], log)
    table.write_text(
        '{"decision": "d1", "probabilities": {"dear": 1}}\n{"decision": "d2", "probabilities": {"cheap": 0.4}}\n'
    )
    with pytest.raises(DataError, match="line 2: probabilities of 0 or more with the sum 1"):
        policies([f"file:{table}"], log)
    assert policies(["price:0.05"], log)["price:0.05"].tolist() == [[0, 1, 0]] * 2  # dear had no cost: not chosen
