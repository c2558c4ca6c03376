import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import chi2, spearmanr

from p2l.data.simulated import SimulatedArena, load_prompts, mean_spearman, simulate_votes, split_prompts
from p2l.data.simulated.arena_truth import LANGUAGES, MODEL_NAMES, TOPIC_SKILLS
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError, DataError
from p2l.outcomes import GRK
from p2l.types import OUTCOMES


@pytest.fixture(scope="module")
def prompts() -> pd.DataFrame:
    return load_prompts()


@pytest.fixture(scope="module")
def arena() -> SimulatedArena:
    return SimulatedArena.from_seed()


def test_prompts_are_many_distinct_and_varied(prompts):
    assert list(prompts.columns) == ["prompt", "topic", "language"]
    assert 900 <= len(prompts) <= 1000
    assert len({turns[0].lower() for turns in prompts["prompt"]}) == len(prompts)
    assert all(turn == turn.strip() != "" for turns in prompts["prompt"] for turn in turns)

    assert set(prompts["topic"]) == set(TOPIC_SKILLS)
    assert prompts["topic"].value_counts().min() >= 60
    assert set(prompts["language"]) == set(LANGUAGES)
    assert 0.6 < (prompts["language"] == "English").mean() < 0.7
    assert prompts["language"].value_counts().min() >= 30

    num_turns = prompts["prompt"].str.len()
    assert 0.13 < (num_turns > 1).mean() < 0.17
    assert num_turns.max() == 4
    num_words = prompts["prompt"].map(lambda turns: len(" ".join(turns).split()))
    assert (num_words[prompts["language"] == "English"] <= 3).any()
    assert (num_words > 150).sum() >= 10


def test_every_topic_is_asked_in_every_language(prompts):
    assert (pd.crosstab(prompts["topic"], prompts["language"]) > 0).all(axis=None)


def test_the_same_seed_gives_the_same_arena_and_votes(prompts):
    def votes(arena_seed: int, vote_seed: int) -> pd.DataFrame:
        return simulate_votes(SimulatedArena.from_seed(seed=arena_seed), prompts, votes_per_prompt=2, seed=vote_seed)

    pd.testing.assert_frame_equal(votes(3, 5), votes(3, 5))
    assert not votes(3, 5)["winner"].equals(votes(3, 6)["winner"])
    assert not votes(3, 5)["model_a"].equals(votes(4, 5)["model_a"])


@pytest.mark.parametrize("num_models", [2, 24, len(MODEL_NAMES)])
def test_models_are_sorted_and_distinct_and_shapes_agree(prompts, num_models):
    arena = SimulatedArena.from_seed(num_models, seed=1)
    assert len(arena.models) == num_models
    assert list(arena.models) == sorted(set(arena.models))
    assert arena.strengths.shape == (len(arena.topics), num_models)
    assert arena.true_coefs(prompts).shape == (len(prompts), num_models)
    assert arena.true_eta(prompts).shape == (len(prompts),)


def test_coefs_of_an_english_prompt_are_the_strengths_of_its_topic(arena):
    frame = pd.DataFrame({"topic": ["law", "coding"], "language": "English"})
    rows = [arena.topics.index("law"), arena.topics.index("coding")]
    np.testing.assert_allclose(arena.true_coefs(frame), arena.strengths[rows], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(arena.true_eta(frame), arena.eta[rows])


@pytest.mark.parametrize("seed", range(4))
def test_one_leaderboard_for_all_prompts_is_a_fair_but_wrong_ranking(prompts, seed):
    coefs = SimulatedArena.from_seed(seed=seed).true_coefs(prompts)
    marginal = np.broadcast_to(coefs.mean(axis=0), coefs.shape)
    assert 0.6 < mean_spearman(marginal, coefs) < 0.8


def test_the_mix_of_outcomes_is_that_of_an_arena(arena, prompts):
    share = simulate_votes(arena, prompts, votes_per_prompt=20)["winner"].value_counts(normalize=True)
    assert 0.60 < share["model_a"] + share["model_b"] < 0.65
    assert 0.15 < share["tie"] < 0.25
    assert 0.10 < share["tie (bothbad)"] < 0.20


def test_outcomes_follow_the_model(arena):
    prompt = pd.DataFrame({"prompt": [["hi"]], "topic": ["math"], "language": ["Spanish"]})
    votes = VoteTable.from_frame(simulate_votes(arena, prompt, votes_per_prompt=50_000), arena.models)
    coefs, eta = torch.from_numpy(arena.true_coefs(prompt)[0]), torch.from_numpy(arena.true_eta(prompt))
    probs = GRK.log_probs(coefs[:, None], coefs[None, :], eta).exp().numpy()
    strong, weak = np.argsort(coefs.numpy())[-8:], np.argsort(coefs.numpy())[:8]

    groups = {"all": slice(None), "strong pairs": strong, "weak pairs": weak}
    for models in groups.values():
        chosen = np.zeros(len(arena.models), dtype=bool)
        chosen[models] = True
        rows = chosen[votes.model_a] & chosen[votes.model_b]
        observed = votes.outcome_shares[rows].sum(axis=0)
        expected = probs[votes.model_a[rows], votes.model_b[rows]].sum(axis=0)
        # votes of unequal probabilities vary a little less than a multinomial: the test is conservative
        assert ((observed - expected) ** 2 / expected).sum() < chi2.ppf(0.999, df=len(OUTCOMES) - 1)


def test_pairs_are_uniform_over_different_models(arena, prompts):
    votes = simulate_votes(arena, prompts, votes_per_prompt=30)
    assert (votes["model_a"] != votes["model_b"]).all()
    counts = pd.crosstab(votes["model_a"], votes["model_b"]).to_numpy()
    num_pairs = len(arena.models) * (len(arena.models) - 1)
    expected = len(votes) / num_pairs
    off_diagonal = counts[~np.eye(len(arena.models), dtype=bool)]
    assert ((off_diagonal - expected) ** 2 / expected).sum() < chi2.ppf(0.999, df=num_pairs - 1)


def test_votes_are_a_valid_vote_table(arena, prompts):
    votes = simulate_votes(arena, prompts, votes_per_prompt=3)
    table = VoteTable.from_frame(votes, arena.models)
    assert len(table) == 3 * len(prompts)
    assert len(table.prompts) == len(prompts)
    assert (np.bincount(table.prompt_index) == 3).all()
    assert votes["timestamp"].is_monotonic_increasing
    assert votes["conversation_id"].is_unique


def test_split_holds_out_the_same_share_of_every_topic(prompts):
    train, held_out = split_prompts(prompts, held_out=0.2, seed=7)
    texts = [{tuple(turns) for turns in part["prompt"]} for part in (train, held_out)]
    assert not texts[0] & texts[1]
    assert len(texts[0] | texts[1]) == len(prompts)
    counts = prompts["topic"].value_counts()
    assert (held_out["topic"].value_counts()[counts.index] == (0.2 * counts).round()).all()
    pd.testing.assert_frame_equal(held_out, split_prompts(prompts, held_out=0.2, seed=7)[1])
    assert not held_out.equals(split_prompts(prompts, held_out=0.2, seed=8)[1])


def test_mean_spearman_agrees_with_scipy_row_by_row():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (6, 9)), rng.standard_normal((6, 9))  # x has ties
    expected = np.mean([spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)])
    assert mean_spearman(x.astype(float), y) == pytest.approx(expected, abs=1e-12)


def test_bad_arguments_are_named(arena, prompts):
    with pytest.raises(ConfigError, match=f"from 2 to {len(MODEL_NAMES)}.*got 1"):
        SimulatedArena.from_seed(num_models=1)
    with pytest.raises(ConfigError, match=r"between 0 and 1; got 1\.5"):
        split_prompts(prompts, held_out=1.5)
    with pytest.raises(DataError, match="unknown topic chess"):
        arena.true_coefs(pd.DataFrame({"topic": ["chess"], "language": ["English"]}))
    with pytest.raises(DataError, match="unknown language Klingon"):
        arena.true_coefs(pd.DataFrame({"topic": ["law"], "language": ["Klingon"]}))
