"""The examples in docstrings give what they show."""

import doctest
from importlib import import_module

import pytest

from p2l.models import Checkpoint
from tests.running import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "p2l").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tiny_checkpoint: Checkpoint) -> None:
    module = import_module(name)
    examples = [
        test
        for test in doctest.DocTestFinder().find(module, extraglobs={"checkpoint": tiny_checkpoint})
        if test.examples
    ]
    assert examples
    for example in examples:
        shown: list[str] = []
        failures, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=shown.append)
        assert not failures, "".join(shown)
