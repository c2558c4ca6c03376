"""Insight into unlabeled prompts: ``python scripts/insight.py model_path=<checkpoint> dataset=<prompts>``.

Writes ``report.html`` and the numbers behind it to ``output_dir``: leaderboards by cluster and, with ``categories=``,
by category; ``focus=<LLM>``: its strengths and weaknesses; ``old=<LLM> new=<LLM>``: a regression test;
``reference=<prompts>``: how this leaderboard differs from that one.
"""

import hydra
from omegaconf import DictConfig

from p2l.commands.composition import errors_in_one_line, make, register_resolvers


@hydra.main(version_base=None, config_path="../conf", config_name="insight")
def main(cfg: DictConfig) -> None:
    with errors_in_one_line():
        job = make(cfg.job)
        job.run(make(cfg.checkpoint) if cfg.model_path else None)


if __name__ == "__main__":
    register_resolvers()
    main()
