"""How each shown command is run. The first rule whose pattern is found in a command decides.

A command runs as it stands, in a folder with small data (``tests.docs.sandbox``). Where that would take minutes, need a
GPU or a network, or never end, the rule says what is done instead, and why.
"""

import re
from dataclasses import dataclass
from typing import Literal

Way = Literal["run", "compose", "start", "ask", "help", "make", "nothing"]

SMALL_NETWORK = (
    "model=tiny",
    "model.max_length=32",
    "model.scratch.hidden_size=16",
    "model.scratch.intermediate_size=32",
    "model.scratch.num_attention_heads=2",
    "model.scratch.num_key_value_heads=1",
    "batching.token_budget=2048",
    "trainer.max_epochs=1",
    "callbacks.progress=null",
)
SMALL_DEMO = (*SMALL_NETWORK, "data.votes_per_prompt=4")
SMALL_SUBSETS = (
    "rand_subset_sizes=[20]",
    "rand_num_samples=[2]",
    "aggr_scale_subset_sizes=[1,10]",
    "aggr_scale_num_samples=[2,2]",
)


@dataclass(frozen=True)
class Rule:
    """What is done with commands in which ``pattern`` is found.

    Attributes:
        way: what is done.
            ``run``: as it stands, with ``added`` at its end.
            ``compose``: its options are checked, and its files must be there.
            ``start``: everything that a server does before it listens.
            ``ask``: sent to running servers.
            ``help``: its options must be in the program's help.
            ``make``: the target must exist.
            ``nothing``: not run at all.
        why: why it does not run as it stands; empty where it does.
        added: small sizes, added to the command.
    """

    pattern: str
    way: Way
    why: str = ""
    added: tuple[str, ...] = ()


RULES = (
    Rule(r"^source \.venv", "nothing", "the environment is the one of the tests"),
    Rule(r"^make ", "make", "the targets install, train and test for minutes"),
    Rule(r"^pre-commit install", "nothing", "changes the clone's git hooks"),
    Rule(r"^(docker|kubectl) ", "nothing", "needs a daemon or a cluster; the files were checked by hand"),
    Rule(r"^sbatch ", "compose", "needs SLURM"),
    Rule(r"^torchrun ", "compose", "needs two nodes of eight GPUs"),
    Rule(r"^p2l .*engine=ray", "compose", "needs the extra ray; tests/commands/test_ray_shards.py runs two workers"),
    Rule(r"^python benchmarks/", "help", "takes minutes"),
    Rule(r"venv-vllm", "nothing", "needs vLLM, in an environment of its own; tests/serving/vllm serves with it"),
    Rule(r"^curl ", "ask"),
    Rule(r"^ANTHROPIC_BASE_URL=", "nothing", "needs a coding agent; tests/serving/router/messages has the loop of one"),
    Rule(r"^p2l( \S+)? --help$", "run"),
    Rule(r"^p2l router .*(--check-config|--export-votes)", "run"),
    Rule(r"^p2l endpoint .*lmarena-ai/", "compose", "the published checkpoint would be downloaded"),
    Rule(r"^p2l (endpoint|router) ", "start", "serves until stopped; those of the README answer", ("--port", "0")),
    Rule(r"^p2l explore ", "compose", "serves until it is stopped"),
    Rule(r"^p2l train .*--cfg job", "run"),
    Rule(r"^p2l train experiment=demo ", "run", "a small network in place of MiniLM takes seconds", SMALL_DEMO),
    Rule(r"^p2l train experiment=own_scores ", "run", "the same", SMALL_NETWORK),
    Rule(r"^p2l train ", "compose", "takes minutes or needs a hub or a GPU; the README's training runs"),
    Rule(r"^p2l wandb-workspace ", "compose", "saves to the W&B service"),
    Rule(r"^p2l evaluate ", "run", "fewer subsets", SMALL_SUBSETS),
    Rule(r"^p2l insight .*(old=|focus=|reference=)", "run", "clusters load a sentence encoder", ("embedding=null",)),
    Rule(r"^p2l scaling-law ", "run", "fewer resamples", ("resamples=5",)),
    Rule(r"^p2l ", "run"),
)


def rule_for(command: str) -> Rule | None:
    """Return the rule of a command; None if there is none."""
    return next((rule for rule in RULES if re.search(rule.pattern, command)), None)
