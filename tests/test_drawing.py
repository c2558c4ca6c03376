"""Every picture, with one model and with many, and any names: no text is cut, or on another, or read as mathematics."""

import pytest

from p2l.drawing import plain, short_names, wrapped
from tests.gallery import ODD_NAMES, PICTURES, cut, overlapping, written

NUMBERS = (1, 2, 3, 24, 130)
FEWER = {"intervals": NUMBERS[1:], "five leaderboards": (3, 130), "two routings": (3, 130)}
DRAWN = [(name, number) for name in PICTURES for number in FEWER.get(name, NUMBERS)]


@pytest.mark.parametrize(("name", "number"), DRAWN)
def test_no_text_is_cut_or_on_top_of_another_or_read_as_mathematics(name: str, number: int) -> None:
    figure = PICTURES[name](number)
    assert cut(figure) == []
    assert overlapping(figure) == []
    assert not [text.get_text() for text in written(figure) if text.get_parse_math() and "$" in text.get_text()]


def test_names_stay_different_and_on_one_line() -> None:
    short = short_names(ODD_NAMES)
    assert len(set(short)) == len(ODD_NAMES) and not any("\n" in name or "\t" in name for name in short)
    assert [len(name) <= 36 for name in short].count(False) == 0
    assert short_names(["x" * 50 + "a" + "y" * 50, "x" * 50 + "b" + "y" * 50])[0] != short_names(["x" * 101])[0]
    close = short_names(["x" * 50 + "a" + "y" * 50, "x" * 50 + "b" + "y" * 50])
    assert close[0] != close[1]


def test_a_character_without_a_glyph_is_written_as_its_escape() -> None:
    assert plain("a\ud83db") == "a\\ud83db" and plain("\U000e0041") == "\\U000e0041"
    assert plain(" two\n lines ") == "two lines" and plain("naïve ελληνικά") == "naïve ελληνικά"


def test_a_long_text_ends_in_dots() -> None:
    lines = wrapped("word " * 100, 3.0, 10).split("\n")
    assert len(lines) == 2 and lines[1].endswith(" ...") and max(map(len, lines)) * 0.58 * 10 / 72 <= 3.0
    assert wrapped("short", 3.0, 10) == "short"
