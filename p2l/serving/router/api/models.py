"""``/v1/models``: the names of the router, then the models that the key may use."""

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.request_response import json_response
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.selection.eligibility import unknown_model

_CREATED = 1735689600  # 2025-01-01; clients require a time


async def list_models(request: Request) -> Response:
    """Return all of them."""
    _, config, key = await authenticate(request, count=False)
    return json_response({"object": "list", "data": [_render(*entry) for entry in _names_and_owners(config, key)]})


async def retrieve_model(request: Request) -> Response:
    """Return one of them; ApiError 404 if there is none of that name."""
    _, config, key = await authenticate(request, count=False)
    owners, asked = dict(_names_and_owners(config, key)), request.path_params["name"]
    if asked not in owners:
        raise unknown_model("model", asked, owners)
    return json_response(_render(asked, owners[asked]))


def _names_and_owners(config: ServerConfig, key: KeyConfig) -> list[tuple[str, str]]:
    aliases = [(alias, "p2l") for alias in config.router.aliases]
    models = [(name, model.type) for name, model in config.model_configs.items() if key.may_use(name)]
    return [*aliases, *models, *((name, model.type) for name, model in config.embedding_configs.items())]


def _render(name: str, owner: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": owner}
