"""Message lists for make_template_fixtures.py: what clients send, and what templates are known to trip over."""


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, call_id="call_00001"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(text, call_id="call_00001", name="get_weather"):
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": text}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather.\nWorks for cities.",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "City, e.g. \"Zürich\" or 東京"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 18446744073709551615},
            },
            "required": ["location"],
        },
    },
}

SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "Search <the> web & more",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "filters": {
                    "type": "object",
                    "description": "Nested",
                    "properties": {
                        "tags": {"type": "array", "items": {"type": "string"}},
                        "score": {"type": ["number", "null"], "default": 0.5},
                        "either": {"anyOf": [{"type": "string"}, {"type": "boolean"}]},
                    },
                    "required": ["tags"],
                    "additionalProperties": False,
                },
            },
            "required": ["query", "filters"],
        },
        "return": {"type": "string", "description": "What was found"},
    },
}

NO_PARAMETERS = {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}}

TURNS = [user("Hello!"), assistant("Hi, how can I help?"), user("What is 2 + 2?")]
TOOL_TURNS = [
    user("Weather in Zürich?"),
    assistant("", tool_calls=[call("get_weather", {"location": "Zürich", "days": 2, "exact": True, "note": None})]),
    result('{"temperature": 21.5, "sky": "☀"}'),
]

CONVERSATIONS = [
    {"name": "one user", "messages": [user("Hello")]},
    {"name": "one user, no prompt", "messages": [user("Hello")], "add_generation_prompt": False},
    {"name": "system and user", "messages": [system("You are a pirate."), user("Hello")]},
    {"name": "turns", "messages": TURNS},
    {"name": "turns with system, no prompt", "messages": [system("Be brief."), *TURNS, assistant("4")], "add_generation_prompt": False},
    {"name": "ends with assistant", "messages": [*TURNS, assistant("It is")]},
    {"name": "unicode", "messages": [system("Réponds en 日本語."), user("naïve café 🎉 \u200b ﬁ Ω\u0301"), assistant("はい😀"), user("ß İ ǆ")]},
    {"name": "blanks and lines", "messages": [system("  padded \n\n"), user("\n  a\n\tb  \n"), assistant("  \n"), user(" c ")]},
    {"name": "looks like a template", "messages": [user("{{ 7 * 7 }} {% raw %} {# x #} <|im_end|> [INST] </s> \\n 'q' \"d\" <b>&amp;</b>")]},
    {"name": "empty texts", "messages": [system(""), user(""), assistant(""), user("")]},
    {"name": "no messages", "messages": []},
    {"name": "null content", "messages": [user("a"), {"role": "assistant", "content": None}, user("b")]},
    {"name": "no content", "messages": [user("a"), {"role": "assistant"}, user("b")]},
    {"name": "two systems", "messages": [system("One."), system("Two."), user("Hi")]},
    {"name": "system later", "messages": [user("Hi"), system("Now be rude."), user("Well?")]},
    {"name": "two users", "messages": [user("one"), user("two")]},
    {"name": "assistant first", "messages": [assistant("Welcome."), user("Thanks")]},
    {"name": "strange role", "messages": [{"role": "narrator", "content": "Once"}, user("Hi")]},
    {"name": "developer", "messages": [{"role": "developer", "content": "Obey."}, user("Hi")]},
    {"name": "parts", "messages": [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}]},
    {"name": "parts with image", "messages": [system("See."), {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]},
    {"name": "system parts", "messages": [{"role": "system", "content": [{"type": "text", "text": "Sys"}]}, user("Hi")]},
    {"name": "tools", "messages": [user("Weather?")], "tools": [WEATHER, SEARCH, NO_PARAMETERS]},
    {"name": "tools with system", "messages": [system("Use tools."), user("Weather?")], "tools": [WEATHER]},
    {"name": "no tools but a list", "messages": [user("Hi")], "tools": []},
    {"name": "tool result", "messages": TOOL_TURNS, "tools": [WEATHER]},
    {"name": "tool answer", "messages": [system("Use tools."), *TOOL_TURNS, assistant("21.5 °C and sunny."), user("Thanks!")], "tools": [WEATHER, SEARCH]},
    {"name": "tool arguments as text", "messages": [user("Weather?"), assistant(None, tool_calls=[call("get_weather", "{\"location\": \"Bern\"}")]), result("sunny")], "tools": [WEATHER]},
    {"name": "two tool calls", "messages": [user("Both?"), assistant("Looking.", tool_calls=[call("get_weather", {"location": "A"}, "call_00001"), call("search", {"query": "b", "filters": {"tags": ["x", "y"]}}, "call_00002")]), result("1", "call_00001"), result("2", "call_00002", "search"), assistant("Done."), user("ok")], "tools": [WEATHER, SEARCH]},
    {"name": "tool calls, no tools", "messages": TOOL_TURNS, "add_generation_prompt": False},
    {"name": "short call id", "messages": [user("Weather?"), assistant("", tool_calls=[call("get_weather", {"location": "A"}, "abcdefghi")]), result("rain", "abcdefghi")], "tools": [WEATHER]},
    {"name": "reasoning", "messages": [user("Why?"), assistant("Because.", reasoning_content="Let me think.\n"), user("Really?")]},
    {"name": "thinking field", "messages": [user("Why?"), assistant("Because.", thinking="Deep thoughts."), user("Really?")]},
    {"name": "think tags", "messages": [user("Why?"), assistant("<think>\nhm\n</think>\n\nBecause."), user("Really?"), assistant("<think>ok</think>Yes.")], "add_generation_prompt": False},
    {"name": "reasoning and tools", "messages": [user("Weather?"), assistant("", reasoning_content="I need the tool.", tool_calls=[call("get_weather", {"location": "A"})]), result("rain")], "tools": [WEATHER]},
    {"name": "thinking off", "messages": TURNS, "extra": {"enable_thinking": False, "thinking": False}},
    {"name": "thinking on", "messages": [system("/no_think be short"), *TURNS], "extra": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}},
    {"name": "extras", "messages": [system("S."), *TURNS], "tools": [WEATHER], "extra": {"reasoning_effort": "low", "builtin_tools": ["browser", "python"], "model_identity": "You are Quorum.", "custom_tools": None, "date_string": "01 Jan 2025", "tools_in_user_message": False, "documents": [{"title": "T", "text": "Body"}], "keep_cot": True, "xml_tools": []}},
]
