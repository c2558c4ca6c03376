"""The options of the router's command line."""

from dataclasses import dataclass, field
from pathlib import Path

from p2l.routing.cost_optimizer import Optimizer
from p2l.types import Backend

DEFAULT_KEY = "-"


@dataclass(frozen=True)
class RouterOptions:
    """Options that hold for the life of the process.

    Attributes:
        config: YAML file of the configuration.
        router_type: published name of the scorer; not used with ``router_model_path``.
        router_model_name: for the log.
        router_model_endpoint: URL of a P2L endpoint, and ``router_api_key`` its key.
        router_model_path: checkpoint to score with in this process, and ``router_model_backend`` what computes it.
        cost_optimizer: how a budget is met.
        api_key: client key if the configuration has none.
        state: SQLite file that workers share; None: memory.
        feedback: SQLite file or PostgreSQL URL of decisions and votes; None: no feedback.
        store_prompts: whether decisions keep their prompts.
        max_body: most bytes of a request's body.
        ignore_model: whether a configured name in ``model`` is routed like any other.
        score_cache: MiB of scores that a worker keeps; 0: none, nor beginnings of conversations.
        score_cache_seconds: how long to keep the scores of an endpoint that does not name its model; 0: not at all.
        watch: seconds between looks at the configuration file.
    """

    config: Path
    router_type: str = "random"
    router_model_name: str | None = None
    router_model_endpoint: str | None = None
    router_model_path: str | None = None
    router_model_backend: Backend = "torch"
    router_api_key: str = "-"
    cost_optimizer: Optimizer = "simple-lp"
    api_key: str = DEFAULT_KEY
    state: Path | None = None
    feedback: str | None = field(default=None, repr=False)  # a URL may hold a password
    store_prompts: bool = False
    max_body: int = 32 << 20
    ignore_model: bool = False
    score_cache: int = 16
    score_cache_seconds: float = 0.0
    watch: float = 1.0
