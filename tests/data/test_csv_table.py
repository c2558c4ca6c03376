"""The structure of CSV files: separators, encodings, and rows that do not fit the header."""

import csv
import gzip
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2l.data import csv_quotes, csv_table
from p2l.data.csv_table import read_csv
from p2l.data.readers import read_table
from p2l.data.vote_table import load_votes
from p2l.errors import DataError

HEADER = "prompt,model_a,model_b,winner\n"
MISFITS = {
    "comma in each prompt": (HEADER + "Hi, you,a,b,model_a\nOh, no,b,a,model_b\n", "line 2 has 5 fields.*header has 4"),
    "comma in a later prompt": (HEADER + '"Hi,\nyou",a,b,tie\nOh, no,b,a,tie\n', "line 4 has 5 fields"),
    "comma at the end": (HEADER + "Hi,a,b,model_a,\nOh,b,a,model_b,\n", "comma at the end of a line makes a field"),
    "a carriage return": (HEADER + "Hi,a,b,tie\nOh\rno,b,a,tie\n", "line 3 has 1 fields"),
    "two more": (HEADER + "Hi, you, there,a,b,tie\n", "line 2 has 6 fields.*a text that holds a comma needs quotes"),
    "row names": (HEADER + "0,Hi,a,b,tie\n1,Oh,a,b,tie\n", "line 2 has 5 fields"),
    "a field less": (HEADER + "Hi,a,b,tie\na,b,tie\n", "line 3 has 3 fields.*write an empty field"),
    "semicolons": (HEADER.replace(",", ";") + "Hi; you;a;b;tie\n", "a text that holds a semicolon needs quotes"),
    "bars": (HEADER.replace(",", "|") + "Hi| you|a|b|tie\n", "a text that holds a vertical bar needs quotes"),
    "carets": (HEADER.replace(",", "^") + "Hi^a^b^tie\n", r"separated by '\^': 'prompt\^model_a.*; expected commas"),
    "colons": (HEADER.replace(",", ":") + "Hi:a:b:tie\n", "separated by ':'"),
    "units": (HEADER.replace(",", "\x1f") + "Hi\x1fa\x1fb\x1ftie\n", r"separated by '\\x1f'"),
    "twice": ("prompt,winner,winner\np,tie,tie\n", "two columns named 'winner'"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_row_that_does_not_fit_is_an_error_with_its_line(tmp_path: Path, name: str) -> None:
    text, message = MISFITS[name]
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=rf"(?s)a\.csv.*{message}"):
        load_votes(str(tmp_path / "a.csv"))


READ = {
    "index column.csv": ",prompt,model_a,model_b,winner\n0,Hi,a,b,model_a\n1,Oh,b,a,\n2,Ah,a,b,tie\n",
    "semicolon.csv": "prompt;model_a;model_b;winner\nHi, you;a;b;model_a\nOh;b;a;tie\n",
    "tab.csv": "prompt\tmodel_a\tmodel_b\twinner\nHi, you; there\ta\tb\tmodel_a\nOh\tb\ta\ttie\n",
    "bar.csv": "prompt|model_a|model_b|winner\nHi, you; there|a|b|model_a\nOh|b|a|tie\n",
    "bars with spaces.csv": "prompt | model_a | model_b | winner\nHi | a | b | model_a\nOh | b | a | tie\n",
    "table.tsv": "prompt\tmodel_a\tmodel_b\twinner\nHi\ta\tb\tmodel_a\nOh\tb\ta\ttie\n",
    "quotes.csv": 'prompt,model_a,model_b,winner\n"Hi, ""you""\nthere",a,b,model_a\n\nOh,b,a,tie\n',
    "windows.csv": "prompt,model_a,model_b,winner\r\nHi,a,b,model_a\r\nOh,b,a,tie\r\n",
    "spaces.csv": "prompt, model_a, model_b, winner\nHi, a, b, model_a\nOh, b, a, tie\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", READ)
def test_what_is_sound_is_read(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(READ[name].encode(encoding))
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(READ[name].encode(encoding)))
    for path in (tmp_path / name, tmp_path / f"{name}.gz"):
        table, _ = load_votes(str(path), max_skipped_share=0.4)
        assert table.models == ("a", "b")
        assert [turns[0][:2] for turns in table.prompts] == ["Hi", "Ah" if name.startswith("index") else "Oh"]


@pytest.mark.parametrize(
    "text", ["prompt\nHow: are you: well?\n", "What is new\nHow are you\n", "a:b\nc:d\n", "a|b\n1|2\n"]
)
def test_one_column_or_two(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert len(read_table(str(tmp_path / "a.csv")).columns) == (2 if "|" in text else 1)


def test_a_long_field_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"prompt,x\n{'a' * 200_000},\n")
    assert len(read_table(str(tmp_path / "a.csv"))["prompt"][0]) == 200_000


@pytest.mark.parametrize("row", ['"Hi,a,b,tie\n', 'Hi,a,b,"tie\n', '5"" x,a,b,"tie'])
def test_a_quote_that_never_closes_is_an_error(tmp_path: Path, row: str) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "Oh,b,a,tie\n" + row)
    with pytest.raises(DataError, match=r"a\.csv cannot be read as CSV"):
        read_table(str(tmp_path / "a.csv"))


BROKEN = {
    "the rows of a pair become one": '"What is 1?,a,b,tie\n"What is 2?,a,b,tie\n',
    "text after the end": '"Hello" world,a,b,tie\n',
    "a quote that is not doubled": '"say "hi" to, us",a,b,tie\n',
    "in the last field": 'Hi,a,b,"tie" x\n',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("rows", BROKEN.values(), ids=BROKEN)
def test_a_quote_that_encloses_no_field_is_an_error_with_its_line(tmp_path: Path, rows: str, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes((HEADER + 'Oh,b,a,tie\n"two\nlines",a,b,tie\n' + rows).encode(encoding))
    with pytest.raises(DataError, match=r"the row at line 5 has a quoted text .* other text follows its end \(line "):
        read_table(str(tmp_path / "a.csv"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("row", ['Hi, "a", "b", "tie"\n', 'Hi,  "a ""x""",b,tie\n', 'Hi,a,b, "tie" \n'])
def test_a_space_before_a_quoted_text_is_an_error(tmp_path: Path, row: str, encoding: str) -> None:
    rows = HEADER + '" ""a"" ",a,b,tie\n" ""two\nlines""",a,b,tie\nx,a,b,tie\n'
    (tmp_path / "a.csv").write_bytes((rows + row).encode(encoding))
    with pytest.raises(DataError, match="the row at line 6 has a space before a quoted text, ' .*; remove the space"):
        read_table(str(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_bytes((rows + 'Hi, "a" x,b,tie\n').encode(encoding))
    frame = read_table(str(tmp_path / "a.csv"))
    assert frame["prompt"].tolist() == [' "a" ', ' "two\nlines"', "x", "Hi"] and frame["model_a"][3] == ' "a" x'


SOUND = {
    "in the middle of a text": ('6 feet 2" tall, or 6\'2"?', '6 feet 2" tall'),
    "a pair in the middle": ('say "hi" to us', 'say "hi" to us'),
    "doubled": ('"say ""hi"", ""you"""', 'say "hi", "you"'),
    "empty": ('""""', '"'),
}


@pytest.mark.parametrize(("cell", "text"), SOUND.values(), ids=SOUND)
def test_quotes_within_a_text_stay(tmp_path: Path, cell: str, text: str) -> None:
    rows = [cell.partition(",")[0] if not cell.startswith('"') else cell, "Oh"]
    (tmp_path / "a.csv").write_text("prompt,x\n" + "".join(f"{row},1\n" for row in rows))
    assert read_table(str(tmp_path / "a.csv"))["prompt"].tolist() == [text, "Oh"]


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_quotes_are_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(csv_quotes, "_BLOCK_BYTES", block)
    sound, broken = ('x,y\n"a ""b"", c",""\n', 'x,y\n"a, ""b"" "c,d\n')
    for text, found in ((sound, True), (broken, False), (sound[:-2], False)):
        (tmp_path / "a.csv").write_text(text)
        assert csv_quotes._each_encloses(tmp_path / "a.csv", ",") is found


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes((HEADER + "é,a,b,tie\n").encode("latin-1"))
    with pytest.raises(
        DataError, match=r"a\.csv cannot be read .* neither UTF-8 nor UTF-16 or -32 .*; save it as UTF-8"
    ):
        read_table(str(tmp_path / "a.csv"))


CELLS = st.lists(st.sampled_from([*'ab1,;" é\\\n\t', "\r\n", "NA", "null", "\ufeff", "\x85"]), max_size=4).map("".join)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5), separator=st.sampled_from(",;\t|"))
def test_both_readers_of_a_table_agree(rows: list[tuple[str, str, str]], separator: str) -> None:
    written = StringIO()
    csv.writer(written, delimiter=separator).writerows([("x", "y", "z"), *rows])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(written.getvalue().encode())
        by_arrow = csv_table._read_whole_rows(path, "utf-8-sig", separator, ["x", "y", "z"])
        by_pandas = csv_table._read(path, "utf-8-sig", separator)
    assert by_arrow is not None
    pd.testing.assert_frame_equal(by_arrow, by_pandas)


ROWS = "prompt,model_a,model_b,winner\nGrüße,ant,bee,model_a\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv"])
def test_encodings_of_unicode_are_recognised(encoding: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"votes.{suffix}"
    content = (ROWS.replace(",", "\t") if suffix == "tsv" else ROWS).encode(encoding)
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert read_csv(path).to_dict("records") == [
        {"prompt": "Grüße", "model_a": "ant", "model_b": "bee", "winner": "model_a"}
    ]


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=\t", "sep=^"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_line_that_names_the_separator_is_none_of_the_table(
    first: str, end: str, encoding: str, tmp_path: Path
) -> None:
    """Excel writes and reads it."""
    separator, path = first.strip('"')[-1], tmp_path / "votes.csv"
    rows = ["prompt,model_a", '"a, b",ant', "c,bee"]
    lines = [first, *(row.replace(",", separator) for row in rows)]
    path.write_bytes(end.join([*lines, ""]).encode(encoding))
    assert read_csv(path).to_dict("list") == {"prompt": [f"a{separator} b", "c"], "model_a": ["ant", "bee"]}
    path.write_bytes(end.join([*lines, f"d{separator}e{separator}f"]).encode(encoding))
    with pytest.raises(DataError, match="line 5 has 3 fields, but the header has 2"):
        read_csv(path)


@pytest.mark.parametrize("header", ["prompt,winner, winner", "prompt, a ,a", "a\t,b,a"])
def test_names_that_differ_in_spaces_are_two_columns_of_one_name(header: str, tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(f"{header}\nx,y,z\n")
    with pytest.raises(DataError, match=r"votes\.csv has two columns named '(winner|a)'; rename or remove one"):
        read_csv(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("row", ["\r,x", "\r;x", "\r", " \r,x", "\t \r,x"])
def test_a_return_at_the_start_of_a_row_is_not_lost(row: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_bytes(f'a,b\n"1\n\r",2\n{row}\n\r\n3,4\n'.replace(",", ";" if ";" in row else ",").encode(encoding))
    if row == "\r":
        assert read_csv(path).to_numpy().tolist() == [["1\n\r", "2"], ["3", "4"]]  # an empty line
        return
    with pytest.raises(DataError, match=r"line 4 starts with a carriage return .*in quotes"):
        read_csv(path)
