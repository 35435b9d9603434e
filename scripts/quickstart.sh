#!/usr/bin/env bash
# From a fresh Debian 12 machine to a chat answer from a Mixture-of-Experts model:
# installs what is missing, builds, fetches a small real model, makes it a MoE, starts the server, asks it one question.
# A second run has nothing to install, build or fetch, and asks at once.
set -euo pipefail
. "$(dirname "$0")/common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/quickstart.sh [--model FILE] [--port N] [--question TEXT] [--stop]
  --model FILE     a GGUF file of your own: a MoE is served as it is, a dense Llama-like model is made a MoE first
  --port N         port of the server on 127.0.0.1 (default 8080)
  --question TEXT  what to ask (default "What is gravity?")
  --stop           stop the server that an earlier run started
USAGE
}

wrong() { usage >&2; printf 'error: %s\n' "$*" >&2; exit 2; }

model="" port=8080 question="What is gravity?" stop=0
while [ $# -gt 0 ]; do
  case $1 in
    --model | --port | --question)
      [ $# -ge 2 ] && [ -n "$2" ] || wrong "$1 needs a value"
      case $1 in --model) model=$2 ;; --port) port=$2 ;; --question) question=$2 ;; esac
      shift 2 ;;
    --stop) stop=1; shift ;;
    -h | --help) usage; exit 0 ;;
    *) wrong "unknown option $1" ;;
  esac
done
[[ $port =~ ^[1-9][0-9]{0,4}$ ]] && [ "$port" -le 65535 ] || wrong "--port: '$port' is no port; 1 to 65535 are"
[ -z "$model" ] || [ -f "$model" ] || wrong "--model: there is no file $model"

models=$ROOT/models
pid_file=$models/server-$port.pid
log_file=$models/server-$port.log
quorum=$ROOT/build/release/quorum
url=http://127.0.0.1:$port
mkdir -p "$models"

running() { [ -f "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }
healthy() { curl -fsS -m 2 "$url/health" >/dev/null 2>&1; }
stop_server() {
  kill "$(cat "$pid_file")"
  for _ in $(seq 100); do running || break; sleep 0.1; done
  rm -f "$pid_file" "$pid_file.model"
}

if [ $stop = 1 ]; then
  running || die "no server of scripts/quickstart.sh runs on port $port"
  stop_server
  say "stopped the server on port $port"
  exit 0
fi

install_packages "$ROOT/scripts/packages.txt"
[ -x "$quorum" ] || say "the first build takes about a quarter of an hour on two cores"
build release quorum

if [ -n "$model" ]; then
  dense=$(realpath "$model")
else
  dense=$("$ROOT/scripts/fetch_model.sh" "$models")
fi

# A model that has experts already is served as it is.
experts=$("$quorum" inspect --json "$dense" | python3 -c 'import json,sys; print(json.load(sys.stdin).get("experts") or 0)')
if [ "$experts" -gt 0 ]; then
  moe=$dense
else
  moe=$models/$(basename "${dense%.gguf}")-MoE-8x-top2.gguf
  if [ ! -f "$moe" ] || [ "$dense" -nt "$moe" ]; then
    say "making it a Mixture of Experts: 8 experts, 2 per token (sparse upcycling)"
    "$quorum" upcycle "$dense" "$moe" --experts 8 --top-k 2 --force
  fi
fi

if running && healthy && [ "$(cat "$pid_file.model")" = "$moe" ]; then
  say "the server of an earlier run answers at $url"
else
  running && stop_server
  healthy && die "something else listens on $url; choose another with --port N"
  say "starting: quorum serve $moe --host 127.0.0.1 --port $port   (log: ${log_file#"$PWD"/})"
  setsid nohup "$quorum" serve "$moe" --host 127.0.0.1 --port "$port" >"$log_file" 2>&1 </dev/null &
  echo $! >"$pid_file"
  printf '%s\n' "$moe" >"$pid_file.model"
  for _ in $(seq 1200); do
    healthy && break
    running || { cat "$log_file" >&2; die "the server ended; its log is above"; }
    sleep 0.1
  done
  healthy || die "the server is not ready after two minutes; see $log_file"
fi

say "asking: $question"
body=$(python3 -c 'import json,sys; print(json.dumps({"messages": [{"role": "user", "content": sys.argv[1]}],
  "max_tokens": 120, "temperature": 0, "stream": True}))' "$question")
curl -fsSN "$url/v1/chat/completions" -H 'Content-Type: application/json' -d "$body" | python3 -u -c '
import json, sys
for line in sys.stdin:
    if not line.startswith("data: ") or line.startswith("data: [DONE]"):
        continue
    chunk = json.loads(line[6:])
    if "error" in chunk:
        sys.exit("the server reports: " + chunk["error"]["message"])
    for choice in chunk["choices"]:
        print(choice["delta"].get("content") or "", end="", flush=True)
print()'

cat >&2 <<EOT

The server goes on running (stop it with: scripts/quickstart.sh --stop${port:+$([ "$port" = 8080 ] || echo " --port $port")}). Go on with:
  curl -N $url/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"messages":[{"role":"user","content":"Name the days of the week."}],"stream":true}'
  Python:   from openai import OpenAI
            client = OpenAI(base_url="$url/v1", api_key="none")
  Browser:  $url/
  Terminal: ${quorum#"$PWD"/} run ${moe#"$PWD"/}
EOT
