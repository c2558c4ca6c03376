"""Build the parts of a server from its settings, for the worker process and the Ray deployment."""

import logging

import torch
from fastapi import FastAPI

from p2l.models import load_checkpoint
from p2l.models.backbone import DTypeName
from p2l.models.predictor import Predictor
from p2l.processor import has_bfloat16
from p2l.serving.batching.batcher import CacheSizes, QueueLimits
from p2l.serving.endpoint.endpoint_app import InputLimits, create_app
from p2l.serving.endpoint.endpoint_settings import CPU_TOKEN_BUDGET, GPU_TOKEN_BUDGET, DTypeChoice, Settings
from p2l.serving.endpoint.scoring_service import ScoringService
from p2l.serving.http.request_limits import RequestLimits

log = logging.getLogger(__name__)


def make_service(settings: Settings, device: str) -> ScoringService:
    """Return a service whose model is not loaded yet."""
    budget = settings.token_budget or (CPU_TOKEN_BUDGET if device == "cpu" else GPU_TOKEN_BUDGET)
    limits = QueueLimits(settings.max_queue, settings.max_queue_tokens, settings.timeout)
    caches = CacheSizes(settings.answer_cache << 20, settings.prefix_cache << 20)
    lanes = settings.lanes or choose_lanes(device)
    return ScoringService(limits=limits, token_budget=budget, lanes=lanes, caches=caches)


def make_app(settings: Settings, service: ScoringService) -> FastAPI:
    """Return the HTTP application of a service."""
    return create_app(
        service,
        keys=settings.keys,
        limits=InputLimits(settings.max_turns, settings.max_prompts),
        request_limits=request_limits(settings),
        log_prompts=settings.log_prompts,
    )


def request_limits(settings: Settings) -> RequestLimits:
    """Return the limits of a request's headers and body."""
    return RequestLimits(body_bytes=settings.max_body)


def load_predictor(settings: Settings, device: str) -> Predictor:
    """Load the checkpoint of the settings."""
    checkpoint = load_checkpoint(
        settings.model_path,
        head_type=settings.head_type,
        loss_type=settings.loss_type,
        max_length=settings.max_length,
        dtype=choose_dtype(settings.dtype, device),
        attn_implementation=settings.attn_implementation,
        quantization=settings.quantization,
    )
    return Predictor(checkpoint, device=device, compiled=settings.compile, backend=settings.backend)


def choose_device(cuda: bool) -> str:
    """Return "cuda" if a GPU is wanted and available, else "cpu"; warns if a GPU is wanted but missing."""
    if cuda and not torch.cuda.is_available():
        log.warning("no GPU found: running on the CPU, which suits small models; --no-cuda silences this warning")
    return "cuda" if cuda and torch.cuda.is_available() else "cpu"


def choose_lanes(device: str) -> int:
    """Return 2 on a CPU with two threads or more, else 1: a GPU runs one batch after the other."""
    return 2 if device == "cpu" and torch.get_num_threads() > 1 else 1


def choose_dtype(dtype: DTypeChoice, device: str) -> DTypeName:
    """Resolve ``auto``: bfloat16, as published, but float32 on a CPU without instructions for bfloat16."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if device != "cpu" or has_bfloat16() else "float32"
