"""`quorum serve` and `quorum run` as processes: start, curl, shutdown, errors."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from conftest import BINARY, TINY_MODEL

CHAT = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 12}


def post(server, body, timeout=60):
    request = urllib.request.Request(server.url + "/v1/chat/completions", json.dumps(body).encode())
    return urllib.request.urlopen(request, timeout=timeout)


def run(*args, stdin="", env=None):
    return subprocess.run([BINARY, *args], input=stdin, capture_output=True, text=True, timeout=120,
                          env={**os.environ, **(env or {})})


def test_it_prints_its_address_and_a_curl_line_that_works(start_server):
    with start_server() as server:
        assert server.stdout[0].startswith("Quorum serves tiny_chat_moe at http://127.0.0.1:")
        while len(server.stdout) < 4:
            time.sleep(0.01)
        command = "".join(server.stdout[2:])
        assert "curl -N" in command
        if shutil.which("curl") is None:
            pytest.skip("no curl")
        done = subprocess.run(["sh", "-c", command.strip().replace('"stream"', '"max_tokens": 8, "stream"') + " -sSi"],
                              capture_output=True, timeout=60)
        head, _, body = done.stdout.decode().partition("\r\n\r\n")
        assert " 200 " in head.splitlines()[0] and "text/event-stream" in head
        events = [line for line in body.splitlines() if line]
        assert all(e.startswith("data: ") for e in events) and events[-1] == "data: [DONE]"
        assert json.loads(events[0][6:])["choices"][0]["delta"]["role"] == "assistant"


def test_curl_with_a_large_body_waits_for_100_continue(start_server, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    body = tmp_path / "body.json"
    body.write_text(json.dumps({**CHAT, "metadata": {"padding": "x" * 3_000_000}}))
    with start_server() as server:
        done = subprocess.run(["curl", "-sS", "-H", "Expect: 100-continue", "-d", f"@{body}",
                               f"{server.url}/v1/chat/completions"], capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)["object"] == "chat.completion", done.stderr


def test_sigterm_finishes_what_runs_and_refuses_what_comes(start_server):
    with start_server() as server:
        answer = post(server, {**CHAT, "max_tokens": 1900, "ignore_eos": True, "stream": True})
        assert answer.readline().startswith(b"data: ")
        server.signal()
        refused = None
        for _ in range(200):
            try:
                server.get("/health")[0] == 200 and time.sleep(0.005)
                status = server.get("/health")[0]
            except (urllib.error.URLError, ConnectionError):
                break  # it finished already
            if status == 503:
                with pytest.raises(urllib.error.HTTPError) as caught:
                    post(server, CHAT)
                refused = caught.value
                break
        if refused is not None:
            assert refused.code == 503 and int(refused.headers["retry-after"]) >= 1
        rest = answer.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        assert server.wait() == 0


def test_a_drain_that_takes_too_long_is_cut_with_an_error(start_server):
    with start_server("--drain-seconds", "0", "--ctx", "2048") as server:
        answer = post(server, {**CHAT, "max_tokens": 2000, "ignore_eos": True, "stream": True, "n": 8})
        assert answer.readline().startswith(b"data: ")
        server.signal(signal.SIGINT)
        rest = answer.read()
        assert server.wait() == 0
        if not rest.endswith(b"data: [DONE]\n\n"):  # the tiny model may have been faster than the signal
            assert b'data: {"error":' in rest


def test_a_second_signal_ends_at_once(start_server):
    with start_server("--drain-seconds", "600") as server:
        answer = post(server, {**CHAT, "max_tokens": 2000, "ignore_eos": True, "stream": True, "n": 16})
        assert answer.readline().startswith(b"data: ")
        server.signal()
        while not any("shutting down" in line for line in server.stderr) and server.process.poll() is None:
            time.sleep(0.01)
        server.signal()
        assert server.wait(30) in (128 + signal.SIGTERM, 0)


def test_a_taken_port_is_a_clear_error(start_server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("serve", TINY_MODEL, "--port", port)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr and "in use" in done.stderr


@pytest.mark.parametrize("args,expected", [
    (["serve", "/nonexistent.gguf", "--port", "0"], "/nonexistent.gguf"),
    (["serve", TINY_MODEL, "--port", "0", "--api-key-file", "/nonexistent/keys"], "/nonexistent/keys"),
    (["serve", TINY_MODEL, "--port", "0", "--kv", "int3"], "--kv"),
    (["serve", TINY_MODEL, "--port", "99999"], "--port"),
    (["serve"], "MODEL"),
    (["serve", __file__, "--port", "0"], "GGUF"),
])
def test_wrong_flags_are_clear_errors(args, expected):
    done = run(*args)
    assert done.returncode != 0
    assert expected in done.stderr + done.stdout


def test_flags_have_environment_variables_and_help():
    text = run("serve", "--help").stdout
    for name in ("HOST", "PORT", "THREADS", "CTX", "MAX_BATCH", "MAX_QUEUE", "KV", "API_KEY_FILE", "MODEL_NAME", "MAX_BODY_MB",
                 "DRAIN_SECONDS", "CHAT_TEMPLATE", "CORS_ORIGIN"):
        assert f"QUORUM_{name}" in text
    done = run("serve", TINY_MODEL, env={"QUORUM_PORT": "99999"})
    assert done.returncode != 0 and "99999" in done.stderr + done.stdout


def test_a_chat_template_from_a_file(start_server, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{{ raise_exception('never ' + messages[0].content) }}")
    with start_server("--chat-template", str(template)) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server, CHAT)
        error = json.load(caught.value)["error"]
        assert caught.value.code == 400 and "never Hello" in error["message"]
    template.write_text("{% for x in %}")
    done = run("serve", TINY_MODEL, "--port", "0", "--chat-template", str(template))
    assert done.returncode == 1 and "template" in done.stderr


def test_run_answers_once(start_server):
    by_flag = run("run", TINY_MODEL, "-p", "Hello", "--temperature", "0", "--max-tokens", "12")
    assert by_flag.returncode == 0 and by_flag.stdout.endswith("\n")
    by_pipe = run("run", TINY_MODEL, "--temperature", "0", "--max-tokens", "12", stdin="Hello\n")
    assert by_pipe.stdout == by_flag.stdout
    with start_server() as server:
        served = json.load(post(server, CHAT))["choices"][0]["message"]["content"]
    assert by_flag.stdout == served + "\n"
    seeded = [run("run", TINY_MODEL, "-p", "Hello", "--seed", "5", "--max-tokens", "12").stdout for _ in range(2)]
    assert seeded[0] == seeded[1]
    both = run("run", TINY_MODEL, "-p", "Hello", "--temperature", "0", "--max-tokens", "12", stdin="there\n")
    whole = run("run", TINY_MODEL, "-p", "Hello\n\nthere", "--temperature", "0", "--max-tokens", "12")
    assert both.returncode == 0 and both.stdout == whole.stdout != by_flag.stdout
    assert run("run", TINY_MODEL, stdin="").returncode == 1


def test_run_as_a_conversation():
    """On a terminal of its own: two turns, /reset, /exit, and the first turn again after the reset."""
    pty = pytest.importorskip("pty")
    try:
        child, fd = pty.fork()
    except OSError as error:  # a chroot without /dev/pts
        pytest.skip(f"no terminals here: {error}")
    if child == 0:
        os.execv(BINARY, [BINARY, "--log-level", "error", "run", TINY_MODEL, "--temperature", "0", "--max-tokens", "6"])
    output = b""

    def wait_for_prompts(count):
        nonlocal output
        while len(re.findall(rb"(?:^|\n)> ", output)) < count:
            output += os.read(fd, 4096)

    wait_for_prompts(1)
    for turn, line in enumerate([b"Hello", b"Hello", b"/reset", b"Hello", b"/exit"], 2):
        os.write(fd, line + b"\n")
        if line != b"/exit":
            wait_for_prompts(turn)
    _, status = os.waitpid(child, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 0
    answers = re.split(rb"(?:^|\n)> ", output)[1:]
    assert answers[0] == answers[3]  # the same first turn
    assert b"a new conversation" in answers[2]


def test_https(start_server, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    trust = ssl.create_default_context(cafile=cert)
    with start_server("--tls-cert", cert, "--tls-key", key) as server:
        assert server.url.startswith("https://")
        body = json.dumps({**CHAT, "max_tokens": 200, "ignore_eos": True, "stream": True}).encode()
        with urllib.request.urlopen(server.url + "/v1/chat/completions", body, timeout=60, context=trust) as answer:
            assert answer.read().endswith(b"data: [DONE]\n\n")
        large = json.dumps({**CHAT, "max_tokens": 4, "metadata": {"padding": "x" * 3_000_000}}).encode()
        with urllib.request.urlopen(server.url + "/v1/chat/completions", large, timeout=60, context=trust) as answer:
            assert json.load(answer)["object"] == "chat.completion"
        with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
            urllib.request.urlopen(server.url.replace("https", "http") + "/health", timeout=10)
        with urllib.request.urlopen(server.url + "/health", timeout=30, context=trust) as answer:
            assert json.load(answer)["status"] == "ok"
    assert run("serve", TINY_MODEL, "--tls-cert", key, "--tls-key", key).returncode == 1
    assert run("serve", TINY_MODEL, "--tls-cert", cert).returncode == 2


def test_json_log_has_request_ids_and_no_prompt(start_server):
    for flags, logged in (((), False), (("--log-prompts",), True)):
        with start_server("--log-json", *flags) as server:
            request = urllib.request.Request(server.url + "/v1/chat/completions",
                                             json.dumps({"messages": [{"role": "user", "content": "Secret words"}], "max_tokens": 2}).encode(),
                                             {"x-request-id": "my-request"})
            urllib.request.urlopen(request, timeout=60).read()
            deadline = 200
            while not any('"answered"' in line for line in server.stderr) and deadline:
                time.sleep(0.02)
                deadline -= 1
            lines = [json.loads(line) for line in server.stderr]
            answered = [line for line in lines if line["msg"] == "answered"][0]
            assert answered["request_id"] == "my-request" and answered["status"] == 200 and answered["generated_tokens"] >= 1
            assert any("Secret words" in line for line in server.stderr) == logged


def test_the_dashboard_asks_for_metrics_that_exist(start_server):
    dashboard = (pathlib.Path(__file__).resolve().parents[2] / "docker/grafana.json").read_text()
    asked = set(re.findall(r"quorum_[a-z_]+", "".join(target["expr"] for panel in json.loads(dashboard)["panels"] for target in panel["targets"])))
    assert len(asked) > 20
    with start_server() as server:
        body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "ignore_eos": True}).encode()
        request = urllib.request.Request(server.url + "/v1/chat/completions", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=60).read()
        text = server.get("/metrics")[1]
        has = set(re.findall(r"^(quorum_[a-z_]+)[{ ]", text, re.MULTILINE))
        assert asked <= has, asked - has
        for name in ("quorum_weight_bytes_read_total", "quorum_kv_bytes_read_total", "quorum_busy_seconds_total", "quorum_queue_seconds_count"):
            assert server.metric(name) > 0, name
        assert 'quorum_step_rows_sum{kind="decode"} 3' in text
