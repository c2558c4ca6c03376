"""The texts of the user in a conversation."""

from p2l.serving.router.chat_request import JSON


def user_turns(messages: list[JSON]) -> tuple[str, ...]:
    """Return the text of each user message, its text parts joined by line ends; skip messages without text."""
    texts = (_text(message.get("content")) for message in messages if message.get("role") == "user")
    return tuple(text for text in texts if text)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if part.get("type") in ("text", "input_text"))
    return "\n".join(part for part in parts if isinstance(part, str))
