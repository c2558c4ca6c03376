"""The option that a mistyped or foreign name means."""

from collections.abc import Iterable
from difflib import SequenceMatcher

# names that published configurations, Transformers and Lightning use -> ours
OTHER_NAMES = {
    "accumulate_grad_batches": "batching.token_budget",
    "adam_epsilon": "optimizer.factory.eps",
    "bs": "batching.batch_size",
    "buffer_size": "batching.buffer.capacity",
    "checkpoint": "model_path",
    "epochs": "trainer.max_epochs",
    "eval_data": "data.val",
    "freeze_backbone": "model.freeze",
    "gpus": "trainer.devices",
    "gradient_accumulation_steps": "batching.token_budget",
    "head_type": "head",
    "init_type": "head.init",
    "learning_rate": "optimizer.lr",
    "linear_head_downsize_factor": "head.rank",
    "loss_type": "loss",
    "lr": "optimizer.lr",
    "lr_schedule": "scheduler",
    "lr_scheduler_type": "scheduler",
    "max_grad_norm": "trainer.gradient_clip_val",
    "max_len": "model.max_length",
    "micro_batch_size": "batching.token_budget",
    "model_name_or_path": "model.path",
    "model_type": "model",
    "num_epochs": "trainer.max_epochs",
    "num_gpus": "trainer.devices",
    "num_train_epochs": "trainer.max_epochs",
    "output": "output_dir",
    "out": "output_dir",
    "per_device_train_batch_size": "batching.token_budget",
    "pretrain_model_name": "model.path",
    "proj_name": "name",
    "push_to_hf": "push_to_hub",
    "save_steps": "callbacks.last.every_n_train_steps",
    "train_data": "data.train",
    "train_data_path": "data.train",
    "train_head_only": "model.freeze",
    "val_data": "data.val",
    "val_data_path": "data.val",
    "warmup_ratio": "scheduler.warmup",
    "warmup_steps": "scheduler.warmup",
}
ALIKE = 0.6  # share of equal characters from which a name counts as mistyped


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known option that ``name`` most likely means; None if nothing resembles it.

    First comes another project's name of an option, then the same last part elsewhere, then similar spelling.
    """
    known = list(known)
    last = name.rpartition(".")[2]
    if OTHER_NAMES.get(last) in known:
        return OTHER_NAMES[last]
    if same := [option for option in known if option.rpartition(".")[2] == last]:
        return min(same, key=len)
    # of equally similar options, the one that is nearest to the top
    ranked = sorted(((_alike(name, option), -option.count("."), option) for option in known), reverse=True)
    return ranked[0][2] if ranked and ranked[0][0] >= ALIKE else None


def _alike(name: str, option: str) -> float:
    last, last_of_option = name.rpartition(".")[2], option.rpartition(".")[2]
    whole = SequenceMatcher(None, name, option).ratio()
    # the last part alone says less where there is more in front of it
    return max(
        whole, SequenceMatcher(None, last, last_of_option).ratio() - 0.05 * abs(name.count(".") - option.count("."))
    )
