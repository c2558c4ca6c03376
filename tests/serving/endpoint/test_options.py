"""The command line: every published option under its name, and ours."""

import logging
import re

import pytest

from p2l.errors import ConfigError
from p2l.serving.endpoint.build_endpoint import choose_device, choose_dtype
from p2l.serving.endpoint.endpoint_options import parser, read_options
from p2l.serving.endpoint.endpoint_settings import Settings
from p2l.serving.endpoint.endpoint_supervisor import worker_environment
from p2l.serving.http.supervisor import listen

# the table of the published README; reload alone has another default
PUBLISHED = {
    "model_path": (["--model-path", "-m"], "p2el/Qwen2.5-7B-Instruct-rk-full-train"),
    "model_type": (["--model-type", "-mt"], "qwen2"),
    "head_type": (["--head-type", "-ht"], None),
    "loss_type": (["--loss-type", "-lt"], None),
    "api_key": (["--api-key", "-a"], None),
    "host": (["--host", "-H"], "0.0.0.0"),
    "port": (["--port", "-p"], 10250),
    "reload": (["--reload", "--no-reload"], False),
    "workers": (["--workers"], 1),
    "cuda": (["--cuda", "--no-cuda"], True),
}


def test_published_options_keep_their_names_and_defaults():
    actions = {action.dest: action for action in parser()._actions}
    for name, (flags, default) in PUBLISHED.items():
        assert (actions[name].option_strings, actions[name].default) == (flags, default)


def test_help_names_every_setting():
    text = parser().format_help()
    for name in set(Settings.__dataclass_fields__) - {"keys"}:
        assert re.search(rf"--(no-)?{name.replace('_', '-')}\b", text), name


def test_keys_of_the_command_line(caplog):
    local = ["-H", "127.0.0.1"]
    assert read_options([*local, "-a", "one,two", "-a", "three"], {}).keys == ("one", "two", "three")
    assert read_options(local, {"P2L_API_KEYS": "four"}).keys == ("four",)
    assert read_options(local, {}).keys == ("-",)
    assert read_options([*local, "-a", ""], {}).keys == ()
    assert not caplog.records
    read_options([], {})
    read_options(["-a", ""], {})
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the key is the published default",
        "no key is required",
    ]


def test_settings_survive_their_way_to_a_worker():
    settings = read_options(["-m", "x", "-a", "k", "--timeout", "2.5", "--compile", "--threads", "3"], {})
    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers must be positive and finite; got 0"),
        (["--reload", "--workers", "2"], "--reload works with one worker"),
        (["--port", "70000"], "--port must lie between 0 and 65535"),
        (["--max-queue", "-1"], "--max-queue must be positive"),
        (["--max-turns", "0"], "--max-turns must be positive"),
        (["--timeout", "inf"], "--timeout must be positive and finite; got inf"),
        (["--timeout", "nan"], "--timeout must be positive and finite; got nan"),
    ],
)
def test_values_that_do_not_fit(arguments, message):
    with pytest.raises(ConfigError, match=message):
        read_options(arguments, {})


def test_a_port_in_use_is_an_error_in_one_line():
    with listen("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="cannot listen on 127.0.0.1 port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8), raising=False)
    environment = worker_environment(Settings(workers=2), {})
    assert environment["OMP_NUM_THREADS"] == "4"
    for said, threads in (("3", "3"), ("4,2", "4"), ("", "4")):
        assert worker_environment(Settings(workers=2), {"OMP_NUM_THREADS": said})["OMP_NUM_THREADS"] == threads
    environment = worker_environment(Settings(threads=3), {"LRU_CACHE_CAPACITY": "7"})
    assert (environment["OMP_NUM_THREADS"], environment["LRU_CACHE_CAPACITY"]) == ("3", "7")


def test_without_a_gpu_the_cpu_is_used_and_said(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device(cuda=True) == "cpu" and "--no-cuda" in caplog.text
    caplog.clear()
    assert choose_device(cuda=False) == "cpu" and not caplog.records


@pytest.mark.parametrize(
    ("flags", "dtype"), [("flags : avx512_bf16 amx_bf16", "bfloat16"), ("flags : avx2", "float32")]
)
def test_auto_precision(flags, dtype, monkeypatch):
    monkeypatch.setattr("p2l.processor._cpu_flags", lambda: flags)
    assert choose_dtype("auto", "cpu") == dtype
    assert choose_dtype("auto", "cuda") == "bfloat16"
    assert choose_dtype("float16", "cpu") == "float16"
