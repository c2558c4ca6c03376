"""What the text of coding agents does to the choice: the same prompts bare, as agents send them, and without that text.

The ready checkpoint scores prompts of ParetoBandit's validation part, whose four LLMs have measured rewards. Around
each prompt stands what an agent writes, filled with this project's own pages. Printed are the share of prompts whose
best LLM changes, the correlation of what depends on the prompt, and the reward of the best LLM.

    python benchmarks/harness_text.py <folder of paretobandit> [--prompts 100] [--tokens 2500]
"""

import argparse
import json
from pathlib import Path

import numpy as np

from p2l import load_checkpoint
from p2l.models.predictor import Predictor
from p2l.serving.router.config.text_config import TextConfig
from p2l.serving.router.conversation.read_text import read_text

AROUND = {
    "Claude Code": "<system-reminder>\n{text}\n</system-reminder>\n{prompt}",
    "Cline": "<task>\n{prompt}\n</task>\n<environment_details>\n{text}\n</environment_details>",
    "Cursor": "<additional_data>\n{text}\n</additional_data>\n<user_query>\n{prompt}\n</user_query>",
}
RULES = TextConfig(turns="last", harness_text="remove")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=2500, help="of the harness's text, of four characters each")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in (arguments.folder / "val_k4.jsonl").read_text().splitlines()]
    drawn = np.random.default_rng(arguments.seed).choice(len(rows), arguments.prompts, replace=False)
    rows = [rows[at] for at in drawn]
    pages = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
    text = "".join(page.read_text() for page in pages)[: 4 * arguments.tokens]
    predictor = Predictor(load_checkpoint("p2l-minilm-general"))
    names = sorted(rows[0]["arms"])
    columns = [predictor.models.index(name) for name in names]
    rewards = np.array([[row["arms"][name]["reward"] for name in names] for row in rows])

    def coefs(prompts: list[str]) -> np.ndarray:
        found: np.ndarray = predictor.rank([(prompt,) for prompt in prompts]).coefs.numpy()[:, columns]
        return found - found.mean(axis=1, keepdims=True)

    bare = coefs([row["prompt"] for row in rows])
    print(
        f"{len(rows)} prompts, bare: reward of the best {reward(bare, rewards):.4f}, of one LLM for all "
        f"{rewards.mean(axis=0).max():.4f}"
    )
    for harness, form in AROUND.items():
        sent = [form.format(text=text, prompt=row["prompt"]) for row in rows]
        read = [read_text(RULES, [prompt]).turns[0] for prompt in sent]
        assert read == [row["prompt"].strip() for row in rows], "the rules leave the prompt, and nothing else"
        wrapped = coefs(sent)
        changed = (wrapped.argmax(axis=1) != bare.argmax(axis=1)).mean()
        correlation = np.corrcoef((bare - bare.mean(0)).ravel(), (wrapped - wrapped.mean(0)).ravel())[0, 1]
        print(
            f"{harness}: best LLM changed for {changed:.0%}, correlation of what depends on the prompt "
            f"{correlation:.2f}, reward of the best {reward(wrapped, rewards):.4f}"
        )


def reward(coefs: np.ndarray, rewards: np.ndarray) -> float:
    return float(rewards[np.arange(len(rewards)), coefs.argmax(axis=1)].mean())


if __name__ == "__main__":
    main()
