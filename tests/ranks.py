"""Functions run by several processes over gloo, as torchrun would start them, without importing torch in each."""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from traceback import format_exc
from typing import Any

from tests.ports import free_port

# the server imports these once, and every process is forked from it
PRELOADED = (
    "tests.running",
    "matplotlib.pyplot",
    "torch._inductor.compile_fx",
    "torch.distributed.tensor.parallel",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.optimization",
)
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(list(PRELOADED))


def on_ranks(world_size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``function(*arguments)`` returns on each of ``world_size`` processes, in the order of their ranks.

    It must be importable, and what it returns picklable. Lightning takes the processes for those of torchrun; a
    function that needs a process group without Lightning calls ``torch.distributed.init_process_group("gloo")``.
    """
    return finish(start_on_ranks(world_size, function, *arguments))


def start_on_ranks(world_size: int, function: Callable[..., Any], *arguments: Any) -> list[Connection]:
    """The processes of ``on_ranks``, started; ``finish`` waits for them."""
    port = free_port()
    pipes = []
    for rank in range(world_size):
        ours, theirs = context.Pipe(duplex=False)
        # daemon: a test that fails leaves none behind
        context.Process(target=_rank, args=(theirs, rank, world_size, port, function, arguments), daemon=True).start()
        theirs.close()
        pipes.append(ours)
    return pipes


def finish(pipes: list[Connection]) -> list[Any]:
    """The results of ``start_on_ranks``."""
    results = []
    for rank, pipe in enumerate(pipes):
        assert pipe.poll(300), f"rank {rank} has not finished"
        error, result = pickle.loads(pipe.recv_bytes())
        assert error is None, f"rank {rank}:\n{error}"
        results.append(result)
    return results


def _rank(
    pipe: Connection, rank: int, world_size: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "tests",
    }
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # else all ranks log at once
    try:
        answer = (None, function(*arguments))
    except BaseException:
        answer = (format_exc(), None)
    # multiprocessing would send a tensor as a handle of memory that goes away with this process
    pipe.send_bytes(pickle.dumps(answer))
