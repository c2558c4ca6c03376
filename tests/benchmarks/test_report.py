"""The page of all performance figures: ratios, shares of the peak, and what was not measured."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.running import ROOT


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, ModuleType]]:
    """The modules of the folder, which are scripts that import each other by name."""
    names = ("figures", "machine", "report")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield {name: __import__(name) for name in names}
        for name in names:
            del sys.modules[name]


@pytest.fixture
def computer(bench: dict[str, ModuleType]) -> object:
    return bench["machine"].Machine(
        "a processor", 2, 8 * 2**30, {"float32": 1e12, "bfloat16": 4e12}, 2e10, 2, {"torch": "2"}
    )


def test_above_one_is_better_for_rates_and_for_times(bench: dict[str, ModuleType]) -> None:
    figure = bench["figures"].Figure
    assert figure("a", "requests/s", 300.0, {"peer": 100.0}).ratio("peer") == 3.0
    assert figure("a", "ms", 2.0, {"peer": 10.0}).ratio("peer") == 5.0
    assert figure("a", "MB", 50.0, {"peer": 25.0}).ratio("peer") == 0.5


def test_a_peer_that_did_nothing_in_its_time_has_no_ratio(
    bench: dict[str, ModuleType], computer: object, tmp_path: Path
) -> None:
    silent = bench["figures"].Figure("beside a busy loop", "requests/s", 40.0, {"peer": 0.0, "other": 10.0})
    assert "| beside a busy loop | 40 requests/s | peer: no answer in the time |  |" in bench["report"].table(
        [silent], computer
    )
    bench["report"].draw([silent], tmp_path / "page.png")
    only = bench["figures"].Figure("beside a busy loop", "requests/s", 40.0, {"peer": 0.0})
    bench["report"].draw([only], tmp_path / "only.png")
    assert (tmp_path / "only.png").stat().st_size > 1000


def test_the_share_of_the_peak(bench: dict[str, ModuleType], computer: object) -> None:
    figure, share = bench["figures"].Figure, bench["report"].work_share
    assert share(figure("a", "prompts/s", 100.0, flop=2e10, dtype="bfloat16"), computer) == "50% of bfloat16 products"
    assert share(figure("a", "ms", 500.0, bytes_moved=1e9), computer) == "10% of the memory's bandwidth"
    assert share(figure("a", "MB", 1.0), computer) == ""


def test_figures_are_read_as_they_were_written(bench: dict[str, ModuleType], tmp_path: Path) -> None:
    figures = bench["figures"]
    written = [figures.Figure("a", "ms", 0.1, {"b": 0.2}, flop=3.0)]
    figures.save(tmp_path / "a.json", written)
    assert figures.load(tmp_path / "a.json") == written
    figures.save(None, written)


def test_the_page_shows_each_peer_and_what_was_not_measured(bench: dict[str, ModuleType], computer: object) -> None:
    figures = [
        bench["figures"].Figure("one decision", "us", 20.0, {"cvxpy": 4000.0, "other": 10.0}),
        bench["figures"].Figure("alone", "s", 1.5),
    ]
    text = bench["report"].page({"decision": figures}, {"router": "wrk is needed"}, computer, "performance.png")
    assert "| one decision | 20 us | cvxpy: 4,000 | 200 x |" in text and "|  |  | other: 10 | 0.5 x |" in text
    assert "| alone | 1.5 s |  |  |" in text
    assert "- `router`: wrk is needed" in text and "a processor, 2 cores, 8 GiB" in text


def test_a_page_leaves_out_columns_that_nothing_fills_and_names_the_published_code_once(
    bench: dict[str, ModuleType], computer: object
) -> None:
    figure, report = bench["figures"].Figure, bench["report"]
    assert report.table([figure("alone", "s", 1.5)], computer) == "| what | p2l |\n|---|---|\n| alone | 1.5 s |"
    names = ({"upstream": 2.0}, {"upstream's router": 2.0}, {"published code": 2.0})
    assert {name for others in names for name in report.named(figure("a", "s", 1.0, others)).others} == {
        "published p2l"
    }


def test_a_run_keeps_figures_draws_them_and_names_what_failed(
    bench: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computer: object
) -> None:
    """Figures of an earlier run are kept; a benchmark that ends without figures is named, and the exit status is 1."""
    report, folder, page = bench["report"], tmp_path / "figures", tmp_path / "performance.md"
    folder.mkdir()
    (folder / "machine.json").write_text(json.dumps(vars(computer)))
    bench["figures"].save(folder / "decision.json", [bench["figures"].Figure("one", "us", 20.0, {"cvxpy": 4000.0})])
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('a peer is missing')")
    monkeypatch.setitem(report.JOBS, "load", report.Job("Reading votes", str(broken)))
    options = ["report.py", "--folder", str(folder), "--page", str(page), "--only", "decision", "load"]
    monkeypatch.setattr(sys, "argv", options)
    with pytest.raises(SystemExit, match="failed: load"):
        report.main()
    assert "- `load`: a peer is missing" in page.read_text() and "cvxpy: 4,000" in page.read_text()
    assert (tmp_path / "performance.png").read_bytes().startswith(b"\x89PNG")
    broken.write_text(
        "import pathlib, sys\n"
        'figure = \'[{"what": "one file", "unit": "s", "ours": 1.5}]\'\n'
        "pathlib.Path(sys.argv[-1]).write_text(figure)"
    )
    report.main()
    assert "one file" in page.read_text() and "Failed" not in page.read_text()
