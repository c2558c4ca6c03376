"""A connection that fails after its socket has connected leaves no descriptor open."""

import asyncio
import gc
import socket
import warnings
from typing import Any

import pytest

from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.upstream.client import UpstreamClient
from p2l.serving.router.upstream.upstream_request import UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError


async def fail_after_connecting(error: BaseException, port: int) -> list[int]:
    """Ask once, with a loop that makes no transport; return the descriptors that were connected."""
    loop, connected = asyncio.get_running_loop(), []

    async def no_transport(*args: Any, sock: socket.socket, **options: Any) -> Any:
        connected.append(sock.fileno())
        raise error

    client = UpstreamClient()
    loop.create_connection = no_transport  # type: ignore[method-assign]
    request = UpstreamRequest(f"http://127.0.0.1:{port}/v1/chat/completions", {}, {})
    try:
        with pytest.raises((UpstreamError, asyncio.CancelledError)):
            await client.post(request, CallConfig(), 5.0)
    finally:
        await client.close()
    return connected


@pytest.mark.parametrize(
    "error", [FileExistsError(17, "File exists"), ConnectionResetError(), asyncio.CancelledError()]
)
def test_a_socket_without_a_transport_is_closed(error: BaseException) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (descriptor,) = asyncio.run(fail_after_connecting(error, server.getsockname()[1]))
        error.__traceback__ = None
        gc.collect()
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(5)
            assert accepted.recv(1) == b""  # the client's end is closed
    assert descriptor > 0 and not [one for one in caught if issubclass(one.category, ResourceWarning)]
