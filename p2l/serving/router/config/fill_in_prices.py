"""Fill in what a configuration leaves to the price table: prices of tokens, and the cost of an answer."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from p2l.errors import ConfigError
from p2l.serving.router.config.price_table import PriceTable
from p2l.serving.router.config.read_section import Place, read_section, read_text
from p2l.serving.router.config.strict_yaml import Section
from p2l.serving.router.config.token_prices import Prices, TypicalTokens

TABLE, UNIT = "table", "dollars"


def fill_in_prices(raw: object, where: Place, table: Callable[[], PriceTable] = PriceTable) -> object:
    """Return the raw configuration with numbers in place of ``prices: table`` and of a ``cost`` that is left out.

    What cannot be read yet stays, for ``read_section`` to name it. ``table`` is opened only if a model asks for it.
    ConfigError if a model is not in the table, its prices would be in another unit, or its length is not known.
    """
    models = raw.get("model_configs") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(models, dict):
        return raw
    router = raw.get("router")
    router = router if isinstance(router, dict) else {}
    filled, opened = _copy(models), None
    for name, model in models.items():
        if not isinstance(model, dict):
            continue
        place = where.inside(raw, "model_configs").inside(models, name, ".")
        filled[name] = model = _copy(model)
        if _asks_table(model.get("prices")):
            _check_unit(router, place)
            opened = opened or table()
            model["prices"] = _from_table(model, opened, place)
        if "cost" not in model and isinstance(model.get("prices"), dict):
            model["cost"] = _mean_cost(model, router, place, where.inside(raw, "router"))
    return _copy(raw, {"model_configs": filled})


def _copy(section: Mapping[Any, Any], values: Mapping[Any, Any] = MappingProxyType({})) -> Section:
    """Return a section with the same lines and these values; anchors may share the original."""
    copy = Section(section)
    copy.lines = getattr(section, "lines", {})
    copy.update(values)
    return copy


def _asks_table(prices: object) -> bool:
    return prices == TABLE or (isinstance(prices, dict) and TABLE in prices)


def _check_unit(router: Mapping[Any, Any], place: Place) -> None:
    if router.get("cost_unit") != UNIT:
        raise ConfigError(
            f"{place}: the price table is in dollars; write all costs and budgets of this file in dollars, and say so: "
            f"router.cost_unit: {UNIT}"
        )


def _from_table(model: Mapping[Any, Any], table: PriceTable, place: Place) -> Section:
    """Return the listed prices, with those that the configuration states in their place."""
    inner, prices = place.inside(model, "prices", "."), model["prices"]
    own = prices if isinstance(prices, dict) else Section()
    try:
        if own:
            listed = table.listed(read_text(own[TABLE], inner.inside(own, TABLE, ".")))
        else:
            texts = {name: _text(model, name, place) for name in ("type", "name", "base_url")}
            listed = table.find(texts["type"] or "", texts["name"] or "", texts["base_url"])
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(inner.file) else f"{inner}: {error}") from None
    stated = {name: value for name, value in own.items() if name != TABLE}
    if stated and "above" in listed.values and "above" not in stated:
        raise ConfigError(
            f"{inner}: {listed.name} has other prices for long prompts; beside {', '.join(map(str, stated))} state "
            "them, too, as above ([] for none)"
        )
    filled: dict[Any, Any] = {**listed.values, **stated, TABLE: listed.name}
    return _copy(own, filled)


def _text(model: Mapping[Any, Any], name: str, place: Place) -> str | None:
    value = model.get(name)
    return None if value is None else read_text(value, place.inside(model, name, "."))


def _mean_cost(model: Mapping[Any, Any], router: Mapping[Any, Any], place: Place, where: Place) -> float:
    """Return the price of an answer of the typical length; ConfigError if the configuration states none."""
    if "typical_tokens" not in router:
        raise ConfigError(
            f"{place}: cost missing; give it, or the mean lengths of your prompts and answers, from which it is "
            "computed: router.typical_tokens: {input: ..., output: ...}"
        )
    tokens = read_section(TypicalTokens, router["typical_tokens"], where.inside(router, "typical_tokens", "."))
    return tokens.cost(read_section(Prices, model["prices"], place.inside(model, "prices", ".")))
