import pytest

from p2l.errors import ConfigError
from p2l.serving.http.api_keys import KEYS_VARIABLE, ApiKeys, read_keys


def test_a_known_key_has_its_owner_and_no_other_key_has_one():
    keys = ApiKeys({"one": 1, "zwölf": 12})
    assert keys.owner(b"one") == 1
    assert (
        keys.owner("zwölf".encode()) == keys.owner("zwölf".encode("latin-1")) == 12
    )  # as curl and as requests send it
    assert not any(keys.owner(key) for key in (b"", b"on", b"One", b"one ", b"zwolf", b"\xff"))
    assert ApiKeys({}).is_empty and not keys.is_empty


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
