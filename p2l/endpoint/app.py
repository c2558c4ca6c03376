"""The HTTP interface, made of plain values."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

import p2l
from p2l.data.prompts import Prompt
from p2l.endpoint.batcher import ForwardError, OverloadedError, TimedOutError
from p2l.endpoint.gate import App, Gate
from p2l.endpoint.keys import Keys
from p2l.endpoint.leaderboards import LeaderboardView, UnknownModelError
from p2l.endpoint.metrics import CONTENT_TYPE
from p2l.endpoint.schemas import (
    LeaderboardsRequest,
    LeaderboardsResponse,
    ModelsResponse,
    PredictRequest,
    PredictResponse,
    Problem,
)
from p2l.endpoint.service import NotReadyError, Service
from p2l.errors import PromptError

log = logging.getLogger(__name__)

T = TypeVar("T")

CLIENT_LEFT = 499
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


class ClientLeftError(Exception):
    """Nobody reads the answer."""


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
    _add_scoring(app, service, Keys(keys), _Checked(limits, log_prompts))
    _add_monitoring(app, service)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return Gate(app, service.metrics, limits.body_bytes)


def _add_scoring(app: FastAPI, service: Service, keys: Keys, check: "_Checked") -> None:
    async def check_key(api_key: Annotated[str, Header(description="One of the server's keys.")]) -> None:
        if not keys.accept(api_key.encode("latin-1")):
            raise HTTPException(403, "Unauthorized")

    guards = [] if keys.open else [Depends(check_key)]

    @app.get("/models", dependencies=guards, responses=_only(403, 422, 503), tags=["published"])
    async def models() -> ModelsResponse:
        """The models that the leaderboards rank."""
        return ModelsResponse(models=list(service.batcher.predictor.models))

    @app.post("/predict", dependencies=guards, response_model=PredictResponse, responses=_REFUSALS, tags=["published"])
    async def predict(body: PredictRequest, request: Request) -> Response:
        """The coefficients of one prompt: the user's turns of one conversation."""
        check([body.prompt])
        ranking = await _unless_client_leaves(request, service.batcher.rank([body.prompt]))
        eta = None if ranking.eta is None else float(ranking.eta[0])
        return _json({"coefs": ranking.coefs[0].numpy(), "eta": eta})

    @app.post(
        "/v1/leaderboards", dependencies=guards, response_model=LeaderboardsResponse, responses=_REFUSALS, tags=["v1"]
    )
    async def leaderboards(body: LeaderboardsRequest, request: Request) -> Response:
        """The leaderboards of many prompts, by name."""
        check(body.prompts)
        predictor = service.batcher.predictor
        view = LeaderboardView(body, predictor.models, predictor.family)
        rankings = await _unless_client_leaves(request, service.batcher.rank(body.prompts))
        # a long answer takes milliseconds to put together
        shown = await asyncio.to_thread(view.show, rankings)
        return _json({"family": predictor.family.name, "leaderboards": shown})


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


async def _unless_client_leaves(request: Request, work: Awaitable[T]) -> T:
    """The result of ``work``, which is cancelled if the client closes its connection first."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())  # the body was read: what comes now is the end
    gone.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise ClientLeftError from None
        raise
    finally:
        gone.cancel()


def _only(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: _REFUSALS[code] for code in codes}


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, headers, media_type="application/json")


def _problem(status: int) -> Callable[[Request, Any], Awaitable[Response]]:
    async def handler(request: Request, error: Exception) -> Response:
        return _json({"detail": str(error)}, status)

    return handler


async def _say_invalid(request: Request, error: RequestValidationError) -> Response:
    """The first faults, each with its place; not the input itself, as FastAPI has it."""
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3]]
    left = len(error.errors()) - len(faults)
    return _json({"detail": "; ".join(faults) + (f"; and {left} more" if left else "")}, 422)


async def _say_http(request: Request, error: HTTPException) -> Response:
    detail = "the body is not JSON in UTF-8" if error.status_code == 400 else error.detail
    return _json({"detail": detail}, error.status_code, dict(error.headers or {}))


async def _say_overloaded(request: Request, error: OverloadedError) -> Response:
    return _json({"detail": str(error)}, 429, {"retry-after": str(error.retry_after)})


async def _say_not_ready(request: Request, error: NotReadyError) -> Response:
    return _json({"detail": str(error)}, 503, {"retry-after": "5"})


async def _say_nothing(request: Request, error: ClientLeftError) -> Response:
    return Response(status_code=CLIENT_LEFT)


_HANDLERS: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
    RequestValidationError: _say_invalid,
    StarletteHTTPException: _say_http,
    PromptError: _problem(422),
    UnknownModelError: _problem(422),
    ForwardError: _problem(500),
    TimedOutError: _problem(504),
    OverloadedError: _say_overloaded,
    NotReadyError: _say_not_ready,
    ClientLeftError: _say_nothing,
}
