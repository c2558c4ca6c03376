"""The outcome of a vote. Imports no torch, so that vote tables are read without it."""

from enum import Enum


class Outcome(str, Enum):
    """The outcome of one vote; the values are the published ``winner`` strings."""

    MODEL_A = "model_a"
    MODEL_B = "model_b"
    TIE = "tie"
    BOTH_BAD = "tie (bothbad)"


OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)
