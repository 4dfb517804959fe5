#!/usr/bin/env python3
"""Stands in for srun, scontrol and scancel, under whose names tests call it: several nodes are pretended here.

srun starts the tasks of a step with the variables that SLURM sets (man srun, "OUTPUT ENVIRONMENT VARIABLES"), kills
them when it gets SIGTERM ("forcing job termination"), and exits with the highest exit code, or 128 and the signal.
scancel --signal signals the tasks. Every call is a line of the file that STAND_IN_CALLS names; beside it are the
numbers of the tasks ("tasks") and, where a test writes it, SLURM's record of the job ("job").
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def note(name, arguments):
    with open(os.environ["STAND_IN_CALLS"], "a", encoding="utf-8") as file:
        file.write(json.dumps([name, *arguments]) + "\n")


def beside(name):
    return Path(os.environ["STAND_IN_CALLS"]).with_name(name)


def nodes():
    return os.environ["SLURM_JOB_NODELIST"].split(",")


def scontrol(arguments):
    note("scontrol", arguments)
    if arguments[:2] == ["show", "hostnames"]:
        print("\n".join(nodes()))
    if arguments[:2] == ["show", "job"]:
        record = beside("job").read_text().strip() if beside("job").exists() else "JobState=RUNNING PreemptTime=None"
        print(f"JobId={os.environ['SLURM_JOB_ID']} JobName=isoflop Priority=1 {record} SuspendTime=None")
    return 0


def scancel(arguments):
    """With --signal: to the tasks, not to the batch shell."""
    note("scancel", arguments)
    number = signal.Signals[f"SIG{arguments[0].removeprefix('--signal=')}"]
    for task in map(int, beside("tasks").read_text().split()):
        os.kill(task, number)
    return 0


def task_variables(rank, tasks, step):
    per_node = tasks // len(nodes())
    return {
        "SLURM_PROCID": rank, "SLURM_LOCALID": rank % per_node, "SLURM_NODEID": rank // per_node, "SLURM_STEP_ID": step,
        "SLURM_STEPID": step, "SLURM_NTASKS": tasks, "SLURM_NPROCS": tasks, "SLURM_STEP_NUM_TASKS": tasks,
        "SLURM_STEP_NUM_NODES": len(nodes()), "SLURM_STEP_NODELIST": ",".join(nodes()), "SLURM_NNODES": len(nodes()),
        "SLURM_STEP_TASKS_PER_NODE": f"{per_node}(x{len(nodes())})", "SLURMD_NODENAME": nodes()[rank // per_node],
        "SLURM_LAUNCH_NODE_IPADDR": nodes()[0],
    }


def environment(rank, tasks, step, options):
    """`ENVIRONMENT` is that of the batch shell only. Without --export=ALL, what it exports may not arrive."""
    kept = {name: value for name, value in os.environ.items() if name != "ENVIRONMENT"}
    if "--export=ALL" not in options:
        kept = {name: value for name, value in kept.items() if name.startswith(("SLURM_", "STAND_IN_")) or name == "PATH"}
    return kept | {name: str(value) for name, value in task_variables(rank, tasks, step).items()}


def srun(arguments):
    first = next(index for index, argument in enumerate(arguments) if not argument.startswith("-"))
    options, command = arguments[:first], arguments[first:]
    step = sum(line.startswith('["srun"') for line in Path(os.environ["STAND_IN_CALLS"]).read_text().splitlines())
    note("srun", arguments)
    tasks = int(os.environ["SLURM_NTASKS"])
    signal.signal(signal.SIGTERM, lambda number, frame: [task.kill() for task in started])
    started = []
    started += [subprocess.Popen(command, env=environment(rank, tasks, step, options)) for rank in range(tasks)]
    beside("tasks").write_text(" ".join(str(task.pid) for task in started))
    codes = [task.wait() for task in started]
    return max(128 - code if code < 0 else code for code in codes)


sys.exit({"srun": srun, "scontrol": scontrol, "scancel": scancel}[Path(sys.argv[0]).name](sys.argv[1:]))
