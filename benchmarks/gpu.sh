#!/usr/bin/env bash
# Flow, networks and training steps on this machine's GPU, from the checkout as it lies: benchmarks/gpu.sh [OPTIONS]
# It needs Python with torch, triton, NumPy and OpenCV; the options are those of `python -m tdn_data.benchmarks.device`.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
path=$(mktemp -d)
trap 'rm -rf "$path"' EXIT
mkdir "$path/tdn_data"
for folder in pipeline models benchmarks; do ln -s "$project/$folder" "$path/tdn_data/$folder"; done
PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} "${PYTHON:-python3}" -m tdn_data.benchmarks.device "$@"
