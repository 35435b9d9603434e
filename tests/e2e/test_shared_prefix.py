"""Requests that begin alike, counted by the tokens that the server's steps computed."""

import concurrent.futures
import json
import threading
import urllib.request

import openai
import pytest

CLIENTS = 8
SYSTEM = "You answer questions about the following numbers. " + " ".join(str(7919 * i % 10_007) for i in range(230))


@pytest.fixture(scope="module")
def server(start_server):
    with start_server("--ctx", "2048", "--max-batch", str(CLIENTS)) as started:
        yield started


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


def messages(question):
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def prompt_ids(server, question):
    request = urllib.request.Request(server.url + "/tokenize", json.dumps({"messages": messages(question)}).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["tokens"]


def ask(client, question, max_tokens):
    # Guessed tokens are computed too: here only what must be.
    return client.chat.completions.create(model="default", messages=messages(question), max_tokens=max_tokens, temperature=0,
                                          extra_body={"ignore_eos": True, "speculate": False})


def computed(server):
    """Prompt tokens that steps computed: of a reply all but the last token are computed too."""
    replies = server.metric("quorum_generated_tokens_total") - server.metric("quorum_generations_total")
    return server.metric("quorum_computed_tokens_total") - replies


def test_a_system_prompt_that_many_share_at_once_is_computed_once(server, client):
    questions = [f"{i}: which of them is number {i}?" for i in range(CLIENTS)]
    prompts = [prompt_ids(server, question) for question in questions]
    shared = next(i for i, ids in enumerate(zip(*prompts)) if len(set(ids)) > 1)
    assert shared > 1000
    before, together = computed(server), threading.Barrier(CLIENTS)

    def go(question):
        together.wait()
        return ask(client, question, 8)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(go, questions))
    now = computed(server) - before
    assert shared + CLIENTS <= now <= shared + sum(len(ids) - shared for ids in prompts)
    assert sum(a.usage.prompt_tokens - a.usage.prompt_tokens_details.cached_tokens for a in answers) == now


def test_a_second_equal_request_computes_one_token(server, client):
    first = ask(client, "What is the sum of them all?", 1)
    before = computed(server)
    again = ask(client, "What is the sum of them all?", 1)
    assert computed(server) - before == 1
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens - 1 > 1000
    assert again.choices[0].message.content == first.choices[0].message.content
