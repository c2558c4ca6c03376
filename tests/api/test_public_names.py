"""``p2l`` offers its names lazily: to a person at a prompt, to a program that starts fast, and to a type checker."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import p2l
from tests.running import ROOT


def test_every_public_name_is_listed_and_found() -> None:
    assert set(p2l.__all__) == set(dir(p2l))
    for name in p2l.__all__:
        assert getattr(p2l, name) is getattr(p2l, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'p2l' has no attribute 'leader'"):
        p2l.leader  # noqa: B018


def test_type_checkers_see_what_is_listed() -> None:
    tree = ast.parse((Path(p2l.__file__)).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in guarded.body for alias in node.names}  # type: ignore[attr-defined]
    assert seen == {name: module for module, names in p2l._NAMES_OF_MODULE.items() for name in names}
    assert {*seen, "__version__"} == set(p2l.__all__)


def test_importing_p2l_alone_brings_no_library() -> None:
    program = "import sys, p2l; dir(p2l); print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
