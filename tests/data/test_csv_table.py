"""The structure of CSV files: separators, encodings, and rows that do not fit the header."""

import gzip
from pathlib import Path

import pytest

from p2l.data.readers import read_table
from p2l.data.vote_table import load_votes
from p2l.errors import DataError

HEADER = "prompt,model_a,model_b,winner\n"
MISFITS = {
    "comma in each prompt": (HEADER + "Hi, you,a,b,model_a\nOh, no,b,a,model_b\n", "line 2 has 5 fields.*header has 4"),
    "comma in a later prompt": (HEADER + '"Hi,\nyou",a,b,tie\nOh, no,b,a,tie\n', "line 4 has 5 fields"),
    "comma at the end": (HEADER + "Hi,a,b,model_a,\nOh,b,a,model_b,\n", "comma at the end of a line makes a field"),
    "two more": (HEADER + "Hi, you, there,a,b,tie\n", "line 2 has 6 fields.*a text that holds a comma needs quotes"),
    "row names": (HEADER + "0,Hi,a,b,tie\n1,Oh,a,b,tie\n", "line 2 has 5 fields"),
    "a field less": (HEADER + "Hi,a,b,tie\na,b,tie\n", "line 3 has 3 fields.*write an empty field"),
    "semicolons": (HEADER.replace(",", ";") + "Hi; you;a;b;tie\n", "a text that holds a semicolon needs quotes"),
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


def test_a_long_field_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"prompt,x\n{'a' * 200_000},\n")
    assert len(read_table(str(tmp_path / "a.csv"))["prompt"][0]) == 200_000
