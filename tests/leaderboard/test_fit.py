"""The fit of votes: another optimiser agrees, a known truth comes back, intervals cover it, oddities are said."""

import logging
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize

from p2l.data.battle_table import BattleTable
from p2l.data.simulated import SimulatedArena, load_prompts, simulate_votes
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError
from p2l.leaderboard import fit, fit_subsets, fit_votes
from p2l.outcomes import BT, BT_TIE, FAMILIES, GRK, RK, OutcomeFamily
from tests.leaderboard.voting import draw_votes, expected_votes, frame, make_truth

families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
MIXED = [("ant", "bee", "model_a"), ("bee", "cat", "tie"), ("cat", "ant", "tie (bothbad)"), ("bee", "cat", "model_b")]


def test_two_models_by_hand() -> None:
    found = fit(frame([("ant", "bee", "model_a")] * 3 + [("ant", "bee", "model_b")]), "bt", ridge=0.0)
    assert found.converged and found.ranking.eta is None
    assert found.ranking.coefs.tolist() == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-9)
    assert found.log_loss == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    # the difference d has variance 1 / (n p (1 - p)) = 4 / 3, each coefficient a quarter of it
    assert found.covariance == pytest.approx(np.array([[1, -1], [-1, 1]]) / 3)
    table = found.table()
    assert table["model"].tolist() == ["ant", "bee"]
    assert table["rank_best"].tolist() == [1, 1] and table["rank_worst"].tolist() == [2, 2]
    half = 1.959964 / math.sqrt(3)
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx([math.log(3) / 2 - half, math.log(3) / 2 + half])


@families
def test_finds_the_truth_behind_expected_votes(family: OutcomeFamily) -> None:
    truth = make_truth(family)
    found = fit(expected_votes(family, truth, 1e6), family, ridge=1e-6).ranking
    torch.testing.assert_close(found.coefs, truth.coefs, atol=1e-5, rtol=0)
    if truth.eta is not None:
        torch.testing.assert_close(found.eta, truth.eta, atol=1e-4, rtol=0)


@families
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_agrees_with_scipy(family: OutcomeFamily, soft: bool) -> None:
    rng = np.random.default_rng(1)
    votes = draw_votes(GRK, make_truth(GRK, 4), 80, rng)
    outcome_shares = rng.dirichlet(np.ones(4), size=80).astype(np.float32) if soft else votes.outcome_shares
    votes = BattleTable(
        votes.model_a, votes.model_b, outcome_shares, rng.uniform(0, 3, 80).astype(np.float32), votes.models
    )
    shares = torch.from_numpy(outcome_shares @ np.asarray(family.targets) * votes.weight[:, None])
    ridge = 0.5

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        p = torch.tensor(flat, requires_grad=True)
        eta = p[4:].reshape(1).expand(80) if family.num_eta else None
        log_probs = family.log_probs(p[votes.model_a], p[votes.model_b], eta)
        value = -(shares * log_probs).sum() + ridge / 2 * p.square().sum()
        value.backward()
        return value.item(), p.grad.numpy()

    found = minimize(objective, np.zeros(4 + family.num_eta), jac=True, method="BFGS", options={"gtol": 1e-6}).x
    ours = fit(votes, family, ridge=ridge).ranking
    gauge = found[:4].mean() if family.shift_invariant else 0.0
    np.testing.assert_allclose(ours.coefs.numpy(), found[:4] - gauge, atol=1e-5)
    if ours.eta is not None:
        assert float(ours.eta) == pytest.approx(found[4], abs=1e-5)


def test_swapping_the_sides_changes_nothing() -> None:
    other = {"model_a": "model_b", "model_b": "model_a"}
    swapped = [(b, a, other.get(winner, winner)) for a, b, winner in MIXED]
    one, two = (fit(frame(votes), GRK) for votes in (MIXED, swapped))
    torch.testing.assert_close(one.ranking.coefs, two.ranking.coefs)
    np.testing.assert_allclose(one.covariance, two.covariance)


def test_recovers_a_simulated_arena() -> None:
    arena = SimulatedArena.from_seed(num_models=8)
    prompts = load_prompts()
    prompts = prompts[(prompts["topic"] == "math") & (prompts["language"] == "English")]
    votes = VoteTable.from_frame(simulate_votes(arena, prompts, 20_000 // len(prompts)), arena.models)
    found = fit_votes(votes, GRK)
    assert np.abs(found.coefs.numpy() - arena.true_coefs(prompts)[0]).max() < 0.2
    assert float(found.eta) == pytest.approx(arena.true_eta(prompts)[0], abs=0.1)


@pytest.mark.parametrize("family", [BT, RK, GRK], ids=lambda family: family.name)
def test_intervals_cover_the_truth(family: OutcomeFamily) -> None:
    """95 % intervals of every parameter hold the truth in 93 to 97 % of 1,000 repetitions."""
    truth, rng, repetitions = make_truth(family, 5), np.random.default_rng(0), 1000
    wanted = np.append(truth.coefs.numpy(), [] if truth.eta is None else truth.eta.numpy())
    covered = np.zeros(len(wanted))
    for _ in range(repetitions):
        found = fit(draw_votes(family, truth, 400, rng), family)
        got = np.append(found.ranking.coefs.numpy(), [] if found.ranking.eta is None else found.ranking.eta.numpy())
        covered += np.abs(got - wanted) <= 1.959964 * np.sqrt(np.diag(found.covariance))
    assert (covered / repetitions).min() >= 0.93 and (covered / repetitions).max() <= 0.97


@families
def test_bootstrap_and_sandwich_agree(family: OutcomeFamily) -> None:
    votes = draw_votes(family, make_truth(family, 4), 2000, np.random.default_rng(3))
    found = fit(votes, family, bootstrap=400)
    ratio = found.samples.std(axis=0) / np.sqrt(np.diag(found.covariance))
    assert np.abs(ratio - 1).max() < 0.15
    again = fit(votes, family, bootstrap=3)
    np.testing.assert_allclose(again.samples, found.samples[:3])
    sampled, closed = found.table(), fit(votes, family).table()
    assert sampled["low"].to_numpy() == pytest.approx(closed["low"].to_numpy(), abs=0.06)
    assert sampled["rank_worst"].tolist() == closed["rank_worst"].tolist()


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_votes_of_one_cluster_are_not_independent(soft: bool) -> None:
    votes = draw_votes(GRK, make_truth(GRK, 4), 300, np.random.default_rng(4))
    if soft:
        outcome_shares = (0.9 * votes.outcome_shares + 0.025).astype(np.float32)
        votes = BattleTable(votes.model_a, votes.model_b, outcome_shares, votes.weight, votes.models)
    one_each = fit(votes, GRK, cluster=np.arange(300))
    np.testing.assert_allclose(one_each.covariance, fit(votes, GRK).covariance, rtol=1e-9)
    thrice = votes.select(np.tile(np.arange(300), 3))
    naive, robust = fit(thrice, GRK, ridge=0.0), fit(thrice, GRK, ridge=0.0, cluster=np.tile(np.arange(300), 3))
    once = fit(votes, GRK, ridge=0.0)
    np.testing.assert_allclose(robust.covariance, once.covariance, rtol=1e-6)
    np.testing.assert_allclose(naive.covariance, once.covariance / 3, rtol=1e-6)
    drawn = fit(thrice, GRK, cluster=np.tile(np.arange(300), 3), bootstrap=300).samples.std(axis=0)
    assert np.abs(drawn / np.sqrt(np.diag(once.covariance)) - 1).max() < 0.25


def test_uniform_pair_weights_undo_sampling() -> None:
    """ant beats bee 3 to 1 and loses to cat 3 to 1, whatever the number of votes; the extra pair is not consistent."""
    votes = [("ant", "bee", "model_a")] * 300 + [("ant", "bee", "model_b")] * 100
    votes += [("ant", "cat", "model_b")] * 3 + [("ant", "cat", "model_a")]
    votes += [("bee", "cat", "model_a")] * 3 + [("bee", "cat", "model_b")]
    uniform = fit(frame(votes), BT, pair_weights="uniform", ridge=0.0).ranking.coefs
    torch.testing.assert_close(uniform, torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    plain = fit(frame(votes), BT, ridge=0.0).ranking.coefs
    assert float(plain[0] - plain[1]) == pytest.approx(math.log(3), abs=0.05)


def test_covariates_are_told_from_strength() -> None:
    """Longer answers win more; with length as a covariate the strengths come back, and its effect."""
    truth, rng = make_truth(BT, 4), np.random.default_rng(5)
    model_a = rng.integers(4, size=20_000)
    model_b = (model_a + rng.integers(1, 4, size=20_000)) % 4
    longer = rng.normal(size=20_000) + 0.8 * (model_a - model_b)  # the better models write more
    difference = truth.coefs.numpy()[model_a] - truth.coefs.numpy()[model_b] + 0.7 * longer
    winner = np.where(rng.random(20_000) < 1 / (1 + np.exp(-difference)), "model_a", "model_b")
    names = np.array(["m0", "m1", "m2", "m3"])
    votes = pd.DataFrame({"model_a": names[model_a], "model_b": names[model_b], "winner": winner, "length": longer})
    found = fit(votes, "bt", covariates=["length"])
    assert fit(votes, "bt", covariates="length").effects == found.effects
    assert found.effects["length"] == pytest.approx(0.7, abs=0.05)
    assert np.abs(found.ranking.coefs.numpy() - truth.coefs.numpy()).max() < 0.1
    effect = found.effect_table().loc[0]
    assert effect["low"] < 0.7 < effect["high"] and effect["high"] - effect["low"] < 0.2
    assert np.abs(fit(votes, "bt").ranking.coefs.numpy() - truth.coefs.numpy()).max() > 0.4
    same = fit(votes, "bt", covariates={"length": longer}, cluster=np.arange(20_000))
    np.testing.assert_allclose(same.covariance, found.covariance, rtol=1e-8)


@families
def test_subsets_are_fitted_as_if_alone(family: OutcomeFamily) -> None:
    votes = draw_votes(family, make_truth(family, 4), 300, np.random.default_rng(6))
    subsets = torch.from_numpy(np.random.default_rng(7).integers(300, size=(3, 120)))
    together = fit_subsets(votes, family, subsets)
    for i, subset in enumerate(subsets.numpy()):
        alone = fit_votes(votes.select(subset), family)
        torch.testing.assert_close(together.coefs[i], alone.coefs, atol=1e-7, rtol=0)


@families
def test_a_model_that_never_loses_stays_finite(family: OutcomeFamily, caplog: pytest.LogCaptureFixture) -> None:
    votes = [("ant", "bee", "model_a")] * 50 + [("bee", "cat", "model_a"), ("bee", "cat", "model_b")]
    with caplog.at_level(logging.WARNING, "p2l"):
        found = fit(frame(votes), family)
    assert found.ranking.coefs.isfinite().all() and found.ranking.coefs.abs().max() < 50
    assert found.ranking.coefs.argmax() == 0 and found.converged
    assert not caplog.records
    assert any("only the ridge bounds them: ant" in note for note in found.notes) == family.shift_invariant


@families
def test_models_that_never_met_are_said(family: OutcomeFamily) -> None:
    votes = frame([("ant", "bee", "model_a"), ("ant", "bee", "model_b"), ("cat", "dog", "model_a")])
    votes = pd.concat([votes, frame([("ant", "bee", "model_b")])])
    found = fit(votes, family)
    assert found.ranking.coefs.isfinite().all() and found.component.tolist() == [0, 0, 1, 1]
    assert (
        any("2 parts that never met" in note and "cat, dog" in note for note in found.notes) == family.shift_invariant
    )
    table = found.table()
    assert table.set_index("model")["component"].to_dict() == {"ant": 0, "bee": 0, "cat": 1, "dog": 1}
    if family.shift_invariant:  # nothing is known of one part against the other
        assert set(table["rank_best"]) <= {1, 2} and set(table["rank_worst"]) <= {3, 4}


def test_a_model_without_votes_is_left_out_and_said() -> None:
    found = fit(BattleTable.from_frame(frame(MIXED), ["ant", "bee", "cat", "dog"]), "grk")
    assert any("no vote with evidence under grk on dog" in note for note in found.notes)
    assert found.table()["model"].tolist() != [] and "dog" not in set(found.table()["model"])
    assert float(found.ranking.coefs[3]) == 0


def test_bad_input_is_said() -> None:
    with pytest.raises(DataError, match=r"no vote carries evidence under bt: .* tie 1, .*another family"):
        fit(frame([("ant", "bee", "tie")]), BT)
    for pair_weights, message in (("votes", "all votes have weight 0"), ("uniform", "have weight 0")):
        with pytest.raises(DataError, match=message):
            fit(frame(MIXED).assign(weight=0), BT_TIE, pair_weights=pair_weights)
    with pytest.raises(DataError, match="no column model_b"):
        fit(frame(MIXED).drop(columns="model_b"), BT_TIE)
    with pytest.raises(DataError, match=r"the table contains no valid votes[\s\S]*model against itself"):
        fit(frame([("ant", "ant", "tie")]), BT_TIE)
    with pytest.raises(DataError, match="no column 'length'; the table has model_a, model_b, winner"):
        fit(frame(MIXED), BT_TIE, covariates=["length"])
    with pytest.raises(
        DataError, match="covariate length: .*finite numbers; they are not in 2 votes, first in vote 1: 'nan'"
    ):
        fit(frame(MIXED), BT_TIE, covariates={"length": [1.0, np.nan, 0.0, "long"]})
    with pytest.raises(DataError, match="covariate winner: .* in 4 votes, first in vote 0: '[a-z_]+'"):
        fit(frame(MIXED), BT_TIE, covariates=["winner"])
    with pytest.raises(DataError, match="no column 'length'; the table has model_a, model_b, winner"):
        fit(frame(MIXED), BT_TIE, covariates="length")
    with pytest.raises(DataError, match="a value for each of the 4 votes; got 3"):
        fit(frame(MIXED), BT_TIE, cluster=[1, 2, 3])


def test_one_class_of_votes_is_a_fit_with_a_note() -> None:
    found = fit(frame([("ant", "bee", "model_a"), ("bee", "cat", "model_a")]), "bt")
    assert found.ranking.coefs.argsort(descending=True).tolist() == [0, 1, 2]
    assert any("won or lost every vote" in note for note in found.notes)
    ends = found.table()[["low", "high"]].to_numpy()
    assert np.isfinite(ends).all() and (ends[:, 1] - ends[:, 0]).min() > 2  # two votes say little


@pytest.mark.parametrize("first", [2.0**53, 1e17])
def test_cluster_ids_that_were_rounded_are_refused(first: float) -> None:
    ids = np.arange(len(frame(MIXED)), dtype=float) * 2 + first
    with pytest.raises(DataError, match=r"was rounded before p2l read it"):
        fit(frame(MIXED).assign(session=ids), BT_TIE, cluster="session")


COMMAS = ["9007199254740992,0", "1,2345E+15", "1,2e17", "-1.5E17"]  # a spreadsheet with a decimal comma


@pytest.mark.parametrize(
    "text", ["9007199254740992.0", "1e+17", "1.8014398509481984E+16", "1.23457E+11", " 1e+17 ", *COMMAS]
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_cluster_ids_that_were_rounded_are_refused_as_text_too(text: str, suffix: str, tmp_path: Path) -> None:
    votes = frame(MIXED)
    table = votes.assign(session=[text if i == 3 else f"{i}.0" for i in range(len(votes))])
    path = tmp_path / f"votes.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_json(path, orient="records", lines=True)
    with pytest.raises(DataError, match=r"session: the id '[^']*' was rounded before p2l read it"):
        fit(str(path), BT_TIE, cluster="session")


def test_digits_of_a_hash_are_no_rounded_number() -> None:
    votes = frame(MIXED)
    for spelling in ("12345e{}", "1e{}", "1,234.{}", "3,{}"):
        ids = [spelling.format(i + 20) for i in range(len(votes))]
        fit(votes.assign(session=ids), BT_TIE, cluster="session")


def test_a_cluster_of_many_votes_is_named() -> None:
    votes = draw_votes(BT, make_truth(BT, 4), 400, np.random.default_rng(0))
    for placeholder, name in (("unknown", "'unknown'"), (0, "0")):
        ids: list[object] = [placeholder if i % 2 else f"user {i}" for i in range(400)]
        notes = fit(votes, BT, cluster=ids).notes
        assert any(f"cluster {name} stands in 200 of 400 votes (50%), which count as one" in note for note in notes)
    ids = ["unknown" if i % 8 == 0 else i for i in range(400)]
    assert any("(12%)" in note for note in fit(votes, BT, cluster=ids, bootstrap=40).notes)
    for few_alike in (np.arange(400) % 25, np.arange(400) % 300):
        assert not any("stands in" in note for note in fit(votes, BT, cluster=few_alike).notes)


def test_rows_that_are_no_battles_take_their_clusters_with_them(caplog: pytest.LogCaptureFixture) -> None:
    votes = pd.concat([frame(MIXED * 10), frame([("ant", "ant", "tie")])], ignore_index=True).assign(session=range(41))
    with caplog.at_level(logging.WARNING, "p2l"):
        found = fit(votes, "bt-tie", cluster="session")
    assert "41 rows, 40 kept" in caplog.text
    np.testing.assert_allclose(found.covariance, fit(frame(MIXED * 10), "bt-tie").covariance)


@pytest.mark.parametrize("kind", [list, np.array, lambda turns: [{"text": turn} for turn in turns]])
def test_prompts_of_several_turns_are_clusters(kind: Callable[[list[str]], object]) -> None:
    prompts = [["hello"], ["hello", "and then?"], ["bye"]]
    votes = frame(MIXED * 30).assign(
        name=[i % 3 for i in range(120)], prompt=[kind(prompts[i % 3]) for i in range(120)]
    )
    expected = fit(votes, "bt-tie", cluster="name").covariance
    np.testing.assert_array_equal(fit(votes, "bt-tie", cluster="prompt").covariance, expected)
    np.testing.assert_array_equal(fit(votes, "bt-tie", cluster=list(votes["prompt"])).covariance, expected)


def test_fits_in_inference_mode() -> None:
    with torch.inference_mode():
        found = fit(frame(MIXED), GRK)
    torch.testing.assert_close(found.ranking.coefs.clone(), fit(frame(MIXED), GRK).ranking.coefs)


@pytest.mark.parametrize("family", [None, 1, ["bt"], "bradley"])
def test_what_is_no_family_is_named_with_those_that_are(family) -> None:
    untyped = getattr(fit, "__wrapped__", fit)
    with pytest.raises(ConfigError, match=rf"unknown likelihood family {re.escape(repr(family))}; known: bt, bt-tie"):
        untyped(frame(MIXED), family)


@pytest.mark.parametrize("bootstrap", [0, 60])
def test_a_part_apart_has_no_rank_and_no_points_among_the_others(bootstrap: int) -> None:
    """Within the part the order is known: isle1 beats isle2."""
    names = [f"m{i}" for i in range(5)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    votes = [(a, b, winner) for a, b in pairs for winner in ["model_a"] * 6 + ["model_b"] * 4]
    isles = [("isle1", "isle2", winner) for winner in ["model_a"] * 30 + ["model_b"] * 6]
    found = fit(frame([*votes, *isles]), "bt", bootstrap=bootstrap)
    table = found.table().set_index("model")
    assert table["identified"].to_dict() == {name: not name.startswith("isle") for name in table.index}
    assert table.loc["isle1", ["rank_best", "rank_worst"]].tolist() == [1, 6]
    assert table.loc["isle2", ["rank_best", "rank_worst"]].tolist() == [2, 7]
    isle = table.loc["isle1"]
    assert (
        isle["elo_high"] - isle["elo_low"] > 10_000 and table.loc["m0", "elo_high"] - table.loc["m0", "elo_low"] < 800
    )
    assert (
        table.loc[names, "rank_worst"] - fit(frame(votes), "bt").table().set_index("model")["rank_worst"] >= 1
    ).all()
