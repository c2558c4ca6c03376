import pytest

from p2l.errors import ConfigError
from p2l.serving.http.api_keys import KEYS_VARIABLE, Keys, read_keys


def test_any_key_opens_and_nothing_else_does():
    keys = Keys(["one", "zwölf"])
    assert keys.accept(b"one")
    assert keys.accept("zwölf".encode()) and keys.accept("zwölf".encode("latin-1"))  # as curl and as requests send it
    assert not any(keys.accept(key) for key in (b"", b"on", b"One", b"one ", b"zwolf", b"\xff"))
    assert Keys([]).open and not keys.open


def test_keys_come_from_options_environment_and_file(tmp_path):
    file = tmp_path / "keys"
    file.write_text("\ufefffour\n# of the platform team\n  # old\n\n five \n", encoding="utf-8")
    keys = read_keys(["one, two", "two"], str(file), {KEYS_VARIABLE: "three"})
    assert keys == ["one", "two", "three", "four", "five"]
    assert read_keys([""], None, {}) == []


def test_a_file_without_keys_does_not_open_the_server(tmp_path):
    (tmp_path / "keys").write_text("# none yet\n")
    with pytest.raises(ConfigError, match="holds no key"):
        read_keys([], str(tmp_path / "keys"), {})
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys([], str(tmp_path / "missing"), {})
