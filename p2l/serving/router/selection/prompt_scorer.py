"""Rank prompts: by a P2L endpoint, by a P2L model in this process, or at random."""

import asyncio
import math
from typing import Protocol, runtime_checkable

import numpy as np
import orjson
import torch

from p2l.errors import CheckpointError, ConfigError, P2LError
from p2l.models import is_p2l_checkpoint, load_checkpoint, local_folder
from p2l.models.predictor import Predictor
from p2l.outcomes import BT, GRK, OutcomeFamily
from p2l.serving.batching.batcher import Batcher, OverloadedError
from p2l.serving.endpoint.build_endpoint import choose_lanes
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError
from p2l.types import Ranking

_CALLS = CallConfig(connect_timeout=2.0, read_timeout=10.0)
# limits of a P2L endpoint by default; a model of 8192 tokens reads at most this many characters
_MAX_TURNS, _MAX_CHARACTERS, _MAX_BYTES = 1000, 1 << 18, (1 << 20) - 1024


@runtime_checkable
class PromptScorer(Protocol):
    """Ranks the models on a prompt. ``family``: outcome family of the ranking."""

    family: OutcomeFamily

    async def models(self) -> tuple[str, ...]:
        """Return the models in the order of the coefficients; empty if any models will do.

        Raises UpstreamError if they are not known yet.
        """

    async def score(self, turns: tuple[str, ...], names: tuple[str, ...]) -> Ranking:
        """Return the ranking of these models on one prompt; UpstreamError if it fails."""

    async def close(self) -> None: ...


class RandomScorer:
    """Draws coefficients uniformly, for debugging."""

    family = BT

    def __init__(self, seed: int | None) -> None:
        self._rng = np.random.default_rng(seed)

    async def models(self) -> tuple[str, ...]:
        return ()

    async def score(self, turns: tuple[str, ...], names: tuple[str, ...]) -> Ranking:
        return Ranking(torch.from_numpy(self._rng.random(len(names), dtype=np.float32)), None)

    async def close(self) -> None:
        pass


class EndpointScorer:
    """Calls a P2L endpoint (``python -m p2l.endpoint``) in its published format."""

    def __init__(self, client: UpstreamClient, url: str, key: str, family: OutcomeFamily) -> None:
        self.family = family
        self._client = client
        self._url = url.rstrip("/")
        self._headers = {"api-key": key}
        self._names: tuple[str, ...] | None = None

    async def models(self) -> tuple[str, ...]:
        if self._names is None:
            try:
                found = await self._client.fetch("GET", f"{self._url}/models", self._headers, 10.0)
            except UpstreamError as error:
                error.client_fault = False  # the list does not depend on the request
                raise
            names = found.get("models") if isinstance(found, dict) else None
            if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
                raise UpstreamError("malformed", "the P2L endpoint sent no list of models")
            self._names = tuple(names)
        return self._names

    async def score(self, turns: tuple[str, ...], names: tuple[str, ...]) -> Ranking:
        request = UpstreamRequest(f"{self._url}/predict", self._headers, {"prompt": truncate_turns(turns)})
        try:
            payload = await self._client.post(request, _CALLS, _CALLS.read_timeout)
        except UpstreamError as error:
            if error.reason not in ("connection", "http_502", "http_503"):
                raise
            payload = await self._client.post(request, _CALLS, _CALLS.read_timeout)  # one of its workers may have died
        return self._ranking(payload, len(names))

    def _ranking(self, payload: object, num_models: int) -> Ranking:
        coefs = payload.get("coefs") if isinstance(payload, dict) else None
        eta = payload.get("eta") if isinstance(payload, dict) else None
        if not isinstance(coefs, list) or not all(_is_finite(coef) for coef in coefs):
            raise UpstreamError("malformed", "the P2L endpoint sent no coefficients")
        if len(coefs) != num_models:
            self._names = None  # it may have restarted with another model
            raise UpstreamError("malformed", "the P2L endpoint sent coefficients of other models than it lists")
        if not self.family.num_eta:
            return Ranking(torch.tensor(coefs, dtype=torch.float32), None)
        known_eta = eta if _is_finite(eta) else 0.0  # published endpoints send null for 0
        return Ranking(torch.tensor(coefs, dtype=torch.float32), torch.tensor(known_eta, dtype=torch.float32))

    async def close(self) -> None:
        pass


class ModelScorer:
    """Runs a P2L model in this process; concurrent prompts share batches."""

    def __init__(self, predictor: Predictor) -> None:
        self.family = predictor.family
        self._names = tuple(predictor.models)
        self._batcher = Batcher(predictor, lanes=choose_lanes(predictor.device.type))

    @classmethod
    def load(cls, path: str) -> "ModelScorer":
        """Load the checkpoint in a folder or of a hub id, on a GPU if there is one."""
        return cls(Predictor(load_checkpoint(path), device="cuda" if torch.cuda.is_available() else "cpu"))

    async def models(self) -> tuple[str, ...]:
        return self._names

    async def score(self, turns: tuple[str, ...], names: tuple[str, ...]) -> Ranking:
        try:
            ranking = await self._batcher.rank([turns])
        except OverloadedError as error:
            raise UpstreamError("overloaded", str(error), status=503, retry_after=float(error.retry_after)) from None
        except P2LError as error:
            raise UpstreamError(type(error).__name__, "the prompt could not be scored") from None
        return ranking.map(lambda x: x[0])

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._batcher.close)


def check_checkpoint(path: str) -> None:
    """Raise CheckpointError if there is no P2L checkpoint at the path; download that of a hub id."""
    if not is_p2l_checkpoint(local_folder(path)):
        raise CheckpointError(f"--router-model-path: {path} is not a P2L checkpoint: it has no model_list.json")


def make_scorer(
    kind: str, client: UpstreamClient, *, url: str | None, key: str, path: str | None, seed: int | None
) -> PromptScorer:
    """Return the scorer of a published router type, or of a checkpoint's path."""
    if path is not None:
        return ModelScorer.load(path)
    if kind == "random":
        return RandomScorer(seed)
    if kind not in ("bt-endpoint", "grk-endpoint", "bag-endpoint"):
        raise ConfigError(f"unknown router type {kind!r}; known: random, bt-endpoint, grk-endpoint, bag-endpoint")
    if url is None:
        raise ConfigError(f"the router type {kind} needs --router-model-endpoint or --router-model-path")
    return EndpointScorer(client, url, key, BT if kind == "bt-endpoint" else GRK)


def truncate_turns(turns: tuple[str, ...]) -> list[str]:
    """Return the end of a conversation within the limits of a P2L endpoint, without NULs, which it rejects."""
    turns = tuple(turn.replace("\0", "") for turn in turns[-_MAX_TURNS:])
    room = _MAX_CHARACTERS
    while len(orjson.dumps(kept := _last_characters(turns, room))) > _MAX_BYTES:
        room //= 2
    return kept


def _last_characters(turns: tuple[str, ...], room: int) -> list[str]:
    kept = []
    for turn in reversed(turns):
        kept.append(turn[-room:])
        room -= len(turn)
        if room <= 0:
            break
    return kept[::-1]


def scoring_failed(error: UpstreamError) -> ApiError:
    """Return the error for the client if a prompt cannot be scored."""
    if error.client_fault:
        return invalid("the P2L endpoint does not take this prompt; send less text", "messages", "scoring_refused")
    return ApiError(503, "the prompt could not be scored; try again", "scoring_failed", headers={"retry-after": "1"})


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
