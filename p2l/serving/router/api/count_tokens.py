"""``/v1/messages/count_tokens``: the tokens of a prompt, as the provider of the chosen model counts them."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from p2l.serving.http.api_error import invalid
from p2l.serving.http.disconnect import run_until_disconnect
from p2l.serving.http.request_response import header_text, json_response, read_json_object
from p2l.serving.router.api.authentication import authenticate
from p2l.serving.router.api.parse_messages import parse_messages_request
from p2l.serving.router.conversation.session_name import named_session
from p2l.serving.router.upstream.providers.anthropic_messages import count_request
from p2l.serving.router.upstream.thoughts import call_ids
from p2l.serving.router.upstream_error import UpstreamError


async def count_tokens(request: Request) -> Response:
    """Ask the chosen model's provider; ApiError 400 if it is not Anthropic: another count would be a guess."""
    container, config, key = await authenticate(request, count=True)
    body = await read_json_object(request)
    asked = parse_messages_request(body, request.headers, config.router.session_from_user, answers=False)
    asked = replace(asked, thoughts=container.thoughts.find(key.name, call_ids(asked.messages)))
    plan = await container.selector.select(config, named_session(config.router, asked), key)
    container.stream_budgets.settle(plan, config.router.mean_cost or 0.0)  # a count must not change the running mean
    model = config.model_configs[plan.chosen]
    if model.type != "anthropic":
        message = f"tokens are counted by models of type anthropic; {plan.chosen} is of type {model.type}: name another"
        raise invalid(message, "model", "unsupported")
    sent = count_request(model, asked)
    try:
        call = container.upstream_client.post(sent, config.calls, config.calls.total_timeout, config.secrets)
        counted = await run_until_disconnect(request.receive, call)
    except UpstreamError as error:
        raise error.to_api_error() from None
    return json_response(counted, headers={"x-p2l-model": header_text(plan.chosen)})
