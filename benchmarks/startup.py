"""Processor time and peak memory of every entry point, and of a router's workers after a load.

Each command starts in a process of its own, with warm file caches. With --before the commands of another checkout run
in turn with these. The figures are minima over the rounds, since other work on the machine only ever adds to them.
The peak of a command is at least that of this benchmark, from which it is started: some 25 MB.

    python benchmarks/startup.py [--before checkout] [--rounds 3] [--workers 1 4] [--requests 2000]
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from figures import Figure, save
from processes import children_of, cpu_seconds
from router import KEY, MESSAGE, MODELS, free_port

ROOT = Path(__file__).resolve().parents[1]
VOTES = ROOT / "docs" / "examples" / "votes.csv"
CONNECTIONS = 16
Figures = dict[str, float]  # by name and unit: "peak MB"


@dataclass(frozen=True)
class EntryPoint:
    """Arguments of Python, and the exit status that they must have."""

    arguments: Sequence[str]
    status: int = 0


ENTRY_POINTS = {
    "p2l --help": EntryPoint(["-m", "p2l", "--help"]),
    "p2l train --help": EntryPoint(["-m", "p2l", "train", "--help"]),
    "p2l train, a typo": EntryPoint(["-m", "p2l", "train", "optimizer.lrr=1e-5"], 2),
    "p2l leaderboard, 1,800 votes": EntryPoint(
        ["-m", "p2l", "leaderboard", f"votes={VOTES}", "output_dir=leaderboard"]
    ),
    "p2l validate, 1,800 votes": EntryPoint(["-m", "p2l", "validate", f"votes={VOTES}"]),
    "router --check-config": EntryPoint(["-m", "p2l.routing.openai_server", "--check-config", "-c", "config.yaml"]),
    "router --help": EntryPoint(["-m", "p2l.routing.openai_server", "--help"]),
    "endpoint --help": EntryPoint(["-m", "p2l.endpoint", "--help"]),
    "endpoint's worker, imports": EntryPoint(["-c", "import p2l.serving.endpoint.endpoint_worker"]),
}


def environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run_once(entry: EntryPoint, checkout: Path, folder: Path) -> Figures:
    """Return processor seconds and peak memory of one run of a command."""
    command = [sys.executable, *entry.arguments]
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(checkout), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != entry.status:
            output.seek(0)
            sys.exit(f"{' '.join(command)} of {checkout} ends with status {process.returncode}:\n{output.read()}")
    return {"CPU s": used.ru_utime + used.ru_stime, "peak MB": used.ru_maxrss / 1024}


@contextmanager
def running(command: Sequence[str], checkout: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(checkout), stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def serve_once(workers: int, checkout: Path, folder: Path, upstream: int, requests: int) -> Figures:
    """Start a router whose scores come over HTTP; return what it has used when it is ready, and after a load."""
    port = free_port()
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "--log-level", "warning"]
    scores = ["--router-type", "grk-endpoint", "--router-model-endpoint", f"http://127.0.0.1:{upstream}"]
    options = ["-c", "config.yaml", "--api-key", KEY, *scores, *address]
    start = time.perf_counter()
    with running([sys.executable, "-m", "p2l.routing.openai_server", *options], checkout, folder) as process:
        wait_until_ready(port, process)
        seconds, used = time.perf_counter() - start, cpu_seconds(process.pid)
        load(port, requests)
        serving = children_of(process.pid) or [process.pid]
        memory = [memory_of(pid) for pid in serving]
        figures = {"ready s": seconds, "CPU s": used, "a worker MB": max(own["Rss"] for own in memory)}
        return {**figures, "a worker, shared pages divided MB": sum(own["Pss"] for own in memory) / len(memory)}


def wait_until_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            sys.exit("the router does not start")
        time.sleep(0.01)


def load(port: int, requests: int) -> None:
    """Send chats over some connections at once."""
    body = json.dumps({"model": "-", "messages": [{"role": "user", "content": MESSAGE}]})
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}

    def send(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(number):
            connection.request("POST", "/v1/chat/completions", body, headers)
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                sys.exit(f"the router answers {response.status}: {text[:200]!r}")

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(send, [requests // CONNECTIONS] * CONNECTIONS))


def memory_of(pid: int) -> dict[str, float]:
    """Return megabytes by kind: Rss counts a shared page in full, Pss its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}


def show(name: str, best: Mapping[str, Figures]) -> list[Figure]:
    """Print the figures of each side, and the ratio of before to now; return them for the page."""
    print(name, flush=True)
    for figure in best["now"]:
        values = "".join(f"{side} {figures[figure]:8.2f}  " for side, figures in best.items())
        ratio = f"{best['before'][figure] / best['now'][figure]:.1f} x" if "before" in best else ""
        print(f"  {figure:34} {values}{ratio}", flush=True)
    now, others = best["now"], {side: figures for side, figures in best.items() if side != "now"}
    return [
        Figure(
            f"{name}: {what.rpartition(' ')[0]}",
            what.rpartition(" ")[2],
            value,
            {side: other[what] for side, other in others.items()},
        )
        for what, value in now.items()
    ]


def least(rounds: Sequence[Figures]) -> Figures:
    return {name: min(figures[name] for figures in rounds) for name in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder of another commit of this project, measured in turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    args = parser.parse_args()
    sides = {**({"before": args.before.resolve()} if args.before else {}), "now": ROOT}
    shown: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        folder, upstream = Path(name), free_port()
        entry = {"api_key": "sk-upstream", "base_url": f"http://127.0.0.1:{upstream}/v1", "name": "m", "type": "openai"}
        models = {model: {**entry, "cost": 1.0 + i} for i, model in enumerate(MODELS)}
        (folder / "config.yaml").write_text(json.dumps({"model_configs": models}))
        for title, command in ENTRY_POINTS.items():
            rounds = [{side: run_once(command, at, folder) for side, at in sides.items()} for _ in range(args.rounds)]
            shown += show(title, {side: least([each[side] for each in rounds]) for side in sides})
        instant = [sys.executable, str(ROOT / "benchmarks" / "router.py"), "--instant", str(upstream)]
        with running(instant, ROOT, folder):
            for workers in args.workers:
                rounds = [
                    {side: serve_once(workers, at, folder, upstream, args.requests) for side, at in sides.items()}
                    for _ in range(args.rounds)
                ]
                title = f"router with an endpoint's scores, {workers} worker(s)"
                shown += show(title, {side: least([each[side] for each in rounds]) for side in sides})
    save(args.json, shown)


if __name__ == "__main__":
    main()
