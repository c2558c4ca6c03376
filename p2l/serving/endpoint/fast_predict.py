"""A short way for the requests that come thousands of times a second: around the framework's layers.

They cost more than all the rest of a small model's request. Only a request that is beyond doubt takes the short way;
any other goes to the app behind, which says what is wrong with it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.endpoint.error_handlers import HANDLERS
from p2l.serving.http.api_keys import ApiKeys
from p2l.serving.http.request_guard import App, Message, Receive, Send

Body = TypeVar("Body", bound=BaseModel)


class Shortcut(Generic[Body]):
    """ASGI middleware: answers POST requests to one path itself if key and body are sound.

    Args:
        app: answers everything else.
        path: of the requests in question.
        keys: one of them must come in the header ``api-key``.
        schema: of the body.
        answer: makes the response; its errors are told as the app tells them.
    """

    def __init__(
        self,
        app: App,
        path: str,
        keys: ApiKeys[bool],
        schema: type[Body],
        answer: Callable[[Body, Receive], Awaitable[Response]],
    ) -> None:
        self._app, self._path, self._keys, self._schema, self._answer = app, path, keys, schema, answer
        self._route = SimpleNamespace(path=path)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope.get("path") != self._path or scope.get("method") != "POST" or not self._lets_in(scope["headers"]):
            await self._app(scope, receive, send)
            return
        message = await receive()
        body = self._read(message)
        if body is None:
            await self._app(scope, _again(message, receive), send)
            return
        scope["route"] = self._route
        try:
            response = await self._answer(body, receive)
        except tuple(HANDLERS) as error:
            handler = next(handler for kind, handler in HANDLERS.items() if isinstance(error, kind))
            response = await handler(Request(scope), error)
        await response(scope, receive, send)

    def _lets_in(self, headers: list[tuple[bytes, bytes]]) -> bool:
        sent = [value for name, value in headers if name == b"api-key"]
        return self._keys.is_empty or (len(sent) == 1 and bool(self._keys.owner(sent[0])))

    def _read(self, message: Message) -> Body | None:
        if message["type"] != "http.request" or message.get("more_body"):
            return None
        try:
            return self._schema.model_validate_json(message.get("body", b""))
        except ValidationError:
            return None


def _again(message: Message, receive: Receive) -> Receive:
    """A ``receive`` that gives a message that was read once more, then what follows it."""
    first = [message]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay
