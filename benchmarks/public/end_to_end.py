"""Train the backbone together with the head, from the head that was fitted to the frozen states.

Cross-fitted like everything else, in fewer folds. The number of epochs is the one with the least error on the prompts
to fit. Predictions of a finished fold are kept on disk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from cached_states import encoder_recipe
from predictions import Error, Predictions, fold_numbers
from score_heads import Evidence, HeadOptions, fit_head, spread
from transformers import AutoConfig

from p2l.data.encoding import EncodedPrompts, encode_prompts
from p2l.data.measured_scores import MeasuredScores
from p2l.data.prompt_encoder import Prompt
from p2l.files import whole_file
from p2l.heads import RankingHead
from p2l.models import ModelRecipe
from p2l.models.backbone import LoRA, local_folder
from p2l.models.hidden_states import hidden_states
from p2l.models.p2l_model import P2LModel
from p2l.routing import fit_shrinkage

BATCH, RATE, HEAD_RATE, WARM_UP, DECAY = 32, 5e-5, 3e-4, 20, 0.01  # prompts; rates of AdamW; steps; weight decay
FOLDS = 3
EVAL_TOKENS = 4096
# Linear layers of the attention, as BERT, MPNet and Qwen2 name them.
ATTENTION = r"(self_attn|attention)\b.*\.(query|key|value|dense|q|k|v|o|q_proj|k_proj|v_proj|o_proj)"


@dataclass(frozen=True)
class EndToEnd:
    """Trains ``backbone`` for at most ``epochs`` passes over the prompts to fit.

    Attributes:
        rate: of AdamW for the backbone.
        adapted_layers: 0 trains the whole backbone, else low-rank adapters on the attention of its last layers alone.
    """

    work: Path
    backbone: str
    max_length: int
    epochs: int
    options: HeadOptions
    seed: int = 0
    rate: float = RATE
    adapted_layers: int = 0

    def predictions(self, measured: MeasuredScores, tests: dict[str, MeasuredScores], error: Error) -> Predictions:
        """Choose the number of epochs by cross-fitting, then train on all prompts and predict the tests."""
        folds = fold_numbers(len(measured), FOLDS)
        found = np.zeros((self.epochs, *measured.score.shape))
        for fold in range(FOLDS):
            train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            found[:, held_out] = self.epochs_of(measured.rows(train), measured.rows(held_out).prompts)
        maps = [fit_shrinkage("simple-lp", one, measured) for one in found]
        errors = [error(shrink(one)) for shrink, one in zip(maps, found, strict=True)]
        print(f"  end to end, error after each epoch: {', '.join(f'{one:.4f}' for one in errors)}", flush=True)
        best = int(np.argmin(errors))
        prompts = [prompt for test in tests.values() for prompt in test.prompts]
        starts = np.cumsum([len(test) for test in tests.values()])[:-1]
        ends = dict(zip(tests, np.split(self.epochs_of(measured, prompts)[best], starts), strict=True))
        options = {"epochs": best + 1, **asdict(self.options)}
        return Predictions(maps[best](found[best]), {name: maps[best](one) for name, one in ends.items()}, options)

    def epochs_of(self, train: MeasuredScores, other: Sequence[Prompt]) -> np.ndarray:
        """Return P(usable answer) of the other prompts after each epoch."""
        key = blake2b(repr((self, train.prompts, tuple(other))).encode(), digest_size=16)
        key.update(np.stack((train.score, train.weight)).tobytes())
        path = self.work / f"{key.hexdigest()}.npy"
        if not path.exists():
            epochs = list(self._train(train, other))
            with whole_file(path) as part, part.open("wb") as file:
                np.save(file, np.stack(epochs))
        return np.load(path)

    def _recipe(self) -> ModelRecipe:
        recipe = encoder_recipe(self.backbone, self.max_length)
        if not self.adapted_layers:
            return recipe
        layers = AutoConfig.from_pretrained(local_folder(self.backbone)).num_hidden_layers
        last = "|".join(str(layers - 1 - at) for at in range(self.adapted_layers))
        return replace(recipe, lora=LoRA(rank=8, alpha=16, target_modules=rf".*layers?\.({last})\.{ATTENTION}"))

    def _train(self, train: MeasuredScores, other: Sequence[Prompt]) -> Iterator[np.ndarray]:
        torch.manual_seed(self.seed)
        recipe = self._recipe()
        encoder, evidence = recipe.encoder(), Evidence.of(train, self.options)
        network = recipe.build(encoder, partial(RankingHead, family="grk", init="zeros"), train.models)
        encoded, others = (encode_prompts(encoder, one) for one in (train.prompts, other))
        states = hidden_states(network, network.hidden, encoded, EVAL_TOKENS).float()
        center, scale = states.mean(0), states.std(0).clamp_min(1e-6)
        head = fit_head((states - center) / scale, evidence, self.options, network.head)
        network.head.load_state_dict(head.state_dict())
        optimizer = _optimizer(network, self.rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARM_UP))
        for epoch in range(self.epochs):
            network.train()
            for batch in _batches(len(train), self.seed * 1000 + epoch):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    hidden = _hidden(network, encoded, batch)
                ranking = network.head((hidden.float() - center) / scale)
                penalty = self.options.ridge * spread(network.head, self.options.own)
                loss = evidence.on(batch, len(train)).loss(ranking) + penalty
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            print(f"  end to end: epoch {epoch + 1}, loss of the last batch {loss.item():.4f}", flush=True)
            states = hidden_states(network, network.hidden, others, EVAL_TOKENS).float()
            with torch.no_grad():
                yield torch.sigmoid(network.head((states - center) / scale).coefs).double().numpy()


def _hidden(network: P2LModel, encoded: EncodedPrompts, batch: np.ndarray) -> torch.Tensor:
    padded = encoded.pad(batch)
    return network.hidden(padded.input_ids, padded.attention_mask)


def _batches(count: int, seed: int) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(order[start : start + BATCH]) for start in range(0, count, BATCH)]


def _optimizer(network: P2LModel, rate: float) -> torch.optim.Optimizer:
    head = list(network.head.parameters())
    return torch.optim.AdamW(
        [
            {"params": list(network.model.parameters()), "lr": rate, "weight_decay": DECAY},
            {"params": head, "lr": HEAD_RATE, "weight_decay": 0.0},
        ]
    )
