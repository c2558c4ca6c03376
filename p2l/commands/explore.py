"""Serve the explorer page of a checkpoint."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from p2l.composition.config_objects import make
from p2l.errors import ConfigError
from p2l.explorer.prices import Prices
from p2l.extras import missing_extra
from p2l.models import Checkpoint
from p2l.models.predictor import Predictor, fastest_device
from p2l.options import check_count, check_number
from p2l.types import Backend


@dataclass(frozen=True)
class ExplorerJob:
    """Serve a page at ``http://host:port`` until the process is interrupted.

    Attributes:
        host: 127.0.0.1 serves this machine alone, 0.0.0.0 the whole network.
        port: None takes the first free port from 7860 on.
        prices: LLM -> dollars per million input and output tokens; without it the page shows no costs.
        output_tokens: tokens of an answer, for its cost.
        device: of the model; None takes a GPU if there is one.
        backend: what computes the model, see ``Predictor``; other than torch on the CPU.
    """

    host: str = "127.0.0.1"
    port: int | None = 7860
    prices: Mapping[str, Any] | None = None
    output_tokens: float = 500.0
    device: str | None = None
    backend: Backend = "torch"

    def __post_init__(self) -> None:
        check_number("output_tokens", self.output_tokens, least=0)
        if self.port is not None:
            check_count("port", self.port, least=0, most=65535)

    def run(self, checkpoint: Checkpoint) -> None:
        """Show the page; ``ConfigError`` without Gradio, if prices are unusable, or if the port is taken."""
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio's library would report that it was started
        try:
            from p2l.explorer.page import build_page, serve
        except ImportError as error:
            raise ConfigError(f"the explorer needs Gradio: {missing_extra('ui')} ({error})") from error
        prices = Prices(self.prices, self.output_tokens) if self.prices else None
        device = self.device or fastest_device(self.backend)
        page = build_page(Predictor(checkpoint, device=device, backend=self.backend), prices)
        serve(page, self.host, self.port)


def run(cfg: DictConfig) -> None:
    job = make(cfg.job)
    job.run(make(cfg.checkpoint))
