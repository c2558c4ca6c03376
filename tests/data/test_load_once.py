"""One pass over a table gives what a second validation of its valid rows gives."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from p2l.data.vote_table import VoteTable, validate_votes
from p2l.errors import DataError

PROMPTS = ["hi", ["hi"], ["hi", "more"], "", [], None, float("nan"), 7, ["hi", None], [{"role": "user"}], {"a": 1}, " "]
ROWS = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(PROMPTS),
        "model_a": st.sampled_from(["ant", "bee", "cow", None]),
        "model_b": st.sampled_from(["ant", "bee", "cow", " "]),
        "winner": st.sampled_from(["model_a", "model_b", "tie", "tie (bothbad)", "?", None]),
    }
)


@settings(max_examples=100)
@given(st.lists(ROWS, min_size=1, max_size=30))
def test_valid_rows_alone_give_the_same_table(rows: list[dict[str, object]]) -> None:
    try:
        kept, report = validate_votes(pd.DataFrame(rows), max_skipped_share=1.0)
    except DataError:
        return
    table = VoteTable.from_frame(kept)
    assert report.kept == len(table) == len(kept)
    expected = [p if isinstance(p, list) else [p] for p in kept["prompt"]]
    assert [list(table.prompts[i]) for i in table.prompt_index] == expected
    assert list(table.prompts) == list(dict.fromkeys(tuple(turns) for turns in expected))
    named = [(table.models[a], table.models[b]) for a, b in zip(table.model_a, table.model_b, strict=True)]
    assert named == list(zip(kept["model_a"], kept["model_b"], strict=True))
    assert table.models == tuple(sorted({*kept["model_a"], *kept["model_b"]}))
