// One scenario with OpenAI's client for Node and its Responses API; prints {"found": ...} or {"error": ..., "status": ...}.
const { OpenAI } = require("openai");
const { run } = require("./run_scenario.cjs");
const given = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL: given.base, apiKey: given.key, maxRetries: 0 });
const asked = { model: "-", input: given.hello };
const create = (fields) => client.responses.create({ ...asked, ...fields });
const tools = [{ type: "function", ...given.function }];
const called = (call) => [call.name, JSON.parse(call.arguments)];

const scenarios = {
  plain: async () => (await create({})).output_text,
  stream: async () => {
    let text = "";
    for await (const event of await create({ stream: true }))
      if (event.type === "response.output_text.delta") text += event.delta;
    return text;
  },
  tools: async () => called((await create({ tools })).output.at(-1)),
  "tool loop": async () => {
    const input = [...given.hello];
    for (;;) {
      const got = await client.responses.stream({ ...asked, input, tools }).finalResponse();
      const calls = got.output.filter((item) => item.type === "function_call");
      if (!calls.length) return got.output.at(-1).content[0].text;
      const result = (call) => ({
        type: "function_call_output", call_id: call.call_id, output: given.degrees[called(call)[1].city],
      });
      input.push(...got.output.map(({ parsed_arguments, ...item }) => item), ...calls.map(result));
    }
  },
  "structured output": async () => {
    const format = { type: "json_schema", name: "Answer", strict: true, schema: given.schema };
    return (await client.responses.parse({ ...asked, text: { format } })).output_parsed.answer;
  },
  images: async () => {
    const image = { type: "input_image", image_url: `data:image/png;base64,${given.png}`, detail: "auto" };
    const content = [{ type: "input_text", text: "?" }, image];
    return (await create({ input: [{ role: "user", content }] })).output_text;
  },
  usage: async () => {
    const { usage } = await create({});
    return [usage.input_tokens, usage.output_tokens];
  },
};

run(scenarios, given.scenario);
