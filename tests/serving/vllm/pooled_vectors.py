"""Vectors that vLLM pools, from a process of its own: ``python pooled_vectors.py JOBS OUTPUT``.

JOBS holds, as JSON, the options of each engine and rounds of lists of token ids. OUTPUT gets, for each job and round,
the vector of each prompt and how many of its tokens were cached.
"""

import gc
import json
import sys
from pathlib import Path
from typing import Any

from vllm import LLM
from vllm.distributed import cleanup_dist_env_and_memory


def run(options: dict[str, Any], rounds: list[list[list[int]]]) -> list[list[dict[str, Any]]]:
    llm = LLM(enforce_eager=True, kv_cache_memory_bytes=1 << 26, **options)
    found = []
    for prompts in rounds:
        answers = llm.encode([{"prompt_token_ids": prompt} for prompt in prompts], pooling_task="embed", use_tqdm=False)
        found.append([{"vector": a.outputs.data.tolist(), "cached": a.num_cached_tokens} for a in answers])
    return found


def main(jobs: str, output: str) -> None:
    found = []
    for job in json.loads(Path(jobs).read_text()):
        found.append(run(job["options"], job["rounds"]))
        gc.collect()
        cleanup_dist_env_and_memory()
    Path(output).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
