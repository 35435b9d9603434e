"""Calls that are demanded of a model that says random things: valid against their schemas, in every format of calls, through
the official SDKs."""

import json

import anthropic
import jsonschema
import openai
import pytest

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "New York", "5"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"anyOf": [{"$ref": "#/$defs/Unit"}, {"type": "null"}]},
        "note": {"type": "string", "maxLength": 6},
        "at": {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"},
        "fields": {"type": "array", "items": {"enum": ["wind", "rain", 3]}, "minItems": 1, "maxItems": 3},
        "place": {"type": "object", "properties": {"lat": {"type": "number", "minimum": -90, "maximum": 90}}, "required": ["lat"],
                  "additionalProperties": False},
    },
    "required": ["city", "days", "unit", "note", "at", "fields", "place"],
    "additionalProperties": False,
    "$defs": {"Unit": {"type": "string", "enum": ["C", "F"]}},
}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA, "strict": True}}]
MESSAGES = [{"role": "user", "content": "What is the weather in Paris?"}]
# gpt-oss's channels end with control tokens, which this model lacks: tests/server/forced_calls_test.cc has them.
FORMATS = ["hermes", "qwen-xml", "mistral", "llama3", "deepseek", "granite", "phi"]


def check(name, arguments):
    assert name == "get_weather"
    jsonschema.validate(json.loads(arguments) if isinstance(arguments, str) else arguments, SCHEMA)


@pytest.mark.parametrize("format", FORMATS)
def test_each_format(start_server, format):
    with start_server("--tool-parser", format) as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)
        for seed in range(3):
            options = {"model": "default", "messages": MESSAGES, "tools": TOOLS, "tool_choice": "required", "seed": seed,
                       "parallel_tool_calls": False, "temperature": 1, "max_completion_tokens": 1200}
            whole = client.chat.completions.create(**options).choices[0]
            assert whole.finish_reason == "tool_calls" and whole.message.content is None
            [call] = whole.message.tool_calls
            check(call.function.name, call.function.arguments)
            with client.chat.completions.stream(**options) as stream:
                streamed = stream.get_final_completion().choices[0]
            assert streamed.finish_reason == "tool_calls"
            assert [c.function.arguments for c in streamed.message.tool_calls] == [call.function.arguments]
        several = client.chat.completions.create(model="default", messages=MESSAGES, tools=TOOLS, tool_choice="required", seed=9,
                                                 temperature=1, max_completion_tokens=1700).choices[0]
        for call in several.message.tool_calls[:-1] if several.finish_reason == "length" else several.message.tool_calls:
            check(call.function.name, call.function.arguments)


def test_responses_and_anthropic(start_server):
    with start_server() as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)
        flat = {"type": "function", **TOOLS[0]["function"]}
        made = client.responses.create(model="default", input="Weather?", tools=[flat], tool_choice="required",
                                       parallel_tool_calls=False, max_output_tokens=1200)
        [item] = made.output
        assert item.type == "function_call" and made.status == "completed"
        check(item.name, item.arguments)
        claude = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0, timeout=120)
        tool = {"name": "get_weather", "input_schema": SCHEMA}
        for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
            message = claude.messages.create(model="default", max_tokens=1200, messages=MESSAGES, tools=[tool],
                                             tool_choice={**choice, "disable_parallel_tool_use": True})
            assert message.stop_reason == "tool_use"
            [block] = message.content
            check(block.name, block.input)


def test_the_demo_model_calls_what_is_demanded(start_server):
    """It knows its few tasks alone, and a line's end ends its replies."""
    unit = {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}}, "required": ["unit"], "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": name, "parameters": unit, "strict": True}} for name in ("get_weather", "get_time")]
    with start_server("--ctx", "2048", model="--demo") as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)
        options = {"model": "default", "messages": MESSAGES, "tools": tools, "parallel_tool_calls": False, "max_tokens": 300}
        for choice, names in (("required", {"get_weather", "get_time"}), ({"type": "function", "function": {"name": "get_time"}}, {"get_time"})):
            made = client.chat.completions.create(**options, tool_choice=choice).choices[0]
            assert made.finish_reason == "tool_calls" and made.message.tool_calls[0].function.name in names
            assert json.loads(made.message.tool_calls[0].function.arguments)["unit"] in ("C", "F")
        for choice in ("auto", "none"):
            assert client.chat.completions.create(**options, tool_choice=choice).choices[0].finish_reason in ("stop", "length", "tool_calls")
