#!/usr/bin/env bash
# Makes the environment of the PyTorch side of the speed comparison:
#     benches/peers/setup.sh [VENV]
# VENV (default: target/peers-venv) is created and filled if it does not exist. It takes CPython
# 3.11 on x86-64 Linux with its headers and g++, which torch.compile calls, 2.5 GB of downloads
# and 4 GB on disk.
set -euo pipefail
cd "$(dirname "$0")"
venv=$(realpath -m "${1:-../../target/peers-venv}")

if [ ! -e "$venv/ready" ]; then
    "${PYTHON:-python3.11}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --no-cache-dir --no-deps -r requirements.txt
    touch "$venv/ready"
fi
command -v g++ >/dev/null || echo "g++ is not there: --mode compile will fail" >&2
"$venv/bin/python" -c 'import torch; print("torch", torch.__version__, "in", "'"$venv"'")'
