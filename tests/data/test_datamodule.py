from dataclasses import replace

import numpy as np
import pytest

from p2l.data import BatchPlan, PromptLoader, VoteDataModule, VoteLoader, VoteSplits
from p2l.data.simulated import SimulatedVotes
from p2l.errors import DataError
from p2l.models import ModelRecipe
from p2l.outcomes import BT, GRK

SOURCE = SimulatedVotes(num_models=4, votes_per_prompt=1)


class TrainAlone:
    """A source without validation votes; counts how often it is read."""

    times_read = 0

    def load(self) -> VoteSplits:
        self.times_read += 1
        return VoteSplits(SOURCE.load().train.select(np.arange(50)))


@pytest.fixture
def data(tiny_recipe: ModelRecipe) -> VoteDataModule:
    data = VoteDataModule(SOURCE, BatchPlan(batch_size=100, token_budget=2000), eval_token_budget=1000)
    data.prepare(tiny_recipe.encoder(), GRK)
    return data


def test_models_are_those_of_the_training_votes(data: VoteDataModule) -> None:
    assert data.models == SOURCE.arena().models == data.table("val").models


def test_loaders_are_of_the_plan(data: VoteDataModule) -> None:
    train, val = data.train_dataloader(), data.val_dataloader()
    assert isinstance(train, VoteLoader) and isinstance(val, PromptLoader)
    assert data.steps == train.steps == -(-len(data.table("train")) // 100)
    assert data.micro_batches(1) == train.micro_batches == len(train) // data.steps
    assert data.micro_batches(4) <= data.micro_batches(1)
    assert all(batch.input_ids.numel() <= 1000 for batch in val)
    fed = np.concatenate([batch.prompt_index.numpy() for batch in val])
    assert sorted(fed) == list(range(len(data.table("val").prompts)))


def test_prompts_are_encoded_once_each(data: VoteDataModule, tiny_recipe: ModelRecipe) -> None:
    encoder, table, prompts = tiny_recipe.encoder(), data.table("train"), data.prompts("train")
    assert len(prompts) == len(table.prompts)
    assert prompts[3].tolist() == encoder.encode(table.prompts[3])


def test_a_family_without_ties_trains_without_them(tiny_recipe: ModelRecipe) -> None:
    data = VoteDataModule(SOURCE, BatchPlan())
    everything = len(data.table("train"))
    data.prepare(tiny_recipe.encoder(), BT)
    assert len(data.table("train")) < everything
    assert data.table("train").outcome_shares[:, 2:].sum() == 0
    assert len(data.prompts("train")) == len(data.table("train").prompts)


def test_without_validation_votes_it_says_what_to_give(tiny_recipe: ModelRecipe) -> None:
    source = TrainAlone()
    data = VoteDataModule(source, BatchPlan())
    data.prepare(tiny_recipe.encoder(), GRK)
    with pytest.raises(DataError, match="no val votes; give data.val"):
        data.val_dataloader()
    assert source.times_read == 1


def test_before_prepare_it_says_what_to_do() -> None:
    data = VoteDataModule(SOURCE, BatchPlan())
    with pytest.raises(DataError, match=r"call prepare\(encoder, family\) first"):
        data.train_dataloader()
    with pytest.raises(DataError, match=r"call prepare\(encoder, family\) first"):
        _ = data.encoder


@pytest.mark.parametrize(
    ("shuffle", "timed", "said"), [("time", False, True), ("time", True, False), ("none", False, False)]
)
def test_an_order_of_time_without_timestamps_is_said(
    shuffle: str, timed: bool, said: bool, tiny_recipe: ModelRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    table = SOURCE.load().train.select(np.arange(50))
    columns = table.frame.drop(columns="timestamp", errors="ignore")
    table = replace(table, frame=columns.assign(timestamp=np.arange(50)) if timed else columns)
    data = VoteDataModule(SOURCE, BatchPlan(shuffle=shuffle), votes=VoteSplits(table))
    data.prepare(tiny_recipe.encoder(), GRK)
    assert ("shuffle=time: the votes have no column timestamp, so that the order of the file" in caplog.text) == said
