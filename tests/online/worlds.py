"""Small heads, and feedback from a truth that is drawn from their prior."""

import numpy as np

from p2l.online.head_feedback import Feedback
from p2l.online.online_head import OnlineHead, cold_posterior
from p2l.outcomes import OutcomeFamily, get_family

KEY = "someone"


def small_head(
    family: OutcomeFamily | str = "grk", models: int = 3, hidden: int = 4, seed: int = 0, **options: float
) -> OnlineHead:
    """Return a cold head whose states are correlated normal numbers."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((400, hidden)) @ rng.standard_normal((hidden, hidden))
    family = get_family(family) if isinstance(family, str) else family
    return OnlineHead.of(cold_posterior(states, models, family), [f"m{i}" for i in range(models)], family, **options)


def drawn_weights(head: OnlineHead, rng: np.random.Generator) -> np.ndarray:
    """Return weights drawn from the start."""
    values, vectors = np.linalg.eigh(head.start)
    roots = vectors * np.sqrt(values.clip(0))[:, None]
    return (roots @ rng.standard_normal((len(roots), head.num_outputs, 1)))[..., 0].T


def prompts(head: OnlineHead, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return features of prompts."""
    spread = np.sqrt(0.3 / len(head.selected))
    return np.column_stack((np.ones(count), spread * rng.standard_normal((count, len(head.selected)))))


def scores_of(head: OnlineHead, truth: np.ndarray, count: int, seed: int, key: str = KEY) -> Feedback:
    """Return scores 0 and 1 of LLMs chosen at random."""
    rng = np.random.default_rng(seed)
    features = prompts(head, count, rng)
    noise = rng.multivariate_normal(np.zeros(head.num_outputs), head.noise, count)
    model = rng.integers(0, len(head.models), count)
    outputs = features @ truth.T + noise
    right = rng.random(count) < 1 / (1 + np.exp(-outputs[np.arange(count), model]))
    base = np.zeros_like(outputs)
    return Feedback.of_scores(features, base, model, right.astype(float), (key,) * count)


def votes_of(head: OnlineHead, truth: np.ndarray, count: int, seed: int, key: str = KEY) -> Feedback:
    """Return votes on random pairs."""
    rng = np.random.default_rng(seed)
    features, models = prompts(head, count, rng), len(head.models)
    a = rng.integers(0, models, count)
    b = (a + 1 + rng.integers(0, models - 1, count)) % models
    outputs = features @ truth.T
    rows = np.arange(count)
    eta = (outputs[:, -1],) if head.family.num_eta else ()
    probs = np.exp(head.family.log_probs(outputs[rows, a], outputs[rows, b], *eta))
    outcome = (probs.cumsum(1) > rng.random((count, 1))).argmax(1)
    targets = np.array(head.family.targets)
    kind = np.array([int(targets[:, column].argmax()) for column in range(targets.shape[1])])
    return Feedback.of_votes(features, np.zeros_like(outputs), (a, b), np.eye(4)[kind[outcome]], (key,) * count)
