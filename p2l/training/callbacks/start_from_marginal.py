"""Start the head from the leaderboard of all votes."""

from lightning import Callback, LightningModule, Trainer

from p2l.leaderboard import fit_votes
from p2l.training.callbacks.run_parts import run_parts


class StartFromMarginal(Callback):
    """Sets the bias of a head with ``init=zeros`` to the marginal fit of the training votes: training starts from one
    leaderboard for all prompts. Does nothing if the run is resumed, or if the head already tells prompts apart (random
    weights, or those of a checkpoint to continue from)."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit" or trainer.ckpt_path is not None:
            return
        module, data = run_parts(trainer, pl_module)
        head = module.model.head
        if head.ignores_prompts:
            head.set_bias(fit_votes(data.table("train"), head.family))
