#!/usr/bin/env python3
"""Loads an OpenAI-compatible server on this machine and reports times and throughput. Standard library only.

    scripts/load_test.py closed --clients 16 --requests 64 --words 120 --max-tokens 32
    scripts/load_test.py beside --long-words 6000 --shorts 4       # one stream, then a long prompt, then short ones
    scripts/load_test.py overload --clients 8 --factor 4           # many more than fit: what still gets done, and refusals
    scripts/load_test.py soak --requests 10000 --clients 24        # random cancellations; ends with the KV pages in use

Every mode is bounded by its number of requests and by --seconds. Only loopback addresses are loaded.
Works with Quorum, llama-server and vLLM; figures are the client's.
"""
import argparse
import asyncio
import ipaddress
import json
import random
import sys
import time
import urllib.parse

WORDS = ("time year people way day man thing woman life child world school state family student group country problem "
         "hand part place case week company system program question work number night point home water room mother "
         "area money story fact month lot right study book eye job word business issue side kind head house").split()


def prompt_of(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


class Server:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80
        if self.host != "localhost" and not ipaddress.ip_address(self.host).is_loopback:
            sys.exit("load_test: only loopback addresses are loaded")

    async def get(self, path):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode())
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return body.decode("utf-8", "replace")

    async def stream(self, prompt, max_tokens, leave_after=None, extra=None):
        """One streamed completion: (first token, end, gaps, generated, prompt tokens, status), times in seconds."""
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "stream": True, "ignore_eos": True,
                "stream_options": {"include_usage": True}, **(extra or {})}
        data = json.dumps(body).encode()
        start = time.perf_counter()
        first = last = None
        gaps, times, usage, status, retry_after = [], [], {}, 0, None
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 22)
        try:
            writer.write(f"POST /v1/completions HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
                         f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            status = int((await reader.readline()).split()[1])
            while True:
                limit = None if leave_after is None else max(0.0, start + leave_after - time.perf_counter())
                line = await asyncio.wait_for(reader.readline(), limit)
                if not line:
                    break
                if line.lower().startswith(b"retry-after:"):
                    retry_after = int(line.split(b":")[1])
                at = line.find(b"data: {")
                if at < 0 or status != 200:
                    continue
                event = json.loads(line[at + 6:])
                usage = event.get("usage") or usage
                if not any(choice.get("text") for choice in event.get("choices", [])):
                    continue
                now = time.perf_counter()
                times.append(now)
                if first is None:
                    first = now - start
                else:
                    gaps.append(now - last)
                last = now
        except asyncio.TimeoutError:
            status = 499
        except ConnectionError:
            pass
        finally:
            writer.close()
        return {"first": first, "total": time.perf_counter() - start, "gaps": gaps, "status": status, "retry_after": retry_after, "times": times,
                "generated": usage.get("completion_tokens", len(times)), "prompt": usage.get("prompt_tokens", 0)}


def percentile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def report(name, results, seconds):
    good = [r for r in results if r["status"] == 200 and r["first"] is not None]
    gaps = [gap for r in good for gap in r["gaps"]]
    generated = sum(r["generated"] for r in good)
    prompts = sum(r["prompt"] for r in good)
    out = {"test": name, "requests": len(results), "answered": len(good), "seconds": round(seconds, 2),
           "ttft_ms": {p: round(1e3 * percentile([r["first"] for r in good], q), 1)
                       for p, q in (("p50", .5), ("p90", .9), ("p99", .99))},
           "itl_ms": {p: round(1e3 * percentile(gaps, q), 1)
                      for p, q in (("p50", .5), ("p90", .9), ("p99", .99), ("max", 1))},
           "generated_per_s": round(generated / seconds, 2), "total_per_s": round((generated + prompts) / seconds, 2)}
    print(json.dumps(out))
    return out


async def closed(server, args):
    """Each client sends its next request when it has its answer."""
    rng = random.Random(args.seed)
    prompts = [prompt_of(rng, args.words) for _ in range(args.requests)]
    results, end = [], time.perf_counter() + args.seconds

    async def client():
        while prompts and time.perf_counter() < end:
            results.append(await server.stream(prompts.pop(), args.max_tokens))

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(args.clients)))
    report("closed", results, time.perf_counter() - start)


async def beside(server, args):
    """The gaps of one stream while a long prompt is computed, and short requests that come behind it."""
    rng = random.Random(args.seed)
    start = time.perf_counter()
    stream = asyncio.create_task(server.stream(prompt_of(rng, 30), args.stream_tokens))
    await asyncio.sleep(args.settle)
    long = asyncio.create_task(server.stream(prompt_of(rng, args.long_words), 4))
    await asyncio.sleep(args.settle / 2)
    behind = not long.done()
    shorts = [asyncio.create_task(server.stream(prompt_of(rng, 40), 8)) for _ in range(args.shorts)]
    order = []
    for name, tasks in (("long", [long]), ("short", shorts)):
        for task in tasks:
            task.add_done_callback(lambda _, name=name: order.append(name))
    results = await asyncio.gather(stream, long, *shorts)
    seconds = time.perf_counter() - start
    report("stream", results[:1], seconds)
    report("long", results[1:2], seconds)
    if shorts:
        report("shorts", results[2:], seconds)
        print(json.dumps({"shorts_before_long": order[-1] == "long" if behind else None}))  # None: the long one was done when they came


def rate_between(results, begin, end):
    """Tokens a second that arrived in this time, of requests that were answered to the end."""
    return sum(begin <= at < end for r in results if r["status"] == 200 for at in r["times"]) / (end - begin)


async def peak_rate(args, ask):
    """As many clients as are computed at once, always busy: tokens and requests a second."""
    results, ended = [], []

    async def busy():
        for _ in range(max(1, args.requests // args.clients)):
            results.append(await ask())
        ended.append(time.perf_counter())

    start = time.perf_counter()
    await asyncio.gather(*(busy() for _ in range(args.clients)))
    return rate_between(results, start, min(ended)), len(results) / (time.perf_counter() - start)


async def overload(server, args):
    """The peak, then requests at a multiple of that rate, whatever becomes of them, then the peak again (the machine may have
    changed meanwhile). At the end of the flood a few clients are refused, and come back when their refusal tells them to."""
    rng = random.Random(args.seed)

    def ask():
        return server.stream(prompt_of(rng, args.words), args.max_tokens)

    before, rate = await peak_rate(args, ask)
    tasks, returned = [], []

    async def comes_back():
        """Where the server does not say when, after a second, as the SDKs would about do."""
        begun = time.perf_counter()
        result = await ask()
        wait = result["retry_after"]
        for attempt in range(1, 60):
            if result["status"] == 200:
                break
            await asyncio.sleep(result["retry_after"] or 1)
            result = await ask()
        returned.append({"retry_after": wait, "attempts": attempt, "answered_after": round(time.perf_counter() - begun, 1)})

    start = time.perf_counter()
    end = start + args.overload_seconds
    while time.perf_counter() < end:
        tasks.append(asyncio.create_task(ask()))
        await asyncio.sleep(1 / (args.factor * rate))
    await asyncio.gather(*(comes_back() for _ in range(4)))
    results = await asyncio.gather(*tasks)
    good = [r for r in results if r["status"] == 200]
    drained = max((r["times"][0] for r in good if r["times"]), default=end) - end
    settle = min(args.settle, args.overload_seconds / 4)  # the first moments have no full batch yet
    goodput = rate_between(good, start + settle, end)
    after, _ = await peak_rate(args, ask)
    refused = [r for r in results if r["status"] in (429, 503)]
    times = [r["total"] for r in refused]
    waits = [r["retry_after"] for r in refused]
    print(json.dumps({
        "test": "overload", "peak_per_s": [round(before, 2), round(after, 2)], "goodput_per_s": round(goodput, 2),
        "ratio": round(2 * goodput / (before + after), 3), "offered_per_s": round(args.factor * rate, 2),
        "answered": len(good), "refused": len(refused), "other": len(results) - len(good) - len(refused),
        "ttft_ms_p50": round(1e3 * percentile([r["first"] for r in good if r["first"]], .5)),
        "refusal_ms": {p: round(1e3 * percentile(times, q), 1) for p, q in (("p50", .5), ("p99", .99), ("max", 1))},
        "retry_after_s": {"least": min(waits, default=None), "most": max(waits, default=None)} if None not in waits else "missing",
        "queue_was_empty_after_s": round(drained, 1), "came_back": returned}))


async def soak(server, args):
    """Random lengths and cancellations; afterwards an idle server must hold no KV page."""
    rng = random.Random(args.seed)
    left, counts, end = [args.requests], {}, time.perf_counter() + args.seconds

    async def client():
        while left[0] > 0 and time.perf_counter() < end:
            left[0] -= 1
            leave = rng.uniform(0, 1) if rng.random() < 0.3 else None
            result = await server.stream(prompt_of(rng, rng.randint(1, args.words)), rng.randint(1, args.max_tokens), leave)
            counts[result["status"]] = counts.get(result["status"], 0) + 1

    await asyncio.gather(*(client() for _ in range(args.clients)))
    used = None
    for _ in range(100):
        lines = (await server.get("/metrics")).splitlines()
        used = next((float(line.split()[1]) for line in lines if line.startswith("quorum_kv_pages_used ")), None)
        if not used:
            break
        await asyncio.sleep(0.1)
    print(json.dumps({"test": "soak", "status": counts, "kv_pages_used": used}))
    return 1 if used else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["closed", "beside", "overload", "soak"])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--words", type=int, default=120)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--long-words", type=int, default=6000)
    parser.add_argument("--shorts", type=int, default=4)
    parser.add_argument("--stream-tokens", type=int, default=300)
    parser.add_argument("--settle", type=float, default=2.0, help="seconds between the parts of 'beside', and until 'overload' is counted")
    parser.add_argument("--factor", type=float, default=4, help="'overload': times the peak's rate of requests")
    parser.add_argument("--overload-seconds", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    return asyncio.run({"closed": closed, "beside": beside, "overload": overload, "soak": soak}[args.mode](Server(args.url), args))


if __name__ == "__main__":
    sys.exit(main())
