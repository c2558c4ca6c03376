// One scenario with OpenAI's client for Node; prints {"found": ...} or {"error": ..., "status": ...}.
const { OpenAI } = require("openai");
const given = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL: given.base, apiKey: given.key, maxRetries: 0 });
const create = (fields) => client.chat.completions.create({ model: "-", messages: given.hello, ...fields });
const called = (call) => [call.function.name, JSON.parse(call.function.arguments)];

const scenarios = {
  plain: async () => (await create({ temperature: 0.5 })).choices[0].message.content,
  stream: async () => {
    let text = "";
    for await (const chunk of await create({ stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
    return text;
  },
  tools: async () => called((await create({ tools: given.tools })).choices[0].message.tool_calls[0]),
  "tool loop": async () => {
    const messages = [...given.hello];
    for (;;) {
      const stream = client.chat.completions.stream({ model: "-", messages, tools: given.tools });
      const { content, tool_calls } = (await stream.finalChatCompletion()).choices[0].message;
      if (!tool_calls?.length) return content;
      const calls = tool_calls.map(({ id, type, function: f }) => ({ id, type, function: { name: f.name, arguments: f.arguments } }));
      messages.push({ role: "assistant", content, tool_calls: calls });
      for (const call of calls)
        messages.push({ role: "tool", tool_call_id: call.id, content: given.degrees[called(call)[1].city] });
    }
  },
  "structured output": async () => {
    const json_schema = { name: "Answer", strict: true, schema: given.schema };
    const got = await client.chat.completions.parse({
      model: "-", messages: given.hello, response_format: { type: "json_schema", json_schema },
    });
    return JSON.parse(got.choices[0].message.content).answer;
  },
  images: async () => (await create({ messages: given.see })).choices[0].message.content,
  n: async () => (await create({ n: 2 })).choices.map((choice) => choice.message.content),
  usage: async () => {
    const { usage } = await create({});
    return [usage.prompt_tokens, usage.completion_tokens];
  },
};

scenarios[given.scenario]()
  .then((found) => console.log(JSON.stringify({ found })))
  .catch((error) => console.log(JSON.stringify({ error: String(error.message), status: error.status })));
