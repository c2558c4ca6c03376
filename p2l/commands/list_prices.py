"""``p2l prices``: show the list prices of models, and what a router's configuration takes from them."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from p2l.errors import P2LError
from p2l.serving.router.config.load_config import load_config
from p2l.serving.router.config.price_table import ListedPrices, PriceTable

Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Print the prices; exit status 2 if a model or the configuration cannot be read."""
    options = parser().parse_args(arguments)
    if not (options.models or options.config or options.search):
        parser().error("name models (openai/gpt-4o), or give --search or --config")
    try:
        table = PriceTable()
        rows = list(_rows(table, options))
    except P2LError as error:
        sys.stderr.write(f"p2l prices: {error}\n")
        return 2
    sys.stdout.write(_as_json(table.newest, rows) if options.json else _as_text(table.newest, rows))
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="p2l prices",
        description="Show list prices in dollars for a million tokens, from the table of the package genai-prices.",
    )
    parser.add_argument("models", nargs="*", help="models of the table, such as openai/gpt-4o")
    parser.add_argument("--search", help="show all models whose name holds this text")
    parser.add_argument("--config", "-c", type=Path, help="show what the models of a router's configuration cost")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _rows(table: PriceTable, options: argparse.Namespace) -> Iterator[Row]:
    for name in options.models:
        yield _listed(table.listed(name))
    if options.search:
        yield from map(_listed, table.search(options.search))
    if options.config is not None:
        yield from _configured(options.config, table)


def _listed(prices: ListedPrices) -> Row:
    return {"model": prices.name, **prices.values, "notes": list(prices.notes)}


def _configured(path: Path, table: PriceTable) -> Iterator[Row]:
    """Yield the models of a configuration: their prices, and the cost of an answer."""
    for name, model in load_config(path).model_configs.items():
        row: Row = {"model": name, "cost": model.cost}
        if (prices := model.prices) is not None:
            listed = None if prices.table is None else table.listed(prices.table)
            known = {key: value for key, value in vars(prices).items() if value is not None and key != "above"}
            row |= known | {"above": [{**vars(one)} for one in prices.above]}
            row["notes"] = [] if listed is None else list(listed.notes)
        yield row


def _as_json(newest: date, rows: Sequence[Row]) -> str:
    return json.dumps({"newest_price": newest.isoformat(), "models": list(rows)}, indent=1) + "\n"


def _as_text(newest: date, rows: Sequence[Row]) -> str:
    """Return a table of the columns that have values; prices of long prompts are rows of their own."""
    import pandas as pd

    if not rows:
        return "no model of the price table has this text in its name\n"
    flat, notes = [], []
    for row in rows:
        above, own = row.get("above") or [], row.get("notes", [])
        flat.append({name: value for name, value in row.items() if name not in ("above", "notes")})
        flat += [
            {"model": f"  prompt above {one['tokens']:,}", **{n: v for n, v in one.items() if n != "tokens"}}
            for one in above
        ]
        notes += [f"{row['model']}: {note}" for note in own]
    shown = pd.DataFrame(flat).dropna(axis=1, how="all").to_string(index=False, na_rep="", float_format="{:g}".format)
    title = f"dollars for a million tokens; the newest price of the table is of {newest}\n"
    return title + shown + "\n" + "".join(f"{note}\n" for note in notes)
