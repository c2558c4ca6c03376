"""Write results of tools for servers that take text alone in them: OpenAI's, and those that follow it."""

from collections.abc import Iterator

from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.providers.openai_messages import parts_of

FAILED = "The tool reported an error:"
_SHOWN_BELOW = "(in the next message of the user)"


def with_plain_results(messages: list[JSON]) -> list[JSON]:
    """Return the history with errors of tools told in text, and their images and files in a message that follows.

    That message comes after the last result of a turn: OpenAI wants the results of all calls together.
    """
    return list(_plain(messages))


def _plain(messages: list[JSON]) -> Iterator[JSON]:
    shown: list[JSON] = []
    for message in messages:
        if message["role"] != "tool":
            if shown:
                yield {"role": "user", "content": shown}
                shown = []
            yield message
            continue
        content = message["content"]
        media = [part for part in content if part["type"] != "text"] if isinstance(content, list) else []
        if media:
            shown += [{"type": "text", "text": f"From the result of {message['tool_call_id']}:"}, *media]
        yield _result(message, has_media=bool(media)) if media or message.get("is_error") else message
    if shown:
        yield {"role": "user", "content": shown}


def _result(message: JSON, *, has_media: bool) -> JSON:
    texts = [part for part in parts_of(message) if part["type"] == "text"]
    heading = [{"type": "text", "text": FAILED}] if message.get("is_error") else []
    below = [{"type": "text", "text": _SHOWN_BELOW}] if has_media else []
    rest = {name: value for name, value in message.items() if name not in ("content", "is_error")}
    parts = [*heading, *texts, *below]
    is_plain = all(part.keys() == {"type", "text"} for part in parts)
    return {**rest, "content": "\n".join(part["text"] for part in parts) if is_plain else parts}
