#!/bin/sh
# mpirun_meet.sh MPIRUN PROGRAM: three ranks of mpirun meet, with and without the MPI plug-in.
set -eu
mpirun=$1
program=$2
case $("$mpirun" --version) in
    *"Open MPI"* | *OpenRTE*) many="--allow-run-as-root --oversubscribe" ;;
    *) many="" ;;
esac

# check PROGRAM NAME: all ranks must say that they met.
check() {
    # shellcheck disable=SC2086  # options are words
    output=$("$mpirun" $many -n 3 "$1")
    for rank in 0 1 2; do
        case $output in
            *"rank $rank of 3 by mpirun met"*) ;;
            *) echo "$2: rank $rank did not meet the others: $output" >&2 && exit 1 ;;
        esac
    done
}

check "$program" "with the plug-in"
alone=$(mktemp -d)
trap 'rm -rf -- "$alone"' EXIT
cp -- "$program" "$alone/meet" # no plug-in near it
check "$alone/meet" "without the plug-in"
