"""The responses and embeddings of OpenAI's Python SDK against a live server."""

import openai
import pytest


@pytest.fixture(scope="module")
def client(base_url):
    with openai.OpenAI(base_url=base_url + "/v1", api_key="none", max_retries=0, timeout=120) as made:
        yield made


def ask(client, model, **options):
    return client.responses.create(model=model, **{"input": "Name the days of the week.", "temperature": 0,
                                                   "max_output_tokens": 24, **options})


def test_a_response_and_its_stream(client, model):
    whole = ask(client, model)
    assert whole.object == "response" and whole.status in ("completed", "incomplete") and whole.output_text
    with client.responses.stream(model=model, input="Name the days of the week.", temperature=0,
                                 max_output_tokens=24) as stream:
        events = list(stream)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[-1].type == f"response.{whole.status}"  # cut by max_output_tokens: incomplete
    final = events[-1].response
    assert text == whole.output_text == final.output_text
    assert final.usage.total_tokens == whole.usage.total_tokens


def test_a_conversation_by_id_and_by_items(client, model):
    first = ask(client, model)
    by_id = ask(client, model, input="And now the months.", previous_response_id=first.id)
    items = [{"role": "user", "content": "Name the days of the week."}, *first.output,
             {"role": "user", "content": "And now the months."}]
    by_items = ask(client, model, input=items)
    assert by_id.output_text == by_items.output_text
    assert by_id.usage.input_tokens == by_items.usage.input_tokens > first.usage.input_tokens
    assert client.responses.retrieve(by_id.id).output_text == by_id.output_text
    client.responses.delete(by_id.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(by_id.id)


def test_embeddings_default_to_base64(client, model):
    texts = ["Monday", "The cat sat on the mat.", "Monday"]
    coded = client.embeddings.create(model=model, input=texts)  # the SDK asks for base64 and decodes it
    plain = client.embeddings.create(model=model, input=texts, encoding_format="float")
    for one, two in zip(coded.data, plain.data):
        assert one.index == two.index
        assert max(abs(a - b) for a, b in zip(one.embedding, two.embedding)) < 1e-6
    assert coded.data[0].embedding == coded.data[2].embedding != coded.data[1].embedding
    alone = client.embeddings.create(model=model, input=texts[1]).data[0].embedding
    assert alone == coded.data[1].embedding  # the same bits alone and among others
    short = client.embeddings.create(model=model, input="Monday", dimensions=8).data[0].embedding
    assert len(short) == 8 and abs(sum(x * x for x in short) - 1) < 1e-4
