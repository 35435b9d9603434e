"""Hostile load on a server of its own, bounded and on loopback, and figures of what it did to the others:
    hostile_load.py QUORUM_BINARY MODEL [--bodies 10000] [--idle 1000] [--streams 200]
Idle connections, slow heads, malformed bodies made from the fuzzers' seeds, half-closed streams, 100 MB bodies, many streams
with random disconnects, wrong keys, SIGTERM in mid-flight. Checked: every accepted request has exactly one terminal answer,
/health, /readyz and /livez answer meanwhile (p99 within 100 ms), memory returns, and the server still answers rightly. Exit
status 1 if something is wrong. QUORUM_SLACK widens the two bounds of time and memory, for sanitizer builds: with one, --bodies 2000
--idle 300 --streams 60 take some minutes."""

import argparse
import collections
import json
import os
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
SLACK = float(os.environ.get("QUORUM_SLACK", "1"))
wrong = []
begun = time.monotonic()


def say(*words):
    print(f"{time.monotonic() - begun:6.1f} s", *words, flush=True)


class Client:
    """One connection, raw."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=300)

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
    """Asks from a process of its own: this one is busy with being hostile."""
    asker = subprocess.Popen([sys.executable, "-c", ASKER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stop.wait()
    out, _ = asker.communicate("stop\n")
    for line in out.splitlines():
        status, seconds = line.split()
        times.append(float(seconds))
        if status != "200":
            wrong.append(("health", status))


ASKER = """
import select, socket, sys, time
for i in range(10**9):
    if select.select([sys.stdin], [], [], 0.02)[0]:
        break
    path = ["/livez", "/health", "/readyz"][i % 3]
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
        answer = sock.recv(4096)
    print((answer.split() or [b"", b"none"])[1].decode(), time.monotonic() - begun)
"""


def drip(port, count, stop):
    """Slow loris: heads and bodies that come a byte at a time. All must be ended by the server in the end."""
    socks = []
    for i in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        start = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
        if i % 2:
            start += f"Authorization: Bearer {KEY}\r\nContent-Length: 100000\r\n\r\n".encode()
        sock.sendall(start)
        socks.append(sock)
    while socks and not stop.is_set():
        for sock in list(socks):
            try:
                sock.sendall(b"x")
            except OSError:
                socks.remove(sock)
        stop.wait(1)
    for sock in socks:
        sock.close()
    return len(socks)


def large_bodies(port):
    """100 MB declared and sent, in one piece or in chunks, with and without waiting for 100 Continue."""
    answers = []
    piece = b"x" * 65536

    def send_all(sock, framed):
        for _ in range(100_000_000 // len(piece)):
            sock.sendall(b"10000\r\n" + piece + b"\r\n" if framed else piece)

    for framing in ("Content-Length: 100000000", "Transfer-Encoding: chunked", "Content-Length: 100000000\r\nExpect: 100-continue"):
        client = Client(port)
        client.sock.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n{framing}\r\n\r\n".encode())
        try:
            send_all(client.sock, "chunked" in framing)
        except OSError:
            pass  # refused while it was being sent
        answers.append(statuses(client.read()))
    for codes in answers:
        if codes not in ([b"413"], []):  # an answer may be lost to a reset where the client goes on sending
            wrong.append(("large body", codes))
    if answers[0] != [b"413"]:
        wrong.append(("large body", "no answer", answers))
    return answers


def answers_rightly(port, when):
    """One greedy answer, to be the same before and after."""
    client = Client(port)
    client.send(json.dumps({"messages": [{"role": "user", "content": "Count"}], "max_tokens": 12, "temperature": 0}).encode())
    answer = client.read()
    if statuses(answer) != [b"200"]:
        wrong.append((when, answer[:200]))
        return None
    return json.loads(answer.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"]


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


def run_all(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bodies(port, count, seeds):
    rng = random.Random(7)
    paths = ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/tokenize"]
    work = [(i, paths[i % len(paths)], mutate(rng.choice(seeds), rng)) for i in range(count)]
    seen = collections.Counter()

    def some():
        while work:
            try:
                i, path, body = work.pop()
            except IndexError:
                return
            client = Client(port)
            client.send(body, path)
            codes = statuses(client.read())
            seen[codes[0].decode() if codes else "none"] += 1
            if count >= 1000 and sum(seen.values()) % (count // 10) == 0:
                say(f"{sum(seen.values())} of {count} bodies")
            if len(codes) != 1 or codes[0][:1] not in b"24":
                wrong.append(("body", i, codes, body[:200]))

    run_all([threading.Thread(target=some) for _ in range(4)])
    return dict(sorted(seen.items()))


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
        else:
            if leave == "half":
                client.sock.shutdown(socket.SHUT_WR)
            answer = client.read()
            ends.append(statuses(answer))
            done = answer.count(b"data: [DONE]") + answer.count(b'"error"')
            if len(ends[-1]) != 1 or done != 1:
                wrong.append(("stream", ends[-1], answer[-200:]))

    threads = [threading.Thread(target=one, args=(rng.choice(["stay", "stay", "reset", "half"]),)) for _ in range(count)]
    run_all(threads)
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
    server = subprocess.Popen([options.binary, "--log-level", "error", "serve", options.model, "--port", "0", "--ctx", "512", "--max-batch", "16", "--api-key-file", keys.name],
                              stdout=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)", server.stdout.readline().split("//")[1]).group(1))
    say("the server listens; filling its cache")
    seeds = [path.read_bytes() for path in (ROOT / "tests/fuzz/corpus/chat_request").iterdir()]
    seeds = [seed for seed in seeds if len(seed) < 20_000]
    rng = random.Random(1)
    for _ in range(20):  # the KV cache is memory that the server has planned for: filled before it is measured
        client = Client(port)
        client.send(json.dumps({"prompt": [rng.randrange(10, 200) for _ in range(450)], "max_tokens": 1}).encode(), "/v1/completions")
        if statuses(client.read()) != [b"200"]:
            wrong.append(("warm",))
    bodies(port, 50, seeds)
    streams(port, 20)
    say("ready to be hurt")
    before = rss(server.pid)
    said = answers_rightly(port, "before")
    times, stop, enough = [], threading.Event(), threading.Event()
    watcher = threading.Thread(target=health, args=(port, times, stop))
    watcher.start()

    say(f"{options.idle} idle connections, 50 slow ones, {options.bodies} bodies")
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(options.idle)]
    slow = threading.Thread(target=drip, args=(port, 50, enough))
    slow.start()
    say("bodies by status", bodies(port, options.bodies, seeds))
    say("streams that were read to the end, by status", streams(port, options.streams))
    say("100 MB bodies:", large_bodies(port))
    denied = 0
    for i in range(200):
        client = Client(port)
        client.send(b"{}", key=f"guess{i}")
        denied += statuses(client.read()) == [b"401"]
    if denied != 200:
        wrong.append(("keys", denied))
    if answers_rightly(port, "after") != said:
        wrong.append(("another answer", said))
    for sock in idle:
        sock.close()
    enough.set()
    slow.join()
    time.sleep(1)
    after = rss(server.pid)
    say(f"memory: {before:.1f} MiB before, {after:.1f} after")
    if after > (1.2 * before + 32) * SLACK:
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
    say("exit status after SIGTERM in mid-flight:", server.wait(60))
    times.sort()
    if times[int(len(times) * .99)] > 0.1 * SLACK:
        wrong.append(("health p99", times[int(len(times) * .99)]))
    say(f"health: {len(times)} asked, median {1000 * times[len(times) // 2]:.1f} ms, p99 {1000 * times[int(len(times) * .99)]:.1f} ms, most {1000 * times[-1]:.1f} ms")
    say("wrong:", wrong[:10] if wrong else "nothing")
    return 1 if wrong or server.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
