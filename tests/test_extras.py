"""Missing packages are named with the command that installs them."""

import pytest

from p2l.errors import ConfigError
from p2l.extras import check_modules


def test_a_missing_module_is_named_with_its_extra() -> None:
    check_modules(("json", "numpy"), "the router", "serve")
    with pytest.raises(ConfigError, match=r"the router needs no_such_module: run pip install -e '\.\[serve\]'"):
        check_modules(("json", "no_such_module"), "the router", "serve")
