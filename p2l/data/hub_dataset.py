"""A dataset of Hugging Face's ``datasets``, which is loaded only to read one: it takes half a second."""

import sys
from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard, runtime_checkable

import pandas as pd


@runtime_checkable
class HubDataset(Protocol):
    """What p2l reads of a ``datasets.Dataset``: the types of its columns, and its rows."""

    features: Mapping[str, Any]

    def to_pandas(self) -> pd.DataFrame: ...

    def select_columns(self, column_names: list[str]) -> Any: ...


def is_dataset(value: object) -> TypeGuard[HubDataset]:
    """Return whether it is a ``datasets.Dataset``; False if that library is not loaded."""
    return isinstance(value, getattr(sys.modules.get("datasets"), "Dataset", ()))


def is_dataset_dict(value: object) -> TypeGuard[Mapping[str, HubDataset]]:
    """Return whether it is a ``datasets.DatasetDict``."""
    return isinstance(value, getattr(sys.modules.get("datasets"), "DatasetDict", ()))
