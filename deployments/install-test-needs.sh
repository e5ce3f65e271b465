#!/usr/bin/env bash
# What the tests need beyond Python: PostgreSQL's server, systemd's binaries, a Docker engine, a Kubernetes, promtool, Chromium and
# small tools; with the argument `bench` what the benchmarks need, too. Installs or builds what is missing, with apt; where
# nothing is, it asks nobody and takes no time.
set -euo pipefail
missing=()
need() { # PACKAGE COMMAND...: the package, where one of its commands is not there
  local package=$1 command
  shift
  for command; do
    [ -n "$(PATH=$PATH:/usr/sbin:/sbin type -P "$command")" ] || { missing+=("$package"); return; }
  done
}
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
[ -x /lib/systemd/systemd ] || missing+=(systemd)
need util-linux unshare nsenter setpriv pivot_root fallocate
need mount mount umount
need procps ps
need docker.io dockerd containerd runc
need iptables iptables
need busybox-static busybox
need iproute2 ss ip
need gcc gcc
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
need curl curl
need chromium chromium
need openssl openssl
if [ "${1-}" = bench ]; then need openssh-server sshd; fi
if [ ${#missing[@]} -ne 0 ]; then
  command -v apt-get >/dev/null || { echo "install these first: ${missing[*]}" >&2; exit 1; }
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    sudo=(sudo)
    command -v sudo >/dev/null || { echo "as root, run: apt-get install ${missing[*]}" >&2; exit 1; }
  fi
  echo "installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
bash "$(dirname "$0")/kubernetes/build.sh"
bash "$(dirname "$0")/prometheus/promtool.sh"
