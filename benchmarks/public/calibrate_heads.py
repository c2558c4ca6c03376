"""Recalibrate a head's probabilities of a usable answer as ``p2l calibrate`` does: one scale and shift of coefs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from predictions import UnitRange
from score_heads import NO_ANSWER

from p2l.data.measured_scores import MeasuredScores
from p2l.data.vote_table import VoteTable
from p2l.evaluation.recalibration import fit_recalibration
from p2l.outcomes import GRK
from p2l.types import Ranking


def recalibrated(fit: MeasuredScores, crossed: np.ndarray, tests: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the probabilities of the tests under the map that is fitted to cross-fitted ones."""
    found = fit_recalibration(GRK, _ranking(crossed), votes_against_no_answer(fit))
    coefs = {name: found.apply(_ranking(one)).coefs[:, :-1] for name, one in tests.items()}
    return {name: torch.sigmoid(one).numpy() for name, one in coefs.items()}


def _ranking(usable: np.ndarray) -> Ranking:
    """Return the coefficients, with the one of no answer as the last column."""
    coefs = torch.special.logit(torch.from_numpy(usable), eps=1e-12)
    nothing = coefs.new_full((len(coefs), 1), NO_ANSWER)
    return Ranking(torch.cat((coefs, nothing), 1), coefs.new_zeros(len(coefs)))


def votes_against_no_answer(measured: MeasuredScores) -> VoteTable:
    """Return each score as a soft vote: a win with the share of the score, both bad with the rest."""
    prompt, model = np.nonzero(measured.weight > 0)
    share = UnitRange.of(measured)(measured.score)[prompt, model].astype(np.float32)
    shares = np.stack((share, 0 * share, 0 * share, 1 - share), axis=1)
    last = np.full_like(model, len(measured.models))
    names, weight = (*measured.models, "no answer"), np.ones(len(prompt), dtype=np.float32)
    return VoteTable(measured.prompts, prompt, model, last, shares, weight, names, pd.DataFrame())
