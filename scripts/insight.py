"""Insight into unlabeled prompts: ``python scripts/insight.py model_path=<checkpoint> dataset=<prompts>``.

Writes ``report.html`` and the numbers behind it to ``output_dir``: leaderboards by cluster and, with ``categories=``,
by category; ``focus=<LLM>``: its strengths and weaknesses; ``old=<LLM> new=<LLM>``: a regression test;
``reference=<prompts>``: how this leaderboard differs from that one.
"""

import sys

from p2l.commands.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("insight"))
