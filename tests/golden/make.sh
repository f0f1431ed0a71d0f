#!/usr/bin/env bash
# Recreates every .safetensors file in this folder, and statistics.json: tests/golden/make.sh [VENV]
# VENV (default: target/golden-venv) is created and filled if it does not exist.
set -euo pipefail
cd "$(dirname "$0")"
venv=$(realpath -m "${1:-../../target/golden-venv}")
linear=pytorch-fast-transformers-0.4.0

if [ ! -e "$venv/ready" ]; then
    "${PYTHON:-python3.11}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --no-cache-dir --no-deps -r requirements.txt
    "$venv/bin/pip" download --quiet --no-deps --no-build-isolation --no-binary :all: \
        --dest "$venv/sdist" "${linear%-*}==${linear##*-}"
    tar -xzf "$venv/sdist/$linear.tar.gz" -C "$venv/sdist"
    touch "$venv/ready"
fi

for script in transformer_step.py transformer_mean.py transformer_pair.py attention.py \
    linformer_mixer.py reformer.py longformer.py bigbird.py xlnet.py scipy_statistics.py; do
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$venv/sdist/$linear" \
        "$venv/bin/python" -W ignore "$script"
done
