"""Constrained output against a live server: the official SDK's parse() with pydantic, and every other way to ask. The model
is tiny and writes nonsense, so what comes out is held only by the grammar."""

import enum
import json
import re
import typing

import openai
import pydantic
import pytest

MESSAGES = [{"role": "user", "content": "Describe a day."}]
LIMIT = 700


@pytest.fixture(scope="module")
def client(base_url):
    with openai.OpenAI(base_url=base_url + "/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Step(pydantic.BaseModel):
    hour: typing.Annotated[int, pydantic.Field(ge=0, le=23)]
    mood: Mood
    note: typing.Optional[typing.Annotated[str, pydantic.Field(max_length=12)]]


class Day(pydantic.BaseModel):
    date: typing.Annotated[str, pydantic.Field(pattern=r"^\d{4}-\d{2}$")]
    steps: typing.Annotated[list[Step], pydantic.Field(min_length=1, max_length=3)]
    sunny: bool


def parsed(client, model, **options):
    """A completed answer; a weak model may run into the limit, so several seeds are tried."""
    for seed in range(5):
        try:
            answer = client.chat.completions.parse(model=model, messages=MESSAGES, max_tokens=LIMIT, seed=seed, temperature=0.7, **options)
        except openai.LengthFinishReasonError:
            continue
        return answer.choices[0]
    raise AssertionError("no answer was completed")


def test_parse_with_pydantic(client, model):
    choice = parsed(client, model, response_format=Day)
    assert choice.finish_reason == "stop" and isinstance(choice.message.parsed, Day)
    assert 1 <= len(choice.message.parsed.steps) <= 3


def test_streamed_text_is_the_same(client, model):
    options = dict(model=model, messages=MESSAGES, max_tokens=120, seed=4, temperature=0.7,
                   response_format={"type": "json_schema", "json_schema": {"name": "day", "strict": True,
                                                                           "schema": Day.model_json_schema()}})
    whole = client.chat.completions.create(**options).choices[0]
    chunks = [c.choices[0] for c in client.chat.completions.create(stream=True, **options)]
    assert "".join(c.delta.content or "" for c in chunks) == whole.message.content
    assert chunks[-1].finish_reason == whole.finish_reason


def test_json_object(client, model):
    for seed in range(3):
        choice = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=LIMIT, seed=seed,
                                                response_format={"type": "json_object"}).choices[0]
        assert choice.message.content.startswith("{")
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content), dict)


@pytest.mark.parametrize("extra,pattern", [
    ({"guided_regex": r"\d{3}-[a-f]{2}"}, r"\d{3}-[a-f]{2}"),
    ({"guided_choice": ["red", "green", "red wine"]}, r"red|green|red wine"),
    ({"guided_json": {"type": "integer", "minimum": 10, "maximum": 20}}, r"1\d|20"),
    ({"guided_grammar": 'root ::= ("a" | "b"){4} "!"'}, r"[ab]{4}!"),
    ({"grammar": 'root ::= "x" y\ny ::= [yz]'}, r"x[yz]"),
    ({"json_schema": {"enum": ["p", 7]}}, r'"p"|7'),
    ({"structured_outputs": {"regex": "(yes|no) .{0,5}"}}, r"(yes|no) .{0,5}"),
    ({"structured_outputs": {"json": {"type": "array", "items": {"type": "null"}, "minItems": 2, "maxItems": 2},
                             "disable_any_whitespace": True}}, r"\[null,null\]"),
])
def test_every_way_to_ask(client, model, extra, pattern):
    chat = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=60, n=3, seed=1, extra_body=extra)
    plain = client.completions.create(model=model, prompt="Well,", max_tokens=60, temperature=0, extra_body=extra)
    for text, reason in [(c.message.content, c.finish_reason) for c in chat.choices] + [(plain.choices[0].text, plain.choices[0].finish_reason)]:
        assert reason == "stop" and re.fullmatch(pattern, text), text


def test_a_schema_that_is_not_supported_is_a_bad_request_that_says_where(client, model):
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=MESSAGES,
                                       response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert caught.value.param == "response_format.json_schema.schema"
    assert "#/properties/a/uniqueItems" in caught.value.message


def test_others_do_not_notice(client, model):
    def ask():
        return client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=30, temperature=0, logprobs=True).choices[0]
    before = ask()
    client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=30, extra_body={"guided_regex": "[xyz]*"})
    assert ask() == before
