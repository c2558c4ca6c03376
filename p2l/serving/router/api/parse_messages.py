"""Parse a request of Anthropic's Messages API: check what the router reads, and view it as a chat."""

from dataclasses import replace

from starlette.datastructures import Headers

from p2l.serving.http.api_error import invalid
from p2l.serving.router.api.chat_of_messages import view_as_chat
from p2l.serving.router.api.parse_chat import parse_chat_request
from p2l.serving.router.chat_request import JSON, ChatRequest, reject_forbidden_fields
from p2l.serving.router.upstream.providers.anthropic_request import VERSION

_VERSION, _WORKSPACE = "anthropic-version", "anthropic-workspace-id"
_VERSIONS = (VERSION, "2026-10-21")  # which differ in what a request may hold, not in the form of an answer
_PASSED_ON = ("anthropic-beta", "anthropic-user-profile-id")


def parse_messages_request(
    body: JSON, headers: Headers, session_from_user: bool = False, *, answers: bool = True
) -> ChatRequest:
    """Return the request in a JSON body; ApiError 400 names the field that is wrong.

    Args:
        body: not changed.
        headers: those of Anthropic are passed on to it; ``x-p2l-session`` names the session.
        session_from_user: whether ``metadata.user_id`` names the session if the header does not.
        answers: whether an answer is asked for, which needs ``max_tokens``; its tokens can be counted without.
    """
    reject_forbidden_fields(body)
    if answers and body.get("max_tokens") is None:
        raise invalid("max_tokens: expected a whole number of 1 or more; it is missing", "max_tokens")
    passed_on = _headers(headers)
    view = view_as_chat(body)
    request = parse_chat_request(view.body, headers, session_from_user)
    return replace(
        request,
        api="messages",
        body={name: value for name, value in body.items() if name not in ("cost", "direct_model")},
        include_usage=True,
        untranslated=view.lost | (passed_on.keys() - {_VERSION}),
        headers=passed_on,
    )


def _headers(headers: Headers) -> dict[str, str]:
    """Return the headers for Anthropic; ApiError 400 for a version of another form, or what selects an account."""
    if _WORKSPACE in headers:
        raise invalid(f"the header {_WORKSPACE} is not accepted: accounts are set by the router", _WORKSPACE)
    version = headers.get(_VERSION, VERSION)
    if version not in _VERSIONS:
        raise invalid(f"{_VERSION}: expected {' or '.join(_VERSIONS)}; got {version[:64]!r}", _VERSION)
    given = {name: ",".join(headers.getlist(name)) for name in _PASSED_ON}
    return {_VERSION: version, **{name: value for name, value in given.items() if value}}
