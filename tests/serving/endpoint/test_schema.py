"""Drawn requests against the OpenAPI document: no 5xx, and every answer is one that the document names."""

import pytest

from p2l.serving.endpoint.endpoint_app import create_app

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402


# schemathesis draws some texts with random
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
def test_every_answer_to_drawn_requests_is_documented(service):
    app = create_app(service, keys=["k"])
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    strategies = [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in schema.get_all_operations()
        for mode in schemathesis.GenerationMode
    ]
    seen = set()

    @settings(max_examples=150, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.one_of(strategies), st.sampled_from(["k", "k", "k", "x"]))
    def check(case, key):
        answer = case.call(headers={"api-key": key})
        seen.add((case.path, answer.status_code))
        assert answer.status_code < 500, case.as_curl_command()
        documented = schema.raw_schema["paths"][case.path][case.method.lower()]["responses"]
        assert str(answer.status_code) in documented, (case.as_curl_command(), answer.text)

    check()
    assert ("/predict", 200) in seen and ("/predict", 422) in seen
