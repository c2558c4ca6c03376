"""Run a frozen backbone once over the prompts instead of at every step."""

from lightning import Callback, LightningModule, Trainer

from p2l.training.callbacks.rank_in_training import hidden_in_training
from p2l.training.callbacks.run_parts import run_parts


class KeepStates(Callback):
    """Computes the hidden states of training and validation prompts at the start of a fit, if no weight of the backbone
    is trained; steps and validations then run the head alone.

    The states take 4 bytes a hidden unit and prompt. Runs on several processes compute them at every step as before.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module, data = run_parts(trainer, pl_module)
        trained = any(parameter.requires_grad for parameter in module.model.model.parameters())
        if trained or trainer.world_size > 1:
            return
        for split in ("train", "val"):
            if data.votes.get(split) is not None:
                data.keep_states(
                    split, hidden_in_training(trainer, module, data.prompts(split), data.eval_token_budget)
                )
