"""Votes of the simulated arena in order of time, while models arrive and leave."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from p2l.data.simulated.arena_truth import SimulatedArena, draw_votes, load_prompts, split_prompts
from p2l.data.vote_sources import VoteSplits
from p2l.data.vote_table import VoteTable
from p2l.errors import ConfigError
from p2l.options import check_count, check_number, check_seed, check_share

_START = 1_735_689_600  # 2025-01-01 UTC, seconds since 1970
_YEAR = 365 * 86_400.0


@dataclass(frozen=True)
class SimulatedStream:
    """Draw a year of votes in order of time. Models arrive at even intervals, stay for a share of the year and leave.

    Each vote is on a random prompt, between two random models of those present. Validation votes, on other prompts, are
    drawn by the same rule over the whole year, so that they cover old and new models.

    Attributes:
        num_models: number of simulated LLMs, over the whole year.
        num_votes, num_val_votes: in training and validation.
        stay: share of the year that a model is present; at each time about ``stay / (1 + stay)`` of the models are.
        held_out: share of the prompts of every topic that is used for validation.
        seed: of strengths, split, arrivals and votes.
    """

    num_models: int = 40
    num_votes: int = 60_000
    num_val_votes: int = 10_000
    stay: float = 0.25
    held_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("num_models", 2), ("num_votes", 1), ("num_val_votes", 1)):
            check_count(f"data.{name}", getattr(self, name), least=least)
        check_share("data.held_out", self.held_out)
        check_number("data.stay", self.stay)
        check_seed(self.seed)
        if self.stay <= 0 or self.num_models * self.stay / (1 + self.stay) < 2:
            raise ConfigError(
                f"expected at least two models at each time; stay={self.stay} is too short for {self.num_models} models"
            )

    def arena(self) -> SimulatedArena:
        """Return the truth behind the votes."""
        return SimulatedArena.from_seed(num_models=self.num_models, seed=self.seed)

    def arrivals(self) -> Float64[np.ndarray, " models"]:
        """Return when each model arrives, as a share of the year; negative for those present at its beginning."""
        even = -self.stay + (1 + self.stay) * (np.arange(self.num_models) + 0.5) / self.num_models
        return np.random.default_rng((self.seed, 0)).permutation(even)

    def load(self) -> VoteSplits:
        """Draw training and validation votes, each in order of time; no prompt is in both."""
        arena = self.arena()
        prompts = split_prompts(load_prompts(), held_out=self.held_out, seed=self.seed)
        counts = (self.num_votes, self.num_val_votes)
        tables = [
            VoteTable.from_frame(
                self._votes(arena, frame, count, np.random.default_rng((self.seed, 1 + i))), arena.models
            )
            for i, (frame, count) in enumerate(zip(prompts, counts, strict=True))
        ]
        return VoteSplits(*tables)

    def _votes(self, arena: SimulatedArena, frame: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
        time = np.sort(rng.random(count))
        a, b = self._pairs(time, rng)
        row = rng.integers(len(frame), size=count)
        return draw_votes(arena, frame, row, a, b, rng).assign(timestamp=_START + _YEAR * time)

    def _pairs(
        self, time: Float64[np.ndarray, " votes"], rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " votes"], Int64[np.ndarray, " votes"]]:
        """Draw two different models for each vote, of those present: the first two of a random order."""
        arrivals = self.arrivals()
        present = (arrivals <= time[:, None]) & (time[:, None] < arrivals + self.stay)
        draws = np.where(present, rng.random(present.shape), np.inf)
        first = np.argpartition(draws, 1, axis=1)[:, :2]
        swap = rng.random(len(time)) < 0.5
        return np.where(swap, first[:, 0], first[:, 1]), np.where(swap, first[:, 1], first[:, 0])
