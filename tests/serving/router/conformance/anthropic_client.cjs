// One scenario with Anthropic's client for Node; prints {"found": ...} or {"error": ..., "status": ...}.
const { Anthropic } = require("@anthropic-ai/sdk");
const { run } = require("./run_scenario.cjs");
const given = JSON.parse(process.argv[2]);
const client = new Anthropic({ baseURL: given.base.replace(/\/v1$/, ""), apiKey: given.key, maxRetries: 0 });
const asked = { model: "-", max_tokens: 4000, messages: given.hello };
const create = (fields) => client.messages.create({ ...asked, ...fields });
const { name, description, parameters, strict } = given.function;
const tools = [{ name, description, input_schema: parameters, strict }];
const last = ({ content }) => content[content.length - 1];
const called = (use) => [use.name, use.input];

const scenarios = {
  plain: async () => last(await create({})).text,
  stream: async () => {
    let text = "";
    for await (const event of await create({ stream: true }))
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") text += event.delta.text;
    return text;
  },
  tools: async () => called(last(await create({ tools }))),
  "tool loop": async () => {
    const messages = [...given.hello];
    for (;;) {
      const { content } = await client.messages.stream({ ...asked, messages, tools }).finalMessage();
      const uses = content.filter((block) => block.type === "tool_use");
      if (!uses.length) return last({ content }).text;
      const result = ({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: given.degrees[input.city] });
      messages.push({ role: "assistant", content }, { role: "user", content: uses.map(result) });
    }
  },
  "structured output": async () => {
    const format = { type: "json_schema", schema: given.schema };
    return JSON.parse(last(await create({ output_config: { format } })).text).answer;
  },
  images: async () => {
    const source = { type: "base64", media_type: "image/png", data: given.png };
    const content = [{ type: "image", source }, { type: "text", text: "?" }];
    return last(await create({ messages: [{ role: "user", content }] })).text;
  },
  usage: async () => {
    const { usage } = await client.messages.stream(asked).finalMessage();
    return [usage.input_tokens, usage.output_tokens];
  },
};

run(scenarios, given.scenario);
