"""Answer valid ``/predict`` requests without FastAPI's layers.

With a small model these layers cost more than the rest of the request. Only a request that is valid beyond doubt takes
the shortcut; the app answers every other one and says what is wrong with it.
"""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2l.serving.endpoint.error_handlers import HANDLERS
from p2l.serving.http.api_keys import ApiKeys
from p2l.serving.http.guess_limiter import GuessLimiter

Body = TypeVar("Body", bound=BaseModel)


class Shortcut(Generic[Body]):
    """ASGI middleware that answers POST requests to one path itself if key and body are valid.

    Args:
        app: answers all other requests.
        path: of the requests that may take the shortcut.
        keys: one of them must come in the header ``api-key``.
        guesses: slows wrong keys down.
        schema: of the body.
        answer: makes the response; its errors are rendered as the app renders them.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        keys: ApiKeys[bool],
        guesses: GuessLimiter,
        schema: type[Body],
        answer: Callable[[Body, Receive], Awaitable[Response]],
    ) -> None:
        self._app, self._path, self._schema, self._answer = app, path, schema, answer
        self._keys, self._guesses = keys, guesses
        self._route = SimpleNamespace(path=path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_ours = scope.get("path") == self._path and scope.get("method") == "POST"
        if not is_ours or not self._has_key(scope):
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route
        message = await receive()
        body = self._parse(message)
        if body is None:
            await self._app(scope, _replay(message, receive), send)
            return
        try:
            response = await self._answer(body, receive)
        except tuple(HANDLERS) as error:
            handler = next(handler for kind, handler in HANDLERS.items() if isinstance(error, kind))
            response = await handler(Request(scope), error)
        await response(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        """Return whether the key is right; the app checks a wrong one again, and counts it."""
        sent = [value for name, value in scope["headers"] if name == b"api-key"]
        if self._keys.is_empty:
            return True
        address = (scope.get("client") or ("",))[0]
        return len(sent) == 1 and self._guesses.accepts(self._keys, sent[0], address)

    def _parse(self, message: Message) -> Body | None:
        """Parse the message of the guard, which holds the whole body; None if the app has to look at it."""
        if message["type"] != "http.request" or message.get("more_body"):
            return None
        try:
            return self._schema.model_validate_json(message.get("body", b""))
        except ValidationError:
            return None


def _replay(message: Message, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a message that was already read, then what follows it."""
    read = [message]

    async def replay() -> Message:
        return read.pop() if read else await receive()

    return replay
