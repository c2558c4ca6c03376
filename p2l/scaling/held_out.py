"""Points held out of a fit, predicted by the law and by simpler methods."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from p2l.scaling.law import COEFFICIENTS, Observations, Values, fit_law

Prediction = Callable[[Observations, Observations], Values]


def by_law(known: Observations, asked: Observations) -> Values:
    return fit_law(known).loss(asked.parameters, asked.votes)


def by_power(known: Observations, asked: Observations) -> Values:
    """Predict with log L linear in log N and log D: powers without a constant."""
    columns = [np.stack([np.ones(len(s.votes)), np.log(s.parameters), np.log(s.votes)], axis=1) for s in (known, asked)]
    coefficients = np.linalg.lstsq(columns[0], np.log(known.log_loss), rcond=None)[0]
    return np.exp(columns[1] @ coefficients)


def by_votes(known: Observations, asked: Observations) -> Values:
    """Predict with log L linear in log D, whatever the model size."""
    slope, constant = np.polyfit(np.log(known.votes), np.log(known.log_loss), 1)
    return np.exp(constant + slope * np.log(asked.votes))


def by_nearest(known: Observations, asked: Observations) -> Values:
    """Predict the loss of the nearest point that is no larger, in log N and log D; else of the nearest point."""
    return np.array([_nearest(known, np.array(point)) for point in zip(asked.parameters, asked.votes, strict=True)])


def _nearest(known: Observations, point: np.ndarray) -> float:
    steps = np.log(point) - np.log(np.stack([known.parameters, known.votes], axis=1))
    smaller = (steps >= 0).all(axis=1)
    distance = np.abs(steps).sum(axis=1) + np.where(smaller | ~smaller.any(), 0, np.inf)
    return float(known.log_loss[distance.argmin()])


PREDICTIONS: Mapping[str, Prediction] = {
    "law": by_law,
    "no constant": by_power,
    "votes alone": by_votes,
    "nearest smaller": by_nearest,
}


def hold_out(seen: Observations) -> pd.DataFrame:
    """Return predictions of held-out points: one row for each point and way of holding out.

    The ways (``held_out``) are "largest point" (the one with most votes among the largest models), "largest size" and
    "most votes" (all such points), and "each in turn". A way is skipped if it leaves fewer than 6 points, 3 sizes or 3
    numbers of votes, so 6 points give no rows. Columns: held_out, parameters, votes, observed, and one for each of
    ``PREDICTIONS``, in nats a vote.
    """
    large, many = seen.parameters == seen.parameters.max(), seen.votes == seen.votes.max()
    top = large & (seen.votes == seen.votes[large].max())
    ways = [("largest point", top), ("largest size", large), ("most votes", many)]
    ways += [("each in turn", np.arange(len(large)) == i) for i in range(len(large))]
    parts = [_predicted(name, seen, held_out) for name, held_out in ways if _is_enough(seen.select(~held_out))]
    columns = ["held_out", "parameters", "votes", "observed", *PREDICTIONS]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def errors(predicted: pd.DataFrame) -> pd.DataFrame:
    """Return the root mean squared error and the mean error of each prediction (nats a vote), by ``held_out``."""
    rows = []
    for way, of_way in predicted.groupby("held_out", sort=False):
        for name in PREDICTIONS:
            error = of_way[name] - of_way["observed"]
            rmse, bias = float(np.sqrt((error**2).mean())), float(error.mean())
            rows.append({"held_out": way, "prediction": name, "points": len(error), "rmse": rmse, "mean_error": bias})
    return pd.DataFrame(rows, columns=["held_out", "prediction", "points", "rmse", "mean_error"])


def _predicted(name: str, seen: Observations, held_out: np.ndarray) -> pd.DataFrame:
    known, asked = seen.select(~held_out), seen.select(held_out)
    frame = pd.DataFrame({"held_out": name, "parameters": asked.parameters, "votes": asked.votes})
    frame["observed"] = asked.log_loss
    return frame.assign(**{label: predict(known, asked) for label, predict in PREDICTIONS.items()})


def _is_enough(known: Observations) -> bool:
    return len(known.votes) > COEFFICIENTS and min(len(set(c)) for c in (known.parameters, known.votes)) >= 3
