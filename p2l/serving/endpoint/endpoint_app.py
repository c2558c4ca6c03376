"""The endpoint's FastAPI application."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from starlette.types import Receive

import p2l
from p2l.data.prompt_encoder import Prompt
from p2l.errors import PromptError
from p2l.serving.endpoint.error_handlers import HANDLERS, detail_error
from p2l.serving.endpoint.leaderboard_view import LeaderboardView
from p2l.serving.endpoint.predict_shortcut import Shortcut
from p2l.serving.endpoint.ranking_service import Ranker, RankingService
from p2l.serving.endpoint.schemas import (
    LeaderboardsRequest,
    LeaderboardsResponse,
    ModelsResponse,
    PredictRequest,
    PredictResponse,
    Problem,
)
from p2l.serving.http.api_keys import ApiKeys
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.guess_limiter import GuessLimiter
from p2l.serving.http.model_header import MODEL_HEADER
from p2l.serving.http.prometheus import CONTENT_TYPE
from p2l.serving.http.request_guard import RequestGuard
from p2l.serving.http.request_limits import RequestLimits
from p2l.serving.http.request_response import json_response

log = logging.getLogger(__name__)
guard_log = logging.getLogger("p2l.endpoint")

TITLE = "P2L endpoint"
BODY_BYTES = 1 << 20
DESCRIPTION = "Prompt in, leaderboard of LLMs out: coefficients for each model, in nats."
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not JSON in UTF-8"},
    403: {"model": Problem, "description": "Wrong key"},
    408: {"model": Problem, "description": "The body took too long"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "The key is missing, or the body is not valid"},
    429: {"model": Problem, "description": "The queue is full, or too many wrong keys came; see Retry-After"},
    500: {"model": Problem, "description": "The network cannot rank this prompt"},
    503: {"model": Problem, "description": "The model is being loaded; see Retry-After"},
    504: {"model": Problem, "description": "No answer in time"},
}


@dataclass(frozen=True)
class InputLimits:
    """What the parsed body of one request may hold.

    Attributes:
        turns: most user turns of a conversation.
        prompts: most prompts of a ``/v1/leaderboards`` request.
    """

    turns: int = 1000
    prompts: int = 256


def create_app(
    service: RankingService[Ranker],
    *,
    keys: Sequence[str] = (),
    limits: InputLimits | None = None,
    request_limits: RequestLimits | None = None,
    log_prompts: bool = False,
) -> FastAPI:
    """Return the endpoint around a service, which may still be loading its model.

    Args:
        service: ranks prompts and counts requests.
        keys: clients send one of them in the header ``api-key``; without keys, no request needs one.
        limits: of the prompts in a request.
        request_limits: of headers and body; None: the defaults, with bodies of at most BODY_BYTES.
        log_prompts: write the text of prompts to the log, which otherwise never holds it.
    """
    app = FastAPI(title=TITLE, description=DESCRIPTION, version=p2l.__version__, strict_content_type=False)
    owners = ApiKeys(dict.fromkeys(keys, True))
    predict = _Predict(service, _CheckPrompts(limits or InputLimits(), log_prompts))
    guesses = GuessLimiter()
    _add_scoring(app, service, owners, guesses, predict)
    _add_monitoring(app, service)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Shortcut[PredictRequest], "/predict", owners, guesses, PredictRequest, predict)
    app.add_middleware(
        RequestGuard,
        limits=request_limits or RequestLimits(body_bytes=BODY_BYTES),
        render_error=lambda error, path: detail_error(error),
        observe=service.metrics.count_response,
        log=guard_log,
    )
    return app


def _add_scoring(
    app: FastAPI, service: RankingService[Ranker], keys: ApiKeys[bool], guesses: GuessLimiter, predict_one: "_Predict"
) -> None:
    async def check_key(
        request: Request, api_key: Annotated[str, Header(description="One of the server's keys.")]
    ) -> None:
        address = request.client.host if request.client is not None else ""
        if not guesses.owner(keys, api_key.encode("latin-1"), address):
            raise HTTPException(403, "Unauthorized")

    guards = [] if keys.is_empty else [Depends(check_key)]

    refused = _only(403, 422, 429, 503)

    @app.get("/models", dependencies=guards, response_model_exclude_none=True, responses=refused, tags=["published"])
    async def models(response: Response) -> ModelsResponse:
        """The models that the leaderboards rank."""
        predictor = service.batcher.predictor
        response.headers[MODEL_HEADER] = service.identity
        return ModelsResponse.of(predictor.models, predictor.family.name, predictor.cost_facts)

    @app.post("/predict", dependencies=guards, response_model=PredictResponse, responses=_ERRORS, tags=["published"])
    async def predict(body: PredictRequest, request: Request) -> Response:
        """The coefficients of one prompt: the user's turns of one conversation."""
        return await predict_one(body, request.receive)

    @app.post(
        "/v1/leaderboards", dependencies=guards, response_model=LeaderboardsResponse, responses=_ERRORS, tags=["v1"]
    )
    async def leaderboards(body: LeaderboardsRequest, request: Request) -> Response:
        """The leaderboards of many prompts, by name."""
        predict_one.check(body.prompts)
        view = LeaderboardView(body, service.batcher.predictor)
        rankings = await run_until_disconnect(request.receive, service.batcher.rank(body.prompts))
        # a long response takes milliseconds to build
        payload = await asyncio.to_thread(view.response, rankings)
        return json_response(payload, headers={MODEL_HEADER: service.identity})


def _add_monitoring(app: FastAPI, service: RankingService[Ranker]) -> None:
    @app.get("/health", tags=["monitoring"])
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "alive"}

    @app.get("/ready", responses=_only(503), tags=["monitoring"])
    async def ready() -> dict[str, str]:
        """The model is loaded and warm."""
        _ = service.batcher
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, tags=["monitoring"])
    async def metrics() -> Response:
        """Counters in the text format of Prometheus, of all workers."""
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE)


@dataclass(frozen=True)
class _Predict:
    """Answers ``/predict`` once its body is valid."""

    service: RankingService[Ranker]
    check: "_CheckPrompts"

    async def __call__(self, body: PredictRequest, receive: Receive) -> Response:
        self.check([body.prompt])
        ranking = await run_until_disconnect(receive, self.service.batcher.rank([body.prompt]))
        eta = None if ranking.eta is None else float(ranking.eta[0])
        payload = {"coefs": ranking.coefs[0].numpy(), "eta": eta}
        if ranking.costs is not None:
            payload["costs"] = ranking.costs[0].numpy()
        return json_response(payload, headers={MODEL_HEADER: self.service.identity})


@dataclass(frozen=True)
class _CheckPrompts:
    """Checks the prompts of a request against the limits, and logs them if the options ask for it."""

    limits: InputLimits
    log_prompts: bool

    def __call__(self, prompts: Sequence[Prompt]) -> None:
        if len(prompts) > self.limits.prompts:
            raise PromptError(f"a call may hold {self.limits.prompts} prompts; {len(prompts)} came")
        for prompt in prompts:
            if not isinstance(prompt, str) and len(prompt) > self.limits.turns:
                raise PromptError(f"a conversation may have {self.limits.turns} user turns; {len(prompt)} came")
        if self.log_prompts:
            log.info("prompts", extra={"fields": {"prompts": prompts}})


def _only(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: _ERRORS[code] for code in codes}
