"""The configuration: the published file loads, and every mistake is reported with its place."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from p2l.errors import ConfigError
from p2l.serving.router.command_line import options_of, parser
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.router_command import main

# the form of the published example: keys, types and null values as they stand there
PUBLISHED = """
model_configs:
  athene-v2-chat:
    api_key: <your-api-key>
    base_url: http://38.142.9.21:10245/v1
    cost: 0.8097264049
    name: im-a-little-birdie
    temp: 0.7
    top_p: 1.0
    type: openai
  claude-3-5-sonnet-20241022:
    api_key: <your-api-key>
    base_url: null
    cost: 9.3110239362
    max_tokens: 8192
    name: claude-3-5-sonnet-20241022
    system_prompt: null
    temp: 0.7
    top_p: 0.7
    type: anthropic
  gemini-1.5-pro-002:
    api_key: <your-api-key>
    base_url: null
    cost: 3
    name: gemini-1.5-pro-002
    temp: 0.7
    top_k: 40
    top_p: 1.0
    type: gemini
  o1-mini:
    api_key: <your-api-key>
    cost: 30.5
    name: o1-mini
    temp: 0.7
    top_p: 1.0
    type: openai-o1
  o3-mini-high:
    api_key: <your-api-key>
    cost: 20
    name: o3-mini
    temp: null
    top_p: null
    type: openai-reasoning
    extra_fields: {reasoning_effort: high}
name: test-router
"""
MODEL = {"name": "m", "type": "openai", "cost": 1.0}


def write(folder: Path, config: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def test_a_published_configuration(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, PUBLISHED))
    assert list(config.model_configs)[:2] == ["athene-v2-chat", "claude-3-5-sonnet-20241022"]
    assert config.model_configs["gemini-1.5-pro-002"].top_k == 40
    assert config.model_configs["o3-mini-high"].extra_fields == {"reasoning_effort": "high"}
    assert len(config.placeholders()) == 5
    assert main(["-c", str(tmp_path / "config.yaml"), "--check-config"]) == 0


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("a: [", "not YAML, line"),
        ("", "expected keys and values"),
        ("name: 2024-13-45", "not YAML"),
        ("name: !!int ''", "not YAML"),
        ("[" * 5000, "not YAML"),
        (f"model_configs: {{m: {{name: m, type: openai, cost: 1{'0' * 400}}}}}", "cost: the number is too large"),
        ({"model_configs": {}}, "at least one model"),
        ({"models": {}}, "unknown key 'models'"),
        ({"model_configs": {"m": {**MODEL, "sytem_prompt": "x"}}}, "did you mean 'system_prompt'"),
        ({"model_configs": {"m": {"name": "m", "cost": 1}}}, "model_configs.m: type missing"),
        ({"model_configs": {"m": {**MODEL, "type": "opnai"}}}, "expected one of openai, openai-reasoning"),
        ({"model_configs": {"m": {**MODEL, "cost": "1"}}}, "cost: expected a number; got str"),
        ({"model_configs": {"m": {**MODEL, "cost": float("nan")}}}, "cost must be a finite number"),
        ({"model_configs": {"m": {**MODEL, "cost": True}}}, "cost: expected a number; got bool"),
        ({"model_configs": {"m": {**MODEL, "base_url": "localhost"}}}, "base_url must start with http"),
        ({"model_configs": {"m": {**MODEL, "base_url": "http://"}}}, "name a host"),
        ({"model_configs": {"m": {**MODEL, "base_url": "http://h:99999"}}}, "base_url must"),
        ({"model_configs": {"m": {**MODEL, "base_url": "http://[::1"}}}, "base_url must"),
        ({"model_configs": {"m": {**MODEL, "base_url": "http://user:pass@h/v1"}}}, "no user or password"),
        ({"model_configs": {"m": {**MODEL, "api_key": "sk-a\nb"}}}, "api_key contains a line end"),
        ({"model_configs": {"m": {**MODEL, "extra_fields": {"logit_bias": {50256: -100}}}}}, "must be JSON"),
        ("model_configs: {m: {name: m, type: openai, cost: 1, extra_fields: &x {a: *x}}}", "must be JSON"),
        ({"model_configs": {"m": {**MODEL, "max_tokens": 10**30}}}, "must be JSON"),
        (
            {"model_configs": {"m": {**MODEL, "type": "gemini", "extra_fields": {"generationConfig": "x"}}}},
            "generationConfig must hold",
        ),
        ({"model_configs": {"m": {**MODEL, "api_key": 12345}}}, "api_key: expected text"),
        ({"model_configs": {"m": {**MODEL, "api_key": "${NOT_SET_ANYWHERE}"}}}, "NOT_SET_ANYWHERE is not set"),
        ({"model_configs": {"m": {**MODEL, "api_key": "os.environ/NOT_SET_ANYWHERE"}}}, "NOT_SET_ANYWHERE is not set"),
        ({"model_configs": {"m": {**MODEL, "api_key": "${A?b}"}}}, "expected the key"),
        ({"model_configs": {"m": {**MODEL, "api_key": "os.environ['A']"}}}, "expected the key"),
        ({"model_configs": {"m": {**MODEL, "base_url": "https://${HOST-d}/v1"}}}, "base_url: expected the value"),
        ({"model_configs": {"m": {**MODEL, "name": "${NAME?}"}}}, "name: expected the value"),
        ({"model_configs": {"m": MODEL}, "keys": [{"name": "a", "key": "$(KEY)"}]}, "key: expected the key"),
        ({"model_configs": {"m": {**MODEL, "drop_params": ["messages"]}}}, "messages cannot be dropped"),
        ({"model_configs": {"m": {**MODEL, "drop_params": ["temperature"], "temp": 1}}}, "temperature is set by"),
        *(
            ({"model_configs": {"m": {**MODEL, "type": kind, "capabilities": {"responses": True}}}}, "have this API")
            for kind in ("anthropic", "gemini", "openai-o1", "litellm")
        ),
        ({"model_configs": {1: MODEL}}, "names must be strings"),
        ({"model_configs": {"m": MODEL}, "router": {"default_model": "x"}}, "'x' is not in model_configs"),
        ({"model_configs": {"m": MODEL}, "router": {"mean_cost": 0}}, "mean_cost must be"),
        ({"model_configs": {"m": MODEL}, "router": {"session_ttl": float("nan")}}, "session_ttl must be"),
        ({"model_configs": {"m": MODEL}, "router": {"opponents": {"m": -1.0}}}, r"opponents\.m must be"),
        ({"model_configs": {"m": MODEL}, "router": {"opponents": {"m": 0.0}}}, "at least one weight above 0"),
        ({"model_configs": {"m": MODEL}, "calls": {"max_attempts": 0}}, "max_attempts must be at least 1"),
        ({"model_configs": {"m": MODEL}, "calls": {"total_timeout": float("inf")}}, "total_timeout must be"),
        ({"model_configs": {"m": MODEL}, "calls": {"backoff": float("nan")}}, "backoff must be"),
        ({"model_configs": {"m": {**MODEL, "temp": 5}}}, "model_configs.m: temp must be a number from 0 to 2; got 5"),
        ({"model_configs": {"m": {**MODEL, "temp": float("nan")}}}, "temp must be a number from 0 to 2"),
        ({"model_configs": {"m": {**MODEL, "top_p": -1}}}, "model_configs.m: top_p must be a number from 0 to 1"),
        ({"model_configs": {"m": {**MODEL, "top_p": 1.5}}}, "top_p must be"),
        ({"model_configs": {"m": {**MODEL, "top_k": -2}}}, "model_configs.m: top_k must be"),
        ({"model_configs": {"m": {**MODEL, "name": ""}}}, "model_configs.m: name is empty"),
        ({"model_configs": {" ": MODEL}}, "model_configs: a model has an empty name"),
        ({"model_configs": {"m": MODEL}, "router": {"aliases": ["best", "m"]}}, "router.aliases: 'm' is a model, too"),
        ({"model_configs": {"p2l-router": MODEL}}, "router.aliases: 'p2l-router' is a model, too"),
        ({"model_configs": {"m": MODEL}, "router": {"aliases": ["a", "a"]}}, "router: aliases: every name must differ"),
        ({"model_configs": {"m": MODEL}, "router": {"aliases": [""]}}, "none may be empty"),
        ({"model_configs": {"m": MODEL}, "embedding_configs": {"m": MODEL}}, "embedding_configs: 'm' is in model_con"),
        ("model_configs: {}\nname: a\nname: b", "config.yaml, line 3: the name 'name' stands twice"),
        ("model_configs: {m: {name: m, type: openai, cost: 1, cost: 2}}", "line 1: the name 'cost' stands twice"),
        (
            "model_configs:\n  m: {name: m, type: openai, cost: 1}\n  m: {name: n, type: openai, cost: 1}",
            "line 3: .* 'm'",
        ),
        ("x-a: &a {cost: 1, cost: 2}\nmodel_configs: {m: {name: m, type: openai, cost: 1}}", "'cost' stands twice"),
        ({"x": {}, "model_configs": {"m": MODEL}}, "unknown key 'x'"),
        (
            {"model_configs": {"m": MODEL}, "keys": [{"name": "a", "key": "x"}, {"name": "b", "key": "x"}]},
            "must differ",
        ),
        ({"model_configs": {"m": MODEL}, "embedding_configs": {"e": {**MODEL, "type": "gemini"}}}, "only type openai"),
    ],
)
def test_mistakes_are_reported_with_their_place(tmp_path: Path, config: Any, expected: str) -> None:
    path = write(tmp_path, config)
    with pytest.raises(ConfigError, match=expected):
        load_config(path)
    assert main(["-c", str(path), "--check-config"]) == 2


def test_anchors_stand_under_names_with_x(tmp_path: Path) -> None:
    text = """
x-shared: &shared {type: openai, cost: 1.0, temp: 0.7}
x-warm: &warm {<<: *shared, temp: 1.0}
model_configs:
  a: {<<: *shared, name: a}
  b: {<<: *warm, name: b, cost: 2.0}
"""
    models = load_config(write(tmp_path, text)).model_configs
    assert [(m.name, m.cost, m.temp) for m in models.values()] == [("a", 1.0, 0.7), ("b", 2.0, 1.0)]


def test_no_error_quotes_a_key(tmp_path: Path) -> None:
    for text in (
        "model_configs: {m: {api_key: [sk-secret",
        "model_configs: {m: {api_key: {sk-secret: 1}}}",
        "model_configs: {m: {name: m, type: openai, cost: 1, base_url: sk-secret}}",
        "model_configs: {m: {name: m, type: openai, cost: 1, base_url: 'http://u:sk-secret@h'}}",
        'model_configs: {m: {name: m, type: openai, cost: 1, api_key: "sk-secret\\nx"}}',
        "model_configs: {m: {name: m, type: openai, cost: 1, extra_fields: {5: sk-secret}}}",
    ):
        with pytest.raises(ConfigError) as error:
            load_config(write(tmp_path, text))
        assert "sk-secret" not in str(error.value)


def test_keys_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-env-123456")
    config = load_config(write(tmp_path, {"model_configs": {"m": {**MODEL, "api_key": "${SOME_KEY}"}}}))
    assert config.model_configs["m"].key == "sk-env-123456" and config.secrets == ("sk-env-123456",)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("${SOME_KEY:-other}", "sk-env-123456"),
        ("${NOT_SET:-sk-default}", "sk-default"),
        ("${EMPTY:-sk-default}", "sk-default"),
        ("${NOT_SET:-}", None),
        ("a${SOME_KEY:-}b${NOT_SET:-c}", "ask-env-123456bc"),
        ("os.environ/SOME_KEY", "sk-env-123456"),
        ("sk-os.environ/SOME_KEY", "sk-os.environ/SOME_KEY"),
    ],
)
def test_other_ways_to_name_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, key: str | None
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("SOME_KEY", "sk-env-123456")
    monkeypatch.setenv("EMPTY", "")
    config = load_config(write(tmp_path, {"model_configs": {"m": {**MODEL, "api_key": written}}}))
    assert config.model_configs["m"].key == key


def test_line_ends_around_keys_are_no_part_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-vendor-123\n")
    models = {"own": {**MODEL, "api_key": "sk-own-123456\n"}, "vendors": MODEL, "none": {**MODEL, "api_key": " \n"}}
    config = load_config(write(tmp_path, {"model_configs": models}))
    keys = {name: model.key for name, model in config.model_configs.items()}
    assert keys == {"own": "sk-own-123456", "vendors": "sk-vendor-123", "none": "sk-vendor-123"}
    assert set(config.secrets) == {"sk-own-123456", "sk-vendor-123"}


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_published_options_and_their_defaults() -> None:
    args = parser().parse_args(["-c", "c.yaml", "--router-type", "bag-endpoint", "-p", "9", "--router-model-name", "x"])
    assert (args.router_api_key, args.cost_optimizer, args.host, args.api_key) == ("-", "simple-lp", "0.0.0.0", "-")
    assert (args.port, args.workers, args.reload) == (9, 1, False)
    assert parser().parse_args(["--config", "c"]).port == 8000


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "one of --router-type and --router-model-path"),
        (["--router-type", "random", "--router-model-path", "x"], "one of"),
        (["--router-type", "grk-endpoint"], "needs --router-model-endpoint"),
        (["--router-type", "random", "--store-prompts"], "needs --feedback"),
        (["--router-type", "random", "--state", "postgresql://u:secret@h/d"], "only --feedback may be in PostgreSQL"),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as error:
        options_of(parser().parse_args(["-c", "c", *arguments]))
    assert "secret" not in str(error.value)


def test_the_state_of_several_workers_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2L_ROUTER_STATE", "postgres://u:secret@h/d")
    with pytest.raises(ConfigError, match="--state must be the path of a SQLite file"):
        options_of(parser().parse_args(["-c", "c", "--router-type", "random"]))


@pytest.mark.parametrize(
    ("place", "router", "expected"),
    [
        (["--router-model-path", "/nowhere/m"], {}, "/nowhere/m"),
        (["--router-model-path", "."], {}, "not a P2L checkpoint"),
        (["--feedback", "nowhere/f.sqlite"], {}, "cannot be opened as a SQLite file"),
        (["--feedback", "mysql://u:secret@h/d"], {}, "postgresql://user@host"),
        (["--state", "nowhere/s.sqlite"], {}, "cannot be opened as a SQLite file"),
        ([], {"mean_cost": 2.0, "mean_cost_state": "nowhere/s.sqlite"}, "cannot be opened as a SQLite file"),
        (["--state", "postgresql://u:secret@h/d"], {}, "must be the path of a SQLite file"),
        ([], {"mean_cost": 2.0, "mean_cost_state": "postgres://u:secret@h/d"}, "must be the path of a SQLite file"),
        (["--feedback", "other.sqlite"], {}, "table votes has other columns"),
        (["--state", "other.sqlite"], {}, "table accounts has other columns"),
        ([], {"mean_cost": 2.0, "mean_cost_state": "other.sqlite"}, "table streams has other columns"),
        (["--feedback", "f.sqlite", "--export-votes", "."], {}, "cannot be written"),
        (["--feedback", "f.sqlite", "--export-votes", "c.yaml/votes.jsonl"], {}, "cannot be written"),
        (["--feedback", "other.sqlite", "--export-votes", "votes.jsonl"], {}, "table votes has other columns"),
    ],
)
def test_places_that_cannot_be_end_the_command(
    tmp_path: Path,
    place: list[str],
    router: dict[str, object],
    expected: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    models = {"m": {"name": "m", "type": "openai", "cost": 1.0}}
    Path("c.yaml").write_text(yaml.safe_dump({"model_configs": models, "router": router}))
    with closing(sqlite3.connect("other.sqlite")) as other:
        for table in ("votes", "accounts", "streams"):
            other.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, party TEXT)")
    Path("f.sqlite").touch()
    with caplog.at_level("ERROR"):
        scores = [] if "--router-model-path" in place else ["--router-type", "random"]
        assert main(["-c", "c.yaml", *scores, *place]) == 2
    assert expected in caplog.text and "secret" not in caplog.text
    assert not Path("votes.jsonl").exists()
