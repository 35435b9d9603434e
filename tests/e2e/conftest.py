"""A live server for the end-to-end tests.

QUORUM_BASE_URL (e.g. http://127.0.0.1:8080) names one that runs already; otherwise the program QUORUM_BINARY (default
build/release/quorum) is started on QUORUM_MODEL (default the tiny committed model) and a free port, and stopped after."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QUORUM_BINARY", str(ROOT / "build/release/quorum"))
TINY_MODEL = str(ROOT / "tests/fixtures/model/tiny_chat_moe.gguf")


class ServerProcess:
    """`quorum serve` on a port of its own choice, ready when the constructor returns."""

    def __init__(self, *flags, model=None, wait=True):
        model = model or os.environ.get("QUORUM_MODEL", TINY_MODEL)
        self.process = subprocess.Popen([BINARY, "serve", model, "--port", "0", "--threads", "2", *flags],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.stdout, self.stderr = [], []
        self.ready = threading.Event()
        for stream, lines in ((self.process.stdout, self.stdout), (self.process.stderr, self.stderr)):
            threading.Thread(target=self._read, args=(stream, lines), daemon=True).start()
        self.url = None
        if wait:
            if not self.ready.wait(120) or not self.stdout:
                self.process.kill()
                raise RuntimeError("quorum serve did not become ready:\n" + "".join(self.stdout + self.stderr))
            self.url = re.search(r"https?://\S+", self.stdout[0]).group()

    def _read(self, stream, lines):
        for line in stream:
            lines.append(line)
            if stream is self.process.stdout:
                self.ready.set()
        self.ready.set()

    def get(self, path):
        """Status and body."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)$", self.get("/metrics")[1], re.MULTILINE).group(1))

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, timeout=60):
        return self.process.wait(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def base_url():
    url = os.environ.get("QUORUM_BASE_URL")
    if url:
        yield url.rstrip("/")
        return
    with ServerProcess() as server:
        yield server.url


@pytest.fixture(scope="session")
def model(base_url):
    with urllib.request.urlopen(base_url + "/v1/models", timeout=30) as answer:
        return os.environ.get("QUORUM_MODEL_ID") or json.load(answer)["data"][0]["id"]


@pytest.fixture(scope="session")
def start_server():
    """Starts a server of the test's own: `with start_server("--flag") as server:`."""
    if not os.path.exists(BINARY):
        pytest.skip(f"no program at {BINARY} (QUORUM_BINARY)")
    return ServerProcess
