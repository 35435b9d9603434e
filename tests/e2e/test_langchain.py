"""LangChain's OpenAI integration against a live server."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


@pytest.fixture(scope="module")
def llm(base_url, model):
    return ChatOpenAI(base_url=base_url + "/v1", api_key="none", model=model, temperature=0, max_tokens=24, max_retries=0)


def test_invoke_and_stream_say_the_same(llm):
    whole = llm.invoke("Name the days of the week.")
    pieces = list(llm.stream("Name the days of the week.", stream_usage=True))
    total = pieces[0]
    for piece in pieces[1:]:
        total += piece
    assert whole.content == total.content and whole.content
    assert total.usage_metadata["total_tokens"] == whole.usage_metadata["total_tokens"]
    assert whole.response_metadata["finish_reason"] == total.response_metadata["finish_reason"]


def test_tools_are_bound_and_their_results_taken(llm):
    tool = {"type": "function", "function": {"name": "weather", "description": "d",
                                             "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
    history = [HumanMessage("Weather?"),
               AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Paris"}, "id": "call_1"}]),
               ToolMessage("mild", tool_call_id="call_1")]
    assert isinstance(llm.bind_tools([tool]).invoke(history), AIMessage)


def test_batches(llm):
    answers = llm.batch(["Monday", "Tuesday", "Monday"])
    assert answers[0].content == answers[2].content


def test_responses_api(base_url, model):
    llm = ChatOpenAI(base_url=base_url + "/v1", api_key="none", model=model, temperature=0, max_tokens=24,
                     use_responses_api=True, max_retries=0)
    whole = llm.invoke("Name the days of the week.")
    assert whole.text
    assert "".join(piece.text for piece in llm.stream("Name the days of the week.")) == whole.text


def test_embeddings(base_url, model):
    made = OpenAIEmbeddings(base_url=base_url + "/v1", api_key="none", model=model, check_embedding_ctx_length=False)
    vectors = made.embed_documents(["Monday", "Tuesday", "Monday"])
    assert vectors[0] == vectors[2] != vectors[1]
    assert abs(sum(x * x for x in vectors[0]) - 1) < 1e-4
