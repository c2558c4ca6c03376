"""Adding LLMs without training: the share of the gain from training with them that few votes recover.

Some LLMs are held out of the training votes. A model is trained on the rest (``--prepare`` writes the votes), and the
held-out LLMs are added to it with a few votes each, against known LLMs. It is compared to the model trained with all of
them, and to the marginal leaderboard of all training votes, which ignores the prompt. The recovered share is

    (marginal - extended) / (marginal - trained with all), in nats a vote, with a bootstrap interval over prompts

on the votes that a new LLM took part in, and on all. ``marginal, same votes`` is the leaderboard of the votes that the
extended model has seen: those without the held-out LLMs and the few with them. ``same information`` is the share with
it in the numerator: each model against the leaderboard of its own votes. The training recipe is experiment=mmlu_pro.

    python benchmarks/add_models.py --train votes_train.parquet --prepare held_out
    python scripts/train.py experiment=mmlu_pro data.train=held_out/train.parquet ... output_dir=run
    python benchmarks/add_models.py --train votes_train.parquet --eval votes_val.parquet \
        --without run/checkpoint --full full/checkpoint [--votes-each 500] [--draws 5]
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from p2l.data import VoteTable, load_votes
from p2l.evaluation.vote_scores import score_votes
from p2l.leaderboard import fit_votes
from p2l.models import Checkpoint, load_checkpoint
from p2l.models.predictor import predict
from p2l.new_models import extend_checkpoint, extract_features, fit_rows
from p2l.new_models.row_fit import PromptFeatures, RowFit
from p2l.statistics.bootstrap import Interval, percentile_interval, resampled_sums
from p2l.types import Ranking


def held_out(models: list[str], count: int, seed: int) -> list[str]:
    return sorted(np.random.default_rng(seed).choice(sorted(models), count, replace=False).tolist())


def prepare(frame: pd.DataFrame, new: list[str], folder: Path) -> None:
    """Write the training votes without the held-out LLMs."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = frame[~(frame["model_a"].isin(new) | frame["model_b"].isin(new))]
    kept.to_parquet(folder / "train.parquet", index=False)
    print(f"{len(kept):,} of {len(frame):,} votes without {', '.join(new)}")


def draw(frame: pd.DataFrame, new: list[str], each: int, seed: int) -> pd.DataFrame:
    """Draw ``each`` votes of every new LLM against known ones."""
    a, b = frame["model_a"].isin(new), frame["model_b"].isin(new)
    one = frame[a != b]
    name = one["model_a"].where(a[a != b], one["model_b"])
    return one.groupby(name, group_keys=False).sample(each, random_state=seed)


def losses(ranking: Ranking, votes: VoteTable, checkpoint: Checkpoint) -> np.ndarray:
    return score_votes(checkpoint.family, ranking, votes).log_loss


def reordered(ranking: Ranking, models: tuple[str, ...], wanted: tuple[str, ...]) -> Ranking:
    position = [models.index(name) for name in wanted]
    return Ranking(ranking.coefs[..., position], ranking.eta)


def recovered(by_model: dict[str, np.ndarray], marginal: str, prompt: np.ndarray) -> Interval:
    gains = (by_model[marginal] - by_model["extended"], by_model["marginal"] - by_model["full"])
    sums = np.stack([np.bincount(prompt, gain) for gain in gains], axis=1)
    sums = sums[np.bincount(prompt) > 0]
    (samples,) = resampled_sums(sums)
    total = sums.sum(axis=0)
    return percentile_interval(total[0] / total[1], samples[:, 0] / samples[:, 1])


def report(name: str, by_model: dict[str, np.ndarray], votes: VoteTable, rows: np.ndarray) -> dict[str, object]:
    part = {model: loss[rows] for model, loss in by_model.items()}
    shares = {
        "recovered": recovered(part, "marginal", votes.prompt_index[rows]),
        "same information": recovered(part, "marginal, same votes", votes.prompt_index[rows]),
    }
    numbers = {model: round(float(loss.mean()), 4) for model, loss in part.items()}
    print(f"  {name:<14} {len(part['full']):>6,} votes  {numbers}  {'  '.join(f'{k} {v}' for k, v in shares.items())}")
    intervals = {f"{k}, {end}": getattr(v, end) for k, v in shares.items() for end in ("low", "high")}
    return {"votes": name, **numbers, **{k: v.value for k, v in shares.items()}, **intervals}


class Cached:
    """Features of prompts by one checkpoint, computed once for each prompt."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint, self.place = checkpoint, {}
        self.parts: list[PromptFeatures] = []

    def of(self, votes: VoteTable) -> PromptFeatures:
        new = [prompt for prompt in votes.prompts if prompt not in self.place]
        if new:
            self.place |= {prompt: len(self.place) + i for i, prompt in enumerate(new)}
            self.parts.append(extract_features(self.checkpoint, new))
        rows = [self.place[prompt] for prompt in votes.prompts]
        coefs, eta = (torch.cat([getattr(p.ranking, name) for p in self.parts])[rows] for name in ("coefs", "eta"))
        features, gamma = (
            np.concatenate([getattr(p, name) for p in self.parts])[rows] for name in ("features", "gamma")
        )
        return PromptFeatures(Ranking(coefs, eta), features, gamma)


def extend(checkpoint: Checkpoint, few: VoteTable, cache: Cached, new: list[str]) -> RowFit:
    start = time.perf_counter()
    reading = cache.of(few)
    read = time.perf_counter()
    fitted = fit_rows(checkpoint.model.head, checkpoint.models, few, reading, new)
    took = f"{read - start:.1f} s to read {len(few.prompts):,} prompts, {time.perf_counter() - read:.1f} s to fit"
    tried = {penalty: round(loss, 4) for penalty, loss in fitted.held_out.items()}
    print(f"  {took}; penalty {fitted.penalty:g} of {tried}")
    return fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="votes of all LLMs")
    parser.add_argument("--eval", help="votes to measure on")
    parser.add_argument("--prepare", type=Path, help="folder for the training votes without the held-out LLMs")
    parser.add_argument("--without", help="checkpoint trained on those")
    parser.add_argument("--full", help="checkpoint trained on all")
    parser.add_argument("--hold", type=int, default=5, help="how many LLMs are held out")
    parser.add_argument("--hold-seed", type=int, default=0)
    parser.add_argument("--votes-each", type=int, default=500)
    parser.add_argument("--draws", type=int, default=5, help="draws of the votes")
    parser.add_argument("--output", type=Path, help="JSON of all numbers")
    options = parser.parse_args()
    frame = pd.read_parquet(options.train)
    new = held_out(list(set(frame["model_a"]) | set(frame["model_b"])), options.hold, options.hold_seed)
    if options.prepare:
        prepare(frame, new, options.prepare)
        return
    without, full = load_checkpoint(options.without), load_checkpoint(options.full)
    models = (*without.models, *new)
    known = frame[~(frame["model_a"].isin(new) | frame["model_b"].isin(new))]
    votes, _ = load_votes(options.eval, models=models)
    with_new = np.flatnonzero(np.maximum(votes.model_a, votes.model_b) >= len(without.models))
    marginal = fit_votes(VoteTable.from_frame(frame, models), full.family)
    by_model = {
        "marginal": losses(marginal, votes, full),
        "full": losses(reordered(predict(full, votes.prompts), full.models, models), votes, full),
    }
    cache = Cached(without)
    rows = []
    for seed in range(options.draws):
        print(f"draw {seed}: {options.votes_each} votes each of {', '.join(new)}")
        drawn = draw(frame, new, options.votes_each, seed)
        few = VoteTable.from_frame(drawn, models)
        fitted = extend(without, few, cache, new)
        larger = extend_checkpoint(without, new, fitted.weight, fitted.bias)
        same = fit_votes(VoteTable.from_frame(pd.concat([known, drawn]), models), full.family)
        by_model["marginal, same votes"] = losses(same, votes, full)
        by_model["extended"] = losses(predict(larger, votes.prompts), votes, full)
        rows.append({"draw": seed} | report("with a new LLM", by_model, votes, with_new))
        rows.append({"draw": seed} | report("all", by_model, votes, np.arange(len(votes))))
    for name, part in pd.DataFrame(rows).groupby("votes", sort=False):
        means = ", ".join(f"{share} {part[share].mean():.3f}" for share in ("recovered", "same information"))
        print(f"{name}: {means} on average of {options.draws} draws")
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
