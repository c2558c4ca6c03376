"""A page in the browser: type a prompt, see its leaderboard (needs the extra ``ui``, but only where it is shown)."""

from p2l.explorer.prices import Prices
from p2l.explorer.session import Controls, Explorer, RankedPrompt, read_prompt

__all__ = ["Controls", "Explorer", "Prices", "RankedPrompt", "read_prompt"]
