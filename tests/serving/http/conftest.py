"""Both servers as the tests of each start them."""

from tests.serving.router.conftest import start

__all__ = ["start"]
