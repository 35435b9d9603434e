# Shared by the scripts beside it: says what happens, installs what is missing, builds. Source it; do not run it.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { if [ -t 2 ]; then printf '\033[1m==> %s\033[0m\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# package_list FILE...: the names in the lists, without comments.
package_list() { grep -hvE '^[[:space:]]*(#|$)' "$@"; }

# install_packages FILE...: installs what dpkg does not have yet; says so and stops where that is not possible.
install_packages() {
  local missing=() name
  command -v dpkg-query >/dev/null || { say "not a Debian system: assuming that the packages of $* are installed"; return; }
  while read -r name; do
    dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done < <(package_list "$@")
  # A toolchain that was not installed by dpkg serves as well: node from elsewhere, for example.
  local wanted=()
  for name in "${missing[@]}"; do
    case $name in
      nodejs) command -v node >/dev/null && continue ;;
      npm) command -v npm >/dev/null && continue ;;
      python3) command -v python3 >/dev/null && continue ;;
      python3-pip) python3 -m pip --version >/dev/null 2>&1 && continue ;;
      python3-venv) python3 -c 'import ensurepip, venv' >/dev/null 2>&1 && continue ;;
    esac
    wanted+=("$name")
  done
  [ ${#wanted[@]} -gt 0 ] || return 0
  local sudo=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && sudo=sudo || die "these packages are missing, and there is neither root nor sudo to install them:
  apt-get install -y --no-install-recommends ${wanted[*]}"
  fi
  say "installing ${#wanted[@]} Debian packages: ${wanted[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

# build PRESET TARGETS...: configures once and builds; a second call has nothing to do.
build() {
  local preset=$1; shift
  local dir=$ROOT/build/$preset
  mkdir -p "$ROOT/build"
  say "building Quorum ($preset, in ${dir#"$PWD"/})"
  (cd "$ROOT" && { [ -f "$dir/build.ninja" ] || cmake --preset "$preset" >"$ROOT/build/configure-$preset.log" 2>&1 || {
    cat "$ROOT/build/configure-$preset.log" >&2; die "cmake could not configure; see above"; }; }
    cmake --build "$dir" --target "$@")
}

# python_env DIR REQUIREMENTS...: a virtual environment with these packages, made once for each set of them.
python_env() {
  local dir=$1 stamp; shift
  stamp=$dir/.installed
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$*" ]; then
    say "installing Python packages into ${dir#"$PWD"/}: $*"
    # One chain: a caller that goes on without it switches set -e off in here. Half an environment would be taken for one.
    rm -f "$stamp"
    python3 -m venv "$dir" && "$dir/bin/pip" install --quiet --disable-pip-version-check "$@" &&
      printf '%s\n' "$*" >"$stamp" || { rm -rf "$dir"; return 1; }
  fi
}
