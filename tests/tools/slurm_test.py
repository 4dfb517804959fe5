#!/usr/bin/env python3
"""examples/slurm/train.sbatch under a stand-in for srun, with two pretended nodes.

usage: slurm_test.py TRAIN [unittest arguments]
"""

import json
import os
import re
import signal
import sys
import unittest
from pathlib import Path

from distributed_support import TINY, TRAIN, DistributedTest, Ranks, processes_in, wait_until

TESTS = Path(__file__).resolve().parent
SCRIPT = TESTS.parents[1] / "examples/slurm/train.sbatch"
NODES = "127.0.0.1,127.0.0.2"
# A program in the place of train: the variables of each task, and its arguments.
REPORTER = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["STAND_IN_REPORTS"] + os.environ["SLURM_PROCID"], "a") as file:
    file.write(json.dumps({"arguments": sys.argv[1:], "variables": dict(os.environ)}) + "\\n")
sys.exit(int(os.environ.get("STAND_IN_CODE", "0")))
"""


class Job(DistributedTest):
    """A batch job: its script runs on the first node, outside of any step."""

    def setUp(self):
        self.bin = self.root / self.id()
        self.bin.mkdir()
        for name in ("srun", "scontrol", "scancel"):
            (self.bin / name).symlink_to(TESTS / "slurm_stand_in.py")
        self.calls = self.bin / "calls"
        self.calls.touch()

    def job_variables(self, **more):
        return {"SLURM_JOB_ID": os.getpid(), "SLURM_JOB_NODELIST": NODES, "SLURM_JOB_NUM_NODES": 2, "SLURM_NNODES": 2,
                "SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 1, "SLURM_CPUS_PER_TASK": 1, "SLURM_PROCID": 0,
                "SLURM_LOCALID": 0, "SLURM_NODEID": 0, "ENVIRONMENT": "BATCH", "STAND_IN_CALLS": self.calls,
                "PATH": f"{self.bin}:{os.environ['PATH']}", "TRAIN": TRAIN} | more

    def calls_of(self, name):
        return [call[1:] for call in map(json.loads, self.calls.read_text().splitlines()) if call[0] == name]

    def steps(self):
        """Options of srun, and the command line of its tasks."""
        return [(call[:call.index(str(TRAIN))], call[call.index(str(TRAIN)):]) for call in self.calls_of("srun")]

    def submit(self, *arguments, code=0, **more):
        return self.run_command(["bash", SCRIPT, self.config, *arguments], code, **self.job_variables(**more))

    def start_job(self, name, *arguments, **more):
        """Returns once some iterations are done."""
        job = Ranks(self.bin, [(["bash", SCRIPT, self.config, f"--run_name={name}", f"--out_dir={self.root / 'out'}",
                                 *arguments], self.job_variables(**more))])
        self.addCleanup(job.end)
        wait_until(lambda: self.folder(name).iterations() >= 5 or job.codes()[0] is not None, "iterations")
        self.assertEqual(job.codes(), [None], job.text())
        return job


class Trains(Job):
    RARE_CHECKPOINTS = ("--checkpoint_interval=0", "--eval_interval=10")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = cls.reference("one")

    def rank_of(self, number):
        for pid in processes_in(self.bin):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if f"SLURM_PROCID={number}".encode() in variables and b"ENVIRONMENT=BATCH" not in variables:
                return pid
        raise AssertionError(f"no rank {number}")

    def test_over_two_nodes_as_one_process_does(self):
        done = self.submit("--run_name=nodes")
        self.assertIn("over 2 ranks", done.stdout)
        self.assertNotIn("no token", done.stdout + done.stderr)
        self.assert_same_training(self.folder("nodes"), self.one)
        self.assertEqual(self.calls_of("scontrol")[0], ["show", "hostnames", NODES])
        self.assertNotIn("requeue", [call[0] for call in self.calls_of("scontrol")])

    def test_a_job_without_a_name_is_named_after_its_number(self):
        self.submit("--max_iters=2", "--eval_interval=0")
        self.assertEqual(self.folder(f"slurm_{os.getpid()}").iterations(), 2)

    def goes_on(self, name):
        """The next start of a stopped run ends as a run without a stop."""
        run = self.folder(name)
        self.assertLess(run.iterations(), TINY["max_iters"], "stopped before the end")
        again = self.submit(f"--run_name={name}", *self.RARE_CHECKPOINTS, SLURM_RESTART_COUNT=1)
        self.assertIn("resumed", again.stdout)
        self.assertEqual(run.losses(), self.one.losses())
        self.assert_same_state(run, self.one)

    def test_the_signal_before_the_end_of_the_time_stops_it_and_the_next_start_goes_on(self):
        job = self.start_job("stopped", *self.RARE_CHECKPOINTS)
        job.signal(0, signal.SIGUSR1)
        self.assertEqual(job.wait(), [0], job.text())
        self.assertEqual(self.calls_of("scontrol")[-1], ["requeue", str(os.getpid())], job.text())
        self.goes_on("stopped")

    def signal_tasks(self):
        for task in map(int, (self.bin / "tasks").read_text().split()):
            os.kill(task, signal.SIGTERM)

    def test_a_cancelled_job_is_not_queued_again(self):
        job = self.start_job("cancelled", *self.RARE_CHECKPOINTS)
        (self.bin / "job").write_text("JobState=CANCELLED PreemptTime=None")
        job.signal(0, signal.SIGTERM)
        self.signal_tasks()
        job.wait()
        self.assertIn("not queued again", job.text())
        self.assertNotIn("requeue", [call[0] for call in self.calls_of("scontrol")], job.text())
        self.assertEqual(len(self.steps()), 1)
        self.goes_on("cancelled")

    def test_a_job_cancelled_while_it_saves_is_not_queued_again(self):
        job = self.start_job("both", *self.RARE_CHECKPOINTS)
        (self.bin / "job").write_text("JobState=CANCELLED PreemptTime=None")
        job.signal(0, signal.SIGUSR1)
        job.signal(0, signal.SIGTERM)
        job.wait()
        self.assertNotIn("requeue", [call[0] for call in self.calls_of("scontrol")], job.text())

    def test_a_preempted_job_is_queued_again(self):
        job = self.start_job("preempted", *self.RARE_CHECKPOINTS)
        (self.bin / "job").write_text("JobState=RUNNING PreemptTime=2026-01-01T00:00:00")
        self.signal_tasks()  # the shell hears of it at the end of the grace time only
        self.assertEqual(job.wait(), [0], job.text())
        self.assertEqual(self.calls_of("scontrol")[-1], ["requeue", str(os.getpid())], job.text())
        self.goes_on("preempted")

    def test_a_job_that_slurm_queues_again_itself_is_left_to_it(self):
        job = self.start_job("requeued", *self.RARE_CHECKPOINTS)
        (self.bin / "job").write_text("JobState=PENDING PreemptTime=None")
        job.signal(0, signal.SIGTERM)
        self.signal_tasks()
        self.assertEqual(job.wait(), [0], job.text())
        self.assertIn("SLURM has queued the job again", job.text())
        self.assertNotIn("requeue", [call[0] for call in self.calls_of("scontrol")], job.text())

    def test_ranks_that_are_stopped_alone_end_the_job(self):
        job = self.start_job("alone", *self.RARE_CHECKPOINTS)
        self.signal_tasks()
        self.assertEqual(job.wait(), [0], job.text())
        self.assertNotIn("requeue", [call[0] for call in self.calls_of("scontrol")], job.text())
        self.goes_on("alone")

    def test_a_lost_rank_is_started_again_within_the_job(self):
        job = self.start_job("lost", "--checkpoint_interval=2")
        os.kill(self.rank_of(1), signal.SIGKILL)
        self.assertEqual(job.wait(), [0], job.text())
        self.assertIn("restart 1 of 3", job.text())
        self.assertEqual(len(self.steps()), 2)
        self.assertEqual(self.folder("lost").losses(), self.one.losses())
        self.assertNotIn("requeue", [call[0] for call in self.calls_of("scontrol")])

    def test_a_wrong_configuration_ends_it_at_once(self):
        self.submit("--run_name=wrong", "--n_head=3", code=2)
        self.assertEqual(len(self.steps()), 1)


class Script(Job):
    """What the script tells srun and the ranks, with a program in the place of train that notes it."""

    def setUp(self):
        super().setUp()
        self.reporter = self.bin / "reporter"
        self.reporter.write_text(REPORTER)
        self.reporter.chmod(0o755)

    def report(self, *arguments, code=0, **more):
        for old in self.bin.glob("report-*"):
            old.unlink()
        done = self.submit(*arguments, code=code, TRAIN=self.reporter, STAND_IN_REPORTS=self.bin / "report-", **more)
        starts = [json.loads(line) for line in (self.bin / "report-1").read_text().splitlines()]
        return done, starts

    def options(self):
        call = self.calls_of("srun")[-1]
        return call[:call.index(str(self.reporter))]

    def test_a_rank_has_cores_and_a_gpu_of_its_own(self):
        self.report()
        self.assertIn("--cpu-bind=cores", self.options())
        self.assertIn("--cpus-per-task=1", self.options())
        self.assertEqual([option for option in self.options() if "gpu" in option], [])
        self.report(SLURM_GPUS_PER_TASK=1)
        self.assertIn("--gpus-per-task=1", self.options())
        self.assertIn("--gpu-bind=per_task:1", self.options())
        self.report(SLURM_GPUS_PER_TASK=1, GPU_BIND="none")
        self.assertIn("--gpu-bind=none", self.options())

    def test_gloo_and_nccl_take_the_interface_that_leads_to_the_other_node(self):
        variables = self.report()[1][0]["variables"]
        self.assertEqual(variables["ISOFLOP_NETWORK_INTERFACE"], "lo")
        self.assertEqual(variables["NCCL_SOCKET_IFNAME"], "=lo")

    def test_a_given_interface_is_taken(self):
        done, starts = self.report(ISOFLOP_NETWORK_INTERFACE="ib0")
        self.assertEqual(starts[0]["variables"]["ISOFLOP_NETWORK_INTERFACE"], "ib0")
        self.assertEqual(starts[0]["variables"]["NCCL_SOCKET_IFNAME"], "=ib0")
        self.assertIn("over ib0", done.stdout)
        kept = self.report(ISOFLOP_NETWORK_INTERFACE="ib0", NCCL_SOCKET_IFNAME="ib")[1][0]["variables"]
        self.assertEqual(kept["NCCL_SOCKET_IFNAME"], "ib")

    def test_one_node_and_unknown_nodes_leave_the_choice_to_the_ranks(self):
        for more in ({"SLURM_JOB_NODELIST": "127.0.0.1", "SLURM_JOB_NUM_NODES": 1},
                     {"SLURM_JOB_NODELIST": "127.0.0.1,no-such-node.invalid"}):
            with self.subTest(**more):
                variables = self.report(**more)[1][0]["variables"]
                self.assertNotIn("ISOFLOP_NETWORK_INTERFACE", variables)
                self.assertNotIn("NCCL_SOCKET_IFNAME", variables)

    def test_the_token_is_new_for_each_start_and_in_the_environment_only(self):
        tokens = []
        for shell in (["bash"], ["bash", "-x"]):
            done = self.run_command([*shell, SCRIPT, self.config], **self.job_variables(
                TRAIN=self.reporter, STAND_IN_REPORTS=self.bin / "report-"))
            token = json.loads((self.bin / "report-0").read_text().splitlines()[-1])["variables"]["ISOFLOP_JOB_TOKEN"]
            self.assertRegex(token, r"^[0-9a-f]{64}$")
            self.assertNotIn(token, done.stdout + done.stderr)
            self.assertNotIn(token, self.calls.read_text())
            tokens.append(token)
        self.assertNotEqual(*tokens)

    def test_starts_resume_where_there_is_a_checkpoint(self):
        self.assertIn("--init_from=auto", self.report()[1][0]["arguments"])
        self.assertIn("--init_from=auto", self.report(SLURM_RESTART_COUNT=2)[1][0]["arguments"])

    def test_a_run_that_begins_with_a_folder_never_begins_anew_without_it(self):
        config = self.bin / "tuned.jsonc"
        config.write_text('{\n  // "init_from": "scratch"\n  "init_from": "out/imported",\n  "run_name": "tuned"\n}\n')
        for first in ([self.config, "--init_from=out/imported"], [config]):
            with self.subTest(first=first):
                (self.bin / "report-1").unlink(missing_ok=True)
                self.run_command(["bash", SCRIPT, *first], 4, **self.job_variables(
                    TRAIN=self.reporter, STAND_IN_REPORTS=self.bin / "report-", STAND_IN_CODE=4, MAX_RESTARTS=1))
                starts = [json.loads(line)["arguments"][-1] for line in (self.bin / "report-1").read_text().splitlines()]
                self.assertEqual(starts, ["--init_from=out/imported", "--init_from=resume"])

    def test_a_rank_that_is_lost_again_and_again_ends_the_job(self):
        done, starts = self.report(code=4, STAND_IN_CODE=4, MAX_RESTARTS=2)
        self.assertEqual(len(starts), 3)
        self.assertIn("restart 2 of 2", done.stdout)

    def test_wrong_calls_are_refused_before_any_step(self):
        for command, words in (([], "usage"), (["nowhere.jsonc"], "cannot read nowhere.jsonc")):
            done = self.run_command(["bash", SCRIPT, *command], 2, **self.job_variables())
            self.assertIn(words, done.stderr)
        self.assertIn("TRAIN names it", self.submit(code=2, TRAIN="/nowhere/train").stderr)
        self.assertIn("start it with sbatch", self.run_command(["bash", SCRIPT, self.config], 2).stderr)
        self.assertEqual(self.calls_of("srun"), [])

    def test_sbatch_is_told_of_binding_signal_and_queueing_again(self):
        text = SCRIPT.read_text()
        directives = re.findall(r"(?m)^#SBATCH (\S+)$", text)
        self.assertIn("--requeue", directives)
        self.assertIn("--gpus-per-task=1", directives)
        self.assertIn("--open-mode=append", directives)
        self.assertTrue(any(re.fullmatch(r"--signal=B:USR1@\d+", line) for line in directives), directives)
        # sbatch reads no directive after the first command.
        first_command = re.search(r"(?m)^[^#\n]", text).start()
        self.assertLess(text.rindex("\n#SBATCH"), first_command)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
