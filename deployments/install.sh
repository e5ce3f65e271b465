#!/usr/bin/env bash
# Make a virtual environment with everything: python >= 3.11 and a package index are all it needs.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hoist needs Python 3.11 or newer; $("$python" --version) is $(command -v "$python"). Say which: make install PYTHON=python3.12" >&2; exit 1; }
if [ ! -x "$venv/bin/python" ]; then
  echo "making $venv"
  "$python" -m venv "$venv" 2>/dev/null || "$python" -m venv --without-pip "$venv"
fi
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  # Debian ships venv without ensurepip: borrow the system's pip, or ask for the package.
  "$python" -m pip --python "$venv/bin/python" install -q pip 2>/dev/null || { echo "this Python has no pip: apt-get install python3-venv, then make install again" >&2; exit 1; }
fi
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install -q --disable-pip-version-check uv
echo "installing the locked dependencies (the first time: about a minute)"
"$venv/bin/uv" pip install -q --python "$venv/bin/python" --require-hashes --compile-bytecode -r requirements.lock
"$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps -e .
