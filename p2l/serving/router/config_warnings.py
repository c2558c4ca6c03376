"""What is allowed in a configuration but rarely meant."""

import logging

from p2l.serving.router.accounts.pricing import price_of
from p2l.serving.router.accounts.token_usage import TokenUsage
from p2l.serving.router.config.price_table import PriceTable
from p2l.serving.router.config.server_config import ModelConfig, ServerConfig
from p2l.serving.router.router_logs import event

_TYPICAL_ANSWER = TokenUsage(prompt=500, completion=500)
_TYPICAL_EMBEDDING = TokenUsage(prompt=500, completion=0)
_MOST_TIMES = 10.0


def log_warnings(config: ServerConfig) -> None:
    """Log a warning for each placeholder in place of a key, and for each ``cost`` in another unit than ``prices``."""
    for name in config.placeholders():
        event("the key is still the placeholder of the example", {"model": name}, level=logging.WARNING)
    for name, model in config.model_configs.items():
        if not model.predicts_cost:
            _warn_of_units(f"model_configs.{name}", model, _TYPICAL_ANSWER)
    _warn_of_listed_prices(config)
    _warn_of_unpriced_switches(config)
    for name, model in config.embedding_configs.items():
        _warn_of_units(f"embedding_configs.{name}", model, _TYPICAL_EMBEDDING)


def _warn_of_units(place: str, model: ModelConfig, typical: TokenUsage) -> None:
    price = price_of(model, typical)
    if not price / _MOST_TIMES <= model.fixed_cost <= price * _MOST_TIMES:
        event(
            "cost and prices disagree by more than ten times: state both in one unit, prices for a million tokens",
            {"model": place, "cost": model.cost, "price_of_a_typical_answer": float(f"{price:.6g}")},
            level=logging.WARNING,
        )


def _warn_of_unpriced_switches(config: ServerConfig) -> None:
    """Log where sessions may change their model, and nothing says what that costs or what it is worth."""
    sessions = config.router.sessions
    if sessions.mode == "sticky":
        return
    if unpriced := [name for name, model in config.model_configs.items() if model.prices is None]:
        event(
            "without prices a switch to these models counts as free: give prices, or prices: table",
            {"models": unpriced},
            level=logging.WARNING,
        )
    if config.router.mean_cost is None and sessions.score_per_cost is None:
        event(
            "requests without a budget follow the scores, whatever a switch costs: give router.mean_cost, or "
            "router.sessions.score_per_cost",
            level=logging.WARNING,
        )


def _warn_of_listed_prices(config: ServerConfig) -> None:
    """Log what the price table does not know, and its age, if a model takes its prices from there."""
    listed = {name: one.prices.table for name, one in config.model_configs.items() if one.prices and one.prices.table}
    if not listed:
        return
    table = PriceTable()
    days = (table.today.date() - table.newest).days
    if days > config.router.price_table_days:
        event(
            "the price table may be out of date: update the package genai-prices",
            {"newest_price": table.newest.isoformat(), "days": days},
            level=logging.WARNING,
        )
    for name, reference in listed.items():
        for note in table.listed(reference).notes:
            event("about a list price", {"model": name, "table": reference, "note": note}, level=logging.WARNING)
