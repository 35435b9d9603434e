#!/usr/bin/env bash
# Builds docker/Dockerfile with buildah (no Docker engine needed), runs the image with a model on a volume, asks it one
# chat question, looks at the health check, and stops it with SIGTERM. Needs root, buildah and debootstrap; takes about a
# quarter of an hour on two cores.
#   docker/verify.sh MODEL.gguf [SUITE]      SUITE: trixie (default) or bookworm
# QUORUM_VERIFY_CERTS=FILE adds a CA bundle to the base, for networks with a certificate authority of their own.
set -euo pipefail
. "$(dirname "$0")/../scripts/common.sh"

model=$(realpath "${1:?usage: docker/verify.sh MODEL.gguf [SUITE]}")
suite=${2:-trixie}
work=${TMPDIR:-/tmp}/quorum-docker-$suite
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
base=localhost/debian:$suite
image=localhost/quorum:$suite
port=18080

command -v buildah >/dev/null && command -v debootstrap >/dev/null ||
  die "needs buildah and debootstrap: apt-get install -y --no-install-recommends buildah debootstrap"
mkdir -p "$work"

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  say "making the base image $base"
  [ -d "$work/root/usr" ] || debootstrap --variant=minbase "$suite" "$work/root" http://deb.debian.org/debian >/dev/null
  [ -z "${QUORUM_VERIFY_CERTS:-}" ] || { mkdir -p "$work/root/etc/ssl/certs" && cp "$QUORUM_VERIFY_CERTS" "$work/root/etc/ssl/certs/"; }
  scratch=$(buildah from scratch)
  buildah add --quiet "$scratch" "$work/root" / >/dev/null
  buildah commit --quiet --format docker "$scratch" "$base" >/dev/null
  buildah rm "$scratch" >/dev/null
fi

say "building $image (silent; about a quarter of an hour on two cores)"
buildah bud --quiet --layers --format docker --build-arg BASE="$base" -f "$ROOT/docker/Dockerfile" -t "$image" "$ROOT"

say "what the image says of itself"
buildah inspect --type image "$image" | python3 -c '
import json, sys
config = json.load(sys.stdin)["Docker"]["config"]
assert config["User"] == "10001", config["User"]
assert config["Entrypoint"] == ["quorum"], config["Entrypoint"]
assert config["Healthcheck"]["Test"], "no health check"
print("user", config["User"], "entry point", config["Entrypoint"], "stop signal", config.get("StopSignal"))
print(config["Healthcheck"]["Test"][-1], file=open(sys.argv[1], "w"))' "$work/healthcheck"

say "running it"
container=$(buildah from "$image")
trap 'buildah rm "$container" >/dev/null 2>&1 || true' EXIT
# buildah run knows no port mapping: host network, a port of its own, and only loopback. It mounts the image's own
# (empty) volume over a bind mount on /models, so the model lies elsewhere here.
buildah run --network host --env QUORUM_HOST=127.0.0.1 --env QUORUM_PORT=$port -v "$(dirname "$model"):/data:ro" \
  "$container" -- quorum serve "/data/$(basename "$model")" >"$work/log" 2>&1 &
runner=$!
for _ in $(seq 600); do
  QUORUM_PORT=$port bash -c "$(cat "$work/healthcheck")" 2>/dev/null && break
  kill -0 $runner 2>/dev/null || { cat "$work/log" >&2; die "the container ended"; }
  sleep 0.2
done
QUORUM_PORT=$port bash -c "$(cat "$work/healthcheck")" || die "the image's own health check does not pass"

answer=$(curl -fsS "http://127.0.0.1:$port/v1/chat/completions" -H 'Content-Type: application/json' \
  -d '{"messages":[{"role":"user","content":"What is gravity?"}],"max_tokens":40,"temperature":0}' |
  python3 -c 'import json,sys; print(json.load(sys.stdin)["choices"][0]["message"]["content"])')
say "it answers: $answer"
[ -n "$answer" ] || die "empty answer"

pid=$(pgrep -x quorum | while read -r p; do
  grep -qz "^/data/$(basename "$model")$" "/proc/$p/cmdline" && echo "$p" && break; done)
[ "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" != 0 ] || die "it runs as root"
say "SIGTERM to process $pid"
kill -TERM "$pid"
status=0; wait $runner || status=$?
[ $status = 0 ] || die "it ended with status $status"
say "it stopped cleanly; image size $(buildah images --format '{{.Size}}' "$image")"
