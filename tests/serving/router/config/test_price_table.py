"""Prices from the table: equal to what its package computes, filled into a configuration, and shown."""

import json
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

pytest.importorskip("genai_prices")

from genai_prices import Usage, calc_price

from p2l.commands.cli import main
from p2l.errors import ConfigError
from p2l.serving.router.accounts.pricing import price_of
from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.price_table import PriceTable
from p2l.serving.router.config.read_section import Place, read_section
from p2l.serving.router.config.server_config import ModelConfig
from p2l.serving.router.config.token_prices import LongPromptPrices, Prices
from p2l.serving.router.config_warnings import log_warnings

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
ROUTER = "router: {cost_unit: dollars, typical_tokens: {input: 1000, output: 500}}\n"


def write(folder: Path, models: str, router: str = ROUTER) -> Path:
    path = folder / "router.yaml"
    path.write_text(f"{router}model_configs:\n{models}", encoding="utf-8")
    return path


def configured(values: dict, kind: str) -> ModelConfig:
    prices = read_section(Prices, values, Place("test"))
    return ModelConfig(name="m", type=kind, cost=1.0, prices=prices)  # type: ignore[arg-type]


@pytest.mark.parametrize(("provider", "kind"), [("openai", "openai"), ("anthropic", "anthropic"), ("google", "gemini")])
@pytest.mark.parametrize("prompt", [900, 200_000, 200_001, 300_000])
def test_answers_cost_what_the_package_says(provider: str, kind: str, prompt: int) -> None:
    """Every model of a vendor that charges text by tokens: below, at and above the bound of long prompts."""
    table, compared = PriceTable(NOW), 0
    for listed in table.search(f"{provider}/"):
        if not listed.name.startswith(f"{provider}/") or any("audio" in one for one in listed.not_used):
            continue
        if provider == "openai" and "ft" in listed.name:  # the package finds these by longer names alone
            continue
        cached = 300 if "cached_input" in listed.values else 0
        written = 200 if "cache_write" in listed.values else 0
        usage = Usage(input_tokens=prompt, cache_read_tokens=cached, cache_write_tokens=written, output_tokens=7_000)
        theirs = calc_price(usage, listed.name.split("/", 1)[1], provider_id=provider, genai_request_timestamp=NOW)
        ours = price_of(
            configured(dict(listed.values), kind),
            TokenUsage(prompt, 7_000, cached=cached, cache_written=written),
        )
        assert ours == pytest.approx(float(theirs.total_price), rel=1e-9), listed.name
        compared += 1
    assert compared > 20


def test_prices_of_the_table_are_filled_in(tmp_path: Path) -> None:
    """By vendor, by the URL of a provider, by reference; own prices stand in place of listed ones."""
    models = """
  vendor: {name: gpt-4o, type: openai, prices: table}
  url: {name: openai/gpt-4o, type: openai, base_url: "https://openrouter.ai/api/v1", prices: table}
  reference: {name: my-deployment, type: openai, base_url: "http://localhost:1/v1", prices: {table: openai/gpt-4o}}
  own: {name: gpt-4o, type: openai, cost: 0.02, prices: {table: openai/gpt-4o, cached_input: 0.5}}
"""
    config = load_config(write(tmp_path, models)).model_configs
    listed = PriceTable().listed("openai/gpt-4o").values
    for name in ("vendor", "reference"):
        assert config[name].prices == Prices(**listed, table="openai/gpt-4o")
        assert config[name].cost == pytest.approx((1000 * listed["input"] + 500 * listed["output"]) / 1e6)
    assert config["url"].prices.table.startswith("openrouter/")
    assert (config["own"].prices.cached_input, config["own"].prices.input) == (0.5, listed["input"])
    assert config["own"].cost == 0.02


def test_variables_and_anchors_are_read_before_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_MODEL", "gpt-4o-mini")
    models = """
  a: &a {name: "${MY_MODEL}", type: openai, prices: {table: "openai/${MY_MODEL}"}}
  b: {<<: *a, name: other}
"""
    config = load_config(write(tmp_path, models)).model_configs
    assert config["a"].prices == config["b"].prices
    assert config["a"].prices.table == "openai/gpt-4o-mini"


def test_a_cost_that_is_left_out_needs_prices_and_lengths(tmp_path: Path) -> None:
    own = "  a: {name: a, type: openai, prices: {input: 2, output: 10}}\n"
    assert load_config(write(tmp_path, own)).model_configs["a"].cost == pytest.approx(0.007)
    long = (
        "  a: {name: a, type: openai, prices: {input: 2, output: 10, above: [{tokens: 900, input: 4, output: 20}]}}\n"
    )
    assert load_config(write(tmp_path, long)).model_configs["a"].cost == pytest.approx(0.014)
    with pytest.raises(ConfigError, match=r"line 2: model_configs\.a: cost missing; .*typical_tokens"):
        load_config(write(tmp_path, own, router=""))
    with pytest.raises(ConfigError, match="cost missing"):
        load_config(write(tmp_path, "  a: {name: a, type: openai}\n"))


TIER = "{tokens: 9, input: 1, output: 1}"
LONG_PROMPTS = "{table: google/gemini-2.5-pro, input: 1}"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "{name: gpt-4o-minix, type: openai, prices: table}",
            "no model 'gpt-4o-minix' of openai; did you mean 'gpt-4o-m",
        ),
        ("{name: x, type: openai, base_url: 'http://localhost/v1', prices: table}", "no provider at this base_url"),
        ("{name: x, type: openai, prices: {table: opanai/gpt-4o}}", "no provider 'opanai'; did you mean 'openai'"),
        ("{name: x, type: openai, prices: {table: gpt-4o}}", "expected <provider>/<model>"),
        ("{name: x, type: openai, prices: {table: true}}", "expected text"),
        ("{name: x, type: mistral, prices: table}", "type 'mistral'"),
        (f"{{name: gemini-2.5-pro, type: gemini, prices: {LONG_PROMPTS}}}", "state them, too, as above"),
        ("{name: x, type: openai, cost: 1, prices: tabel}", "expected keys and values"),
        (f"{{name: x, type: openai, cost: 1, prices: {{input: 1, output: 1, above: [{TIER}, {TIER}]}}}}", "must rise"),
    ],
)
def test_errors_name_the_place_and_what_to_do(tmp_path: Path, model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        load_config(write(tmp_path, f"  a: {model}\n"))
    assert "line 3" in str(error.value) and "model_configs.a" in str(error.value)


@pytest.mark.parametrize("unit", ["", "cost_unit: cents, "])
def test_the_table_is_in_dollars(tmp_path: Path, unit: str) -> None:
    router = f"router: {{{unit}typical_tokens: {{input: 1, output: 1}}}}\n"
    with pytest.raises(ConfigError, match="cost_unit: dollars"):
        load_config(write(tmp_path, "  a: {name: gpt-4o, type: openai, prices: table}\n", router))


def test_prices_of_the_hour_are_refused_and_later_prices_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    table = PriceTable(datetime(2026, 1, 1, tzinfo=timezone.utc))
    later = [one for one in table.search("") if one.changes]
    assert later and all(one.changes > date(2026, 1, 1) and "change on" in one.notes[-1] for one in later)
    assert table.newest <= date(2026, 1, 1)
    from genai_prices.types import ConditionalPrice, ModelPrice, TimeOfDateConstraint

    model = next(one for one in table._providers["openai"].models if one.id == "gpt-4o")
    night = TimeOfDateConstraint(datetime.min.time(), datetime.max.time())
    prices = [ConditionalPrice(None, prices=model.prices), ConditionalPrice(night, prices=ModelPrice())]
    monkeypatch.setattr(model, "prices", prices)
    with pytest.raises(ConfigError, match="depend on the hour"):
        table.listed("openai/gpt-4o")


def test_an_old_table_and_what_it_lacks_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    router = "router: {cost_unit: dollars, typical_tokens: {input: 1, output: 1}, price_table_days: 0}\n"
    config = load_config(write(tmp_path, "  a: {name: gpt-4o, type: openai, prices: table}\n", router))
    log_warnings(config)
    assert "may be out of date" in caplog.text
    assert any("does not charge" in str(record.__dict__) for record in caplog.records)


def test_long_prompts_have_prices_of_their_own() -> None:
    model = configured(
        {"input": 1.0, "output": 2.0, "above": [{"tokens": 100, "input": 10.0, "output": 20.0, "cached_input": 0.0}]},
        "openai",
    )
    assert model.prices == Prices(1.0, 2.0, above=(LongPromptPrices(100, 10.0, 20.0, 0.0),))
    assert price_of(model, TokenUsage(100, 10)) == pytest.approx(120e-6)
    assert price_of(model, TokenUsage(101, 10, cached=1)) == pytest.approx(1200e-6)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path, "  a: {name: gemini-2.5-pro, type: gemini, prices: table}\n")
    assert main(["prices", "openai/gpt-4o", "--search", "claude-sonnet", "--config", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    names = [row["model"] for row in shown["models"]]
    assert names[0] == "openai/gpt-4o" and "anthropic/claude-sonnet-4-5" in names and names[-1] == "a"
    assert shown["models"][-1]["above"][0]["tokens"] == 200_000
    assert date.fromisoformat(shown["newest_price"]) <= date.today()
    assert main(["prices", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "prompt above 200,000" in shown and "a: the router does not charge" in shown
    assert main(["prices", "openai/gpt-9-none"]) == 2
    assert "no model 'gpt-9-none' of openai" in capsys.readouterr().err
    assert main(["prices", "--search", "no such model"]) == 0
    assert "no model" in capsys.readouterr().out
