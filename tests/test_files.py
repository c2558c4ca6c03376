from pathlib import Path

import pytest

from p2l.files import write_whole


def test_the_file_is_there_once_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.txt"
    with write_whole(path) as file:
        file.write("first ")
        assert not path.exists()
        file.write("日本")
    assert path.read_text(encoding="utf-8") == "first 日本"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), write_whole(path) as file:
        file.write(f"half of it, {1 / 0}")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_file_is_replaced_and_names_may_be_strings(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before")
    with write_whole(str(path)) as file:
        file.write("after")
    assert path.read_text() == "after"
