"""Pause Python's search for cycles while a table is read."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the search of this process: rows have no cycles, and to look at each new list and dict costs a third more.

    Objects are still freed when nothing refers to them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
