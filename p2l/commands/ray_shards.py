"""Call a function with each file of a data set on a Ray cluster (extra ``ray``)."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from p2l.errors import P2LError
from p2l.extras import check_modules


class _Worker:
    """A process of the cluster, which makes its function once: a checkpoint is loaded once."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._call = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            result = self._call(pickle.loads(row["item"]))
        except P2LError as error:
            result = error  # Ray would wrap it in its own, with a traceback
        return {"number": row["number"], "result": pickle.dumps(result)}


def each_on_ray(
    make: Callable[[], Callable[[Any], Any]], items: Sequence[Any], *, workers: int, gpus: float = 0
) -> Iterator[Any]:
    """Yield what the function that ``make`` returns makes of each item, in their order.

    At most ``workers`` processes, with ``gpus`` GPUs each, call it; what it takes and returns must be picklable. The
    cluster is the one that this process is connected to, or a local one, which is started. Raises the first P2LError
    that the function raised, ConfigError if Ray is not installed.
    """
    check_modules(("ray",), "engine=ray", "ray")
    import ray.data

    rows = [{"number": number, "item": pickle.dumps(item)} for number, item in enumerate(items)]
    calls = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Worker, fn_constructor_args=(make,), concurrency=(1, min(workers, len(rows))), num_gpus=gpus or None
    )
    for row in sorted(calls.take_all(), key=lambda row: row["number"]):
        result = pickle.loads(row["result"])
        if isinstance(result, P2LError):
            raise result
        yield result
