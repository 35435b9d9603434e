#!/usr/bin/env bash
# Runs a script of this checkout in a clean minimal Debian root, as a newcomer's machine would: proves that nothing
# installed by hand is needed. Needs root and debootstrap. The committed HEAD is what is tried.
#   scripts/clean_root.sh [--suite bookworm|trixie] [--keep] COMMAND...     e.g. scripts/clean_root.sh scripts/test.sh
# QUORUM_VERIFY_CERTS=FILE installs a CA bundle, for networks with a certificate authority of their own.
set -euo pipefail
. "$(dirname "$0")/common.sh"

suite=bookworm keep=0
while [[ ${1:-} == --* ]]; do
  case $1 in
    --suite) suite=$2; shift 2 ;;
    --keep) keep=1; shift ;;
    *) die "unknown option $1" ;;
  esac
done
[ $# -gt 0 ] || die "which command? e.g. scripts/clean_root.sh scripts/test.sh"
cache=${TMPDIR:-/tmp}/quorum-clean-$suite.tar
root=${TMPDIR:-/tmp}/quorum-clean-$suite

if [ ! -f "$cache" ]; then
  say "debootstrap $suite (once)"
  rm -rf "$root"
  debootstrap --variant=minbase "$suite" "$root" http://deb.debian.org/debian >/dev/null
  tar -C "$root" -cf "$cache.part" . && mv "$cache.part" "$cache"
fi
cleanup() {
  local at
  for at in proc sys dev; do mountpoint -q "$root/$at" && umount -l "$root/$at"; done
  [ $keep = 1 ] || rm -rf --one-file-system "$root"
  return 0
}
if [ $keep = 0 ] || [ ! -d "$root/quorum" ]; then
  if [ -d "$root" ]; then cleanup; rm -rf --one-file-system "$root"; fi
  mkdir -p "$root" && tar -C "$root" -xf "$cache"
fi
trap cleanup EXIT
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
for at in sys dev; do mountpoint -q "$root/$at" || mount --rbind "/$at" "$root/$at"; done
cp /etc/resolv.conf /etc/hosts "$root/etc/"
if [ -n "${QUORUM_VERIFY_CERTS:-}" ]; then
  # Not where the package ca-certificates keeps its own: installing that would take it away again.
  mkdir -p "$root/etc/ssl" && cp "$QUORUM_VERIFY_CERTS" "$root/etc/ssl/verify.crt"
fi
if [ ! -d "$root/quorum/.git" ]; then
  git clone -q "$ROOT" "$root/quorum"
else
  git -C "$root/quorum" pull -q
fi
say "in a clean $suite: $*"
env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" LANG=C.UTF-8 \
  ${QUORUM_VERIFY_CERTS:+PIP_CERT=/etc/ssl/verify.crt NODE_EXTRA_CA_CERTS=/etc/ssl/verify.crt} \
  chroot "$root" sh -c 'cd /quorum && exec "$@"' sh "$@"
