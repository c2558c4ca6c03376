"""``/v1/responses/{id}``: responses that a provider stores, reached through the model that made them."""

from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import ApiError, invalid
from p2l.serving.http.request_response import header_text, json_response
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.upstream.providers import openai_chat
from p2l.serving.router.upstream_error import UpstreamError


async def stored_response(request: Request) -> Response:
    """Fetch or delete a response of this key, or list its input items."""
    container, config, key = await authenticate(request, count=True)
    if request.path_params.get("part", "input_items") != "input_items":
        raise ApiError(404, "of a response this router has its input_items", "not_found")
    if request.query_params.get("stream", "false").lower() not in ("false", "0", ""):
        raise invalid("stream: a kept response is sent whole; leave it out", "stream", "unsupported")
    name = container.responses.model(key.name, request.path_params["id"])
    model = config.model_configs.get(name) if name is not None else None
    if name is None or model is None or not model.capabilities.responses or not key.may_use(name):
        raise _not_found("this router knows of no such response for this key")
    try:
        response = await container.upstream_client.fetch(
            request.method, _url(request, model), openai_chat.headers(model), config.calls.total_timeout, config.secrets
        )
    except UpstreamError as error:
        if error.reason == "http_404":
            raise _not_found("the model's provider keeps no such response any more") from None
        raise error.to_api_error() from None
    return json_response(response, headers={"x-p2l-model": header_text(name)})


def _url(request: Request, model: ModelConfig) -> str:
    part = f"/{request.path_params['part']}" if "part" in request.path_params else ""
    query = f"?{urlencode(request.query_params.multi_items())}" if request.query_params else ""
    return openai_chat.endpoint(model, f"/responses/{quote(request.path_params['id'], safe='')}{part}{query}")


def _not_found(message: str) -> ApiError:
    return ApiError(404, message, "response_not_found")
