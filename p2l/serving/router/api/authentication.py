"""The parts that a handler needs: the container, the configuration of the moment, and the client's key."""

from starlette.requests import Request

from p2l.serving.router.config.server_config import KeyConfig, ServerConfig
from p2l.serving.router.container import RouterContainer


def authenticate(request: Request, *, count: bool) -> tuple[RouterContainer, ServerConfig, KeyConfig]:
    """Return container, configuration and key; ApiError 401 or 403 without a known key.

    ``count``: count the request toward the key's rate; ApiError 429 above it.
    """
    container: RouterContainer = request.app.state.container
    snapshot = container.snapshot
    key = snapshot.keys.authenticate_bearer(request.headers)
    if count:
        container.ledger.count_request(key)
    return container, snapshot.config, key
