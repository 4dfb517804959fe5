"""End-to-end tests of the processes of a run: one writer, signals, lost launchers, strangers on the network.

usage: processes_test.py TRAIN [unittest arguments]
"""

import array
import os
import pathlib
import shutil
import signal
import sys
import time
import unittest

from distributed_support import (HOST, TRAIN, DistributedTest, free_port, processes_in, torchrun_variables,
                                 wait_until)

USAGE = 2  # exit code
ENDLESS = ["--max_iters=1000000", "--lr_decay_iters=1000000", "--checkpoint_interval=50", "--eval_interval=0",
           "--keep_checkpoints=0"]


class Writers(DistributedTest):
    """One process writes a run."""

    def start_writer(self, name):
        writer = self.start([(self.command(name, *ENDLESS), {})])
        wait_until(lambda: (self.folder(name).folder / "latest").exists() or writer.codes() != [None], "a checkpoint")
        self.assertEqual(writer.codes(), [None], writer.text())
        return writer

    def test_a_second_one_is_told_of_the_first(self):
        writer = self.start_writer("run")
        named = f"process {writer.processes[0].pid} on {HOST} writes this run since"
        for start in ([], ["--init_from=resume"], ["--init_from=auto"]):
            with self.subTest(start=start):
                refused = self.run_command(self.command("run", *ENDLESS, *start), USAGE)
                self.assertIn(named, refused.stderr)
        # Who only reads may.
        self.run_command(self.command("run", "--init_from=resume", "--eval_only=true"))
        self.run_command(self.command("run", "--init_from=resume", "--dry-run"))
        writer.signal(0, signal.SIGKILL)
        writer.wait()
        resumed = self.run_command(self.command("run", "--init_from=resume", "--max_iters=1", "--eval_interval=0"))
        self.assertIn(f"took over the lock of process {writer.processes[0].pid} on {HOST}", resumed.stderr)
        self.assertFalse((self.folder("run").folder / "run.lock").exists())

    def test_starts_at_the_same_time_make_one_run(self):
        starts = self.start([(self.command("twins", "--max_iters=3", "--eval_interval=0"), {}) for _ in range(3)])
        self.assertEqual(sorted(starts.wait()), [0, USAGE, USAGE], starts.text())
        self.assertEqual(self.folder("twins").iterations(), 3)

    def test_ranks_of_one_run_share_one_lock(self):
        self.launch("ranks", 2, "--max_iters=3", "--eval_interval=0")
        resumed = self.launch("ranks", 2, "--init_from=resume", "--max_iters=4", "--lr_decay_iters=20",
                              "--eval_interval=0")
        self.assertNotIn("lock", resumed.stderr)

    def test_a_run_that_cannot_begin_leaves_no_folder(self):
        self.run_command(self.command("toolarge", "--n_embd=65536", "--n_layer=96", "--dry-run"), 5)
        self.run_command(self.command("toolarge", "--n_embd=65536", "--n_layer=96"), 5)
        self.assertFalse(self.folder("toolarge").folder.exists())


class Orphans(DistributedTest):
    """Ranks whose launcher was killed save and end."""

    def start_orphans(self, name, launcher, **variables):
        parent = self.start([([*launcher, *self.command(name, *ENDLESS, "--checkpoint_interval=0")], variables)])
        run = self.folder(name)
        wait_until(lambda: run.iterations() >= 5 or parent.codes() != [None], "iterations")
        self.assertEqual(parent.codes(), [None], parent.text())
        return parent, run

    def check_end(self, parent, run, ranks):
        parent.signal(0, signal.SIGKILL)
        parent.wait()
        wait_until(lambda: not processes_in(self.root), "all ranks end", seconds=10)
        self.assertTrue((run.folder / "latest" / "manifest.json").exists(), parent.text())
        done = run.iterations()
        self.launch(run.folder.name, ranks, "--init_from=resume", f"--max_iters={done + 1}",
                    "--lr_decay_iters=1000000", "--eval_interval=0")
        self.assertEqual(sorted(run.losses()), list(range(done + 1)))

    def test_of_our_own_launcher(self):
        parent = self.start([(self.command("own", "--nproc-per-node", 2, *ENDLESS, "--checkpoint_interval=0"), {})])
        run = self.folder("own")
        wait_until(lambda: run.iterations() >= 5 or parent.codes() != [None], "iterations")
        self.check_end(parent, run, 2)

    def test_of_mpirun(self):
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            self.skipTest("no mpirun here")
        open_mpi = "Open" in self.run_command([mpirun, "--version"]).stdout
        many = ["--allow-run-as-root", "--oversubscribe"] if open_mpi else []
        self.check_end(*self.start_orphans("mpirun", [mpirun, *many, "-n", "2"]), 2)

    def test_of_a_launcher_with_the_variables_of_torchrun(self):
        port = free_port()
        script = ('for rank in 0 1; do RANK=$rank LOCAL_RANK=$rank "$@" & done; wait')
        agent = self.root / "agent"  # a program that is no shell by its name, as torchrun is
        agent.symlink_to(shutil.which("sh"))
        self.check_end(*self.start_orphans(
            "torchrun", [str(agent), "-c", script, "agent"], WORLD_SIZE=2, LOCAL_WORLD_SIZE=2, MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port, TORCHELASTIC_RUN_ID="none"), 2)

    def test_ranks_that_were_started_by_hand_go_on(self):
        port = free_port()
        script = 'for rank in 0 1; do RANK=$rank LOCAL_RANK=$rank "$@" & done; wait'
        parent, run = self.start_orphans("hand", ["sh", "-c", script, "sh"], WORLD_SIZE=2, LOCAL_WORLD_SIZE=2,
                                         MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        parent.signal(0, signal.SIGKILL)
        parent.wait()
        done = run.iterations()
        time.sleep(1.5)  # three looks of a watch
        wait_until(lambda: run.iterations() > done + 5, "they go on")
        for pid in processes_in(self.root):
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not processes_in(self.root), "all ranks end")


class Signals(DistributedTest):
    """SIGINT, SIGTERM and SIGHUP reach processes that wait."""

    STOPPED = 1  # exit code
    SOON = 1.0  # seconds; the machine may be busy, so the test allows some more

    def check_end(self, processes, ranks, codes):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            waiting = processes(number)
            for rank in ranks:
                waiting.signal(rank, number)
            self.assertEqual(waiting.wait(5 * self.SOON), codes, waiting.text())
            self.assertIn("stopped on request", waiting.text())

    def test_prepare_data_that_waits_for_a_named_pipe(self):
        pipe = self.root / "pipe"
        os.mkfifo(pipe)

        def start(_):
            command = [str(TRAIN), "prepare-data", "--input", str(pipe), "--out", "data/piped"]
            started = self.start([(command, {})])
            self.let_wait(started)
            return started

        self.check_end(start, [0], [self.STOPPED])
        writer = []

        def start_with_writer(_):
            command = [str(TRAIN), "prepare-data", "--input", str(pipe), "--out", "data/piped"]
            started = self.start([(command, {})])
            writer.append(os.open(pipe, os.O_WRONLY))
            os.write(writer[-1], b"the beginning of a text")
            self.let_wait(started)
            return started

        self.check_end(start_with_writer, [0], [self.STOPPED])
        for descriptor in writer:
            os.close(descriptor)
        self.assertFalse((self.root / "data").exists() and list((self.root / "data").iterdir()))

    def test_ranks_that_wait_for_another_to_start(self):
        for rank in (0, 1):
            def start(number, rank=rank):
                variables = torchrun_variables(rank, 3, free_port())
                started = self.start([(self.command(f"alone{rank}{number}"), variables)])
                self.let_wait(started)
                return started

            self.check_end(start, [0], [self.STOPPED])

    def let_wait(self, started):
        wait_until(lambda: self.handles_signals(started.processes[0].pid), "it handles signals")
        time.sleep(0.3)  # it begins to wait; a signal before that must end it too

    @staticmethod
    def handles_signals(pid):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return False
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1


class Evaluations(DistributedTest):
    """An evaluation of minutes ends when the run is to stop, and the resumed run makes it."""

    def data(self):
        tokens = self.root / "tokens.bin"
        if not tokens.exists():
            tokens.write_bytes(array.array("H", range(256)).tobytes() * (1 << 17))  # 2^25: a million windows
        return [f"--train_data={tokens}", f"--val_data={tokens}", "--vocab_size=257"]

    def start_evaluation(self, name, *options, launcher=()):
        return self.start([(self.command(name, *launcher, *self.data(), "--eval_iters=0", "--eval_interval=5",
                                         *options), {})])

    def wait_for_checkpoint(self, name, run):
        wait_until(lambda: (self.folder(name).folder / "latest").exists() or run.codes() != [None], "a checkpoint")
        time.sleep(1)  # it evaluates
        self.assertEqual(run.codes(), [None], run.text())

    def resume(self, name, ranks):
        self.assertFalse(self.folder(name).evaluations())
        checkpoints = [record["iter"] for record in self.folder(name).records("checkpoint")]
        self.assertEqual(checkpoints, [5])
        self.launch(name, ranks, *self.data(), "--init_from=resume", "--eval_interval=5", "--max_iters=6",
                    "--lr_decay_iters=20")
        self.assertEqual(sorted(self.folder(name).evaluations()), [5, 6])
        self.assertEqual(sorted(self.folder(name).losses()), list(range(6)))

    def test_signals_end_it_and_lose_nothing(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            for ranks in (1, 2):
                with self.subTest(number=number, ranks=ranks):
                    name = f"run{number}{ranks}"
                    launcher = ["--nproc-per-node", 2] if ranks > 1 else []
                    run = self.start_evaluation(name, launcher=launcher)
                    self.wait_for_checkpoint(name, run)
                    run.signal(0, number)
                    self.assertEqual(run.wait(20), [0], run.text())
                    self.assertIn("stopped after iteration 4", run.text())
                    self.resume(name, ranks)

    def test_a_dead_launcher_ends_it(self):
        run = self.start_evaluation("orphans", launcher=["--nproc-per-node", 2])
        self.wait_for_checkpoint("orphans", run)
        run.signal(0, signal.SIGKILL)
        run.wait()
        wait_until(lambda: not processes_in(self.root), "all ranks end", seconds=20)
        self.resume("orphans", 2)

    def test_a_run_that_only_evaluates_says_that_it_was_stopped(self):
        self.launch("only", 1, "--max_iters=2", "--eval_interval=0", *self.data())
        run = self.start_evaluation("only", "--init_from=resume", "--eval_only=true")
        wait_until(lambda: "resumed" in run.text(), run.text)
        time.sleep(1)
        run.signal(0, signal.SIGTERM)
        self.assertEqual(run.wait(20), [1], run.text())
        self.assertIn("stopped on request while evaluating", run.text())


class Hangups(DistributedTest):
    """SIGHUP stops a run with a checkpoint, unless it was ignored from the start."""

    def start_run(self, name, *before):
        run = self.start([([*before, *self.command(name, *ENDLESS, "--checkpoint_interval=0")], {})])
        wait_until(lambda: self.folder(name).iterations() >= 3 or run.codes() != [None], "iterations")
        self.assertEqual(run.codes(), [None], run.text())
        return run

    def test_stop_a_run(self):
        run = self.start_run("closed")
        for _ in range(3):  # the terminal sends it, and the shell, and a launcher
            run.signal(0, signal.SIGHUP)
        self.assertEqual(run.wait(), [0], run.text())
        self.assertTrue((self.folder("closed").folder / "latest" / "manifest.json").exists())

    def test_are_ignored_under_nohup(self):
        run = self.start_run("nohup", "nohup")
        run.signal(0, signal.SIGHUP)
        done = self.folder("nohup").iterations()
        wait_until(lambda: self.folder("nohup").iterations() > done + 20 or run.codes() != [None], "it goes on")
        self.assertEqual(run.codes(), [None], run.text())
        run.signal(0, signal.SIGTERM)
        self.assertEqual(run.wait(), [0], run.text())


class Strangers(DistributedTest):
    """The token of a job."""

    def test_is_in_no_output_file_or_command_line(self):
        token = "secret-of-this-job-0123456789"
        run = self.start([(self.command("run", "--nproc-per-node", 2, *ENDLESS), {"ISOFLOP_JOB_TOKEN": token})])
        wait_until(lambda: (self.folder("run").folder / "latest").exists() or run.codes() != [None], "a checkpoint")
        self.assertEqual(run.codes(), [None], run.text())
        for pid in processes_in(self.root):
            self.assertNotIn(token.encode(), pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
        run.signal(0, signal.SIGTERM)
        self.assertEqual(run.wait(), [0], run.text())
        for file in self.root.rglob("*"):
            if file.is_file():
                self.assertNotIn(token.encode(), file.read_bytes(), file)

    def test_ranks_with_another_token_are_told(self):
        port = free_port()
        tokens = ("the token of one job", "the token of another job")
        ranks = self.start([(self.command("differ", "--comm_timeout_s=2"),
                             torchrun_variables(rank, 2, port) | {"ISOFLOP_JOB_TOKEN": tokens[rank]})
                            for rank in (0, 1)])
        codes = ranks.wait()
        self.assertEqual(codes[1], USAGE, ranks.text())
        self.assertIn("ISOFLOP_JOB_TOKEN", ranks.words(1))
        for token in tokens:
            self.assertNotIn(token, ranks.text())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
