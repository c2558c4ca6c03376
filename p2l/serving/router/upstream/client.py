"""The pooled HTTP client for all upstream calls: models, scores, embeddings.

aiohttp, by measurement: on loopback, through a bare server, it carries 8,100 requests/s at 64 connections; httpx 620.
"""

import asyncio
import io
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import aiohttp

from p2l.serving.http.api_error import invalid
from p2l.serving.http.json_text import dump_json
from p2l.serving.router.accounts.answer_tally import ReportUsage
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.config.server_config import CallConfig
from p2l.serving.router.router_logs import log
from p2l.serving.router.tracing import inject
from p2l.serving.router.upstream.error_responses import error_of_response
from p2l.serving.router.upstream.lenient_json import loads
from p2l.serving.router.upstream.reported_errors import error_in_answer
from p2l.serving.router.upstream.stream_reader import read_stream
from p2l.serving.router.upstream.upstream_request import Provider, UpstreamRequest
from p2l.serving.router.upstream_error import UpstreamError, malformed, timed_out
from p2l.unicode_text import without_surrogates

_LARGE_BODY = 1 << 18  # bytes; a larger body is written in pieces, so that other requests proceed between them
_DRAIN_SECONDS = 0.2
OnHeaders = Callable[[Mapping[str, str]], None]
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class _Socket(socket.socket):
    """A socket that is closed when nobody holds it: aiohttp loses it if the connection fails between the connecting of
    the socket and the making of its transport."""

    def __del__(self) -> None:
        self.close()


def _make_socket(address: tuple[int, int, int, str, object]) -> socket.socket:
    family, kind, protocol, *_ = address
    return _Socket(family, kind, protocol)


class UpstreamClient:
    """Sends requests to upstreams. Create it inside the event loop that uses it."""

    def __init__(self) -> None:
        uses_proxy = any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, socket_factory=_make_socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=uses_proxy,
            auto_decompress=True,
            read_bufsize=1 << 18,
        )

    async def close(self) -> None:
        await self._session.close()

    async def post(
        self,
        request: UpstreamRequest,
        calls: CallConfig,
        seconds: float,
        secrets: tuple[str, ...] = (),
        on_headers: OnHeaders | None = None,
    ) -> Any:
        """Return the parsed JSON answer; UpstreamError for any failure, a reported one too, or after ``seconds``.

        ``on_headers`` gets the headers of an answer with status 200.
        """
        answer = _parse(await _read_body(self._send(request, _timeout(calls, seconds)), secrets, on_headers))
        if error := error_in_answer(answer, secrets):
            raise error
        return answer

    async def complete(
        self,
        request: UpstreamRequest,
        provider: Provider,
        calls: CallConfig,
        seconds: float,
        secrets: tuple[str, ...] = (),
    ) -> JSON:
        """Return a model's whole answer; UpstreamError for any failure, or after ``seconds``."""
        pending = self._send(request, _timeout(calls, seconds))
        return read_completion(await _read_body(pending, secrets), provider, secrets)

    async def stream(
        self,
        request: UpstreamRequest,
        provider: Provider,
        calls: CallConfig,
        report_usage: ReportUsage,
        secrets: tuple[str, ...] = (),
    ) -> AsyncGenerator[JSON, None]:
        """Yield the chunks of a stream; UpstreamError if it fails, is silent too long, or ends before the answer.

        ``report_usage`` gets what the provider reports outside the chunks.
        """
        try:
            async with await _open(self._send(request, _timeout(calls, None))) as response:
                if response.status != 200:
                    raise error_of_response(response.status, response.headers, await response.read(), secrets)
                if response.content_type == "application/json":
                    for chunk in _chunks(await response.read(), provider, report_usage, secrets):
                        yield chunk
                    return
                pieces, parser = response.content.iter_any(), provider.stream_parser()
                async with aclosing(read_stream(pieces, parser, secrets, request.num_choices, report_usage)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                await _drain(response)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise _connection_error(error) from None

    async def fetch(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        seconds: float,
        secrets: tuple[str, ...] = (),
        on_headers: OnHeaders | None = None,
    ) -> Any:
        """Return the parsed JSON answer of a request without body: GET or DELETE; the rest as for ``post``."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        response = self._session.request(method, url, headers=headers, timeout=timeout, allow_redirects=False)
        return _parse(await _read_body(response, secrets, on_headers))

    def _send(self, request: UpstreamRequest, timeout: aiohttp.ClientTimeout) -> Any:
        headers = {"content-type": "application/json", **request.headers}
        inject(headers)
        try:
            body = dump_json(request.body)
        except ValueError:
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


async def _read_body(
    pending: Awaitable[aiohttp.ClientResponse], secrets: tuple[str, ...], on_headers: OnHeaders | None = None
) -> bytes:
    try:
        async with await _open(pending) as response:
            body = await response.read()
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise _connection_error(error) from None
    if response.status != 200:
        raise error_of_response(response.status, response.headers, body, secrets)
    if on_headers is not None:
        on_headers(response.headers)
    return body


def _parse(body: bytes) -> Any:
    payload, strict = _load(body)
    return payload if strict else without_surrogates(payload)


def _load(body: bytes) -> tuple[Any, bool]:
    try:
        return loads(body)
    except ValueError:
        raise malformed("an answer that is not JSON") from None


def read_completion(body: bytes, provider: Provider, secrets: tuple[str, ...]) -> JSON:
    """Return the checked answer in a body; UpstreamError if it reports an error or is malformed."""
    payload, strict = _load(body)
    try:
        return _checked(payload, strict, provider, secrets)
    except UpstreamError as error:
        with suppress(KeyError, TypeError, AttributeError, ValueError):  # no usage, or in no known form
            error.usage = provider.usage_of(payload)
        raise


def _checked(payload: Any, strict: bool, provider: Provider, secrets: tuple[str, ...]) -> JSON:
    if error := error_in_answer(payload if strict else without_surrogates(payload), secrets):
        raise error
    if not isinstance(payload, dict):
        raise malformed("an answer that is not an object")
    try:
        completion = provider.parse_completion(payload)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise malformed("an answer that is not in its form") from None
    return completion if strict else without_surrogates(completion)


def _chunks(body: bytes, provider: Provider, report_usage: ReportUsage, secrets: tuple[str, ...]) -> Iterator[JSON]:
    """Return the chunks of a whole answer to a request for a stream, which some servers ignore."""
    completion = read_completion(body, provider, secrets)
    report_usage(completion.get("usage"), "all")
    if provider.chunks_of is None:
        raise malformed("a whole answer instead of a stream")
    return provider.chunks_of(completion)


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
