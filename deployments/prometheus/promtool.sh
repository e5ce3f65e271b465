#!/usr/bin/env bash
# Fetches promtool, which checks the rules beside this file, out of Debian's package prometheus, and starts no Prometheus:
# 19 MB once, into ~/.cache/hoist-promtool. Where there is one, it asks nobody.
set -euo pipefail
dir=$HOME/.cache/hoist-promtool
[ ! -x "$dir/promtool" ] && ! type -P promtool >/dev/null || exit 0
command -v apt-get >/dev/null || { echo "cannot fetch promtool: no apt-get here; put one into $dir" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
if ! apt-get download -qq prometheus 2>/dev/null; then
  sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  apt-get download -qq prometheus
fi
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
mkdir -p "$dir"
mv usr/bin/promtool "$dir/promtool"
