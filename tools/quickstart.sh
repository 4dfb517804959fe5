#!/usr/bin/env bash
# Sets up, builds the planner and prints a first plan: the model, tokens and memory for a given budget.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

if [[ ${1:-} == --help || ${1:-} == -h ]]; then print_help && exit 0; fi

plan=(build/release/tools/scaling-plan backward configs/plan/hoffmann.jsonc)

# Only the plan goes to the standard output.
{
    tools/setup.sh
    build release --target scaling-plan
    printf "\n%s\n" "${plan[*]}"
} >&2
"${plan[@]}"
