#!/bin/sh
# Prints the Debian packages that own the shared libraries of a program, so that the run-time stage of the image
# installs just these, whatever the Debian release calls them.
#   runtime_packages.sh PROGRAM
set -eu
ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | while read -r library; do
  # Debian 12 and 13 list merged-/usr files under either name.
  real=$(realpath "$library")
  owner=$(dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null || dpkg-query -S "$library") ||
    { echo "no package owns $library" >&2; exit 1; }
  echo "$owner" | head -n 1 | cut -d: -f1
done | sort -u
