"""Laws of the vote loader: over ranks and micro-batches, a step is exactly the next votes."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2l.data.batches import BatchPlan, PromptLoader, VoteBatch, VoteLoader
from p2l.data.buffers import Buffer, GeometricBuffer, ReplayBuffer
from p2l.data.encoding import EncodedPrompts
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError
from p2l.types import OUTCOMES

MODELS = ("ant", "bee", "cat", "dog", "eel")
world_sizes = pytest.mark.parametrize("world_size", [1, 2, 3])
shuffles = pytest.mark.parametrize("shuffle", ["none", "time", "votes", "prompts"])


def make_votes(num_votes: int = 23, num_prompts: int = 9, seed: int = 0) -> VoteTable:
    """Random votes; the weight of a vote is its position, plus one, so that it can be told from others."""
    rng = np.random.default_rng(seed)
    pairs = np.array([rng.choice(len(MODELS), 2, replace=False) for _ in range(num_votes)])
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in rng.integers(num_prompts, size=num_votes)],
            "model_a": [MODELS[a] for a in pairs[:, 0]],
            "model_b": [MODELS[b] for b in pairs[:, 1]],
            "winner": [OUTCOMES[i].value for i in rng.integers(4, size=num_votes)],
            "weight": np.arange(1.0, num_votes + 1),
        }
    )
    return VoteTable.from_frame(frame, MODELS)


def encode(table: VoteTable, seed: int = 0) -> EncodedPrompts:
    """Prompts of 1 to 12 tokens; the first token of prompt i is 1000 + i."""
    lengths = np.random.default_rng(seed).integers(1, 13, size=len(table.prompts))
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    ids = np.full(offsets[-1], 7, dtype=np.int32)
    ids[offsets[:-1]] = 1000 + np.arange(len(lengths))
    return EncodedPrompts(ids, offsets, pad_token_id=0)


def loaders(table: VoteTable, plan: BatchPlan, world_size: int, epochs: int = 1) -> list[VoteLoader]:
    prompts = encode(table)
    return [VoteLoader(table, prompts, plan, rank=r, world_size=world_size, epochs=epochs) for r in range(world_size)]


def votes_in(batch: VoteBatch) -> list[int]:
    return [int(weight) - 1 for weight in batch.weight]


def steps_of(ranks: list[VoteLoader]) -> list[list[VoteBatch]]:
    """All micro-batches of all ranks, by optimizer step."""
    fed = [list(loader) for loader in ranks]
    size = ranks[0].micro_batches
    assert {len(batches) for batches in fed} == {len(ranks[0])} == {ranks[0].steps * size}
    return [[b for batches in fed for b in batches[s * size : (s + 1) * size]] for s in range(ranks[0].steps)]


@shuffles
@world_sizes
@pytest.mark.parametrize(("batch_size", "token_budget"), [(5, 16), (8, 30), (23, 12), (100, 1), (1, 1000)])
def test_a_step_is_exactly_the_next_votes(world_size: int, shuffle: str, batch_size: int, token_budget: int) -> None:
    table, plan = make_votes(), BatchPlan(batch_size, token_budget, shuffle)
    order = plan.order(table, 0).tolist()
    for step, batches in enumerate(steps_of(loaders(table, plan, world_size))):
        votes = sorted(vote for batch in batches for vote in votes_in(batch))
        assert votes == sorted(order[step * batch_size : (step + 1) * batch_size])


@world_sizes
@settings(max_examples=30)
@given(
    num_votes=st.integers(1, 40),
    num_prompts=st.integers(1, 12),
    batch_size=st.integers(1, 50),
    token_budget=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_laws_hold_for_all_sizes(
    world_size: int, num_votes: int, num_prompts: int, batch_size: int, token_budget: int, seed: int
) -> None:
    table, plan = make_votes(num_votes, num_prompts, seed), BatchPlan(batch_size, token_budget)
    fed = []
    for batches in steps_of(loaders(table, plan, world_size)):
        votes = [vote for batch in batches for vote in votes_in(batch)]
        fed += sorted(votes)
        loss = sum(float(batch.scale) * losses(batch).sum() for batch in batches) / len(batches)
        assert loss == pytest.approx(np.mean([vote + 1 for vote in votes]), rel=1e-5)
        assert all(within(batch, token_budget) for batch in batches)
    assert fed == list(range(num_votes))


def losses(batch: VoteBatch) -> np.ndarray:
    return batch.weight.double().numpy()  # any number that belongs to the vote will do


def within(batch: VoteBatch, token_budget: int) -> bool:
    return batch.prompts.input_ids.numel() <= token_budget or len(batch.prompts.input_ids) == 1


@world_sizes
def test_every_vote_meets_its_own_prompt_models_and_outcome(world_size: int) -> None:
    table = make_votes()
    for batches in steps_of(loaders(table, BatchPlan(8, 30), world_size)):
        for batch in batches:
            votes = votes_in(batch)
            prompts = batch.prompts.prompt_index[batch.battle.ranking_index]
            assert prompts.tolist() == table.prompt_index[votes].tolist()
            assert batch.prompts.input_ids[:, 0].tolist() == [1000 + i for i in batch.prompts.prompt_index.tolist()]
            assert batch.battle.model_a.tolist() == table.model_a[votes].tolist()
            assert batch.battle.model_b.tolist() == table.model_b[votes].tolist()
            assert batch.outcome_shares.tolist() == table.outcome_shares[votes].tolist()


@world_sizes
def test_a_prompt_is_run_once_in_a_step(world_size: int) -> None:
    for batches in steps_of(loaders(make_votes(), BatchPlan(8, 30), world_size)):
        run = [int(i) for batch in batches if len(batch.weight) for i in batch.prompts.prompt_index]
        assert len(run) == len(set(run))


def test_an_empty_share_still_has_a_prompt_to_run() -> None:
    ranks = loaders(make_votes(num_votes=1), BatchPlan(4), world_size=3)
    batches = steps_of(ranks)[0]
    assert sorted(len(batch.weight) for batch in batches) == [0, 0, 1]
    for batch in batches:
        assert len(batch.prompts.input_ids) == 1
        assert batch.outcome_shares.shape == (len(batch.weight), 4)
        assert float(batch.scale) == 3.0


@shuffles
@world_sizes
@pytest.mark.parametrize("fed", [0, 1, 2, 4])
def test_a_resumed_loader_feeds_what_was_left(world_size: int, shuffle: str, fed: int) -> None:
    table, plan = make_votes(), BatchPlan(5, 16, shuffle)
    old_ranks, new_ranks, whole_ranks = (loaders(table, plan, world_size, epochs=2) for _ in range(3))
    for old, new, whole in zip(old_ranks, new_ranks, whole_ranks, strict=True):
        done = fed * old.micro_batches
        list(islice(iter(old), done))
        new.load_state_dict(old.state_dict())
        for _ in range(2):  # the rest of this epoch, and all of the next
            assert [votes_in(batch) for batch in new] == [votes_in(batch) for batch in whole][done:]
            done = 0


@world_sizes
@pytest.mark.parametrize("buffer", [ReplayBuffer(0.4), GeometricBuffer(0.5, 0.3)])
def test_buffers_make_steps_that_can_be_shared_and_resumed(world_size: int, buffer: Buffer) -> None:
    table, plan = make_votes(), BatchPlan(5, 16, buffer=buffer)
    for epoch, ranks in enumerate([loaders(table, plan, world_size, epochs=2)] * 2):
        order = plan.order(table, epoch)
        for step, batches in enumerate(steps_of(ranks)):
            assert sorted(v for b in batches for v in votes_in(b)) == sorted(order[step * 5 : (step + 1) * 5].tolist())
    old, new, whole = (loaders(table, plan, world_size, epochs=2)[0] for _ in range(3))
    done = 2 * old.micro_batches
    list(islice(iter(old), done))
    new.load_state_dict(old.state_dict())
    assert [votes_in(batch) for batch in new] == [votes_in(batch) for batch in whole][done:]
    other = loaders(table, BatchPlan(5, 16), world_size)[0]
    with pytest.raises(ConfigError, match="buffer .* is now None"):
        other.load_state_dict(old.state_dict())


def test_time_sorts_by_the_timestamp() -> None:
    table = make_votes(4)
    frame = table.frame.assign(timestamp=["2025-03-01", "2025-01-01", "2025-02-01", "2025-01-01"])
    assert BatchPlan(shuffle="time").order(VoteTable.from_frame(frame, MODELS), 0).tolist() == [1, 3, 2, 0]


def test_a_state_at_the_end_of_an_epoch_goes_on_with_the_next() -> None:
    old, new = (loaders(make_votes(), BatchPlan(5, 16, "votes"), 1, epochs=2)[0] for _ in range(2))
    list(old)
    new.load_state_dict(old.state_dict())
    assert [votes_in(batch) for batch in new] == [votes_in(batch) for batch in old]


def test_a_state_in_the_middle_of_a_step_is_its_start() -> None:
    loader = loaders(make_votes(), BatchPlan(8, 12), 1)[0]
    assert loader.micro_batches > 1
    list(islice(iter(loader), loader.micro_batches + 1))
    assert loader.state_dict()["step"] == 1


def test_a_state_may_go_to_other_devices_but_not_to_other_votes() -> None:
    table = make_votes()
    old = loaders(table, BatchPlan(8, 12), 1)[0]
    list(islice(iter(old), old.micro_batches))
    new = loaders(table, BatchPlan(8, 40), 2)
    for loader in new:
        loader.load_state_dict(old.state_dict())
    assert sorted(v for loader in new for b in loader for v in votes_in(b)) == list(range(8, 23))
    with pytest.raises(ConfigError, match="batch_size 8 is now 9"):
        loaders(table, BatchPlan(9, 12), 1)[0].load_state_dict(old.state_dict())
    with pytest.raises(ConfigError, match="training votes 23 is now 24"):
        loaders(make_votes(24), BatchPlan(8, 12), 1)[0].load_state_dict(old.state_dict())


@pytest.mark.parametrize("shuffle", ["votes", "prompts"])
def test_shuffles_depend_on_seed_and_epoch_alone(shuffle: str) -> None:
    table = make_votes(60)

    def order(seed: int, epoch: int) -> list[int]:
        return BatchPlan(shuffle=shuffle, seed=seed).order(table, epoch).tolist()

    assert order(1, 0) == order(1, 0)
    assert sorted(order(1, 0)) == list(range(60))
    assert order(1, 0) != order(1, 1) and order(1, 0) != order(2, 0)


def test_no_shuffle_keeps_the_order_of_the_table_in_every_epoch() -> None:
    assert BatchPlan().order(make_votes(), 3).tolist() == list(range(23))


def test_shuffled_prompts_keep_their_votes_together_and_in_order() -> None:
    table = make_votes(60)
    order = BatchPlan(shuffle="prompts").order(table, 0)
    prompts = table.prompt_index[order]
    assert (np.diff(prompts) != 0).sum() + 1 == len(table.prompts)
    assert all(np.diff(order[prompts == prompt]).min(initial=1) > 0 for prompt in range(len(table.prompts)))


def test_the_next_epoch_follows_by_itself() -> None:
    loader = loaders(make_votes(), BatchPlan(8, 30, "votes"), 1, epochs=2)[0]
    first, second = ([vote for batch in loader for vote in votes_in(batch)] for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(23))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"token_budget": 0}])
def test_a_plan_is_checked(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be a whole number, at least 1; got 0"):
        BatchPlan(**options)


@world_sizes
@pytest.mark.parametrize("token_budget", [1, 12, 30, 1000])
def test_prompt_loaders_feed_every_prompt_in_as_many_batches_on_every_rank(world_size: int, token_budget: int) -> None:
    prompts = encode(make_votes())
    ranks = [
        list(PromptLoader(prompts, token_budget=token_budget, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    fed = [int(i) for batches in ranks for batch in batches for i in batch.prompt_index]
    assert set(fed) == set(range(len(prompts)))
    if world_size == 1:
        assert len(fed) == len(prompts)
    for batch in (batch for batches in ranks for batch in batches):
        assert batch.input_ids[:, 0].tolist() == [1000 + i for i in batch.prompt_index.tolist()]
        assert batch.input_ids.numel() <= token_budget or len(batch.input_ids) == 1


@world_sizes
def test_a_prompt_loader_can_feed_some_prompts_only(world_size: int) -> None:
    prompts, only = encode(make_votes()), np.array([4, 1, 6])
    ranks = [
        PromptLoader(prompts, only=only, token_budget=14, rank=r, world_size=world_size) for r in range(world_size)
    ]
    assert {int(i) for loader in ranks for batch in loader for i in batch.prompt_index} == {4, 1, 6}
    assert len({len(loader) for loader in ranks}) == 1


def test_a_prompt_loader_without_prompts_feeds_nothing() -> None:
    loader = PromptLoader(encode(make_votes()), only=np.zeros(0, dtype=np.int64), world_size=2)
    assert len(loader) == 0 and list(loader) == []


def test_scale_is_a_float32_scalar() -> None:
    batch = next(iter(loaders(make_votes(), BatchPlan(8, 30), 1)[0]))
    assert batch.scale.shape == () and batch.scale.dtype == torch.float32
