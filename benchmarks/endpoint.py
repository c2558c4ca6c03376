"""The endpoint's speed over HTTP, beside the same forward passes in process and upstream's server.

All run the same random 38M-parameter bf16 Qwen2 checkpoint on the same machine, in turns. Load comes from wrk. Then all
answers are compared with those to the same prompts one at a time.

    python benchmarks/endpoint.py [--one] [--prompts votes.parquet] [--before <checkout of another commit>]
        [--upstream <folder of lmarena/p2l> --upstream-python <python that runs it>]
    python benchmarks/endpoint.py --overload 60    # four times the sustainable rate for 60 s
    python benchmarks/endpoint.py --conversations  # prompts that repeat what came before, with and without caches
    python benchmarks/endpoint.py --one --busy     # alone, beside one and beside two busy loops

All but ``--conversations`` runs without caches, since its prompts repeat. The status is 1 if an answer differs by more
than BOUND from that of its prompt alone, without caches.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from endpoint_conversations import CALL_TURNS, TURNS, Repeats, agent_loop, conversation, measure, turns_of
from endpoint_load import offer, post
from figures import Figure, save
from processes import cpu_seconds, largest_mb
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from p2l.data.prompt_encoder import PromptEncoder, PromptFormat, prepare_tokenizer
from p2l.data.readers import read_table
from p2l.data.simulated import load_prompts
from p2l.heads import RankingHead
from p2l.models import Checkpoint, P2LModel, load_checkpoint, save_checkpoint
from p2l.models.predictor import Predictor, rank_encoded

KEY = "benchmark"
BOUND = 1e-3  # of a coefficient in bfloat16, in nats
NO_CACHES = ["--answer-cache", "0", "--prefix-cache", "0"]
CONNECTIONS = (1, 16, 64)
ONE_PROMPT = (
    "Write a short story about a robot who learns to paint, and explain what it teaches us about creativity. "
    "Keep it under two hundred words, please."
)
CHAT = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
SIZES = {
    "vocab_size": 8192,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
UPSTREAM = """
import os, sys
# theirs is a package without __init__.py, which any other p2l would hide
sys.path[:] = [sys.argv.pop(1), *(p for p in sys.path if not os.path.exists(os.path.join(p, "p2l", "__init__.py")))]
import huggingface_hub
huggingface_hub.hf_hub_download = lambda repo_id, filename, **_: os.path.join(repo_id, filename)
import uvicorn
import p2l.endpoint
uvicorn.run(p2l.endpoint.app, host="127.0.0.1", port=p2l.endpoint.parse_args().port)
"""
WRK_SCRIPT = """
local bodies, i = {}, 0
for line in io.lines(os.getenv("P2L_BODIES")) do bodies[#bodies + 1] = line end
local headers = {["content-type"] = "application/json", ["api-key"] = os.getenv("P2L_KEY")}
request = function() i = i % #bodies + 1; return wrk.format("POST", "/predict", headers, bodies[i]) end
done = function(s, latency)
  local e = s.errors
  print(string.format("RESULT %f %f %f %d", s.requests / s.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Speed:
    """Requests/s, latency in ms, and how many had no answer or another status than 200."""

    rate: float
    p50: float
    p99: float
    errors: int


def make_checkpoint(folder: Path, texts: Sequence[str]) -> None:
    """12 layers, hidden size 512, 8k vocabulary made of ``texts``, 100 models, random weights."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=8191, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=special[0], model_input_names=["input_ids", "attention_mask"]
    )
    encoder = PromptEncoder(prepare_tokenizer(tokenizer, chat_template=CHAT), PromptFormat())
    torch.manual_seed(0)
    backbone = AutoModel.from_config(AutoConfig.for_model("qwen2", **SIZES), dtype=torch.bfloat16)
    model = P2LModel(backbone, RankingHead(512, 100, "rk").to(torch.bfloat16), "cls", encoder.cls_token_id).eval()
    names = tuple(f"model-{i:03d}" for i in range(100))
    recipe = {"loss_type": "rk", "head_type": "rk", "model_type": "qwen2"}
    save_checkpoint(folder, Checkpoint(model, encoder, names, recipe))


def read_prompts(path: str | None, count: int = 512) -> list[str]:
    """Distinct prompts of a table, or those that ship with p2l."""
    frame = load_prompts() if path is None else read_table(path, "train")
    column = "prompt" if "prompt" in frame else "instruction"
    texts = [p if isinstance(p, str) else p[0] for p in frame[column]]
    return list(dict.fromkeys(texts))[:count]


@dataclass(frozen=True)
class Server:
    """A running endpoint."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def post(self, prompt: str) -> tuple[int, dict]:
        """Status and answer of one request."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/predict",
            json.dumps({"prompt": [prompt]}).encode(),
            {"content-type": "application/json", "api-key": KEY},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.load(response)


@contextmanager
def serving(name: str, port: int, command: Sequence[str], log: Path, cwd: str | None = None) -> Iterator[Server]:
    """Start a server, wait until it answers, stop it at the end; ``python -m`` finds the package of ``cwd``."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:  # it would be measured in place of ours
            raise SystemExit(f"port {port} is taken, maybe by a server of an earlier run; stop it or give --port")
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, cwd=cwd)
    server = Server(name, port, process)
    try:
        for _ in range(240):
            if process.poll() is not None:
                raise SystemExit(f"{name} does not start: {log.read_text()[-2000:]}")
            try:
                server.post(ONE_PROMPT)
                break
            except urllib.error.HTTPError as error:
                if error.code == 503:  # ours, until a worker has loaded the model
                    time.sleep(0.5)
                    continue
                raise SystemExit(f"{name} answers {error}: {log.read_text()[-2000:]}") from error
            except OSError:
                time.sleep(0.5)
        else:
            raise SystemExit(f"{name} does not answer within two minutes: {log.read_text()[-2000:]}")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def load(server: Server, connections: int, bodies: Path, script: Path, seconds: float) -> Speed:
    """Requests one after the other on so many connections, by wrk."""
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "60s", "-s", str(script),
         f"http://127.0.0.1:{server.port}"],
        env={**os.environ, "P2L_BODIES": str(bodies), "P2L_KEY": KEY}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rate, p50, p99, errors = out[out.index("RESULT") :].split()[1:5]
    return Speed(float(rate), float(p50), float(p99), int(errors))


def in_process(
    predictor: Predictor, prompts: Sequence[str], seconds: float, token_budget: int, lanes: int, padded: bool
) -> float:
    """Prompts/s of the forward passes alone, in the best batches of at most ``token_budget`` tokens.

    One ``lane`` runs a batch on all cores; several run one batch each side by side, on their share of the cores.
    ``padded``: the network as transformers runs it; else what the endpoint runs.
    """
    encoded = predictor.encode([prompts[i % len(prompts)] for i in range(max(64, len(prompts)))])
    cores = torch.get_num_threads()
    start = time.perf_counter()

    def run(_: int) -> int:
        torch.set_num_threads(cores // lanes)
        done = 0
        while time.perf_counter() - start < seconds:
            if padded:
                rank_encoded(predictor.network, encoded, token_budget=token_budget)
            else:
                predictor.rank_encoded(encoded, token_budget=token_budget)
            done += len(encoded)
        return done

    with ThreadPoolExecutor(lanes) as pool:
        done = sum(pool.map(run, range(lanes)))
    torch.set_num_threads(cores)
    return done / (time.perf_counter() - start)


def largest_error(server: Server, predictor: Predictor, prompts: Sequence[str]) -> float:
    """Largest difference of a coefficient from that of the same prompt alone; asked 64 at a time."""
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(server.post, prompts))
    assert all(status == 200 for status, _ in answers)
    alone = np.stack([predictor.rank([prompt]).coefs[0].numpy() for prompt in prompts])
    return float(np.abs(np.array([answer["coefs"] for _, answer in answers]) - alone).max())


def come_to_rest(servers: Sequence[Server]) -> None:
    """Wait until no server is at work on what the last clients left behind: each answers in the order of arrival."""
    for server in servers:
        server.post(ONE_PROMPT)
    time.sleep(0.3)


def write_load(folder: Path, prompts: Sequence[str]) -> tuple[Path, Path]:
    """Write the bodies of the requests, one a line, and the script of wrk that sends them in turn."""
    bodies, script = folder / "bodies", folder / "load.lua"
    bodies.write_text("\n".join(json.dumps({"prompt": [prompt]}) for prompt in prompts) + "\n", encoding="utf-8")
    script.write_text(WRK_SCRIPT)
    return bodies, script


def compare(
    servers: Sequence[Server], predictor: Predictor, prompts: Sequence[str], args: argparse.Namespace
) -> list[Figure]:
    """Rounds of every side at every number of connections; prints medians and ratios, and returns the rates."""
    bodies, script = write_load(args.folder, prompts)
    limits: dict[tuple[bool, int, int], list[float]] = {
        (padded, lanes, budget): []
        for padded in (True, False)
        for lanes in {1, min(2, torch.get_num_threads())}
        for budget in (1024, 2048, 4096)
    }
    speeds: dict[tuple[str, int], list[Speed]] = {}
    for _ in range(args.rounds):
        for (padded, lanes, budget), rates in limits.items():
            come_to_rest(servers)
            rates.append(in_process(predictor, prompts, args.seconds / 2, budget, lanes, padded))
        for connections in CONNECTIONS:
            for server in servers:
                come_to_rest(servers)
                speed = load(server, connections, bodies, script, args.seconds)
                speeds.setdefault((server.name, connections), []).append(speed)
    limit: dict[tuple[bool, int], float] = {}
    for (padded, lanes, _), rates in limits.items():
        limit[padded, lanes] = max(limit.get((padded, lanes), 0.0), statistics.median(rates))
    for (padded, lanes), rate in limit.items():
        what = "transformers, padded" if padded else "what the endpoint runs"
        print(f"in process, {what}, {lanes} side by side: {rate:.0f} prompts/s")
    median: dict[tuple[str, int], Speed] = {}
    for (name, connections), rounds in speeds.items():
        columns = [statistics.median(getattr(s, field) for s in rounds) for field in ("rate", "p50", "p99")]
        median[name, connections] = speed = Speed(*columns, sum(s.errors for s in rounds))
        print(
            f"{name:9s} {connections:3d} connections {speed.rate:7.1f} requests/s "
            f"({', '.join(f'{speed.rate / rate:4.2f}' for rate in limit.values())} of the limits)  "
            f"p50 {speed.p50:7.1f} ms  p99 {speed.p99:7.1f} ms  {speed.errors} errors"
        )
    for other in servers[1:]:
        for connections in CONNECTIONS:
            ours, theirs = median["p2l", connections], median[other.name, connections]
            print(
                f"{connections:3d} connections: {ours.rate / theirs.rate:.2f} times the requests/s of {other.name}, "
                f"{ours.p50 / theirs.p50:.2f} times its p50"
            )
    return [
        Figure(
            f"endpoint, {'one prompt' if args.one else 'a mix of prompts'}, {connections} connections",
            "requests/s",
            median["p2l", connections].rate,
            {server.name: median[server.name, connections].rate for server in servers[1:]}
            | ({"the same batches in process": limit[False, max(limit)[1]]} if connections == max(CONNECTIONS) else {}),
        )
        for connections in CONNECTIONS
    ]


def converse(
    servers: Sequence[Server], predictor: Predictor, texts: Sequence[str], args: argparse.Namespace
) -> tuple[float, list[Figure]]:
    """Rounds of conversations and agents' loops on every server.

    Returns the largest difference from uncached answers, and the rates. A round has new texts, the same for each
    server. Prints medians, and the ratios of the first server to the others.
    """
    speeds: dict[tuple[str, str], list[Repeats]] = {}
    difference = 0.0
    for number in range(args.rounds):
        turns = [
            turns_of(texts, lambda text: len(predictor.encoder.encode(text)), TURNS, 10 * number + client)
            for client in range(4)
        ]
        loads = {
            f"one conversation of {TURNS} turns": [conversation(turns[0])],
            f"{len(turns) - 1} conversations at once": [conversation(own) for own in turns[1:]],
            f"an agent's loop on {CALL_TURNS} turns": [agent_loop(turns[0][::-1])],
        }
        alone = predictor.rank(conversation(turns[0]), token_budget=1).coefs.numpy()
        for kind, clients in loads.items():
            for server in servers:
                come_to_rest([server])
                before = cpu_seconds(server.process.pid)
                speed, coefs = measure(server.port, KEY, clients)
                cost = (cpu_seconds(server.process.pid) - before) / sum(map(len, clients)) * 1e3
                speeds.setdefault((kind, server.name), []).append(speed._replace(cpu=cost))
                if server is servers[0] and len(coefs) == len(alone):
                    difference = max(difference, float(np.abs(coefs - alone).max()))
    medians = {
        key: Repeats(*(statistics.median(column) for column in zip(*rounds, strict=True)))
        for key, rounds in speeds.items()
    }
    first = servers[0].name
    for (kind, name), theirs in medians.items():
        ours = medians[kind, first]
        print(
            f"{kind}: {name:9s} {theirs.rate:7.1f} requests/s, p50 {theirs.p50:6.1f} ms, {theirs.cpu:6.1f} CPU ms a "
            f"request; {first} {ours.rate / theirs.rate:5.1f} times the requests/s, "
            f"{theirs.p50 / ours.p50:5.1f} times as fast at p50, {ours.cpu / max(theirs.cpu, 0.1):.3f} of the CPU time"
        )
    kinds = list(dict.fromkeys(kind for kind, _ in medians))
    return difference, [
        Figure(
            f"endpoint, {kind}",
            "requests/s",
            medians[kind, first].rate,
            {server.name: medians[kind, server.name].rate for server in servers[1:]},
        )
        for kind in kinds
    ]


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Processes that take all the time that they get."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def beside_busy_loops(servers: Sequence[Server], prompts: Sequence[str], args: argparse.Namespace) -> list[Figure]:
    """Measure each server alone and beside busy loops; the fair share is that of one thread a core beside them."""
    bodies, script = write_load(args.folder, prompts)
    cores = len(os.sched_getaffinity(0))
    alone: dict[tuple[str, int], float] = {}
    figures = []
    for loops in (0, 1, 2):
        for connections in (1, 16):
            rates = {}
            for server in servers:
                come_to_rest(servers)
                with busy_loops(loops):
                    rounds = [load(server, connections, bodies, script, args.seconds) for _ in range(args.rounds)]
                rate, p50, p99 = (
                    statistics.median(getattr(s, field) for s in rounds) for field in ("rate", "p50", "p99")
                )
                first = alone.setdefault((server.name, connections), rate)
                rates[server.name] = rate
                print(
                    f"{loops} busy loops, {connections:2d} connections: {server.name:9s} {rate:6.1f} requests/s, "
                    f"{rate / first:.2f} of its rate alone (fair share {cores / (cores + loops):.2f}), "
                    f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
                    flush=True,
                )
            ours, *others = rates.items()
            figures.append(
                Figure(f"endpoint, {loops} busy loops, {connections} connections", "requests/s", ours[1], dict(others))
            )
    return figures


def check_difference(difference: float) -> None:
    """Print the largest difference from the answer to the prompt alone; end with status 1 if it is over BOUND."""
    print(f"largest difference from the answer to the prompt alone: {difference:.1e}; bound {BOUND:.0e}")
    if not difference <= BOUND:
        raise SystemExit("FAILED: the answers depend on the other prompts of their batch")


def overload(server: Server, prompts: Sequence[str], args: argparse.Namespace) -> None:
    """Four times the sustainable rate; prints what became of it, and the memory before, during and after."""
    requests = [post(json.dumps({"prompt": [prompt]}).encode(), KEY) for prompt in prompts]
    bodies, script = write_load(args.folder, prompts)
    rate = load(server, 64, bodies, script, args.seconds).rate
    memory = [largest_mb(server.process.pid)]
    print(f"sustainable: {rate:.0f} requests/s; offered: {4 * rate:.0f} for {args.overload:g} s")
    for _ in range(4):
        outcome = asyncio.run(offer(server.port, requests, 4 * rate, args.overload / 4))
        memory.append(largest_mb(server.process.pid))
        taken = np.array(outcome.seconds) * 1e3
        p50, p99 = np.percentile(taken, (50, 99)) if len(taken) else (np.nan, np.nan)
        print(
            f"answers by status {dict(sorted(outcome.statuses.items()))}, 429 without Retry-After "
            f"{outcome.without_retry_after}; of the accepted p50 {p50:.0f} ms, p99 {p99:.0f} ms; "
            f"{len(taken) / args.overload * 4:.0f}/s; memory {memory[-1]:.0f} MB"
        )
    print(f"memory before {memory[0]:.0f} MB, after {memory[-1]:.0f} MB; alive: {server.post(ONE_PROMPT)[0] == 200}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", help="table whose prompts make the mix of lengths; default: those of p2l")
    parser.add_argument("--one", action="store_true", help="one prompt of about 40 tokens instead of the mix")
    parser.add_argument("--before", help="folder of another commit of this project, measured in the same run")
    parser.add_argument("--upstream", help="folder of lmarena/p2l")
    parser.add_argument("--upstream-python", help="python that runs it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--overload", type=float, metavar="SECONDS", help="measure overload instead")
    parser.add_argument("--conversations", action="store_true", help="conversations and agents' loops instead")
    parser.add_argument("--busy", action="store_true", help="alone and beside busy loops instead")
    parser.add_argument("--compile", action="store_true", help="torch.compile, in process and in the server")
    parser.add_argument("--port", type=int, default=18200)
    parser.add_argument("--options", default="", help="more options of python -m p2l.endpoint")
    parser.add_argument("--json", help="file for the figures, for benchmarks/report.py")
    return parser.parse_args()


def main() -> None:
    args = options()
    if shutil.which("wrk") is None:
        raise SystemExit("this needs wrk (apt install wrk)")
    mix = read_prompts(args.prompts)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        args.folder = Path(name)
        checkpoint = args.folder / "checkpoint"
        make_checkpoint(checkpoint, [*mix, *read_prompts(None, 2000)])
        predictor = Predictor(load_checkpoint(str(checkpoint), dtype="bfloat16"), compiled=args.compile)
        predictor.warm_up()
        prompts = [ONE_PROMPT] if args.one else mix
        lengths = predictor.encode(prompts).lengths
        print(
            f"{torch.get_num_threads()} threads, load average {os.getloadavg()[0]:.1f}; {len(prompts)} prompts, "
            f"{lengths.mean():.0f} tokens each ({lengths.min()} to {lengths.max()})"
        )
        extra = [*args.options.split(), *(["--compile"] if args.compile else [])]
        ours = [sys.executable, "-m", "p2l.endpoint", "-m", str(checkpoint), "-a", KEY, "--no-cuda", "-H", "127.0.0.1"]
        caches = [] if args.conversations else NO_CACHES
        command = [*ours, *caches, *extra, "-p", str(args.port)]
        servers = [stack.enter_context(serving("p2l", args.port, command, args.folder / "p2l.log"))]
        if args.overload:
            overload(servers[0], prompts, args)
            return
        if args.conversations:
            command = [*ours, *NO_CACHES, *extra, "-p", str(args.port + 3)]
            servers.append(
                stack.enter_context(serving("no caches", args.port + 3, command, args.folder / "no_caches.log"))
            )
        if args.before:
            command = [*ours, *extra, "-p", str(args.port + 2)]
            log = args.folder / "before.log"
            servers.append(stack.enter_context(serving("before", args.port + 2, command, log, args.before)))
        if args.upstream:
            theirs = [args.upstream_python, "-c", UPSTREAM, args.upstream, "-m", str(checkpoint), "--no-cuda"]
            theirs += ["-a", KEY, "-p", str(args.port + 1)]
            servers.append(
                stack.enter_context(serving("upstream", args.port + 1, theirs, args.folder / "upstream.log"))
            )
        if args.conversations:
            difference, figures = converse(servers, predictor, mix, args)
            save(args.json, figures)
            check_difference(difference)
            return
        if args.busy:
            save(args.json, beside_busy_loops(servers, prompts, args))
            return
        save(args.json, compare(servers, predictor, prompts, args))
        check_difference(largest_error(servers[0], predictor, mix))


if __name__ == "__main__":
    main()
