"""What a batch of feedback changes: the linear algebra of one Gaussian update, on the outputs that it names."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from p2l.online.head_feedback import Evidence


class Rows(NamedTuple):
    """The outputs that a batch tells about, one row for each piece of feedback and output of it.

    Attributes:
        piece, output: of each row.
        features: of each row's prompt.
        gradient: of each row.
        information, noise: zero between pieces.
        roots: R of ``information`` and of ``noise``: R R^T.
    """

    piece: Int64[np.ndarray, " rows"]
    output: Int64[np.ndarray, " rows"]
    features: Float64[np.ndarray, "rows features"]
    gradient: Float64[np.ndarray, " rows"]
    information: Float64[np.ndarray, "rows rows"]
    noise: Float64[np.ndarray, "rows rows"]
    roots: tuple[Float64[np.ndarray, "rows rows"], Float64[np.ndarray, "rows rows"]]

    @classmethod
    def of(
        cls,
        evidence: Evidence,
        features: Float64[np.ndarray, "feedback features"],
        noise: Float64[np.ndarray, "outputs outputs"],
    ) -> "Rows":
        """Leave out the parameters that a piece tells nothing about."""
        told = np.diagonal(evidence.information, axis1=1, axis2=2) > 0
        piece, place = np.nonzero(told)
        output = evidence.places[piece, place]
        same = piece[:, None] == piece
        between = noise[output[:, None], output] * same
        information = evidence.information[piece[:, None], place[:, None], place] * same
        roots = (_root(information), _root(between))
        return cls(piece, output, features[piece], evidence.gradient[piece, place], information, between, roots)

    def of_weights(self, weights: Float64[np.ndarray, "*some outputs features"]) -> Float64[np.ndarray, "*some rows"]:
        """Return the change of each row's output."""
        return (weights[..., self.output, :] * self.features).sum(-1)

    def scaled(self, factors: Float64[np.ndarray, " feedback"]) -> "Rows":
        """Return the rows if each piece counts by its factor."""
        by_row = factors[self.piece]
        root = np.sqrt(by_row)[:, None] * self.roots[0]
        return self._replace(
            gradient=self.gradient * by_row,
            information=self.information * by_row,
            roots=(root, self.roots[1]),
        )

    def covariances(
        self, covariance: Float64[np.ndarray, "parameters parameters"], num_outputs: int
    ) -> tuple[Float64[np.ndarray, "parameters rows"], Float64[np.ndarray, "rows rows"]]:
        """Return the covariance of all weights with the rows' outputs, and of these with each other."""
        size = self.features.shape[1]
        of_weights = covariance.reshape(len(covariance), num_outputs, size)
        cross = np.empty((len(covariance), len(self.output)))
        own = np.empty((len(self.output), len(self.output)))
        outputs = [(at, np.flatnonzero(self.output == at)) for at in np.unique(self.output)]
        for at, rows in outputs:
            cross[:, rows] = of_weights[:, at, :] @ self.features[rows].T
        by_output = cross.reshape(num_outputs, size, -1)
        for at, rows in outputs:
            own[rows] = self.features[rows] @ by_output[at]
        return cross, own


class Gain(NamedTuple):
    """The update of a batch: the weights move by ``cross @ step``, and their covariance by -``cross loss cross^T``.

    ``perturbed``: what draws of the weights lose, so that they stay draws of the posterior.
    """

    step: Float64[np.ndarray, " rows"]
    perturbed: Float64[np.ndarray, "rows draws"]
    loss: Float64[np.ndarray, "rows rows"]


def gain_of(
    rows: Rows,
    own: Float64[np.ndarray, "rows rows"],
    draws: Float64[np.ndarray, "draws outputs features"],
    rng: np.random.Generator,
) -> Gain:
    """Return the update: step = (I + F C)^-1 g, loss = (I + F C)^-1 F.

    F is the information and C the covariance of the rows' outputs, noise included; one step of Fisher scoring from the
    mean (an extended Kalman filter). Each draw is updated by an observation that is disturbed as real ones are
    (ensemble sampling: Lu and Van Roy 2017, arXiv:1705.07347), which keeps it a draw at the cost of a vector.
    """
    count, size = len(rows.output), len(draws)
    disturbed = rows.of_weights(draws).T
    disturbed = disturbed + rows.roots[1] @ rng.standard_normal((count, size))
    wrong = rows.information @ disturbed + rows.roots[0] @ rng.standard_normal((count, size))
    matrix = np.eye(count) + rows.information @ (own + rows.noise)
    found = np.linalg.solve(matrix, np.column_stack((rows.gradient, wrong, rows.information)))
    loss = found[:, 1 + size :]
    return Gain(found[:, 0], found[:, 1 : 1 + size], (loss + loss.T) / 2)


def _root(matrix: Float64[np.ndarray, "rows rows"]) -> Float64[np.ndarray, "rows rows"]:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values.clip(0))
