"""Carry signed thoughts in reasoning items of the Responses API, as their encrypted content.

A client sends the items back as they are. What is in them is the vendor's own signed text, which the vendor checks.
"""

import base64
import binascii

from p2l.serving.http.json_text import dump_json, load_json
from p2l.serving.router.chat_request import JSON
from p2l.serving.router.upstream.thoughts import is_thinking_block

ROUTER_REASONING = "rs_p2l_"
"""Begins the id of each reasoning item that the router makes: OpenAI's API knows none of them."""

_SEAL = "p2l1."


def seal(blocks: list[JSON]) -> str:
    """Return signed blocks of thinking as one text."""
    return _SEAL + base64.urlsafe_b64encode(dump_json(blocks)).decode()


def unseal(text: object) -> list[JSON] | None:
    """Return the blocks in a sealed text; None if the router did not seal it."""
    if not isinstance(text, str) or not text.startswith(_SEAL):
        return None
    try:
        blocks = load_json(base64.b64decode(text.removeprefix(_SEAL), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        return None
    return blocks if isinstance(blocks, list) and all(map(is_thinking_block, blocks)) else None


def is_routers_reasoning(item: object) -> bool:
    """Return whether an input item is reasoning that the router made of another provider's thoughts."""
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    return str(item.get("id")).startswith(ROUTER_REASONING)
