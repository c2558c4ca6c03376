"""The HTTP interface, made of plain values."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response

import p2l
from p2l.data.prompt_encoder import Prompt
from p2l.errors import PromptError
from p2l.serving.endpoint.endpoint_metrics import CONTENT_TYPE
from p2l.serving.endpoint.error_handlers import HANDLERS, in_json
from p2l.serving.endpoint.fast_predict import Shortcut
from p2l.serving.endpoint.leaderboard_view import LeaderboardView
from p2l.serving.endpoint.schemas import (
    LeaderboardsRequest,
    LeaderboardsResponse,
    ModelsResponse,
    PredictRequest,
    PredictResponse,
    Problem,
)
from p2l.serving.endpoint.scoring_service import Service
from p2l.serving.http.api_keys import ApiKeys
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.request_guard import App, Gate, Receive

log = logging.getLogger(__name__)

TITLE = "P2L endpoint"
DESCRIPTION = "Prompt in, leaderboard of LLMs out: coefficients for each model, in nats."
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not JSON in UTF-8"},
    403: {"model": Problem, "description": "Wrong key"},
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Problem, "description": "The key is missing, or the body is not what it should be"},
    429: {"model": Problem, "description": "Too much is waiting; see Retry-After"},
    500: {"model": Problem, "description": "The network cannot rank this prompt"},
    503: {"model": Problem, "description": "The model is being loaded; see Retry-After"},
    504: {"model": Problem, "description": "No answer in time"},
}


@dataclass(frozen=True)
class InputLimits:
    """What one request may hold.

    Attributes:
        body_bytes: size of its body.
        turns: user turns of a conversation.
        prompts: prompts of a ``/v1/leaderboards`` call.
    """

    body_bytes: int = 1 << 20
    turns: int = 1000
    prompts: int = 256


def create_app(
    service: Service, *, keys: Sequence[str] = (), limits: InputLimits | None = None, log_prompts: bool = False
) -> App:
    """The endpoint around a service, which may still be loading its model.

    Args:
        service: ranks, and counts.
        keys: any one of them must come in the header ``api-key``; with none, everybody is let in.
        limits: of what a request may hold.
        log_prompts: write their text to the log, which otherwise never holds it.
    """
    limits = limits or InputLimits()
    app = FastAPI(title=TITLE, description=DESCRIPTION, version=p2l.__version__, strict_content_type=False)
    known, predict = ApiKeys(dict.fromkeys(keys, True)), _Predict(service, _Checked(limits, log_prompts))
    _add_scoring(app, service, known, predict)
    _add_monitoring(app, service)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return Gate(Shortcut(app, "/predict", known, PredictRequest, predict), service.metrics, limits.body_bytes)


def _add_scoring(app: FastAPI, service: Service, keys: ApiKeys[bool], predict_one: "_Predict") -> None:
    async def check_key(api_key: Annotated[str, Header(description="One of the server's keys.")]) -> None:
        if not keys.owner(api_key.encode("latin-1")):
            raise HTTPException(403, "Unauthorized")

    guards = [] if keys.is_empty else [Depends(check_key)]

    @app.get("/models", dependencies=guards, responses=_only(403, 422, 503), tags=["published"])
    async def models() -> ModelsResponse:
        """The models that the leaderboards rank."""
        return ModelsResponse(models=list(service.batcher.predictor.models))

    @app.post("/predict", dependencies=guards, response_model=PredictResponse, responses=_REFUSALS, tags=["published"])
    async def predict(body: PredictRequest, request: Request) -> Response:
        """The coefficients of one prompt: the user's turns of one conversation."""
        return await predict_one(body, request.receive)

    @app.post(
        "/v1/leaderboards", dependencies=guards, response_model=LeaderboardsResponse, responses=_REFUSALS, tags=["v1"]
    )
    async def leaderboards(body: LeaderboardsRequest, request: Request) -> Response:
        """The leaderboards of many prompts, by name."""
        predict_one.check(body.prompts)
        predictor = service.batcher.predictor
        view = LeaderboardView(body, predictor.models, predictor.family)
        rankings = await run_until_disconnect(request.receive, service.batcher.rank(body.prompts))
        # a long answer takes milliseconds to put together
        shown = await asyncio.to_thread(view.show, rankings)
        return in_json({"family": predictor.family.name, "leaderboards": shown})


def _add_monitoring(app: FastAPI, service: Service) -> None:
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
    """``/predict``, once its body is known to be sound."""

    service: Service
    check: "_Checked"

    async def __call__(self, body: PredictRequest, receive: Receive) -> Response:
        self.check([body.prompt])
        ranking = await run_until_disconnect(receive, self.service.batcher.rank([body.prompt]))
        eta = None if ranking.eta is None else float(ranking.eta[0])
        return in_json({"coefs": ranking.coefs[0].numpy(), "eta": eta})


@dataclass(frozen=True)
class _Checked:
    """Looks at the prompts of a request before they are ranked."""

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
    return {code: _REFUSALS[code] for code in codes}
