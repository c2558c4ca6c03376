"""``/v1/models``: the names of the router, then the models that the key may use.

A request with ``anthropic-version`` gets Anthropic's form.
"""

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.request_response import json_response
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.eligibility import unknown_model

_CREATED = 1735689600  # clients require a time
_CREATED_AT = "2025-01-01T00:00:00Z"  # the same


async def list_models(request: Request) -> Response:
    """Return all of them, on one page."""
    _, config, key = await authenticate(request, count=False)
    data = [_render(request, *entry) for entry in _names_and_owners(config, key)]
    if not _is_anthropic(request):
        return json_response({"object": "list", "data": data})
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return json_response({"data": data, "has_more": False, "first_id": first, "last_id": last})


async def retrieve_model(request: Request) -> Response:
    """Return one of them; ApiError 404 if there is none of that name."""
    _, config, key = await authenticate(request, count=False)
    owners, asked = dict(_names_and_owners(config, key)), request.path_params["name"]
    if asked not in owners:
        raise unknown_model("model", asked, owners)
    return json_response(_render(request, asked, owners[asked]))


def _names_and_owners(config: ServerConfig, key: KeyConfig) -> list[tuple[str, str]]:
    aliases = [(alias, "p2l") for alias in config.router.aliases]
    models = [(name, model.type) for name, model in config.model_configs.items() if key.may_use(name)]
    return [*aliases, *models, *((name, model.type) for name, model in config.embedding_configs.items())]


def _is_anthropic(request: Request) -> bool:
    return "anthropic-version" in request.headers


def _render(request: Request, name: str, owner: str) -> dict[str, object]:
    if _is_anthropic(request):
        return {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": _CREATED_AT,
            "lifecycle": "active",
        }
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": owner}
