"""What YAML 1.1 reads otherwise than it is written: a name stays as written; elsewhere it is an error with its line."""

from pathlib import Path

import pytest

from p2l.errors import ConfigError
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.server_config import ServerConfig

AMBIGUOUS = ["0613", "007", "no", "Yes", "on", "OFF", "1:30", "1_000", "0x1F", "0b101", "2024-05-13", "12:30:45.5"]


def load(folder: Path, text: str) -> ServerConfig:
    path = folder / "config.yaml"
    path.write_text(text)
    return load_config(path)


@pytest.mark.parametrize("written", AMBIGUOUS)
def test_a_name_is_what_is_written(tmp_path: Path, written: str) -> None:
    text = f"""
model_configs:
  {written}: {{name: {written}, type: openai, cost: 1, api_key: {written}}}
router:
  default_model: {written}
  opponents: {{{written}: 2}}
  aliases: [{written}-router, a]
keys:
  - {{name: {written}, key: {written}, models: [{written}]}}
"""
    config = load(tmp_path, text)
    assert list(config.model_configs) == [written] == list(config.router.opponents or ())
    assert config.model_configs[written].name == written == config.model_configs[written].key
    assert config.router.default_model == written and config.keys[0].models == (written,)
    assert type(config.model_configs[written].name) is str and type(config.keys[0].key) is str


@pytest.mark.parametrize("written", ["3", "1.10", "1.0e+5", "true", "null", ".inf"])
def test_a_name_that_looks_like_a_value_needs_quotes(tmp_path: Path, written: str) -> None:
    entry = "{name: x, type: openai, cost: 1}"
    with pytest.raises(ConfigError, match="config.yaml, line 2: model_configs: names must be strings"):
        load(tmp_path, f"model_configs:\n  {written}: {entry}\n")
    with pytest.raises(ConfigError, match="config.yaml, line 4: model_configs.m: name: expected text"):
        load(tmp_path, f"model_configs:\n  m:\n    type: openai\n    name: {written}\n    cost: 1\n")
    key = f"keys:\n  - {{name: a, key: b, models: [m, {written}]}}"
    with pytest.raises(ConfigError, match=r"line 3: keys\[0\]: models\[1\]: expected text"):
        load(tmp_path, f"model_configs: {{m: {entry}}}\n{key}\n")


@pytest.mark.parametrize("written", ["0613", "no", "On", "1:30", "1_000", "0x1F", "190:20:30.15"])
@pytest.mark.parametrize("form", ["{{a: {0}}}", "{{a: [1, {0}]}}", "{{a: {{b: {0}}}}}"])
def test_an_extra_field_that_yaml_changes_is_an_error(tmp_path: Path, written: str, form: str) -> None:
    extra = form.format(written)
    text = f"model_configs:\n  m:\n    name: m\n    type: openai\n    cost: 1\n    extra_fields: {extra}\n"
    with pytest.raises(ConfigError, match="config.yaml, line 6: .*extra_fields.*quote text") as error:
        load(tmp_path, text)
    assert f" {written} " not in str(error.value).split("(0613")[0]


def test_an_extra_field_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM", "blue")
    extra = "{no: 'no', a: [true, 1.5, 7, null, '0613', 2024-05-13], b: {c: 1e5, d: '${TEAM}-1'}}"
    config = load(tmp_path, f"model_configs: {{m: {{name: m, type: openai, cost: 1, extra_fields: {extra}}}}}")
    values = [True, 1.5, 7, None, "0613", "2024-05-13"]
    assert config.model_configs["m"].extra_fields == {"no": "no", "a": values, "b": {"c": "1e5", "d": "blue-1"}}


def test_a_setting_may_be_yes_or_no(tmp_path: Path) -> None:
    model = "model_configs: {m: {name: m, type: openai, cost: 1_0, max_tokens: 8_192}}"
    config = load(tmp_path, f"{model}\nrouter: {{strict_models: yes, session_from_user: off}}")
    assert config.router.strict_models is True and config.router.session_from_user is False
    assert (config.model_configs["m"].max_tokens, config.model_configs["m"].cost) == (8192, 10.0)


@pytest.mark.parametrize("setting", ["max_tokens: 0100", "temp: 1:30", "top_p: 01", "top_k: 00_7"])
def test_a_number_that_yaml_changes_is_an_error(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match="config.yaml, line 3: model_configs.m: .*YAML reads this"):
        load(tmp_path, f"model_configs:\n  m: {{name: m, type: openai,\n    cost: 1, {setting}}}")


def test_two_spellings_of_one_number_are_two_names(tmp_path: Path) -> None:
    entry = "{name: x, type: openai, cost: 1}"
    assert set(load(tmp_path, f"model_configs: {{0613: {entry}, '395': {entry}}}").model_configs) == {"0613", "395"}
    with pytest.raises(ConfigError, match="line 1: the name '0613' stands twice"):
        load(tmp_path, f"model_configs: {{0613: {entry}, '0613': {entry}}}")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            "router: {default_model: gpt-4o-mni}",
            "router.default_model: 'gpt-4o-mni' is not .*did you mean 'gpt-4o-mini'",
        ),
        ("keys: [{name: a, key: b, models: [gpt4o]}]", "keys: models of a: 'gpt4o' is not .*did you mean 'gpt-4o'"),
        ("router: {default_model: zzz}", "these are: gpt-4o, gpt-4o-mini"),
    ],
)
def test_a_mistyped_model_is_an_error_with_near_names(tmp_path: Path, config: str, expected: str) -> None:
    models = "model_configs: {gpt-4o: &m {name: x, type: openai, cost: 1}, gpt-4o-mini: *m}"
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, f"{models}\n{config}")
