"""The command line of ``python -m p2l.endpoint``."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from typing import get_args

from p2l.serving.endpoint.endpoint_settings import PUBLISHED_KEY, DTypeChoice, Settings
from p2l.serving.http.api_keys import KEYS_VARIABLE, read_keys
from p2l.serving.http.loopback import is_loopback
from p2l.types import Backend

log = logging.getLogger(__name__)

YES_OR_NO = argparse.BooleanOptionalAction


def parser() -> argparse.ArgumentParser:
    """Return the parser: published names, short flags and defaults, except that --reload is off; then our options."""
    parser = argparse.ArgumentParser(
        prog="p2l endpoint",
        description="Score prompts over HTTP: POST /predict, GET /models, POST /v1/leaderboards; docs at /docs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_published(parser)
    _add_model(parser.add_argument_group("model"))
    _add_limits(parser.add_argument_group("limits"))
    return parser


def _add_published(parser: argparse.ArgumentParser) -> None:
    d = Settings()
    add = parser.add_argument
    add("--model-path", "-m", default=d.model_path, help="checkpoint: a folder or a hub id")
    add("--model-type", "-mt", default="qwen2", help="accepted and ignored: the checkpoint holds its type")
    add("--head-type", "-ht", help="head of a checkpoint that does not store it")
    add("--loss-type", "-lt", help="loss of a checkpoint that does not store it")
    add(
        "--api-key", "-a", action="append", metavar="KEY",
        help="key that a client must send in the header api-key; several by repetition or commas; also read from "
        f"${KEYS_VARIABLE} and --api-key-file; '{PUBLISHED_KEY}' if none is given anywhere; '' disables the check",
    )  # fmt: skip
    add("--host", "-H", default=d.host, help="address to listen on")
    add("--port", "-p", type=int, default=d.port, help="port to listen on; 0 takes a free one")
    add("--reload", action=YES_OR_NO, default=d.reload, help="restart when the code of p2l changes; needs --workers 1")
    add("--workers", type=int, default=d.workers, help="processes, each with the model in its memory")
    add("--cuda", action=YES_OR_NO, default=d.cuda, help="run on a GPU; without one, on the CPU with a warning")


def _add_model(group: "argparse._ArgumentGroup") -> None:
    d, add = Settings(), group.add_argument
    add("--api-key-file", metavar="FILE", help="file with one key a line; lines that start with # are comments")
    add("--dtype", choices=get_args(DTypeChoice), default=d.dtype,
        help="of the weights; auto: bfloat16, but float32 on a CPU without instructions for it")  # fmt: skip
    add("--quantization", choices=["8bit", "4bit"], help="weights in 8 or 4 bits (bitsandbytes); saves memory")
    add("--attn-implementation", choices=["eager", "sdpa", "flash_attention_2", "flash_attention_3"],
        help="None: sdpa; flash attention needs a GPU and its package")  # fmt: skip
    add("--backend", choices=get_args(Backend), default=d.backend,
        help="what computes encoders on a CPU: openvino (extra openvino) in the precision of --dtype, openvino-int8 in "
        "8 bits, which changes answers most; needs --no-cuda")  # fmt: skip
    add("--compile", action=YES_OR_NO, default=d.compile, help="torch.compile: faster, but ready a minute later")
    add("--threads", type=int, help="CPU threads of a worker's network; None: the cores shared by the workers")
    add("--lanes", type=int, help="batches that run side by side, each on its share of the threads; "
        "None: 2 on a CPU with two threads or more, else 1")  # fmt: skip
    add("--max-length", type=int, help="most tokens of a prompt, the left end is cut; None: as trained")
    add("--token-budget", type=int, help="most tokens in a batch, padding counted; None: 2048 on CPU, 16384 on GPU")


def _add_limits(group: "argparse._ArgumentGroup") -> None:
    d, add = Settings(), group.add_argument
    add("--max-queue", type=int, default=d.max_queue, help="prompts that may wait in a worker; over it, 429")
    add(
        "--max-queue-tokens",
        type=int,
        default=d.max_queue_tokens,
        help="tokens that may wait; over it, 429",
    )
    add("--timeout", type=float, default=d.timeout, help="seconds until a request without an answer gets 504")
    add("--max-body", type=int, default=d.max_body, help="bytes of a request; over it, 413")
    add("--max-turns", type=int, default=d.max_turns, help="user turns of a conversation; over it, 422")
    add("--max-prompts", type=int, default=d.max_prompts, help="prompts of a /v1/leaderboards call; over it, 422")
    add("--answer-cache", type=int, default=d.answer_cache, metavar="MIB",
        help="memory of a worker for answers, which equal prompts get again; 0: off")  # fmt: skip
    add("--prefix-cache", type=int, default=d.prefix_cache, metavar="MIB",
        help="memory of a worker for keys and values of conversations, which go on from there; 0: off")  # fmt: skip
    add("--log-prompts", action=YES_OR_NO, default=d.log_prompts, help="write the prompts to the log")


def read_options(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> Settings:
    """Parse a command line. Raises ConfigError, with the option, if a value is out of range."""
    values = vars(parser().parse_args(arguments))
    options, file = values.pop("api_key"), values.pop("api_key_file")
    del values["model_type"]
    keys = read_keys(options or (), file, environment)
    if not keys and options is None:
        keys = [PUBLISHED_KEY]
    settings = Settings(**values, keys=tuple(keys))
    if keys in ([], [PUBLISHED_KEY]) and not is_loopback(settings.host):
        what = "the key is the published default" if keys else "no key is required"
        log.warning("%s: anybody who reaches %s can use this server; give --api-key", what, settings.host)
    return settings
