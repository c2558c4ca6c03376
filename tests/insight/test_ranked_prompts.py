"""Prompts with rankings, from a checkpoint or from the table of a prediction job."""

import json

import numpy as np
import pandas as pd
import pytest

from p2l.errors import CheckpointError, DataError
from p2l.insight.embeddings import embed
from p2l.insight.ranked_prompts import Columns, align, rank_table, read_rankings
from p2l.models import Checkpoint
from p2l.models.hidden_states import rank_with_hidden_states
from p2l.models.predictor import predict
from p2l.outcomes import BT, GRK

PROMPTS = ["hi", ["a", "b"], "hi", "what is 1+1?", "a longer prompt, with more words than the others have", "ü"]


def table(**columns: list) -> pd.DataFrame:
    return pd.DataFrame({"prompt": pd.Series(PROMPTS, dtype=object), **columns})


def predicted(checkpoint: Checkpoint, **changes: object) -> pd.DataFrame:
    """Return a table as scripts/predict.py hidden=true writes it."""
    rankings, hidden = rank_with_hidden_states(checkpoint, PROMPTS, token_budget=40)
    return table(
        **{
            "coefs": list(rankings.coefs.numpy()),
            "eta": rankings.eta.numpy(),
            "last_hidden_state": list(hidden.numpy()),
            **changes,
        }
    )


def test_each_distinct_prompt_is_ranked_once_as_predict_ranks_it(tiny_checkpoint) -> None:
    ranked = rank_table(table(), tiny_checkpoint, Columns(), embedding="hidden", token_budget=40)
    assert ranked.prompts == (("hi",), ("a", "b"), *((text,) for text in PROMPTS[3:]))
    expected = predict(tiny_checkpoint, list(ranked.prompts))
    np.testing.assert_allclose(ranked.rankings.coefs, expected.coefs, atol=1e-5)
    np.testing.assert_allclose(ranked.rankings.eta, expected.eta, atol=1e-5)
    assert ranked.embedding.shape == (5, 32) and ranked.texts()[1] == "a\n\nb"


def test_categories_keep_a_prompt_apart_and_may_be_lists_or_missing(tiny_checkpoint) -> None:
    frame = table(
        topic=["x", None, "y", "x", "", "x"], tags=[["p", "q"], [], ["p", "q"], np.array(["p"]), None, ["q", "q"]]
    )
    ranked = rank_table(frame, tiny_checkpoint, Columns(categories=("topic", "tags")))
    assert len(ranked) == 6 and ranked.embedding is None
    assert ranked.categories["topic"] == [("x",), (), ("y",), ("x",), (), ("x",)]
    assert ranked.categories["tags"] == [("p", "q"), (), ("p", "q"), ("p",), (), ("q",)]


def test_chats_lists_as_text_and_numbers_are_prompts(tiny_checkpoint) -> None:
    chat = [{"role": "Human", "content": "a"}, {"role": "assistant", "content": "b"}]
    frame = pd.DataFrame({"prompt": pd.Series([chat, json.dumps(chat), '["a", "c"]', 3], dtype=object)})
    assert rank_table(frame, tiny_checkpoint, Columns()).prompts == (("a",), ("a", "c"), ("3",))


def test_spaces_around_labels_do_not_make_another_group(tiny_checkpoint) -> None:
    frame = pd.DataFrame({"prompt": ["a", "a", "b", "c"], "topic": ["x", "x\u00a0", ["x ", " "], " "]})
    ranked = rank_table(frame, tiny_checkpoint, Columns(categories=("topic",)))
    assert ranked.prompts == (("a",), ("b",), ("c",))
    assert ranked.categories["topic"] == [("x",), ("x",), ()]


def test_rows_without_text_are_left_out_and_counted(tiny_checkpoint, caplog) -> None:
    frame = pd.DataFrame({"prompt": pd.Series(["hi", None, True, [], " ", ["", "\t"]], dtype=object)})
    assert len(rank_table(frame, tiny_checkpoint, Columns())) == 1
    assert "5 of 6 rows hold no prompt (row 1 first)" in caplog.text
    with pytest.raises(DataError, match="no row of column 'prompt' holds a prompt"):
        rank_table(frame.iloc[1:], tiny_checkpoint, Columns())


def test_predictions_read_back_are_those_of_the_checkpoint(tiny_checkpoint) -> None:
    read = read_rankings(predicted(tiny_checkpoint), tiny_checkpoint.models, GRK, Columns(), embedding="hidden")
    ranked = rank_table(table(), tiny_checkpoint, Columns(), embedding="hidden")
    assert read.prompts == ranked.prompts
    np.testing.assert_allclose(read.rankings.coefs, ranked.rankings.coefs, atol=1e-5)
    np.testing.assert_allclose(read.rankings.eta, ranked.rankings.eta, atol=1e-5)
    np.testing.assert_allclose(read.embedding, ranked.embedding, atol=1e-5)


NAN = float("nan")
BAD = {
    "NaN": ({"coefs": [[NAN, 0, 0, 0], *[[0.0] * 4] * 5]}, "rankings of 1 of 5 prompts hold NaN or infinity, prompt 0"),
    "nulls": (
        {"coefs": [None, *[[0.0] * 4] * 5]},
        "'coefs' must hold lists of numbers, of one length; found rows without",
    ),
    "lengths": ({"coefs": [[0.0], *[[0.0] * 4] * 5]}, r"of one length; found the lengths \[1, 4\]"),
    "words": ({"coefs": [["a"] * 4] * 6}, "'coefs' holds something other than numbers"),
    "other LLMs": ({"coefs": [[0.0] * 3] * 6}, "ranks 3 LLMs, but 4 are named"),
    "no eta": ({"eta": [None] * 6}, "hold NaN or infinity"),
    "eta of words": ({"eta": ["a"] * 6}, "'eta' holds something other than numbers"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_rankings_are_named(tiny_checkpoint, changes, message) -> None:
    with pytest.raises(DataError, match=message):
        read_rankings(predicted(tiny_checkpoint, **changes), tiny_checkpoint.models, GRK, Columns(), source="x.parquet")


def test_missing_columns_are_named(tiny_checkpoint) -> None:
    with pytest.raises(DataError, match=r"x\.csv has no column question, topic; give column= .* It has: prompt"):
        rank_table(table(), tiny_checkpoint, Columns("question", ("topic",)), source="x.csv")
    whole = predicted(tiny_checkpoint)
    for missing in ("eta", "last_hidden_state"):
        with pytest.raises(DataError, match=f"has no column {missing}; scripts/predict.py writes"):
            read_rankings(whole.drop(columns=missing), tiny_checkpoint.models, GRK, Columns(), embedding="hidden")


def test_rankings_of_the_same_prompts_are_aligned(tiny_checkpoint) -> None:
    ranked = rank_table(table(), tiny_checkpoint, Columns())
    other = rank_table(table().iloc[::-1], tiny_checkpoint, Columns())
    aligned = align(other, ranked)
    assert aligned.prompts == ranked.prompts
    np.testing.assert_allclose(aligned.rankings.coefs, ranked.rankings.coefs, atol=1e-5)
    with pytest.raises(DataError, match="lacks 3 of the 5 prompts, 'what is"):
        align(rank_table(table().iloc[:3], tiny_checkpoint, Columns()), ranked)
    with pytest.raises(DataError, match="the same LLMs in the same family"):
        align(read_rankings(predicted(tiny_checkpoint), tiny_checkpoint.models, BT, Columns()), ranked)


def test_a_sentence_encoder_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match="no model folder at ./nowhere"):
        embed("./nowhere", ["hi"], None, 100)
