"""The truth of the simulated arena: invented models with a known strength on every prompt, and votes drawn from it."""

from dataclasses import dataclass
from importlib.resources import files
from itertools import product

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int64
from scipy.stats import rankdata

from p2l.errors import ConfigError, DataError
from p2l.outcomes import GRK
from p2l.types import OUTCOMES

# What a topic demands of a model: analysis (+) against expression (-), and knowledge of the world. The first is the
# contrast that a sentence embedding shows best, so that a model can learn the truth from the text.
TOPIC_SKILLS = {
    "coding": (0.8, -0.5),
    "cooking": (0.1, 0.4),
    "creative_writing": (-1.0, -0.2),
    "data_analysis": (0.9, -0.2),
    "finance": (1.0, 0.2),
    "history": (-0.2, 1.0),
    "instruction_following": (-0.2, -0.9),
    "law": (0.8, 0.6),
    "math": (0.9, -0.5),
    "medicine": (0.8, 0.7),
    "roleplay": (-1.0, -0.3),
    "science": (0.6, 0.6),
    "small_talk": (-0.8, -0.5),
    "translation": (-1.0, -0.6),
    "travel": (-0.2, 0.4),
}
LANGUAGES = ("Chinese", "English", "French", "German", "Japanese", "Portuguese", "Russian", "Spanish")
MODEL_NAMES = tuple(
    f"{family}-{size}"
    for family, size in product(
        ("aurora", "basalt", "cinder", "dune", "ember", "fjord", "gneiss", "heron", "iris", "juniper", "kelp", "lumen"),
        ("mini", "8b", "70b", "ultra"),
    )
)

# Spreads over the models, in nats. With these, the leaderboard over all prompts has a mean Spearman correlation of
# about 0.79 with that of a prompt: a fair summary, but wrong for many prompts. A ridge regression from frozen MiniLM
# embeddings to the true coefficients reaches 0.93 on held-out prompts, so that the truth can be learned.
_ABILITY_SPREAD = 0.9
_SKILL_SPREADS = (1.1, 0.25)
_TOPIC_SPREAD = 0.1
_LANGUAGE_SPREAD = 0.35
_TOPIC_SHARE_ABROAD = 0.5  # outside English, the grasp of the language counts for more and the topic for less
# These set the mix of outcomes: about 64 % decisive, 20 % ties, 16 % both bad.
_MEAN_COEF = 0.95
_MEAN_ETA, _ETA_SPREAD = 0.3, 0.2
_START = 1_735_689_600  # 2025-01-01 UTC, seconds since 1970
_SECONDS_BETWEEN_VOTES = 60.0


@dataclass(frozen=True, eq=False)
class SimulatedArena:
    """A known truth: coefficients (in nats) and tie parameter of the grounded Rao-Kupper family for every prompt.

    They depend on the topic t and the language l of a prompt alone:
    ``coefs = mean + share_l (strengths_t - mean) + language_effects_l``, with ``mean`` the average of ``strengths``
    over topics; English has share 1 and effect 0, the other languages share 0.5 and an effect each. Models, topics and
    languages are sorted by name.
    """

    models: tuple[str, ...]
    topics: tuple[str, ...]
    languages: tuple[str, ...]
    strengths: Float64[np.ndarray, "topics models"]
    language_effects: Float64[np.ndarray, "languages models"]
    eta: Float64[np.ndarray, " topics"]

    @classmethod
    def from_seed(cls, num_models: int = 24, seed: int = 0) -> "SimulatedArena":
        """Draw an arena: an overall ability per model, skills by topic, and a grasp of each language.

        Raises ``ConfigError`` unless ``num_models`` is from 2 to the number of invented names.
        """
        if not 2 <= num_models <= len(MODEL_NAMES):
            raise ConfigError(f"num_models must be from 2 to {len(MODEL_NAMES)}, the invented names; got {num_models}")
        rng = np.random.default_rng(seed)
        topics = tuple(sorted(TOPIC_SKILLS))
        asked = np.array([TOPIC_SKILLS[topic] for topic in topics]) * _SKILL_SPREADS
        ladder = np.linspace(-np.sqrt(3), np.sqrt(3), num_models)  # standard deviation about 1, no two models equal
        ability = _MEAN_COEF + _ABILITY_SPREAD * rng.permutation(ladder)
        speciality = asked @ np.stack([rng.permutation(ladder) for _ in _SKILL_SPREADS])
        speciality += _TOPIC_SPREAD * rng.standard_normal(speciality.shape)
        abroad = np.array([language != "English" for language in LANGUAGES])
        language_effects = _LANGUAGE_SPREAD * rng.standard_normal((len(LANGUAGES), num_models))
        return cls(
            models=tuple(sorted(rng.choice(MODEL_NAMES, num_models, replace=False).tolist())),
            topics=topics,
            languages=LANGUAGES,
            strengths=ability + speciality - speciality.mean(axis=0),
            language_effects=language_effects * abroad[:, None],
            eta=_MEAN_ETA + _ETA_SPREAD * rng.standard_normal(len(topics)),
        )

    def true_coefs(self, frame: pd.DataFrame) -> Float64[np.ndarray, "rows models"]:
        """Return the coefficients (nats) for the ``topic`` and ``language`` of each row; ``DataError`` if unknown."""
        topic, language = _positions(frame, "topic", self.topics), _positions(frame, "language", self.languages)
        share = np.where(np.array(self.languages) == "English", 1.0, _TOPIC_SHARE_ABROAD)[language]
        mean = self.strengths.mean(axis=0)
        return mean + share[:, None] * (self.strengths[topic] - mean) + self.language_effects[language]

    def true_eta(self, frame: pd.DataFrame) -> Float64[np.ndarray, " rows"]:
        """Return the tie parameter for the ``topic`` of each row; ``DataError`` for an unknown one."""
        return self.eta[_positions(frame, "topic", self.topics)]


def load_prompts() -> pd.DataFrame:
    """Read the prompts that ship with the package: ``prompt`` (list of user turns), ``topic`` and ``language``."""
    with files("p2l.data.simulated").joinpath("prompts.jsonl").open(encoding="utf-8") as lines:
        return pd.read_json(lines, lines=True, dtype=False)


def split_prompts(frame: pd.DataFrame, held_out: float = 0.2, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split rows in two parts, the second with a share ``held_out`` of every topic; both keep the order.

    Raises ``ConfigError`` unless ``held_out`` is between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out is a share between 0 and 1; got {held_out}")
    rows = np.random.default_rng(seed).permutation(len(frame))
    topic = frame["topic"].iloc[rows]
    rank = topic.groupby(topic, sort=False).cumcount()
    count = topic.groupby(topic, sort=False).transform("size")
    is_held_out = np.empty(len(frame), dtype=bool)
    is_held_out[rows] = (rank < (held_out * count).round()).to_numpy()
    return frame[~is_held_out].reset_index(drop=True), frame[is_held_out].reset_index(drop=True)


def simulate_votes(arena: SimulatedArena, frame: pd.DataFrame, votes_per_prompt: int, seed: int = 0) -> pd.DataFrame:
    """Draw a vote table with ``votes_per_prompt`` votes on every row of ``frame``, in random order.

    The two models of a vote are uniform over pairs of different models; the outcome is drawn from the grounded
    Rao-Kupper probabilities (``p2l.outcomes.GRK``) under ``true_coefs`` and ``true_eta``. Columns: prompt, model_a,
    model_b, winner, timestamp (seconds since 1970, ascending), language, topic, conversation_id (one per vote).
    """
    rng = np.random.default_rng(seed)
    row = rng.permutation(np.repeat(np.arange(len(frame)), votes_per_prompt))
    a = rng.integers(len(arena.models), size=len(row))
    b = (a + rng.integers(1, len(arena.models), size=len(row))) % len(arena.models)
    votes = draw_votes(arena, frame, row, a, b, rng).assign(
        timestamp=_START + np.cumsum(rng.exponential(_SECONDS_BETWEEN_VOTES, size=len(row))),
        conversation_id=[f"sim-{seed}-{vote:07d}" for vote in range(len(row))],
    )
    return votes[["prompt", "model_a", "model_b", "winner", "timestamp", "language", "topic", "conversation_id"]]


def mean_spearman(predicted: Float64[np.ndarray, "rows models"], truth: Float64[np.ndarray, "rows models"]) -> float:
    """Return the mean over rows of Spearman's rank correlation between two rankings of the models."""
    ranks = [rankdata(coefs, axis=1) - (coefs.shape[1] + 1) / 2 for coefs in (predicted, truth)]
    norms = np.linalg.norm(ranks[0], axis=1) * np.linalg.norm(ranks[1], axis=1)
    return float(np.mean((ranks[0] * ranks[1]).sum(axis=1) / norms))


def _positions(frame: pd.DataFrame, column: str, known: tuple[str, ...]) -> Int64[np.ndarray, " rows"]:
    positions = pd.Index(known).get_indexer(frame[column])
    if (positions < 0).any():
        unknown = sorted(set(frame[column][positions < 0].astype(str)))
        raise DataError(f"unknown {column} {', '.join(unknown)}; the arena knows {', '.join(known)}")
    return positions.astype(np.int64)


def draw_votes(
    arena: SimulatedArena,
    frame: pd.DataFrame,
    row: Int64[np.ndarray, " votes"],
    model_a: Int64[np.ndarray, " votes"],
    model_b: Int64[np.ndarray, " votes"],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw the winners of votes between these models on rows of ``frame``.

    Columns: prompt, language, topic, model_a, model_b, winner.
    """
    coefs, eta = (torch.from_numpy(x) for x in (arena.true_coefs(frame), arena.true_eta(frame)))
    log_probs = GRK.log_probs(coefs[row, model_a], coefs[row, model_b], eta[row])
    upper = log_probs.exp().numpy().cumsum(axis=1)[:, :-1]
    outcome = (rng.random((len(row), 1)) >= upper).sum(axis=1)
    winner = np.array([outcome.value for outcome in OUTCOMES], dtype=object)[outcome]
    models = np.array(arena.models, dtype=object)
    votes = frame[["prompt", "language", "topic"]].iloc[row].reset_index(drop=True)
    return votes.assign(model_a=models[model_a], model_b=models[model_b], winner=winner)
