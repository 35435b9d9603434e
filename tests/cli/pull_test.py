"""quorum pull against a hub of our own on loopback: what a Hugging Face hub answers, and everything that goes wrong.
    pull_test.py QUORUM_BINARY TINY_MODEL.gguf"""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

BINARY, TINY = sys.argv[1], pathlib.Path(sys.argv[2]).read_bytes()
RANDOM = bytes(i * i % 251 for i in range(300_000))


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that went away is nothing to print."""


class Hub(Server):
    """Small files are answered at once; large ones (.gguf, .safetensors) lead to a store at another address, which must
    never see the token."""

    def __init__(self):
        self.repos, self.log, self.token = {}, [], None
        self.faults = {}  # name -> list of faults, one for each GET
        self.ranges = True
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = Server(("127.0.0.1", 0), StoreHandler)
        self.store.hub = self
        for server in (self, self.store):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.store_url = f"http://localhost:{self.store.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def file(self, name, data):
        """The bytes themselves, in part if asked for, spoiled by the next fault."""
        hub = getattr(self.server, "hub", self.server)
        faults = hub.faults.get(name, [])
        fault = faults.pop(0) if faults and self.command == "GET" else None
        begin = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(match.group(1)) if hub.ranges else 0
            hub.log.append(("range", name, begin))
        if fault == "busy":
            return self.answer(503, Retry_After="0")
        if fault == "spoil":
            data = data[:1000] + b"?" + data[1001:]
        if begin >= len(data) and begin > 0:
            return self.answer(416)
        part = data[begin:]
        headers = {"Content_Length": str(len(part)), "ETag": f'"{git_sha1(data)}"'}
        if begin and hub.ranges:
            headers["Content_Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self.send_response(206 if begin else 200)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault == "break":
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.close_connection = True
            return self.connection.close()
        if fault == "slow":
            for i in range(0, len(part), 20_000):
                self.wfile.write(part[i:i + 20_000])
                time.sleep(0.05)
            return None
        return self.wfile.write(part)

    def do_GET(self):
        hub = self.server
        path = urllib.parse.unquote(self.path)
        hub.log.append((self.command, path))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.answer(401, b"{}", X_Error_Message="Access to model o/r is restricted.")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            files = hub.repos.get((match.group(1), match.group(2)))
            if files is None:
                return self.answer(404, b"{}", X_Error_Message="Repository not found")
            names = [*files, "../evil", "/etc/evil", ".hidden", "a/../b"]
            return self.answer(200, json.dumps({"siblings": [{"rfilename": name} for name in names]}).encode())
        if match := re.fullmatch(r"/old/name/resolve/main/(.+)", path):  # renamed
            return self.answer(307, Location=f"/o/r/resolve/main/{match.group(1)}")
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            data = hub.repos.get((match.group(1), match.group(2)), {}).get(match.group(3))
            if data is None:
                return self.answer(404)
            if match.group(3).endswith((".gguf", ".safetensors")):
                return self.answer(302, X_Linked_ETag=f'"{hashlib.sha256(data).hexdigest()}"', X_Linked_Size=str(len(data)),
                                   Location=f"{hub.store_url}/{urllib.parse.quote(match.group(0))}")
            return self.file(match.group(3), data)
        return self.answer(404)

    do_HEAD = do_GET


class StoreHandler(Handler):
    def do_GET(self):
        hub = self.server.hub
        if "Authorization" in self.headers:
            hub.log.append(("leak", self.path))
        match = re.fullmatch(r"/+([^/]+/[^/]+)/resolve/([^/]+)/(.+)", urllib.parse.unquote(self.path))
        return self.file(match.group(3), hub.repos[(match.group(1), match.group(2))][match.group(3)])

    do_HEAD = do_GET


hub = Hub()
FOLDER = {"config.json": b"{}", "tokenizer.json": b'{"a": 1}', "model.safetensors.index.json": b"{}",
          "model-00001-of-00002.safetensors": RANDOM, "model-00002-of-00002.safetensors": RANDOM[::-1],
          "pytorch_model.bin": b"no", "README.md": b"no", "original/consolidated.00.pth": b"no"}
hub.repos[("o/r", "main")] = FOLDER
hub.repos[("o/gguf", "main")] = {"m-Q4_K_M.gguf": TINY, "m-Q4_K_S.gguf": RANDOM, "m-Q4_K.gguf": RANDOM[:5000], "x y ü.gguf": RANDOM[:7]}
hub.repos[("o/split", "main")] = {f"s-{i:05}-of-00003.gguf": RANDOM[: i * 1000] for i in (1, 2, 3)}
hub.repos[("o/split", "v1.0")] = {"only.gguf": RANDOM[:100]}


class Pull:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.cache = pathlib.Path(self.folder.name)
        self.environment = {"PATH": os.environ["PATH"], "QUORUM_CACHE": self.folder.name, "HF_ENDPOINT": hub.url + "/"}
        self.environment.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        hub.log.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        hub.faults.clear()
        hub.ranges, hub.token = True, None
        self.folder.cleanup()

    def run(self, model, *flags, expect=0, **options):
        done = subprocess.run([BINARY, "pull", model, *flags], capture_output=True, text=True, timeout=120,
                              env=self.environment, **options)
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done

    def parts(self):
        return list(self.cache.rglob("*.part"))


def test_folder():
    with Pull() as pull:
        path = pathlib.Path(pull.run("hf:o/r").stdout.strip())
        wanted = {name for name in FOLDER if name.endswith((".json", ".safetensors"))}
        assert {p.relative_to(path).as_posix() for p in path.rglob("*") if ".quorum" not in p.parts and p.is_file()} == wanted
        assert all((path / name).read_bytes() == FOLDER[name] for name in wanted)
        assert not list(pull.cache.rglob("*evil*"))
        again = json.loads(pull.run("hf:o/r", "--json").stdout)
        assert again["path"] == str(path) and not any(file["fetched"] for file in again["files"])
        assert {file["checksum"] for file in again["files"]} >= {hashlib.sha256(RANDOM).hexdigest(), git_sha1(b"{}")}
        hub.repos[("o/r", "main")] = {**FOLDER, "config.json": b'{"new": 1}'}
        changed = json.loads(pull.run("hf:o/r", "--json").stdout)
        hub.repos[("o/r", "main")] = FOLDER
        assert [file["name"] for file in changed["files"] if file["fetched"]] == ["config.json"]
        assert (path / "config.json").read_bytes() == b'{"new": 1}'


def test_names():
    with Pull() as pull:
        for model, name in (("hf:o/gguf:m-Q4_K_M.gguf", "m-Q4_K_M.gguf"), ("hf:o/gguf:q4_k_m", "m-Q4_K_M.gguf"),
                            ("hf:o/gguf:Q4_K", "m-Q4_K.gguf"), ("hf:o/gguf:x y ü.gguf", "x y ü.gguf")):
            path = pathlib.Path(pull.run(model).stdout.strip())
            assert path.name == name and path.read_bytes() == hub.repos[("o/gguf", "main")][name]
        split = pathlib.Path(pull.run("hf:o/split").stdout.strip())
        assert split.name == "s-00001-of-00003.gguf" and len(list(split.parent.glob("*.gguf"))) == 3
        assert pathlib.Path(pull.run("hf:o/split@v1.0").stdout.strip()).name == "only.gguf"
        several = pull.run("hf:o/gguf", expect=1).stderr
        assert "m-Q4_K_S.gguf" in several and "name one" in several
        assert "no file 'Q8_0'" in pull.run("hf:o/gguf:Q8_0", expect=1).stderr
        for wrong in ("hf:o", "hf:o/r/s", "hf:../r", "hf:o/r:../../etc/passwd", "hf:o/r@../x", "o/r", "hf:o/r:", "hf:/r"):
            assert "is not hf:OWNER/REPO" in pull.run(wrong, expect=1).stderr, wrong


def test_resume():
    with Pull() as pull:
        hub.faults["m-Q4_K_S.gguf"] = ["break", "break", "busy"]
        path = pathlib.Path(pull.run("hf:o/gguf:Q4_K_S").stdout.strip())
        assert path.read_bytes() == RANDOM and not pull.parts()
        begins = [entry[2] for entry in hub.log if entry[0] == "range"]
        assert begins[0] == 150_000 and begins[-1] == 225_000, begins
    with Pull() as pull:  # by another process, as after a kill
        hub.faults["m-Q4_K_S.gguf"] = ["break"]
        assert "another pull goes on" in pull.run("hf:o/gguf:Q4_K_S", "--attempts", "1", expect=1).stderr
        assert [part.stat().st_size for part in pull.parts()] == [150_000]
        assert not list(pull.cache.rglob("m-Q4_K_S.gguf")), "a file is put in place whole"
        assert pathlib.Path(pull.run("hf:o/gguf:Q4_K_S").stdout.strip()).read_bytes() == RANDOM
        assert ("range", "m-Q4_K_S.gguf", 150_000) in hub.log
    with Pull() as pull:  # a hub that does not send parts
        hub.ranges = False
        hub.faults["m-Q4_K_S.gguf"] = ["break"]
        assert pathlib.Path(pull.run("hf:o/gguf:Q4_K_S").stdout.strip()).read_bytes() == RANDOM


def test_spoiled():
    with Pull() as pull:
        hub.faults["m-Q4_K_S.gguf"] = ["spoil"]
        assert "checksum" in pull.run("hf:o/gguf:Q4_K_S", expect=1).stderr
        assert not pull.parts() and not list(pull.cache.rglob("*.gguf"))
        pull.run("hf:o/gguf:Q4_K_S")
        hub.faults["config.json"] = ["spoil"]
        small = {"config.json": b"x" * 2000, "model.safetensors": RANDOM[:50]}
        hub.repos[("o/small", "main")] = small
        assert "checksum" in pull.run("hf:o/small", expect=1).stderr


def test_token():
    with Pull() as pull:
        hub.token = "hf_secret"
        for done in (pull.run("hf:o/r", expect=1), pull.run("hf:o/r", "--token", "wrong", expect=1)):
            assert "401" in done.stderr and "restricted" in done.stderr and "wrong" not in done.stderr
        pull.environment["HF_TOKEN"] = "hf_secret"
        pull.run("hf:o/r")
        assert not [entry for entry in hub.log if entry[0] == "leak"], "the token reached another host"


def test_errors():
    with Pull() as pull:
        assert "404" in pull.run("hf:o/none", expect=1).stderr
        assert "404" in pull.run("hf:o/r@v9", expect=1).stderr
        pull.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
        done = pull.run("hf:o/r", "--attempts", "1", expect=1)
        assert "127.0.0.1:9" in done.stderr
        pull.environment["HF_ENDPOINT"] = hub.url

        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        full = pull.run("hf:o/gguf:Q4_K_S", expect=1, preexec_fn=small_files)
        assert "cannot write" in full.stderr and "goes on from them" in full.stderr
        pull.run("hf:o/gguf:Q4_K_S")


def test_renamed():
    with Pull() as pull:
        hub.repos[("old/name", "main")] = FOLDER
        assert pathlib.Path(pull.run("hf:old/name:config.json").stdout.strip()).read_bytes() == FOLDER["config.json"]


def test_two_at_once():
    with Pull() as pull:
        hub.faults["m-Q4_K_S.gguf"] = ["slow"]
        command = [BINARY, "pull", "hf:o/gguf:Q4_K_S", "--json"]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=pull.environment)
                for _ in range(2)]
        outputs = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], outputs
        assert sorted(json.loads(out)["files"][0]["fetched"] for out, _ in outputs) == [False, True]
        assert sum("waiting" in error for _, error in outputs) == 1


def test_model_of_other_commands():
    with Pull() as pull:
        inspect = [BINARY, "inspect", "hf:o/gguf:Q4_K_M"]
        missing = subprocess.run(inspect, capture_output=True, text=True, env=pull.environment)
        assert missing.returncode != 0 and "quorum pull hf:o/gguf:Q4_K_M" in missing.stderr
        pull.run("hf:o/gguf:Q4_K_M")
        done = subprocess.run(inspect, capture_output=True, text=True, env=pull.environment)
        assert done.returncode == 0 and "llama" in done.stdout, done.stderr
        said = subprocess.run([BINARY, "run", "hf:o/gguf:Q4_K_M", "-p", "Hi", "--max-tokens", "3", "--threads", "1"],
                              capture_output=True, text=True, env=pull.environment, stdin=subprocess.DEVNULL)
        assert said.returncode == 0 and said.stdout.strip(), said.stderr


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name, flush=True)
