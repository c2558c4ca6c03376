"""A log line is one JSON object, and of an exception it tells the type and the place, not the text."""

import json
import logging

from p2l.serving.http.json_logs import JsonFormatter


def test_fields_stand_beside_the_message(caplog):
    caplog.set_level(logging.INFO)
    logging.getLogger("some.part").info("ready: %s", "ünïcode\nline", extra={"fields": {"ms": 1.5}})
    text = JsonFormatter().format(caplog.records[-1])
    line = json.loads(text)
    assert "\n" not in text and line["message"] == "ready: ünïcode\nline"
    assert (line["level"], line["logger"], line["ms"]) == ("info", "some.part", 1.5)


def test_an_exception_is_told_without_its_text(caplog):
    try:
        raise ValueError("the client's secret")
    except ValueError:
        logging.getLogger("some.part").exception("it failed")
    text = JsonFormatter().format(caplog.records[-1])
    line = json.loads(text)
    assert line["error"] == "ValueError" and __file__ in line["at"]
    assert "secret" not in text and "Traceback" not in text
