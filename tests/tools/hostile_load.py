"""Hostile load on a server of its own, bounded and on loopback, and figures of what it did to the others:
    hostile_load.py QUORUM_BINARY MODEL [--bodies 10000] [--idle 1000] [--streams 200]
Idle connections, slow heads, malformed bodies made from the fuzzers' seeds, half-closed streams, 100 MB bodies, many streams
with random disconnects, wrong keys, SIGTERM in mid-flight. Checked: every accepted request has exactly one terminal answer,
/health answers meanwhile, memory returns. Exit status 1 if something is wrong."""

import argparse
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "the-right-key"
wrong = []


class Client:
    """One connection, raw."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)

    def send(self, body, path="/v1/chat/completions", key=KEY, length=None):
        head = (f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body) if length is None else length}\r\nConnection: close\r\n\r\n")
        self.sock.sendall(head.encode() + body)

    def read(self):
        data = b""
        try:
            while piece := self.sock.recv(65536):
                data += piece
        except OSError:
            pass
        self.sock.close()
        return data


def statuses(answer):
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)


def health(port, times, stop):
    while not stop.is_set():
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = sock.recv(4096)
        times.append(time.monotonic() - begun)
        if b" 200 " not in answer:
            wrong.append(("health", answer[:100]))
        time.sleep(0.02)


def rss(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def mutate(seed, rng):
    data = bytearray(seed)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = rng.choice([b"{", b"[", b'"', b"\x00", b"\xff", b"1e999", b'"a":', b"null,", b"\\ud800", bytes(64)])
        elif kind == 2:
            del data[at:at + rng.randint(1, 40)]
        else:
            data[at:at] = data[:rng.randint(0, 60)]
    return bytes(data)


def bodies(port, count, seeds):
    rng = random.Random(7)
    paths = ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/tokenize"]
    seen = {}
    for i in range(count):
        client = Client(port)
        client.send(mutate(rng.choice(seeds), rng), paths[i % len(paths)])
        codes = statuses(client.read())
        seen[codes[0] if codes else b"none"] = seen.get(codes[0] if codes else b"none", 0) + 1
        if len(codes) != 1 or codes[0][:1] not in b"24":
            wrong.append(("body", i, codes))
    return {code.decode(): n for code, n in sorted(seen.items())}


def streams(port, count):
    rng = random.Random(3)
    ends = []

    def one(leave):
        client = Client(port)
        client.send(json.dumps({"messages": [{"role": "user", "content": "Count"}], "max_tokens": 40, "stream": True, "ignore_eos": True}).encode())
        if leave == "reset":
            client.sock.recv(1)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.sock.close()
        elif leave == "half":
            client.sock.shutdown(socket.SHUT_WR)
            client.read()
        else:
            answer = client.read()
            ends.append(statuses(answer))
            done = answer.count(b"data: [DONE]") + answer.count(b'"error"')
            if len(ends[-1]) != 1 or done != 1:
                wrong.append(("stream", ends[-1], answer[-200:]))

    threads = [threading.Thread(target=one, args=(rng.choice(["stay", "stay", "reset", "half"]),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {code: sum(end == [code.encode()] for end in ends) for code in ("200", "429", "503")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--bodies", type=int, default=10_000)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=200)
    options = parser.parse_args()
    keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
    keys.write(KEY + "\n")
    keys.flush()
    server = subprocess.Popen([options.binary, "--log-level", "error", "serve", options.model, "--port", "0", "--api-key-file", keys.name],
                              stdout=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)", server.stdout.readline().split("//")[1]).group(1))
    seeds = [path.read_bytes() for path in (ROOT / "tests/fuzz/corpus/chat_request").iterdir()]
    seeds = [seed for seed in seeds if len(seed) < 20_000]
    bodies(port, 50, seeds)  # warm
    before = rss(server.pid)
    times, stop = [], threading.Event()
    watcher = threading.Thread(target=health, args=(port, times, stop))
    watcher.start()

    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(options.idle)]
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for sock in slow:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost:")
    print("bodies by status", bodies(port, options.bodies, seeds))
    print("streams that stayed, by status", streams(port, options.streams))
    large = Client(port)
    try:
        large.send(b"x" * 1_000_000, length=100_000_000)
    except OSError:
        pass
    print("100 MB body:", statuses(large.read()))
    denied = 0
    for i in range(200):
        client = Client(port)
        client.send(b"{}", key=f"guess{i}")
        denied += statuses(client.read()) == [b"401"]
    if denied != 200:
        wrong.append(("keys", denied))
    for sock in idle + slow:
        sock.close()
    time.sleep(1)
    after = rss(server.pid)
    print(f"memory: {before:.1f} MiB before, {after:.1f} after")
    if after > 1.2 * before + 32:
        wrong.append(("memory", before, after))

    last = [Client(port) for _ in range(8)]
    for client in last:
        client.send(json.dumps({"messages": [{"role": "user", "content": "Count"}], "max_tokens": 200, "stream": True, "ignore_eos": True}).encode())
        client.sock.recv(1, socket.MSG_PEEK)
    stop.set()
    watcher.join()
    server.send_signal(signal.SIGTERM)
    for client in last:
        answer = client.read()
        if answer.count(b"data: [DONE]") + answer.count(b'"error"') != 1:
            wrong.append(("drain", answer[-100:]))
    print("exit status after SIGTERM in mid-flight:", server.wait(60))
    times.sort()
    if times[int(len(times) * .99)] > 0.1:
        wrong.append(("health p99", times[int(len(times) * .99)]))
    print(f"/livez: {len(times)} asked, median {1000 * times[len(times) // 2]:.1f} ms, p99 {1000 * times[int(len(times) * .99)]:.1f} ms, most {1000 * times[-1]:.1f} ms")
    print("wrong:", wrong[:10] if wrong else "nothing")
    return 1 if wrong or server.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
