"""A head and its posterior after feedback: what the corrections make of the trained ones."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from p2l.head_posterior import HeadPosterior
from p2l.online.head_feedback import Feedback
from p2l.online.head_filter import HeadFilter, HeadState
from p2l.online.online_head import OnlineHead
from p2l.uncertainty.posterior_fit import LinearOutputs

_BLOCK = 64  # pieces of feedback that are predicted from the same earlier ones


@dataclass(frozen=True, eq=False)
class Lesson:
    """What some feedback changed.

    Attributes:
        head: prior of the corrections.
        state: after the feedback.
        told: what the feedback tells about the outputs, summed.
        loss_before: of the feedback under the trained head, nats a piece of weight 1.
        loss_ahead: the same, each piece predicted after the earlier ones.
    """

    head: OnlineHead
    state: HeadState
    told: Float64[np.ndarray, "outputs outputs"]
    loss_before: float
    loss_ahead: float

    def changed_layer(self, layer: LinearOutputs) -> LinearOutputs:
        """Return the trained layer with the corrections."""
        change = self.state.mean[:, 1:] @ self.head.directions[:, self.head.selected].T
        return LinearOutputs(layer.weight + change, layer.bias + self.state.mean[:, 0] - change @ self.head.centre)

    def posterior(self, before: HeadPosterior) -> HeadPosterior:
        """Return the head's posterior after the feedback, Kronecker-factored again.

        What the feedback tells is added to what the votes told, as if its prompts were spread like theirs. The
        covariance at the mean prompt is that of the state.
        """
        axes = before.output_directions
        information, rotation = np.linalg.eigh(np.diag(before.output_information) + axes.T @ self.told @ axes)
        mean_prompt = np.eye(1, len(self.head.start))[0]
        return replace(
            before,
            output_directions=axes @ rotation,
            output_information=information.clip(0),
            level_covariance=self.state.covariances(mean_prompt) / before.scale,
            report={**before.report, "feedback": before.report.get("feedback", 0) + self.state.count},
        )


def taught(chain: HeadFilter, feedback: Feedback) -> Lesson:
    """Teach a head feedback, in its order."""
    state, told = chain.start(), np.zeros((chain.head.num_outputs,) * 2)
    before, ahead = 0.0, 0.0
    for first in range(0, len(feedback), _BLOCK):
        block = feedback.rows(slice(first, first + _BLOCK))
        outputs = block.outputs + state.correction(block.features)
        before += float(chain.likelihood.log_loss(block, block.outputs).sum())
        ahead += float(chain.likelihood.log_loss(block, outputs).sum())
        kept = chain.options.kept(len(block)) ** 2
        told = kept * told + _information(chain, block, outputs)
        state = chain.update(state, block)
    total = max(float(feedback.weight.sum()), 1e-300)
    return Lesson(chain.head, state, told, before / total, ahead / total)


def _information(chain: HeadFilter, block: Feedback, outputs: np.ndarray) -> Float64[np.ndarray, "outputs outputs"]:
    """Return the information about the outputs, less what the noise of prompts takes from it."""
    evidence, total = chain.likelihood.evidence(block, outputs), np.zeros((outputs.shape[1],) * 2)
    places = evidence.places[:, :, None], evidence.places[:, None, :]
    noise = chain.head.noise[places]
    own = np.linalg.solve(np.eye(evidence.places.shape[1]) + evidence.information @ noise, evidence.information)
    np.add.at(total, places, own)
    return (total + total.T) / 2
