"""Corrections for many tests, by hand."""

import numpy as np
import pytest

from p2l.statistics.multiple_testing import benjamini_hochberg, bonferroni_level


def test_benjamini_hochberg_by_the_example_of_the_paper() -> None:
    """Benjamini and Hochberg 1995, section 4.1: of these 15, four are rejected at 0.05."""
    paper = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    paper += [0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    assert benjamini_hochberg(np.array(paper), 0.05).tolist() == [True] * 4 + [False] * 11
    assert benjamini_hochberg(np.array([np.nan, 0.001]), 0.05).tolist() == [False, True]
    assert benjamini_hochberg(np.zeros(0), 0.05).tolist() == []


def test_bonferroni_shares_out_the_error() -> None:
    assert bonferroni_level(0.95, 1) == pytest.approx(0.95)
    assert bonferroni_level(0.95, 10) == pytest.approx(0.995)
