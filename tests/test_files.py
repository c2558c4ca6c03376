from pathlib import Path

import pytest

from p2l.files import whole_folder, write_whole


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


def test_a_folder_is_there_once_all_is_written(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "new" / "folder") as part:
        (part / "a.txt").write_text("a")
        assert not (tmp_path / "new" / "folder").exists()
    assert (tmp_path / "new" / "folder" / "a.txt").read_text() == "a"
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_an_error_leaves_no_folder_and_the_first_process_wins(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "folder") as part:
        (part / "a.txt").write_text(f"half of it, {1 / 0}")
    assert not list(tmp_path.iterdir())
    with whole_folder(tmp_path / "folder") as late, whole_folder(tmp_path / "folder") as first:
        (first / "a.txt").write_text("first")
        (late / "a.txt").write_text("late")
    assert (tmp_path / "folder" / "a.txt").read_text() == "first"
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_folder_takes_no_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    with pytest.raises(NotADirectoryError), whole_folder(tmp_path / "file") as part:
        (part / "a.txt").write_text("a")
    assert (tmp_path / "file").read_text() == "before" and len(list(tmp_path.iterdir())) == 1
