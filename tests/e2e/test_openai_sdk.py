"""The official Python SDK against a live server."""

import concurrent.futures
import json
import math
import time
import urllib.parse
import urllib.request

import openai
import pytest

MESSAGES = [{"role": "user", "content": "Name the days of the week."}]


@pytest.fixture(scope="module")
def client(base_url):
    with openai.OpenAI(base_url=base_url + "/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


def chat(client, model, **options):
    return client.chat.completions.create(model=model, messages=options.pop("messages", MESSAGES),
                                          **{"temperature": 0, "max_tokens": 24, **options})


def complete(client, model, prompt, **options):
    return client.completions.create(model=model, prompt=prompt, **{"temperature": 0, "max_tokens": 16, **options})


def tokenize(base_url, text):
    request = urllib.request.Request(base_url + "/tokenize", json.dumps({"content": text}).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["tokens"]


def test_models_are_listed_and_retrieved(client, model):
    listed = client.models.list().data
    assert model in [m.id for m in listed]
    one = client.models.retrieve(model)
    assert one.id == model and one.object == "model" and isinstance(one.created, int) and one.owned_by
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no/such:model")
    assert caught.value.code == "model_not_found"


def test_chat(client, model):
    answer = chat(client, model)
    assert answer.object == "chat.completion" and answer.model == model and answer.system_fingerprint.startswith("fp_")
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and isinstance(choice.message.content, str)
    assert choice.message.tool_calls is None and choice.message.refusal is None
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens <= 24
    assert 0 <= usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens
    assert answer._request_id


def test_a_prefix_is_computed_once(client, model):
    messages = [{"role": "user", "content": "Say these numbers: " + " ".join(map(str, range(100)))}]
    first = chat(client, model, messages=messages)
    again = chat(client, model, messages=messages)
    assert 0 < again.usage.prompt_tokens_details.cached_tokens <= again.usage.prompt_tokens
    assert again.choices[0].message.content == first.choices[0].message.content


def test_request_ids_are_echoed(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=1,
                                                           extra_headers={"X-Request-Id": "my-id-1"})
    assert raw.headers["x-request-id"] == "my-id-1"


def test_stream_says_what_the_whole_answer_says(client, model):
    whole = chat(client, model)
    chunks = list(chat(client, model, stream=True))
    assert {c.id for c in chunks} == {chunks[0].id} and {c.created for c in chunks} == {chunks[0].created}
    assert {c.system_fingerprint for c in chunks} == {whole.system_fingerprint}
    assert [c.choices[0].delta.role for c in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [whole.choices[0].finish_reason]
    assert all(c.usage is None for c in chunks)


def test_include_usage_comes_last_and_once(client, model):
    whole = chat(client, model)
    chunks = list(chat(client, model, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert all(c.usage is None for c in chunks[:-1])


def test_the_sdks_own_accumulator_agrees(client, model):
    whole = chat(client, model, n=2, logprobs=True, top_logprobs=2, seed=3, temperature=1)
    with client.chat.completions.stream(model=model, messages=MESSAGES, temperature=1, max_tokens=24, n=2, logprobs=True,
                                        top_logprobs=2, seed=3, stream_options={"include_usage": True}) as stream:
        for _ in stream:
            pass
        try:
            final = stream.get_final_completion()
        except openai.LengthFinishReasonError as cut:  # what the SDK makes of finish_reason "length"
            final = cut.completion
    assert [c.message.content for c in final.choices] == [c.message.content for c in whole.choices]
    assert [c.finish_reason for c in final.choices] == [c.finish_reason for c in whole.choices]
    assert [c.message.role for c in final.choices] == ["assistant"] * 2
    assert [c.logprobs.content for c in final.choices] == [c.logprobs.content for c in whole.choices]
    assert final.usage.completion_tokens == whole.usage.completion_tokens


def test_logprobs_spell_the_text(client, model):
    choice = chat(client, model, logprobs=True, top_logprobs=5).choices[0]
    raw = b"".join(bytes(t.bytes) for t in choice.logprobs.content)
    assert raw.decode(errors="replace") == choice.message.content
    for token in choice.logprobs.content:
        assert -9999 <= token.logprob <= 0
        values = [t.logprob for t in token.top_logprobs]
        assert len(values) == 5 and values == sorted(values, reverse=True)
        assert sum(map(math.exp, values)) <= 1 + 1e-5
        assert token.top_logprobs[0].token == token.token  # greedy


def test_n_choices_in_order(client, model):
    answer = chat(client, model, n=3, temperature=1.2, seed=11)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert len({c.message.content for c in answer.choices}) > 1
    seen = []
    for chunk in chat(client, model, n=3, temperature=1.2, seed=11, stream=True):
        index = chunk.choices[0].index
        if index not in seen:
            seen.append(index)
    assert seen == [0, 1, 2]


def test_stop(client, model):
    text = chat(client, model, max_tokens=40).choices[0].message.content
    stop = next(text[i:i + 3] for i in range(3, len(text)) if text.find(text[i:i + 3]) >= 3 and "\ufffd" not in text[i:i + 3])
    cut = chat(client, model, max_tokens=40, stop=["never in there", stop]).choices[0]
    assert cut.finish_reason == "stop" and cut.message.content == text[:text.find(stop)]
    streamed = "".join(c.choices[0].delta.content or "" for c in chat(client, model, max_tokens=40, stop=stop, stream=True))
    assert streamed == cut.message.content


def test_a_seed_gives_the_same_text_whatever_else_runs(client, model):
    def ask(seed):
        return chat(client, model, temperature=1, seed=seed).choices[0].message.content

    alone = [ask(seed) for seed in range(4)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(ask, [*range(4), *range(4)]))
    assert together == alone * 2
    assert len(set(alone)) > 1


def test_greedy_logprobs_are_the_same_bits_alone_and_in_a_batch(client, model):
    def ask(prompt):
        return complete(client, model, prompt, logprobs=3).choices[0].logprobs

    prompts = ["Monday,", "The cat", "1 2 3", "def f(x):"]
    alone = [ask(p) for p in prompts]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, prompts)) == alone


def test_max_completion_tokens_wins(client, model):
    assert chat(client, model, max_tokens=9, max_completion_tokens=2).usage.completion_tokens <= 2


def test_developer_and_text_parts(client, model):
    parts = [{"type": "text", "text": "Name the "}, {"type": "text", "text": "days of the week."}]
    as_parts = chat(client, model, messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}])
    as_text = chat(client, model, messages=[{"role": "system", "content": "Be brief."}, *MESSAGES])
    assert as_parts.choices[0].message.content == as_text.choices[0].message.content


def test_tools_are_accepted(client, model):
    tool = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
    assert chat(client, model, tools=[tool]).choices[0].message.content is not None
    demanded = chat(client, model, tools=[tool], tool_choice="required", parallel_tool_calls=False, max_tokens=400).choices[0]
    assert demanded.finish_reason == "tool_calls" and demanded.message.tool_calls[0].function.name == "get_time"
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model, tools=[tool], tool_choice="always")
    assert caught.value.param == "tool_choice"


def test_functions_the_older_form_of_tools(client, model):
    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}},
                                                      "required": ["city"], "additionalProperties": False}}
    options = {"functions": [function], "function_call": {"name": "get_weather"}, "max_tokens": 400}
    choice = chat(client, model, **options).choices[0]
    assert choice.finish_reason == "function_call" and choice.message.content is None and choice.message.tool_calls is None
    call = choice.message.function_call
    assert call.name == "get_weather" and json.loads(call.arguments)["city"] in ("Paris", "Rome")
    with client.chat.completions.stream(model=model, messages=MESSAGES, temperature=0, **options) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "function_call" and streamed.message.function_call == call
    history = [*MESSAGES, choice.message.model_dump(), {"role": "function", "name": call.name, "content": "mild"}]
    later = chat(client, model, messages=history, functions=[function], function_call="none").choices[0]
    assert later.message.function_call is None and later.message.content is not None
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model, functions=[function], function_call={"name": "other"})
    assert caught.value.param == "function_call"


def test_ignored_fields_are_named(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, max_tokens=1, user="me", store=True,
                                                           extra_body={"made_up": 1})
    assert raw.headers["x-quorum-ignored"] == "made_up, store, user"


def test_completion_of_text_and_of_ids(client, model, base_url):
    ids = tokenize(base_url, "The days are")
    by_text = complete(client, model, "The days are")
    assert by_text.object == "text_completion"
    assert complete(client, model, ids).choices[0].text == by_text.choices[0].text
    several = complete(client, model, ["The days are", "One two"], n=2)
    assert [c.index for c in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == several.choices[1].text == by_text.choices[0].text
    lists = complete(client, model, [ids, tokenize(base_url, "One two")])
    assert [c.text for c in lists.choices] == [several.choices[0].text, several.choices[2].text]


def test_echo_scores_the_prompt(client, model):
    answer = complete(client, model, "One two three", echo=True, logprobs=1, max_tokens=4)
    choice = answer.choices[0]
    assert choice.text.startswith("One two three")
    scores = choice.logprobs
    assert scores.token_logprobs[0] is None and all(v <= 0 for v in scores.token_logprobs[1:])
    assert len(scores.tokens) == len(scores.token_logprobs) == len(scores.top_logprobs) == len(scores.text_offset)
    alone = complete(client, model, "One two three", echo=True, logprobs=1, max_tokens=0).choices[0]
    assert alone.text == "One two three"
    assert alone.logprobs.token_logprobs == scores.token_logprobs[:len(alone.logprobs.tokens)]


def test_tokens_as_ids_feed_back(client, model, base_url):
    """The ids that a continuation reports, scored as a prompt, get the same log-probabilities."""
    prompt = tokenize(base_url, "The days are")
    extra = {"return_tokens_as_token_ids": True}
    said = complete(client, model, prompt, logprobs=0, max_tokens=8, extra_body=extra).choices[0].logprobs
    ids = [int(t.removeprefix("token_id:")) for t in said.tokens]
    scored = complete(client, model, prompt + ids, logprobs=0, max_tokens=0, echo=True, extra_body=extra).choices[0].logprobs
    assert scored.tokens[len(prompt):] == said.tokens
    assert scored.token_logprobs[len(prompt):] == said.token_logprobs


def test_completion_stream(client, model):
    whole = complete(client, model, ["The days are", "One"], logprobs=1)
    texts, tokens = {0: "", 1: ""}, {0: [], 1: []}
    for chunk in complete(client, model, ["The days are", "One"], logprobs=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            tokens[choice.index] += choice.logprobs.tokens if choice.logprobs else []
    assert texts == {c.index: c.text for c in whole.choices}
    assert tokens == {c.index: c.logprobs.tokens for c in whole.choices}


@pytest.mark.parametrize("options,param", [
    ({"temperature": 3}, "temperature"), ({"top_p": 0}, "top_p"), ({"n": 0}, "n"), ({"max_tokens": 0}, "max_tokens"),
    ({"top_logprobs": 2}, "top_logprobs"), ({"presence_penalty": 5}, "presence_penalty"), ({"messages": []}, "messages"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"response_format": {"type": "xml"}}, "response_format"), ({"logit_bias": {"x": 1}}, "logit_bias"),
])
@pytest.mark.parametrize("stream", [False, True])
def test_wrong_parameters_are_bad_requests(client, model, options, param, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model, stream=stream, **options)
    assert caught.value.param == param and caught.value.type == "invalid_request_error"
    assert caught.value.code is None or isinstance(caught.value.code, str)


def test_too_long_a_prompt_is_a_bad_request_with_its_own_code(client, model):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model, messages=[{"role": "user", "content": "word " * 100_000}])
    assert caught.value.code == "context_length_exceeded"


def test_unknown_paths_and_methods(client, base_url):
    with pytest.raises(openai.NotFoundError):
        client.post("/no/such/path", body={}, cast_to=object)
    with pytest.raises(openai.APIStatusError) as caught:
        client.get("/chat/completions", cast_to=object)
    assert caught.value.status_code == 405


def test_a_model_name_with_slash_and_colon_is_found(start_server):
    with start_server("--model-name", "org/tiny:q8") as server:
        with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
            assert client.models.retrieve("org/tiny:q8").id == "org/tiny:q8"
            assert server.get("/v1/models/" + urllib.parse.quote("org/tiny:q8", safe=""))[0] == 200
            assert chat(client, "whatever", max_tokens=1).model == "org/tiny:q8"


def test_keys(start_server, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# two\nalpha-1\nbeta_2\n")
    with start_server("--api-key-file", str(keys)) as server:
        for key in ("alpha-1", "beta_2"):
            openai.OpenAI(base_url=server.url + "/v1", api_key=key).models.list()
        with pytest.raises(openai.AuthenticationError) as caught:
            openai.OpenAI(base_url=server.url + "/v1", api_key="alpha-2").models.list()
        assert caught.value.code == "invalid_api_key"
        assert server.get("/health")[0] == 200


def test_closing_a_stream_stops_the_generation(start_server):
    with start_server("--max-batch", "1") as server, \
            openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        stream = chat(client, "any", max_tokens=1900, stream=True, extra_body={"ignore_eos": True})
        for _, _ in zip(range(5), stream):
            pass
        stream.close()
        for _ in range(200):
            if server.metric("quorum_generations_cancelled_total") == 1:
                break
            time.sleep(0.05)
        assert server.metric("quorum_generations_cancelled_total") == 1
        assert server.metric("quorum_running_sequences") == 0
        assert server.metric("quorum_generated_tokens_total") < 1900
        assert chat(client, "any", max_tokens=1).usage.completion_tokens == 1


def test_overload_is_a_rate_limit_error_and_retries_get_through(start_server):
    with start_server("--max-batch", "1", "--max-queue", "0") as server:
        def hold():
            with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
                return chat(client, "any", max_tokens=1900, n=16, extra_body={"ignore_eos": True}).usage.completion_tokens

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            long = pool.submit(hold)
            while server.metric("quorum_running_sequences") == 0 and not long.done():
                time.sleep(0.005)
            with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
                with pytest.raises(openai.RateLimitError) as caught:
                    while not long.done():
                        chat(client, "any", max_tokens=1)
            assert caught.value.code == "rate_limit_exceeded"
            assert 0 < float(caught.value.response.headers["retry-after"]) <= 120
            assert long.result() == 16 * 1900
        with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=5) as patient:
            assert chat(patient, "any", max_tokens=1).usage.completion_tokens == 1
