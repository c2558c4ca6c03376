"""Clusters: deterministic, and defined for any prompts."""

import numpy as np
import pytest

from p2l.errors import ConfigError
from tests.insight.rankings import needs_extra

cluster_prompts = pytest.importorskip("p2l.insight.clusters", reason="needs the extra insight").cluster_prompts
pytestmark = needs_extra


def blobs(sizes: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Draw ``counts`` vectors around one direction each."""
    rng = np.random.default_rng(seed)
    parts = [5 * np.eye(8)[i] + 0.3 * rng.normal(size=(size, 8)) for i, size in enumerate(sizes)]
    return np.concatenate(parts).astype(np.float32)


TEXTS = ["court judge law"] * 30 + ["genes cells"] * 20 + ["证明定理"] * 14


def test_planted_clusters_are_found_named_and_numbered_by_size() -> None:
    clusters = cluster_prompts(TEXTS, blobs((30, 20, 14)))
    assert [len(group.rows) for group in clusters.groups()] == [30, 20, 14]
    assert [set(name.split(", ")) & {"court", "cells", "证明"} for name in clusters.names] == [
        {"court"},
        {"cells"},
        {"证明"},
    ]
    assert clusters.labels.tolist() == [0] * 30 + [1] * 20 + [2] * 14
    assert sorted(clusters.examples[1].tolist()) == list(range(30, 50))
    assert clusters.positions.shape == (64, 2)


def test_one_seed_gives_one_answer() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    first, again = (cluster_prompts([f"word{i % 7}" for i in range(60)], vectors, seed=3) for _ in range(2))
    assert first.names == again.names
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.positions, again.positions)


@pytest.mark.parametrize("texts", [["only one"], ["a", "b", "c"], ["同样", "同样"], ["{}", ";", ""], ["same"] * 40])
def test_few_or_equal_prompts_are_one_cluster(texts) -> None:
    vectors = blobs((1,) * len(texts)) if len(texts) < 9 and len(set(texts)) > 1 else blobs((1,)).repeat(len(texts), 0)
    clusters = cluster_prompts(texts, vectors)
    assert set(clusters.labels) == {0} and len(clusters.names) == 1 and clusters.names[0]
    assert np.isfinite(clusters.positions).all()


def test_clusters_of_one_name_are_told_apart() -> None:
    names = cluster_prompts(["x = 1"] * 20, blobs((10, 10)), num_clusters=2).names
    assert len(set(names)) == 2


@pytest.mark.parametrize("number", [0, 4])
def test_as_many_clusters_as_there_are_different_prompts_at_most(number) -> None:
    with pytest.raises(ConfigError, match=f"num_clusters={number}, but there are 3 different prompts"):
        cluster_prompts(["a", "b", "c"], blobs((1, 1, 1)), num_clusters=number)
    assert len(cluster_prompts(["a", "b", "c"], blobs((1, 1, 1)), num_clusters=3).names) == 3
