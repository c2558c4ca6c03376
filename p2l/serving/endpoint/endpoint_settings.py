"""The settings of one server, which the supervisor passes to its workers as JSON."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from p2l.errors import ConfigError
from p2l.options import check_choice
from p2l.types import Backend

PUBLISHED_MODEL = "p2el/Qwen2.5-7B-Instruct-rk-full-train"
PUBLISHED_KEY = "-"
CPU_TOKEN_BUDGET, GPU_TOKEN_BUDGET = 2048, 16384

DTypeChoice = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Settings:
    """The options of ``python -m p2l.endpoint``, where each is described."""

    model_path: str = PUBLISHED_MODEL
    head_type: str | None = None
    loss_type: str | None = None
    keys: tuple[str, ...] = ()
    host: str = "0.0.0.0"
    port: int = 10250
    reload: bool = False
    workers: int = 1
    cuda: bool = True
    dtype: DTypeChoice = "auto"
    quantization: Literal["8bit", "4bit"] | None = None
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3"] | None = None
    compile: bool = False
    backend: Backend = "torch"
    threads: int | None = None
    lanes: int | None = None
    max_length: int | None = None
    token_budget: int | None = None
    max_queue: int = 512
    max_queue_tokens: int = 262_144
    timeout: float = 60.0
    max_body: int = 1 << 20
    max_turns: int = 1000
    max_prompts: int = 256
    answer_cache: int = 64
    prefix_cache: int = 256
    log_prompts: bool = False

    def __post_init__(self) -> None:
        positive = (
            "workers",
            "threads",
            "lanes",
            "token_budget",
            "max_queue",
            "max_queue_tokens",
            "timeout",
            "max_body",
            "max_turns",
            "max_prompts",
        )
        for name in positive:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"--{name.replace('_', '-')} must be positive and finite; got {value}")
        for name in ("answer_cache", "prefix_cache"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name.replace('_', '-')} is in MiB, 0 turns it off; got {getattr(self, name)}")
        check_choice("--backend", self.backend, get_args(Backend))
        if self.backend != "torch" and (self.compile or self.quantization):
            option = "--compile" if self.compile else "--quantization"
            raise ConfigError(f"--backend {self.backend} computes without {option}; leave one of them out")
        if self.reload and self.workers > 1:
            raise ConfigError(f"--reload works with one worker; got --workers {self.workers}")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port must lie between 0 and 65535; got {self.port}")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        values = json.loads(text)
        return cls(**{**values, "keys": tuple(values["keys"])})
