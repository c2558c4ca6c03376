"""Conversations and agents' loops for ``endpoint.py``: what is sent, and how fast it is answered."""

import http.client
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

TURNS, TURN_TOKENS, CALLS, CALL_TURNS = 20, 100, 30, 5


class Repeats(NamedTuple):
    """Requests/s, median latency in ms and the server's CPU time in ms of requests that repeat what came before."""

    rate: float
    p50: float
    cpu: float = 0.0


def turns_of(texts: Sequence[str], tokens: Callable[[str], int], count: int, seed: int) -> list[str]:
    """Make turns of TURN_TOKENS tokens from the words of the texts; no two seeds give the same."""
    rng = np.random.default_rng(seed)
    words = [word for text in rng.permutation(np.array(texts, dtype=object)) for word in text.split()]
    turns, stream = [], cycle(words)
    for number in range(count):
        turn = [f"{seed}.{number}", *islice(stream, TURN_TOKENS // 3)]
        while tokens(" ".join(turn)) < TURN_TOKENS:
            turn.append(next(stream))
        turns.append(" ".join(turn))
    return turns


def conversation(turns: Sequence[str]) -> list[list[str]]:
    """The prompts of a conversation: each has one turn more."""
    return [list(turns[: number + 1]) for number in range(len(turns))]


def agent_loop(turns: Sequence[str]) -> list[list[str]]:
    """An agent's calls on one request: the same user turns with each result of a tool."""
    return [list(turns[:CALL_TURNS])] * CALLS


def ask(port: int, key: str, prompts: Sequence[list[str]]) -> tuple[list[float], list[list[float]]]:
    """Send the prompts one after the other on one connection; returns seconds and coefficients of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"content-type": "application/json", "api-key": key}
    taken, coefs = [], []
    for prompt in prompts:
        body = json.dumps({"prompt": prompt})
        start = time.perf_counter()
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        answer = response.read()
        taken.append(time.perf_counter() - start)
        if response.status != 200:
            raise SystemExit(f"port {port} answered {response.status}: {answer[:200]!r}")
        coefs.append(json.loads(answer)["coefs"])
    connection.close()
    return taken, coefs


def measure(port: int, key: str, clients: Sequence[Sequence[list[str]]]) -> tuple[Repeats, np.ndarray]:
    """Let each client send its prompts in turn, all clients at once; returns the speed and all coefficients."""
    start = time.perf_counter()
    with ThreadPoolExecutor(len(clients)) as pool:
        results = list(pool.map(lambda prompts: ask(port, key, prompts), clients))
    seconds = time.perf_counter() - start
    taken = [one for times, _ in results for one in times]
    return Repeats(len(taken) / seconds, statistics.median(taken) * 1e3), np.array([c for _, cs in results for c in cs])
