#!/usr/bin/env bash
# What only a GPU can do, in one go of under ten minutes on a machine without a network: Python 3.12 with torch, NumPy,
# pyarrow, sortedcontainers, safetensors and xxhash, this checkout, and the datasets.
#
#   TRAILS_DATA=datasets OUT=results tools/gpu_pack.sh
#
#   OUT        where results go: one archive a dataset, log.txt and summary.txt; what is there from before is gone on with
#   MINUTES    for everything (9)          DATASETS   in this order (frappe uci_diabetes criteo)
#   DEVICE     cuda; cpu to try the script RECORDED   folder of tables that are not trained again (bench, where it is)
#   TIMED      architectures of each dataset that are timed alone (24)
#
# At home: tar -xf results/frappe.tar -C there && python -m trails bench merge --dataset frappe there/frappe
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${OUT:?where results go}" "${TRAILS_DATA:?where the datasets are}"
MINUTES=${MINUTES:-9} DATASETS=${DATASETS:-frappe uci_diabetes criteo} DEVICE=${DEVICE:-cuda} TIMED=${TIMED:-24}
RECORDED=${RECORDED:-$ROOT/bench} PYTHON=${PYTHON:-python3} STACKED=${STACKED:-0}
export PYTHONPATH=$ROOT/python TRAILS_DATA PYTHONUNBUFFERED=1
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
WORK=$(mktemp -d)
ENDS=$((SECONDS + MINUTES * 60))
PACKING=${PACKING:-20} # seconds at the end for archives

log() { printf '%s\n' "$*" | tee -a "$OUT/log.txt"; }

# part SECONDS COMMAND...: a command that is interrupted when its time, or that of everything, is up. What it kept stays.
part() {
    local limit=$1 left=$((ENDS - PACKING - SECONDS))
    shift
    ((left > 5)) || return 0
    ((limit < left)) || limit=$left
    log "== $* (at most $limit s)"
    local status=0
    timeout --signal=INT --kill-after=10 "$limit" "$@" >>"$OUT/log.txt" 2>&1 || status=$?
    case $status in
        0) ;;
        124 | 130 | 137) log "   interrupted after $limit s" ;;
        *) log "   failed with status $status; the last line: $(tail -n 1 "$OUT/log.txt")" ;;
    esac
}

bench() { part "$1" "$PYTHON" -m trails bench "${@:2}" --folder "$WORK"; }

pack() {
    for dataset in $DATASETS; do
        [ ! -e "$WORK/$dataset/setting.json" ] || tar -cf "$OUT/$dataset.tar" -C "$WORK" --exclude='.*.lock' --exclude='.*.partial' "$dataset"
    done
    rm -rf "$WORK"
}
trap pack EXIT

for dataset in $DATASETS; do
    if [ -e "$OUT/$dataset.tar" ]; then
        tar -xf "$OUT/$dataset.tar" -C "$WORK"
    elif [ -e "$RECORDED/$dataset/setting.json" ]; then
        cp -r "$RECORDED/$dataset" "$WORK/"
    fi
done

part 60 "$PYTHON" -c "
import platform, torch
print(platform.python_version(), 'torch', torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU')
assert '$DEVICE' == 'cpu' or torch.cuda.is_available(), 'PyTorch sees no GPU'
"

# 1. Does it compute what a core computes? Some recorded trainings, repeated there.
for dataset in $DATASETS; do
    [ ! -e "$WORK/$dataset/setting.json" ] || bench 60 verify --dataset "$dataset" --architectures 2 --device "$DEVICE"
done

# 2. What one takes alone, from which the seconds of the others are estimated.
for dataset in $DATASETS; do
    bench 60 time --dataset "$dataset" --architectures "$TIMED" --device "$DEVICE"
done

# 3. As many architectures as the rest of the time holds, each dataset with an equal part of what is left.
left=$(wc -w <<<"$DATASETS")
for dataset in $DATASETS; do
    bench $(((ENDS - PACKING - SECONDS) / left)) train --dataset "$dataset" --architectures 10000 --device "$DEVICE" --stacked "$STACKED"
    left=$((left - 1))
done

# Further parts go here; each is one call of `part`.

"$PYTHON" - "$WORK" $DATASETS <<'PYTHON' | tee "$OUT/summary.txt"
import sys
from collections import Counter
from pathlib import Path

from trails.bench.store import Store
from trails.bench.table import Benchmark

for dataset in sys.argv[2:]:
    folder = Path(sys.argv[1]) / dataset
    if Store(folder).setting() is None:
        print(f"{dataset}: nothing")
        continue
    curves, benchmark = Store(folder).curves(), Benchmark(folder)
    machines = Counter(curves.filter(curves["epoch"].to_numpy() == 1)["machine"].to_pylist())
    print(f"{dataset}: {len(benchmark.architectures)} architectures")
    for name, count in machines.items():
        print(f"  {count} trainings on {name}")
    estimate = benchmark.estimate
    if estimate is not None:
        print(f"  estimated from {estimate.timed} timed alone, median error {estimate.error:.1%}, {estimate.machine}")
PYTHON
