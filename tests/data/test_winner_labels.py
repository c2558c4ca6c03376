"""Labels of winners: common spellings are read, other labels are an error that shows them."""

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from p2l.data.battle_table import load_battles
from p2l.data.vote_table import load_votes
from p2l.errors import ConfigError, DataError

SPELLINGS = {
    "Arena": ["model_a", "model_b", "tie", "tie (bothbad)"],
    "newer Arena": ["model_a", "model_b", "tie", "both_bad"],
    "spaces": ["model_a ", " model_b", "tie\n", "tie (both bad)"],
    "capitals": ["Model_A", "MODEL-B", "Tie", "Both Bad"],
    "letters": ["A", "b", "Draw", "BOTH_BAD"],
    "sides": ["left", "Right", "tied", "Tie (Both_Bad)"],
    "scores": [1, 0, 0.5],
    "text of scores": ["1", "0.0", ".5"],
    "names": ["gpt", "bard", "tie"],
}


def votes(winners: list[object], names: tuple[str, str] = ("gpt", "bard")) -> list[dict[str, object]]:
    return [{"prompt": "p", "model_a": names[0], "model_b": names[1], "winner": winner} for winner in winners]


@pytest.mark.parametrize("name", SPELLINGS)
def test_common_spellings_are_read(name: str) -> None:
    labels = SPELLINGS[name]
    for rows in (
        votes(labels),
        pd.DataFrame(votes(labels)),
        pd.DataFrame(votes(labels)).astype({"winner": "category"}),
    ):
        for table, report in (load_votes(rows), load_battles(rows)):
            assert table.outcome_shares.argmax(axis=1).tolist() == list(range(len(labels)))
            assert report.kept == len(labels)


def test_an_unknown_label_is_an_error_whatever_its_share() -> None:
    rows = votes(["model_a"] * 96 + ["neither"] * 3 + ["?"])
    for load in (load_votes, load_battles):
        with pytest.raises(
            DataError, match=r"4 of 100 rows: 'neither' 3, '\?' 1\. Known labels are model_a .*winner_map"
        ):
            load(rows)


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("Neither", "Neither"),
        ("2", "2"),
        ("none (of them)", r"none \(of them\)"),
        ("n/a: skipped", r"n/a\: skipped"),
    ],
)
def test_the_error_shows_a_map_of_the_labels_to_fill_in(label: str, key: str) -> None:
    """It suggests no outcome, which could be wrong."""
    rows = votes(["model_a"] * 6 + [label] * 2 + ["?"])
    with pytest.raises(DataError) as error:
        load_votes(rows)
    option = f"winner_map={{{key}: ..., ?: ...}}"
    assert f"both_bad or null (no vote): '{option}', in training 'data.winner_map=...'" in str(error.value)
    with pytest.raises(ConfigError, match=r"becomes '\.\.\.'; choose one of None, model_a"):
        load_votes(rows, winner_map=OverridesParser.create().parse_override(option).value())
    filled = OverridesParser.create().parse_override(option.replace("...", "both_bad")).value()
    table, _ = load_votes(rows, winner_map=filled)
    assert table.outcome_shares.argmax(axis=1).tolist() == [0] * 6 + [3, 3, 3]


def test_the_error_names_labels_that_no_option_can_hold() -> None:
    with pytest.raises(
        DataError, match=r"winner_map=\{meh: \.\.\.\}.*; no option can hold 'égalité': change the table"
    ):
        load_votes(votes(["model_a"] * 6 + ["égalité", "égalité", "meh"]))
    with pytest.raises(DataError, match='null \\(no vote\\); no option can hold "it\'s a draw": change the table'):
        load_votes(votes(["model_a"] * 6 + ["it's a draw"]))


def test_a_map_reads_the_rest() -> None:
    rows = votes(["first", "second", "same", "poor", "skipped", 2])
    outcomes = {
        "first": "model_a",
        "second": "model_b",
        "same": "tie",
        "poor": "both_bad",
        "skipped": None,
        2: "model_b",
    }
    table, report = load_votes(rows, winner_map=outcomes, max_skipped_share=0.2)
    assert table.outcome_shares.argmax(axis=1).tolist() == [0, 1, 2, 3, 1]
    assert report.skipped == {"missing value": [4]}
    with pytest.raises(ConfigError, match="'first' becomes 'a'; choose one of None, model_a"):
        load_votes(rows, winner_map={"first": "a"})


def test_ones_and_zeros_alone_may_mean_either_model() -> None:
    with pytest.raises(DataError, match=r"(?s)no valid votes.*'0' 1, '1' 1.*data\.winner_map"):
        load_votes(votes([1, 0]))
    table, _ = load_votes(votes([1, 0]), winner_map={"0": "model_a", "1": "model_b"})
    assert table.outcome_shares.argmax(axis=1).tolist() == [1, 0]


def test_a_name_in_another_row_is_no_winner() -> None:
    rows = [*votes(["gpt"]), *votes(["gpt"], ("bard", "claude"))]
    with pytest.raises(DataError, match=r"(?s)unknown winner: 1 \(row 1\): 'gpt' 1.*Known labels are model_a"):
        load_votes(rows)


def test_a_label_that_is_a_side_and_a_name() -> None:
    same = votes(["A", "B"], ("A", "B"))
    assert load_votes(same)[0].outcome_shares.argmax(axis=1).tolist() == [0, 1]
    with pytest.raises(
        DataError, match="row 2: the winner 'A' may mean model_a or the model of that name, which is model_b"
    ):
        load_votes([*same, *votes(["A"], ("B", "A"))])
    mapped = load_votes([*same, *votes(["A"], ("B", "A"))], winner_map={"A": "model_a"})[0]
    assert mapped.outcome_shares.argmax(axis=1).tolist() == [0, 1, 0]


@pytest.mark.parametrize("labels", [[1, 2, 3], ["1", "2", "3"], [1.0, 2.0, 3.0], pd.array([1, 2, 3], "Int64")])
def test_a_map_of_numbers_holds_for_models_of_these_names_too(labels: list[object]) -> None:
    rows = votes(list(labels), ("2", "1"))
    for outcomes in ({1: "model_a", 2: "model_b", 3: "tie"}, {"1": "model_a", "2": "model_b", "3": "tie"}):
        table, _ = load_votes(rows, winner_map=outcomes)
        assert table.outcome_shares.argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "outcomes"),
    [
        (["Tie", "tie", "A"], {"TIE": None}),
        ([True, False], {True: None, False: "model_a"}),
        (["true", "false"], {True: None, False: "model_a"}),
        (["X", "x"], {"X": None, "x": "model_a"}),
    ],
)
def test_a_map_holds_in_any_case(labels: list[object], outcomes: dict[object, str | None]) -> None:
    table, report = load_votes(votes(labels), winner_map=outcomes, max_skipped_share=0.9)
    assert table.outcome_shares.argmax(axis=1).tolist() == [0]
    assert report.skipped == {"missing value": list(range(len(labels) - 1))}


def test_a_map_of_a_label_that_the_table_spells_otherwise_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    load_votes(votes(["tie (bothbad)", "A"]), winner_map={"both_bad": None, "a": "model_b", "same": "tie"})
    assert caplog.messages == ["winner_map: no winner of the table is 'both_bad'; they are 'tie (bothbad)', 'A'"]


@pytest.mark.parametrize("missing", ["model_a", "model_b"])
def test_names_of_winners_without_a_column_of_models(missing: str) -> None:
    frame = pd.DataFrame(votes(["gpt", "bard", "tie"])).drop(columns=missing)
    with pytest.raises(DataError, match=f"has no column {missing}; a vote table needs"):
        load_battles(frame)


@pytest.mark.parametrize("name", ["tie", "both_bad", "model_b", "Draw"])
def test_a_model_named_like_an_outcome_makes_the_label_ambiguous(name: str) -> None:
    rows = votes([name, "bard"], (name, "bard"))
    with pytest.raises(DataError, match=f"row 0: the winner '{name}' may mean .* or the model of that name, which is"):
        load_votes(rows)
    side = {"tie": "tie", "both_bad": "both_bad", "model_b": "model_b", "Draw": "tie"}[name]
    table, _ = load_votes(rows, winner_map={name: side})
    assert len(table) == 2
    swapped = votes(["model_a", "model_b"], ("model_a", "model_b"))  # the side and the name agree
    assert load_votes(swapped)[0].outcome_shares[:, :2].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("label", ["1.0", "1", "1e0", 1, 1.0, "+1"])
@pytest.mark.parametrize("key", ["1", 1, 1.0, "1.0"])
def test_numbers_of_a_map_match_by_value(label: object, key: object) -> None:
    rows = votes([label, "0.0"])
    zero = type(key)(float(key) - 1) if not isinstance(key, str) else key.replace("1", "0")
    table, _ = load_votes(rows, winner_map={key: "model_b", zero: "model_a"})
    assert table.outcome_shares.argmax(axis=1).tolist() == [1, 0]


@pytest.mark.parametrize(("yes", "no"), [("yes", "no"), ("Yes", "NO"), ("true", "false"), ("on", "off"), (True, False)])
def test_flags_that_yaml_makes_of_words_match_these_words(yes: object, no: object) -> None:
    rows = votes([yes, no, no])
    from_file = OmegaConf.create("{yes: model_b, no: model_a}")
    table, _ = load_votes(rows, winner_map=OmegaConf.to_container(from_file))
    assert table.outcome_shares.argmax(axis=1).tolist() == [1, 0, 0]
    if isinstance(yes, str):  # a text says more than a flag
        both, _ = load_votes(rows, winner_map={yes: "model_a", True: "tie", False: "model_b"})
        assert both.outcome_shares.argmax(axis=1).tolist() == [0, 1, 1]


def test_flags_are_no_ones() -> None:
    with pytest.raises(DataError, match="unknown winner: 2"):
        load_votes(votes(["1", "0"]), winner_map={True: "model_a", False: "model_b"})


def test_the_option_for_numbers_of_floats_can_be_given() -> None:
    rows = votes(["1.0", "0.0", "0.0"])
    with pytest.raises(DataError) as error:
        load_votes(rows)
    option = "winner_map={0.0: ..., 1.0: ...}"
    assert f"'{option}'" in str(error.value)
    filled = option.replace("...", "model_b", 1).replace("...", "model_a")
    table, _ = load_votes(rows, winner_map=OverridesParser.create().parse_override(filled).value())
    assert table.outcome_shares.argmax(axis=1).tolist() == [0, 1, 1]


def test_no_option_can_hold_null() -> None:
    with pytest.raises(DataError, match="no option can hold 'null': change the table"):
        load_votes(votes(["model_a"] * 6 + ["null"]))


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("a", ("B", "A")),
        ("(A)", ("b", "a")),
        ("left", ("Right", "Left")),
        ("response_a", ("Response B", "Response A")),
        ("model_a", ("Model B", "Model A")),
        ("A", ("Model B", "Model A")),
        ("a", ("B+", "A+")),
        ("B", ("assistant-b", "assistant-a")),
        ("draw", ("Draw", "other")),
    ],
)
def test_a_label_that_is_a_side_and_nearly_a_name(label: str, names: tuple[str, str]) -> None:
    with pytest.raises(
        DataError, match=r"row 1: the winner '.*' may mean .* or the model '.*', which is model_[ab] th"
    ):
        load_votes([*votes(["tie"]), *votes([label], names)])
    with pytest.raises(DataError, match="or the model"):
        load_battles(pd.DataFrame(votes([label], names)))
    outcome = "tie" if label == "draw" else "model_b"
    assert len(load_votes(votes([label], names), winner_map={label: outcome})[0]) == 1
    if label != "draw":  # the side and the name agree
        assert load_votes(votes([label], names[::-1]))[0].outcome_shares.max(axis=1).tolist() == [1]


def test_a_name_itself_goes_before_names_like_it() -> None:
    assert load_votes(votes(["a"], ("a", "A")))[0].outcome_shares[:, 0].tolist() == [1]
    rows = [*votes(["a"], ("a", "A")), *votes(["a"], ("b", "A"))]
    with pytest.raises(DataError, match="row 1: the winner 'a' may mean model_a or the model 'A', which is model_b"):
        load_votes(rows)


def test_standard_labels_are_sides_whatever_letters_name_the_models() -> None:
    rows = votes(["model_a", "model_b", "left"], ("B", "A"))
    assert load_votes(rows)[0].outcome_shares.argmax(axis=1).tolist() == [0, 1, 0]


NEGATIONS = [
    "!a",
    "~A",
    "-a",
    "<b",
    "¬a",
    "≠ b",
    "a\u0305",
    "❌ a",
    "a 👎",
    "^a",
    "a?",
    "- model_a",
    "(-a)",
    "–b",
    "a-",
    "a/b",
]


@pytest.mark.parametrize("label", NEGATIONS)
def test_signs_that_may_mean_not_are_no_punctuation(label: str) -> None:
    for load in (load_votes, load_battles):
        with pytest.raises(DataError, match="unknown labels in column winner, 1 of 3 rows"):
            load(votes(["model_a", "tie", label]), max_skipped_share=0.5)


@pytest.mark.parametrize("label", ["[[A]]", "**a**", '"A"', "a.", "(a)", "Model-A", "MODEL - A", "model_a,", "model:a"])
def test_punctuation_that_says_nothing_is_left_out(label: str) -> None:
    assert load_votes(votes([label, "tie (both-bad)", "tie – both bad"]))[0].outcome_shares.argmax(axis=1).tolist() == [
        *(0, 3, 3)
    ]
