"""Groups of prompts by the labels of a column."""

import pytest

from p2l.errors import DataError
from p2l.insight.prompt_groups import category_groups


def test_categories_hold_one_label_several_or_none() -> None:
    groups = category_groups({"tag": [("math", "hard"), ("math",), (), ("code",)], "language": [("en",)] * 4})
    assert [(group.kind, group.name, group.rows.tolist()) for group in groups] == [
        ("tag", "code", [3]),
        ("tag", "hard", [0]),
        ("tag", "math", [0, 1]),
        ("language", "en", [0, 1, 2, 3]),
    ]
    with pytest.raises(DataError, match="'tag' holds no label in any row"):
        category_groups({"tag": [(), ()]})
