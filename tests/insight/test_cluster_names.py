"""Words of prompts in any script, and the names that c-TF-IDF makes of them."""

import sys

import numpy as np
import pytest

from p2l.errors import ConfigError
from tests.insight.rankings import needs_extra

names = pytest.importorskip("p2l.insight.cluster_names", reason="needs the extra insight")
NO_WORDS, name_clusters, words_of = names.NO_WORDS, names.name_clusters, names.words_of
pytestmark = needs_extra

PROMPTS = ["the court and the judge", "a judge in court", "cells and genes", "the genes of a cell", "x"]
LABELS = np.array([0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The COURT heard 12 witnesses", ["court", "heard", "witnesses"]),
        ("证明勾股定理", ["证明", "明勾", "勾股", "股定", "定理"]),
        ("用 Python 写", ["用", "python", "写"]),
        ("докажите теорему", ["докажите", "теорему"]),
        ("what is it?", ["what", "is", "it"]),
        ("{ } ; 1 + 2", ["{", "}", ";", "1", "+", "2"]),
        ("snake_case_letters", ["snake", "case", "letters"]),
        (" \n", [NO_WORDS]),
        ("", [NO_WORDS]),
    ],
)
def test_words(text, words) -> None:
    assert words_of(text) == words


def test_names_are_the_words_of_one_cluster_and_the_same_every_time() -> None:
    court, genes = name_clusters(PROMPTS, LABELS, 2)
    assert set(court) == {"court", "judge"} and genes[0] == "genes"
    assert name_clusters(PROMPTS, LABELS, 2) == [court, genes]


def test_forms_of_one_word_name_a_cluster_once_and_first_words_differ() -> None:
    texts = ["mutation mutations gene", "mutation mutations gene", "mutation other", "mutation other"]
    first, other = name_clusters(texts, np.array([0, 0, 1, 1]), 2)
    assert sum(word.startswith("mutat") for word in first) == 1
    assert first[0] != other[0]


def test_one_word_names_all() -> None:
    assert name_clusters(["same", "same"], np.array([0, 1]), 2) == [["same"], ["same"]]


def test_without_bertopic_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "bertopic.vectorizers", None)
    with pytest.raises(ConfigError, match=r"need BERTopic: run pip install -e '\.\[insight\]'"):
        name_clusters(PROMPTS, LABELS, 2)
