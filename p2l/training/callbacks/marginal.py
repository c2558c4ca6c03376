"""Start the head from the leaderboard of all votes."""

from lightning import Callback, LightningModule, Trainer

from p2l.leaderboard import count_outcomes, fit_marginal


class StartFromMarginal(Callback):
    """Sets the head's bias to the marginal fit of the training votes, so that training starts where one leaderboard
    for all prompts ends. It does nothing when a run is resumed."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit" or trainer.ckpt_path is not None:
            return
        head = pl_module.model.head
        votes = trainer.datamodule.table("train")
        head.set_bias(fit_marginal(count_outcomes(votes, head.family), head.family))
