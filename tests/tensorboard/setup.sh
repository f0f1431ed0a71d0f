#!/usr/bin/env bash
# Makes the environment that reads event files back with TensorBoard itself:
#     tests/tensorboard/setup.sh [VENV]
# VENV (default: target/tensorboard-venv) is created and filled if it does not exist: 30 MB of
# downloads, 120 MB on disk.
set -euo pipefail
cd "$(dirname "$0")"
venv=$(realpath -m "${1:-../../target/tensorboard-venv}")

if [ ! -e "$venv/ready" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    # setuptools holds pkg_resources, which TensorBoard imports.
    "$venv/bin/pip" install --quiet --no-cache-dir "tensorboard==2.21.0" "setuptools<81"
    touch "$venv/ready"
fi
"$venv/bin/python" -c 'import tensorboard; print("tensorboard", tensorboard.__version__)'
