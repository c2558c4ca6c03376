"""Rank prompts: by a P2L endpoint, at random, or by a P2L model in this process (``model_scorer``)."""

import logging
from contextlib import suppress
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import orjson
from jaxtyping import Float32

from p2l.cost_facts import CostFacts
from p2l.errors import ConfigError, P2LError
from p2l.head_posterior import HeadPosterior
from p2l.outcomes import BT, FAMILIES, GRK, OutcomeFamily
from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.http.model_header import list_of, model_of
from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.router_logs import event
from p2l.serving.router.selection.score_cache import ScoreCache, prompt_key
from p2l.serving.router.selection.shared_calls import SharedCalls
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.upstream_request import UpstreamRequest, url_of
from p2l.serving.router.upstream_error import UpstreamError
from p2l.types import Backend, Ranking

_CALLS = CallConfig(connect_timeout=2.0, read_timeout=10.0)
# limits of a P2L endpoint by default; a model of 8192 tokens reads at most this many characters
MODEL_CHANGED = "model_changed"  # reason: the ranking is not of the models that were listed
_MAX_TURNS, _MAX_CHARACTERS, _MAX_BYTES = 1000, 1 << 18, (1 << 20) - 1024
_LARGEST = float(np.finfo(np.float32).max)


@runtime_checkable
class PromptScorer(Protocol):
    """Ranks the models on a prompt.

    Attributes:
        family: outcome family of the ranking.
        cost_facts: of the costs in the ranking; None: there are none, or the models are not known yet.
        posterior: that reads the states in the ranking; None: there are none.
    """

    family: OutcomeFamily
    cost_facts: CostFacts | None
    posterior: HeadPosterior | None

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
    cost_facts: CostFacts | None = None
    posterior: HeadPosterior | None = None

    def __init__(self, seed: int | None) -> None:
        self._rng = np.random.default_rng(seed)

    async def models(self) -> tuple[str, ...]:
        return ()

    async def score(self, turns: tuple[str, ...], names: tuple[str, ...]) -> Ranking:
        return Ranking(self._rng.random(len(names), dtype=np.float32), None)

    async def close(self) -> None:
        pass


class EndpointScorer:
    """Calls a P2L endpoint (``p2l endpoint``) in its published format.

    ``family``: that of the router type; once the endpoint has told its own, that. Prompts with the same turns at the
    same time, or later if ``cache`` keeps them, are one request.
    """

    posterior: HeadPosterior | None = None  # an endpoint does not send states

    def __init__(self, client: UpstreamClient, url: str, key: str, family: OutcomeFamily, cache: ScoreCache) -> None:
        self.family = self._asked = family
        self.cost_facts: CostFacts | None = None
        self._warned = False
        self._client = client
        self._url = url
        self._headers = {"api-key": key}
        self._names: tuple[str, ...] | None = None
        self._names_identity: str | None = None
        self._cache = cache
        self._calls: SharedCalls[Ranking] = SharedCalls()

    async def models(self) -> tuple[str, ...]:
        return await self._read_models() if self._names is None else self._names

    async def _read_models(self) -> tuple[str, ...]:
        headers: dict[str, str] = {}
        try:
            found = await self._client.fetch(
                "GET", url_of(self._url, "/models"), self._headers, 10.0, on_headers=headers.update
            )
        except UpstreamError as error:
            error.client_fault = False  # the list does not depend on the request
            raise
        names = found.get("models") if isinstance(found, dict) else None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise UpstreamError("malformed", "the P2L endpoint sent no list of models")
        self._check_family(found.get("family"))
        self.cost_facts = _cost_facts(found.get("costs"))
        self._names, self._names_identity = tuple(names), model_of(headers)
        self._cache.note(self._names_identity)
        return self._names

    def _check_family(self, told: object) -> None:
        """Raise UpstreamError if the endpoint's family is scored otherwise than --router-type says.

        A published endpoint does not tell its family.
        """
        if told is None:
            if not self._warned:
                event("the endpoint does not tell its family: --router-type is taken for it", level=logging.WARNING)
            self._warned = True
            return
        family = FAMILIES.get(told) if isinstance(told, str) else None
        if family is None or family.shift_invariant != self._asked.shift_invariant:
            wanted = "bt-endpoint" if family is None or family.shift_invariant else "grk-endpoint"
            fields = {"family": str(told)[:64], "expected": f"--router-type {wanted}"}
            event("the endpoint's family is not that of --router-type", fields, level=logging.ERROR)
            raise UpstreamError("wrong_family", "the P2L endpoint does not fit --router-type", retryable=False)
        self.family = family

    async def score(self, turns: tuple[str, ...], names: tuple[str, ...]) -> Ranking:
        sent = truncate_turns(turns)
        if not self._cache.max_bytes:
            return await self._ask(sent, names)
        key = prompt_key(sent, names)
        if self._cache.needs_check(key):
            with suppress(UpstreamError):  # then the prompt is scored again, which tells why
                await self._read_models()
        if (kept := self._cache.find(key)) is not None:
            self._cache.count("cache")
            return kept
        self._cache.count("shared" if key in self._calls else "endpoint")
        return await self._calls.get(key, partial(self._ask, sent, names, key))

    async def _ask(self, turns: list[str], names: tuple[str, ...], key: bytes | None = None) -> Ranking:
        """Return the endpoint's ranking, and keep it under ``key``."""
        headers: dict[str, str] = {}
        request = UpstreamRequest(url_of(self._url, "/predict"), self._headers, {"prompt": turns})
        post = partial(self._client.post, request, _CALLS, _CALLS.read_timeout, on_headers=headers.update)
        try:
            payload = await post()
        except UpstreamError as error:
            if error.reason not in ("connection", "http_502", "http_503"):
                raise
            payload = await post()  # one of its workers may have died
        identity = model_of(headers)
        self._cache.note(identity)
        if list_of(identity) != list_of(self._names_identity):
            self._names = None
            raise UpstreamError(MODEL_CHANGED, "the P2L endpoint now serves another model")
        ranking = self._ranking(payload, len(names))
        if key is not None:
            self._cache.keep(key, ranking, identity)
        return ranking

    def _ranking(self, payload: object, num_models: int) -> Ranking:
        payload = payload if isinstance(payload, dict) else {}
        coefs, eta = payload.get("coefs"), payload.get("eta")
        if not isinstance(coefs, list) or not all(_is_number(coef) for coef in coefs):
            raise UpstreamError("malformed", "the P2L endpoint sent no coefficients")
        if len(coefs) != num_models:
            self._names = None  # it may have restarted with another model
            raise UpstreamError("malformed", "the P2L endpoint sent coefficients of other models than it lists")
        # float32: what the endpoint computed in
        found = np.array(coefs, dtype=np.float32)
        costs = self._costs(payload, num_models)
        if not self.family.num_eta:
            return Ranking(found, None, costs)
        known_eta = eta if _is_number(eta) else 0.0  # published endpoints send null for 0
        return Ranking(found, np.array(known_eta, dtype=np.float32), costs)

    def _costs(self, payload: dict[str, object], num_models: int) -> Float32[np.ndarray, " models"] | None:
        """Return the predicted costs, NaN for a model without one; None if the endpoint has not announced costs."""
        if self.cost_facts is None:
            return None
        costs = payload.get("costs")
        if not isinstance(costs, list) or len(costs) != num_models or not all(map(_is_cost, costs)):
            self._names = None  # it may have restarted with another model
            raise UpstreamError("malformed", "the P2L endpoint sent no costs of the models that it lists")
        return np.array([np.nan if cost is None else cost for cost in costs], dtype=np.float32)

    async def close(self) -> None:
        pass


def make_scorer(
    kind: str,
    client: UpstreamClient,
    *,
    url: str | None,
    key: str,
    path: str | None,
    seed: int | None,
    cache: ScoreCache,
    backend: Backend = "torch",
) -> PromptScorer:
    """Return the scorer of a published router type, or of a checkpoint's path, which ``backend`` computes.

    ``cache``: of an endpoint's scores.
    """
    if path is not None:
        from p2l.serving.router.selection.model_scorer import ModelScorer  # with the packages of models

        return ModelScorer.load(path, cache.max_bytes, backend)
    if kind == "random":
        return RandomScorer(seed)
    if kind not in ("bt-endpoint", "grk-endpoint", "bag-endpoint"):
        raise ConfigError(f"unknown router type {kind!r}; known: random, bt-endpoint, grk-endpoint, bag-endpoint")
    if url is None:
        raise ConfigError(f"the router type {kind} needs --router-model-endpoint or --router-model-path")
    return EndpointScorer(client, url, key, BT if kind == "bt-endpoint" else GRK, cache)


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


def _cost_facts(told: object) -> CostFacts | None:
    """Return the facts about predicted costs that an endpoint sends; UpstreamError if it cannot be read."""
    if told is None:
        return None
    try:
        return CostFacts.of(told)
    except P2LError as error:
        event("the endpoint's predicted costs cannot be read", {"reason": str(error)}, level=logging.ERROR)
        raise UpstreamError("malformed", "the P2L endpoint sent no readable costs") from None


def _is_cost(value: object) -> bool:
    return value is None or (_is_number(value) and value > 0)  # type: ignore[operator]


def _is_number(value: object) -> bool:
    """Return whether it is a number that float32 holds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST
