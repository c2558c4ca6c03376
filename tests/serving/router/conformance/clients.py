"""The clients of the router's APIs, each as its documentation shows it, doing the same eight things.

A scenario that a client does not have is a missing method. Each returns what ``EXPECTED`` has for it.
"""

import asyncio
import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from tests.serving.router.conformance.vendors import COMPLETION_TOKENS, PNG, PROMPT_TOKENS

Scenario = Literal["plain", "stream", "tools", "tool loop", "structured output", "images", "n", "usage"]
CALL = ("weather", {"city": "Rome"})
EXPECTED: dict[Scenario, Any] = {
    "plain": "Hello there",
    "stream": "Hello there",
    "tools": CALL,
    "tool loop": "Rome 20, Oslo 5",
    "structured output": 42,
    "images": "A cat",
    "n": ["Hello there", "Hello there"],
    "usage": (PROMPT_TOKENS, COMPLETION_TOKENS),
}
DEGREES = {"Rome": "20", "Oslo": "5"}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {
    "name": "weather",
    "description": "The weather of a city",
    "parameters": PARAMETERS,
    "strict": True,
}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
TOOL: Any = {"name": "weather", "description": FUNCTION["description"], "input_schema": PARAMETERS, "strict": True}
IMAGE = f"data:image/png;base64,{PNG}"
HELLO: Any = [{"role": "user", "content": "hi"}]
SEE: Any = [
    {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]}
]


class Answer(BaseModel):
    """The answer to the question."""

    answer: int


class Client(ABC):
    """A client of the router at ``base``. ``package`` is the one that pip or npm installs.

    Leaving its context closes its connections. Left open, the garbage collector would find them in some later test.
    """

    title: str
    package: str

    def __init__(self, base: str, key: str) -> None:
        self.base, self.key = base, key
        self._open = ExitStack()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def openai_client(self) -> Any:
        import openai

        return self._open.enter_context(openai.OpenAI(base_url=self.base, api_key=self.key, max_retries=0))

    @classmethod
    def version(cls) -> str | None:
        """Return the installed version; None without one."""
        try:
            return version(cls.package)
        except PackageNotFoundError:
            return None

    @abstractmethod
    def run(self, scenario: Scenario) -> Any:
        """Return what the client got; NotImplementedError if it does not have the scenario."""


class PythonClient(Client):
    """Runs the method that is named like the scenario."""

    def run(self, scenario: Scenario) -> Any:
        method = getattr(self, scenario.replace(" ", "_"), None)
        if method is None:
            raise NotImplementedError
        return method()


class OpenAI(PythonClient):
    title, package = "openai (Python)", "openai"

    def __init__(self, base: str, key: str) -> None:
        super().__init__(base, key)
        self.client = self.openai_client()
        self.create: Any = self.client.chat.completions.create
        self.parse: Any = self.client.chat.completions.parse

    def assemble(self, **fields: Any) -> Any:
        """Return the answer that the client puts together from a stream."""
        with self.client.chat.completions.stream(**fields) as events:
            return events.get_final_completion()

    def plain(self) -> Any:
        return self.create(model="-", messages=HELLO, temperature=0.5).choices[0].message.content

    def stream(self) -> str:
        chunks = self.create(model="-", messages=HELLO, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def tools(self) -> Any:
        call: Any = self.assemble(model="-", messages=HELLO, tools=TOOLS).choices[0].message.tool_calls
        whole = self.create(model="-", messages=HELLO, tools=TOOLS).choices[0].message.tool_calls
        found = [(c.function.name, json.loads(c.function.arguments)) for c in (call[0], whole[0])]
        return found[0] if found[0] == found[1] else found

    def tool_loop(self) -> Any:
        """Keep what the documentation keeps of an answer: role, content and tool calls."""
        messages = list(HELLO)
        while True:
            message = self.create(model="-", messages=messages, tools=TOOLS).choices[0].message
            if not message.tool_calls:
                return message.content
            calls = [
                {
                    "id": c.id,
                    "type": "function",
                    "function": {"name": c.function.name, "arguments": c.function.arguments},
                }
                for c in message.tool_calls
            ]
            messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
            messages += [
                {
                    "role": "tool",
                    "tool_call_id": c["id"],
                    "content": DEGREES[json.loads(c["function"]["arguments"])["city"]],
                }
                for c in calls
            ]

    def structured_output(self) -> Any:
        got = self.parse(model="-", messages=HELLO, response_format=Answer)
        parsed = got.choices[0].message.parsed
        return parsed and parsed.answer

    def images(self) -> Any:
        return self.create(model="-", messages=SEE).choices[0].message.content

    def n(self) -> Any:
        return [choice.message.content for choice in self.create(model="-", messages=HELLO, n=2).choices]

    def usage(self) -> Any:
        whole = self.create(model="-", messages=HELLO).usage
        chunks = self.create(model="-", messages=HELLO, stream=True, stream_options={"include_usage": True})
        streamed = [chunk.usage for chunk in chunks if chunk.usage]
        found = {(usage.prompt_tokens, usage.completion_tokens) for usage in (whole, *streamed)}
        return found.pop() if len(found) == 1 and len(streamed) == 1 else found


class AsyncOpenAI(OpenAI):
    title = "openai (Python, async)"

    def __init__(self, base: str, key: str) -> None:
        super().__init__(base, key)
        self.create = lambda **fields: asyncio.run(self._ask("create", fields))
        self.parse = lambda **fields: asyncio.run(self._ask("parse", fields))

    def assemble(self, **fields: Any) -> Any:
        return asyncio.run(self._ask("stream", fields))

    async def _ask(self, method: str, fields: dict[str, Any]) -> Any:
        import openai

        async with openai.AsyncOpenAI(base_url=self.base, api_key=self.key, max_retries=0) as client:
            made = getattr(client.chat.completions, method)(**fields)
            if method == "stream":
                async with made as events:
                    return await events.get_final_completion()
            got = await made
            return [chunk async for chunk in got] if fields.get("stream") else got


class Responses(PythonClient):
    title, package = "openai (Python, Responses)", "openai"

    def __init__(self, base: str, key: str) -> None:
        super().__init__(base, key)
        responses = self.openai_client().responses
        self.create: Any = responses.create
        self.parse: Any = responses.parse
        self.streamed: Any = responses.stream

    def plain(self) -> Any:
        return self.create(model="-", input="hi", temperature=0.5).output_text

    def stream(self) -> str:
        events = self.create(model="-", input="hi", stream=True)
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")

    def tools(self) -> Any:
        asked: Any = {"model": "-", "input": "hi", "tools": [{"type": "function", **FUNCTION}]}
        with self.streamed(**asked) as events:
            calls = [got.output[-1] for got in (events.get_final_response(), self.create(**asked))]
        found = [(call.name, json.loads(call.arguments)) for call in calls]
        return found[0] if found[0] == found[1] else found

    def tool_loop(self) -> Any:
        items: list[Any] = list(HELLO)
        while True:
            got = self.create(model="-", input=items, tools=[{"type": "function", **FUNCTION}])
            calls = [item for item in got.output if item.type == "function_call"]
            if not calls:
                return got.output_text
            items += got.output
            items += [
                {
                    "type": "function_call_output",
                    "call_id": c.call_id,
                    "output": DEGREES[json.loads(c.arguments)["city"]],
                }
                for c in calls
            ]

    def structured_output(self) -> Any:
        return self.parse(model="-", input="hi", text_format=Answer).output_parsed.answer

    def images(self) -> Any:
        parts = [{"type": "input_text", "text": "?"}, {"type": "input_image", "image_url": IMAGE}]
        return self.create(model="-", input=[{"role": "user", "content": parts}]).output_text

    def usage(self) -> Any:
        usage = self.create(model="-", input="hi").usage
        return usage.input_tokens, usage.output_tokens


class Completions(PythonClient):
    title, package = "openai (Python, legacy completions)", "openai"

    def __init__(self, base: str, key: str) -> None:
        super().__init__(base, key)
        self.create: Any = self.openai_client().completions.create

    def plain(self) -> Any:
        return self.create(model="-", prompt="hi", temperature=0.5).choices[0].text

    def stream(self) -> str:
        chunks = self.create(model="-", prompt="hi", stream=True)
        return "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)

    def n(self) -> Any:
        return [choice.text for choice in self.create(model="-", prompt="hi", n=2).choices]

    def usage(self) -> Any:
        usage = self.create(model="-", prompt="hi").usage
        return usage.prompt_tokens, usage.completion_tokens


class LangChain(PythonClient):
    title, package = "LangChain (langchain-openai)", "langchain-openai"

    def chat(self, **options: Any) -> Any:
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(base_url=self.base, api_key=self.key, model="-", max_retries=0, **options)

    def plain(self) -> Any:
        return self.chat(temperature=0).invoke("hi").content

    def stream(self) -> str:
        return "".join(chunk.content for chunk in self.chat().stream("hi"))

    def tools(self) -> Any:
        call = self.chat().bind_tools(TOOLS).invoke("hi").tool_calls[0]
        return call["name"], call["args"]

    def tool_loop(self) -> Any:
        from langchain_core.messages import HumanMessage, ToolMessage

        chat, messages = self.chat().bind_tools(TOOLS), [HumanMessage("hi")]
        while True:
            answer = chat.invoke(messages)
            if not answer.tool_calls:
                return answer.content
            messages.append(answer)
            messages += [ToolMessage(DEGREES[c["args"]["city"]], tool_call_id=c["id"]) for c in answer.tool_calls]

    def structured_output(self) -> Any:
        return self.chat().with_structured_output(Answer).invoke("hi").answer

    def images(self) -> Any:
        from langchain_core.messages import HumanMessage

        return self.chat().invoke([HumanMessage(content=SEE[0]["content"])]).content

    def n(self) -> Any:
        from langchain_core.messages import HumanMessage

        return [g.text for g in self.chat(n=2).generate([[HumanMessage("hi")]]).generations[0]]

    def usage(self) -> Any:
        usage = self.chat().invoke("hi").usage_metadata
        return usage["input_tokens"], usage["output_tokens"]


class LlamaIndex(PythonClient):
    title, package = "LlamaIndex (llama-index-llms-openai-like)", "llama-index-llms-openai-like"

    def llm(self) -> Any:
        from llama_index.llms.openai_like import OpenAILike

        return OpenAILike(
            model="-",
            api_base=self.base,
            api_key=self.key,
            is_chat_model=True,
            is_function_calling_model=True,
            should_use_structured_outputs=True,
            max_retries=0,
        )

    def message(self, *blocks: Any) -> Any:
        from llama_index.core.llms import ChatMessage

        return ChatMessage(role="user", blocks=list(blocks)) if blocks else ChatMessage(role="user", content="hi")

    def plain(self) -> Any:
        return self.llm().chat([self.message()]).message.content

    def stream(self) -> str:
        return "".join(chunk.delta or "" for chunk in self.llm().stream_chat([self.message()]))

    def tool(self) -> Any:
        from llama_index.core.tools import FunctionTool

        def weather(city: str) -> str:
            """The weather of a city."""
            return DEGREES[city]

        return FunctionTool.from_defaults(weather)

    def tools(self) -> Any:
        llm = self.llm()
        call = llm.get_tool_calls_from_response(llm.chat_with_tools([self.tool()], user_msg="hi"))[0]
        return call.tool_name, call.tool_kwargs

    def tool_loop(self) -> Any:
        from llama_index.core.llms import ChatMessage

        llm, history = self.llm(), [self.message()]
        while True:
            answer = llm.chat_with_tools([self.tool()], chat_history=history)
            calls = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
            if not calls:
                return answer.message.content
            history.append(answer.message)
            for call in calls:
                extra = {"tool_call_id": call.tool_id}
                content = DEGREES[call.tool_kwargs["city"]]
                history.append(ChatMessage(role="tool", content=content, additional_kwargs=extra))

    def structured_output(self) -> Any:
        from llama_index.core.prompts import PromptTemplate

        return self.llm().structured_predict(Answer, PromptTemplate("hi")).answer

    def images(self) -> Any:
        from llama_index.core.llms import ImageBlock, TextBlock

        blocks = (TextBlock(text="?"), ImageBlock(image=PNG.encode(), image_mimetype="image/png"))
        return self.llm().chat([self.message(*blocks)]).message.content

    def usage(self) -> Any:
        usage = self.llm().chat([self.message()]).raw.usage
        return usage.prompt_tokens, usage.completion_tokens


class Instructor(PythonClient):
    title, package = "instructor", "instructor"

    def client(self) -> Any:
        import instructor

        return instructor.from_openai(self.openai_client())

    def structured_output(self) -> Any:
        """Use its default mode, a forced tool."""
        return (
            self.client()
            .chat.completions.create(model="-", messages=HELLO, response_model=Answer, max_retries=0)
            .answer
        )

    def images(self) -> Any:
        """Get the answer about an image as an object: 43 with the image, 42 without."""
        found = self.client().chat.completions.create(model="-", messages=SEE, response_model=Answer, max_retries=0)
        return EXPECTED["images"] if found.answer == 43 else found

    def usage(self) -> Any:
        _, raw = self.client().chat.completions.create_with_completion(
            model="-", messages=HELLO, response_model=Answer, max_retries=0
        )
        return raw.usage.prompt_tokens, raw.usage.completion_tokens


class LiteLLM(PythonClient):
    title, package = "litellm", "litellm"

    def __init__(self, base: str, key: str) -> None:
        super().__init__(base, key)
        import litellm

        options = {"model": "openai/-", "api_base": base, "api_key": key, "num_retries": 0}
        self.create: Any = lambda **fields: litellm.completion(**options, **fields)

    def plain(self) -> Any:
        return self.create(messages=HELLO, temperature=0.5).choices[0].message.content

    def stream(self) -> str:
        chunks = self.create(messages=HELLO, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    def tools(self) -> Any:
        call = self.create(messages=HELLO, tools=TOOLS).choices[0].message.tool_calls[0].function
        return call.name, json.loads(call.arguments)

    def tool_loop(self) -> Any:
        messages = list(HELLO)
        while True:
            message = self.create(messages=messages, tools=TOOLS).choices[0].message
            if not message.tool_calls:
                return message.content
            messages.append(message)
            messages += [
                {"role": "tool", "tool_call_id": c.id, "content": DEGREES[json.loads(c.function.arguments)["city"]]}
                for c in message.tool_calls
            ]

    def structured_output(self) -> Any:
        got = self.create(messages=HELLO, response_format=Answer)
        return Answer.model_validate_json(got.choices[0].message.content).answer

    def images(self) -> Any:
        return self.create(messages=SEE).choices[0].message.content

    def n(self) -> Any:
        return [choice.message.content for choice in self.create(messages=HELLO, n=2).choices]

    def usage(self) -> Any:
        usage = self.create(messages=HELLO).usage
        return usage.prompt_tokens, usage.completion_tokens


class NodeError(Exception):
    """What Node's client raised: its message and status."""

    def __init__(self, message: str, status_code: int | None) -> None:
        super().__init__(message)
        self.status_code = status_code


class Node(Client):
    """Needs ``openai`` where Node finds it, as in a folder of NODE_PATH."""

    title, package = "openai (Node)", "openai"
    script = "client.cjs"

    @classmethod
    def version(cls) -> str | None:
        if (node := shutil.which("node")) is None:
            return None
        code = f"process.stdout.write(require('{cls.package}/version').VERSION)"
        found = subprocess.run([node, "-e", code], capture_output=True, text=True, timeout=60)
        return found.stdout if found.returncode == 0 else None

    def run(self, scenario: Scenario) -> Any:
        given = {"base": self.base, "key": self.key, "scenario": scenario, "hello": HELLO, "see": SEE, "tools": TOOLS}
        given |= {"degrees": DEGREES, "schema": {**Answer.model_json_schema(), "additionalProperties": False}}
        given |= {"function": FUNCTION, "png": PNG}
        script = Path(__file__).with_name(self.script)
        ran = subprocess.run(
            ["node", str(script), json.dumps(given)], capture_output=True, text=True, timeout=120, env=os.environ
        )
        assert ran.returncode == 0, ran.stderr
        got = json.loads(ran.stdout)
        if "absent" in got:
            raise NotImplementedError
        if "error" in got:
            raise NodeError(got["error"], got.get("status"))
        return tuple(got["found"]) if scenario in ("tools", "usage") else got["found"]


class NodeResponses(Node):
    title = "openai (Node, Responses)"
    script = "responses_client.cjs"


class Anthropic(PythonClient):
    title, package = "anthropic (Python)", "anthropic"

    def __init__(self, base: str, key: str) -> None:
        super().__init__(base, key)
        import anthropic

        made = anthropic.Anthropic(base_url=base.removesuffix("/v1"), api_key=key, max_retries=0)
        self.messages = self._open.enter_context(made).messages
        self.asked: dict[str, Any] = {"model": "-", "max_tokens": 4000, "messages": HELLO}

    def create(self, **fields: Any) -> Any:
        return self.messages.create(**{**self.asked, **fields})

    def assemble(self, **fields: Any) -> Any:
        """Return the message that the client puts together from a stream."""
        with self.messages.stream(**{**self.asked, **fields}) as events:
            return events.get_final_message()

    def plain(self) -> Any:
        return self.create().content[-1].text

    def stream(self) -> str:
        with self.messages.stream(**self.asked) as events:
            return "".join(events.text_stream)

    def tools(self) -> Any:
        used = [got.content[-1] for got in (self.assemble(tools=[TOOL]), self.create(tools=[TOOL]))]
        found = [(use.name, use.input) for use in used]
        return found[0] if found[0] == found[1] else found

    def tool_loop(self) -> Any:
        messages = list(HELLO)
        while True:
            got = self.create(messages=messages, tools=[TOOL])
            uses = [block for block in got.content if block.type == "tool_use"]
            if not uses:
                return got.content[-1].text
            results = [
                {"type": "tool_result", "tool_use_id": use.id, "content": DEGREES[use.input["city"]]} for use in uses
            ]
            messages += [{"role": "assistant", "content": got.content}, {"role": "user", "content": results}]

    def structured_output(self) -> Any:
        parsed = self.messages.parse(**self.asked, output_format=Answer).parsed_output
        return parsed and parsed.answer

    def images(self) -> Any:
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        content = [{"type": "image", "source": source}, {"type": "text", "text": "?"}]
        return self.create(messages=[{"role": "user", "content": content}]).content[-1].text

    def usage(self) -> Any:
        found = {(got.usage.input_tokens, got.usage.output_tokens) for got in (self.create(), self.assemble())}
        return found.pop() if len(found) == 1 else found


class NodeAnthropic(Node):
    title, package = "anthropic (Node)", "@anthropic-ai/sdk"
    script = "anthropic_client.cjs"


CLIENTS: tuple[type[Client], ...] = (
    OpenAI,
    AsyncOpenAI,
    Responses,
    Completions,
    Node,
    NodeResponses,
    Anthropic,
    NodeAnthropic,
    LangChain,
    LlamaIndex,
    Instructor,
    LiteLLM,
)
