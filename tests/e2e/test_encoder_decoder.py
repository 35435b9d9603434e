"""An encoder-decoder model from a Hugging Face folder, served: tests/fixtures/model/switch."""

import json
import os
import struct
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import BINARY, ROOT, ServerProcess

FOLDER = ROOT / "tests/fixtures/model/switch"


def oracle():
    """Integer tensors of the oracle's file."""
    data = (FOLDER / "oracle_seq2seq.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    values = {}
    for name, entry in header.items():
        if entry.get("dtype") == "I32":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            values[name] = list(struct.unpack(f"<{(end - begin) // 4}i", data[begin:end]))
    return values


@pytest.fixture(scope="module")
def server():
    if not os.path.exists(BINARY):
        pytest.skip(f"no program at {BINARY} (QUORUM_BINARY)")
    with ServerProcess(model=str(FOLDER)) as running:
        yield running


def post(server, path, body):
    request = urllib.request.Request(server.url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def refused(server, path, body):
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(server, path, body)
    assert caught.value.code == 400
    return json.load(caught.value)["error"]


def test_token_ids_give_the_greedy_reply_of_transformers(server):
    expected = oracle()
    answer = post(server, "/v1/completions", {
        "prompt": expected["tokens"], "temperature": 0, "max_tokens": len(expected["greedy"]), "ignore_eos": True,
        "logprobs": 0, "return_tokens_as_token_ids": True})
    tokens = answer["choices"][0]["logprobs"]["tokens"]
    assert tokens == [f"token_id:{token}" for token in expected["greedy"]]
    assert answer["usage"]["prompt_tokens"] == len(expected["tokens"])
    assert answer["usage"]["completion_tokens"] == len(expected["greedy"])


def test_text_goes_through_the_encoder_with_an_end_of_its_own(server):
    ids = post(server, "/tokenize", {"prompt": "translate the thing"})["tokens"]
    body = {"prompt": "translate the thing", "temperature": 0, "max_tokens": 20}
    answer = post(server, "/v1/completions", body)
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert ids[-1] == 1  # </s>, as transformers' tokenizer appends it
    assert post(server, "/v1/completions", {**body, "prompt": ids})["choices"] == answer["choices"]
    again = post(server, "/v1/completions", {**body, "n": 3})
    assert [c["text"] for c in again["choices"]] == 3 * [answer["choices"][0]["text"]]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == len(ids)


def test_what_needs_a_decoder_alone_is_refused(server):
    error = refused(server, "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]})
    assert "/v1/completions" in error["message"]
    error = refused(server, "/v1/completions", {"prompt": "hi", "echo": True, "logprobs": 1})
    assert error["param"] == "echo"
    error = refused(server, "/v1/completions", {"prompt": [5] * 513})
    assert error["code"] == "context_length_exceeded"


def test_run_and_bench(server):
    done = subprocess.run([BINARY, "run", str(FOLDER), "-p", "translate", "--temperature", "0", "--max-tokens", "8"],
                          capture_output=True, text=True, timeout=120)
    served = post(server, "/v1/completions", {"prompt": "translate", "temperature": 0, "max_tokens": 8})
    assert done.returncode == 0 and done.stdout == served["choices"][0]["text"] + "\n", done.stderr
    done = subprocess.run([BINARY, "bench", str(FOLDER), "-p", "100", "-n", "4", "-b", "1,3", "-r", "1", "--json"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [row["avg_ts"] > 0 for row in json.loads(done.stdout)] == [True, True, True]
