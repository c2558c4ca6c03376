"""Batch size, rates and epochs by the numbers of votes and prompts and the size of the backbone.

| what | rule | reason |
|---|---|---|
| steps | about 400 in all | eight sets of 261 to 61,000 votes: lowest held-out loss after 30 to 900 steps |
| batch | votes / 400, from 64 to 640 votes | one pass over many votes; 64 at least, by choice, not measured |
| | pairs of scores: a prompt counts as at most 20 votes | 47 LLMs are 1,081 pairs: 640 are less than one prompt |
| epochs | 400 steps, from 1 to 20 | few votes need many passes |
| rate of the head | 1e-3 below 5,000 votes, else 2e-3 | at 2e-3 the loss of few votes rises again after 30 steps |
| rate of the backbone | 0 below 2,000 prompts or 5,000 votes | a trained one overfits 1,000 votes, and is slower |
| | else 5e-5 below 50M parameters | the earlier recipe for MiniLM; 1e-4 overfits 800 votes |
| | 2e-5 below 500M, 8e-6 above | usual for encoders of 110M; published for Qwen2.5 of 1.5B to 7B |
| validations | 20; at most 4 an epoch if the backbone is trained | each costs a pass over the held-out prompts |

The best weights on the validation votes are kept, so that too many epochs cost time and not quality. The steps were
measured with the head alone, on frozen states of MiniLM, over 2 to 12 splits by prompt: LOG.md. The 2,000 prompts are
a choice between 481, where the head alone is better than the marginal, and 8,000, where the whole backbone gains more.
"""

from typing import NamedTuple

STEPS, MOST_EPOCHS = 400, 20
SMALLEST_BATCH, LARGEST_BATCH = 64, 640
MOST_VOTES_OF_A_PROMPT = 20  # those of the MMLU-Pro votes that the steps were measured on
FEW_VOTES, HEAD_RATE_OF_FEW, HEAD_RATE = 5_000, 1e-3, 2e-3
FEW_PROMPTS = 2_000
VALIDATIONS, VALIDATIONS_OF_AN_EPOCH = 20, 4
# most parameters of a backbone -> its rate
BACKBONE_RATES = {50e6: 5e-5, 500e6: 2e-5, float("inf"): 8e-6}


class SizedRecipe(NamedTuple):
    """What the size of a run decides: votes in a step, rates of backbone and head, epochs; a rate of 0 is frozen."""

    batch_size: int
    lr: float
    head_lr: float
    max_epochs: int


def recipe_for(
    votes: int,
    backbone_parameters: int,
    batch_size: int | None = None,
    paired_prompts: int | None = None,
    prompts: int | None = None,
) -> SizedRecipe:
    """Return the recipe for a number of training votes and a backbone.

    ``batch_size``, if given, sets the epochs. ``paired_prompts``: the number of prompts if the votes are the pairs of
    scored LLMs on each, which are not independent; a step holds more of them if they are many. ``prompts``: the number
    of prompts; with few prompts or votes, the backbone is frozen.
    """
    repeated = 1.0 if paired_prompts is None else max(1.0, votes / (paired_prompts * MOST_VOTES_OF_A_PROMPT))
    distinct = int(votes / repeated)
    batch = batch_size or round(repeated * min(LARGEST_BATCH, max(SMALLEST_BATCH, distinct // STEPS)))
    steps = -(-votes // batch)
    frozen = prompts is not None and (prompts < FEW_PROMPTS or distinct < FEW_VOTES)
    return SizedRecipe(
        batch_size=batch,
        lr=0.0 if frozen else next(rate for most, rate in BACKBONE_RATES.items() if backbone_parameters < most),
        head_lr=HEAD_RATE_OF_FEW if distinct < FEW_VOTES else HEAD_RATE,
        max_epochs=min(MOST_EPOCHS, max(1, round(STEPS / steps))),
    )


def validation_interval(steps: int, steps_of_an_epoch: int, lr: float) -> int:
    """Return the optimizer steps between validations."""
    most = VALIDATIONS if lr == 0 else min(VALIDATIONS, VALIDATIONS_OF_AN_EPOCH * steps // steps_of_an_epoch)
    return max(1, -(-steps // max(1, most)))
