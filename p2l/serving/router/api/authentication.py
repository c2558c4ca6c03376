"""The parts that a handler needs: the container, the configuration of the moment, and the client's key."""

from functools import partial

from starlette.requests import Request

from p2l.serving.router.config.key_config import KeyConfig
from p2l.serving.router.config.server_config import ServerConfig
from p2l.serving.router.container import RouterContainer
from p2l.serving.router.storage.locked_files import when_unlocked


async def authenticate(request: Request, *, count: bool) -> tuple[RouterContainer, ServerConfig, KeyConfig]:
    """Return container, configuration and key; ApiError 401 without a known key.

    ``count``: count the request toward the key's rate; ApiError 429 above it.
    """
    container: RouterContainer = request.app.state.container
    snapshot = container.snapshot
    key = container.authenticate(snapshot, request)
    if count:
        await when_unlocked(partial(container.ledger.count_request, key))
    return container, snapshot.config, key
