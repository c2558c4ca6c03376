"""Read each public set's own layout into parts with the columns prompt, model, score, cost (if known) and group."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from public_tables import FIT, GROUP, SPLIT, TEST, hash_of, held_out, split_by_column

from p2l.data.readers import read_table

Parts = dict[str, pd.DataFrame]
REFERENCE = "refA"  # of WMT24: a human's translation
STRONG_AND_WEAK = {"gpt4_1106": 1.0, "mixtral_8x7b": 0.0}  # cost of a call


def paretobandit(folder: Path, suffix: str = "") -> Parts:
    """One JSON object a prompt; each LLM's reward by a judge and cost in dollars are in ``arms``."""
    return {part: _arms(folder / f"{name}{suffix}.jsonl") for part, name in ((FIT, "val"), (TEST, "test"))}


def _arms(path: Path) -> pd.DataFrame:
    rows = read_table(str(path)).to_dict("records")
    cells = [
        {
            "prompt_id": str(at),
            "prompt": row["prompt"],
            GROUP: row["source"],
            "model": model,
            "score": arm["reward"],
            "cost": arm["cost"],
        }
        for at, row in enumerate(rows)
        for model, arm in row["arms"].items()
    ]
    return pd.DataFrame(cells)


def paretobandit_k4(folder: Path) -> Parts:
    """The same with a fourth LLM."""
    return paretobandit(folder, "_k4")


def routerdc(folder: Path) -> Parts:
    """Accuracy as RouterDC's evaluation counts it; the parts test and ood are tests, its other ones are left out."""
    frame = read_table(str(folder / "split2_model7.parquet"))
    frame = frame[frame[SPLIT].isin(("train", TEST, "ood"))].rename(columns={"task": GROUP})
    frame = frame.assign(score=frame["accuracy"], prompt_id=frame[GROUP] + " " + frame["prompt_id"].astype(str))
    return split_by_column(frame[["prompt_id", "prompt", GROUP, SPLIT, "model", "score"]])


def llmrouter(folder: Path) -> Parts:
    """Scores of 14 tasks; the cost of an answer is the LLM's price per million tokens."""
    frame = read_table(str(folder / "dcrouter_preprocessed.parquet")).rename(columns={"task": GROUP})
    frame = frame.assign(cost=frame["price_per_million"], prompt_id=frame["prompt_id"].astype(str))
    return split_by_column(frame[["prompt_id", "prompt", GROUP, SPLIT, "model", "score", "cost"]])


def routellm(folder: Path) -> Parts:
    """Right answers of a strong LLM (a call costs 1) and a weak one (0); a part of MMLU and all of GSM8K are tests.

    The prompts that RouteLLM lists as contaminated are left out, as in its evaluation.
    """
    frame = read_table(str(folder / "mmlu_gsm8k.parquet"))
    frame = frame[~frame["contaminated"]]
    wide = frame.rename(columns={"domain": GROUP})[["benchmark", GROUP, "prompt", *STRONG_AND_WEAK]]
    long = wide.melt(["benchmark", GROUP, "prompt"], var_name="model", value_name="score")
    long = long.assign(score=long["score"].astype(float), cost=long["model"].map(STRONG_AND_WEAK))
    mmlu = long["benchmark"].str.lower() == "mmlu"
    parts = held_out(long[mmlu], long["prompt"][mmlu])
    return {FIT: parts[FIT], "mmlu": parts[TEST], "gsm8k": long[~mmlu]}


def wmt24_esa(folder: Path) -> Parts:
    """Human ratings of translations by systems, 0 to 100; three tenths of the source documents are held out."""
    frame = read_table(str(folder / "ratings.parquet")).rename(columns={"system": "model", "langs": GROUP})
    frame = frame[frame["model"] != REFERENCE]
    return held_out(frame[["prompt", "model", "score", GROUP]], frame["doc"].astype(str))


def mmlu_pro(folder: Path) -> Parts:
    """Right answers of 47 LLMs, in the set's own parts; the prompts are those of the votes on the same questions."""
    return split_by_column(pd.concat([_answers(folder, split) for split in ("train", "val", "test")]))


def _answers(folder: Path, split: str) -> pd.DataFrame:
    scores = read_table(str(folder / f"correct_{split}.parquet"))
    prompts = read_table(str(folder / f"votes_{split}.parquet")).drop_duplicates("question_id")
    frame = scores.merge(prompts[["question_id", "prompt", "category"]], on="question_id")
    names = {"question_id": "prompt_id", "correct": "score", "category": GROUP}
    return frame.rename(columns=names).astype({"prompt_id": str, "score": float}).assign(**{SPLIT: split})


def routerbench(folder: Path) -> Parts:
    """Scores of 11 LLMs and the dollars that each answer cost; three tenths of the prompts are held out."""
    prompts = read_table(str(folder / "prompts_open.parquet")).rename(columns={"category": GROUP})
    scores = read_table(str(folder / "scores_open.parquet"))
    frame = scores.merge(prompts[["prompt_id", "prompt", GROUP]], on="prompt_id")
    return held_out(frame, frame["prompt"].map(hash_of))


LAYOUTS: dict[str, Callable[[Path], Parts]] = {
    "paretobandit": paretobandit,
    "paretobandit_k4": paretobandit_k4,
    "routerdc": routerdc,
    "llmrouter": llmrouter,
    "routellm": routellm,
    "wmt24_esa": wmt24_esa,
    "mmlu_pro": mmlu_pro,
    "routerbench": routerbench,
}
