"""The explorer, a page in the browser: type a prompt, see its leaderboard. ``page`` needs the extra ``ui``."""

from p2l.explorer.prices import Prices
from p2l.explorer.session import Controls, Explorer, RankedPrompt, read_prompt

__all__ = ["Controls", "Explorer", "Prices", "RankedPrompt", "read_prompt"]
