"""Anthropic's official Python SDK against a live server."""

import anthropic
import pytest

MESSAGES = [{"role": "user", "content": "Name the days of the week."}]
TOOLS = [{"name": "weather", "description": "The weather of a city",
          "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]


@pytest.fixture(scope="module")
def client(base_url):
    with anthropic.Anthropic(base_url=base_url, api_key="none", max_retries=0, timeout=120) as made:
        yield made


def ask(client, model, temperature=0, **options):
    # The SDK has no `temperature` of its own any more; the API still takes it.
    return client.messages.create(model=model, messages=options.pop("messages", MESSAGES),
                                  extra_body={"temperature": temperature}, **{"max_tokens": 24, **options})


def test_a_message(client, model):
    answer = ask(client, model)
    assert answer.type == "message" and answer.role == "assistant" and answer.model == model
    assert answer.content[0].type == "text" and answer.content[0].text
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert 0 < answer.usage.output_tokens <= 24 and answer._request_id


def test_count_tokens_is_what_the_message_costs(client, model):
    counted = client.messages.count_tokens(model=model, messages=MESSAGES, system="Be brief", tools=TOOLS).input_tokens
    usage = ask(client, model, system="Be brief", tools=TOOLS).usage
    assert counted == usage.input_tokens + usage.cache_read_input_tokens


def test_a_stream_accumulates_to_the_same_message(client, model):
    whole = ask(client, model)
    with client.messages.stream(model=model, max_tokens=24, messages=MESSAGES, extra_body={"temperature": 0}) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert final.stop_reason == whole.stop_reason and final.usage.output_tokens == whole.usage.output_tokens


def test_raw_events_come_in_order(client, model):
    kinds = [event.type for event in ask(client, model, stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_a_billing_header_does_not_break_the_cache(client, model):
    system = [{"type": "text", "text": "You are a careful assistant. " * 20}]
    usages = []
    for value in ("a1", "b2"):
        header = {"type": "text", "text": f"x-anthropic-billing-header: cc_version=1; cch={value};"}
        usages.append(ask(client, model, system=[header, *system], max_tokens=1).usage)
    assert usages[1].cache_read_input_tokens > 64
    assert usages[0].input_tokens + usages[0].cache_read_input_tokens == usages[1].input_tokens + usages[1].cache_read_input_tokens


def test_a_conversation_with_tools_is_accepted(client, model):
    history = [*MESSAGES,
               {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}]},
               {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "mild"}]}]
    assert ask(client, model, messages=history, tools=TOOLS).content


def test_errors_are_the_sdks_own(client, model):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(client, model, messages=[])
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.BadRequestError):
        ask(client, model, temperature=7)


def test_keys(start_server, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("right\n")
    with start_server("--api-key-file", str(keys)) as server:
        good = anthropic.Anthropic(base_url=server.url, api_key="right", max_retries=0)
        assert good.messages.create(model="default", max_tokens=4, messages=MESSAGES).content is not None
        with pytest.raises(anthropic.AuthenticationError):
            anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0).messages.create(
                model="default", max_tokens=4, messages=MESSAGES)
