#!/usr/bin/env bash
# Runs a command of nvcc (log_ptxas.sh NVCC ARGUMENT...), writes what the GPU's assembler says about
# registers and spills to OBJECT.ptxas.txt beside the object, and prints the rest.
# tools/ptxas_gate.py reads the files: so no kernel is compiled a second time to be checked.
set -uo pipefail

object=""
previous=""
for argument in "$@"; do
    if [[ $previous == -o ]]; then object=$argument; fi
    previous=$argument
done
if [[ $object != *.o ]]; then exec "$@"; fi

"$@" >"$object.ptxas.txt" 2>&1
status=$?
if [[ $status -ne 0 ]]; then
    cat "$object.ptxas.txt"
    rm -f "$object.ptxas.txt"
else
    grep -vE '^ptxas info|^ +[0-9]+ bytes stack frame|^$' "$object.ptxas.txt" || true
fi
exit $status
