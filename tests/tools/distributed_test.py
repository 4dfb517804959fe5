"""End-to-end tests of train on several ranks: processes that talk over loopback.

usage: distributed_test.py TRAIN [unittest arguments]
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import time
import unittest

from distributed_support import (HOST, HYBRID, STRATEGIES, TINY, TRAIN, DistributedTest, free_port, processes_in,
                                 rank_process, torchrun_variables, wait_until)

LOST = 4  # exit code
FEW = ["--max_iters=3", "--eval_interval=0"]


class Equality(DistributedTest):
    def test_every_strategy_trains_as_one_process_does(self):
        one = self.reference("one")
        self.assertEqual(sorted(one.losses()), list(range(TINY["max_iters"])))
        self.assertTrue(any(norm > TINY["grad_clip"] for norm in one.norms().values()), "clipping has work to do")
        for strategy, options in STRATEGIES.items():
            for ranks in (2, 4):
                with self.subTest(strategy=strategy, ranks=ranks):
                    name = f"{strategy}{ranks}"
                    self.launch(name, ranks, *options)
                    self.assert_same_training(self.folder(name), one)
        self.launch("hybrid", 4, *HYBRID)
        self.assert_same_training(self.folder("hybrid"), one)


    def test_means_over_targets_are_those_of_the_whole_batch(self):
        spaces = "--ignore_index=32"  # about every sixth target, and not evenly over the ranks
        one = self.reference("targets", spaces)
        self.assertNotEqual(one.losses(), self.reference("all targets").losses())
        for strategy, options in STRATEGIES.items():
            with self.subTest(strategy=strategy):
                self.launch(f"targets {strategy}", 2, spaces, *options)
                self.assert_same_training(self.folder(f"targets {strategy}"), one)


class Resharding(DistributedTest):
    """What four ranks saved with fsdp goes on with any number of ranks and strategy."""

    def tearDown(self):
        super().tearDown()
        shutil.rmtree(self.root / "out")

    def resume_everywhere(self, sizes, compare, *options):
        whole = self.reference("whole", *options)
        self.launch("part", 4, *options, "--use_fsdp=true", "--max_iters=16")
        part = self.folder("part")
        self.assertEqual(len(list((part.folder / "latest").glob("model-*-of-00004.safetensors"))), 4)
        for ranks in sizes:
            for strategy, choice in STRATEGIES.items():
                with self.subTest(ranks=ranks, strategy=strategy):
                    run = self.copy_of(part, f"{strategy}{ranks}")
                    self.launch(run.folder.name, ranks, *options, *choice, "--init_from=resume")
                    compare(run, whole)

    def same(self, run, whole):
        self.assertEqual(run.losses(), whole.losses())
        self.assert_same_state(run, whole)

    def alike(self, run, whole):
        losses = run.losses()
        self.assertEqual(sorted(losses), sorted(whole.losses()))
        for iteration, loss in whole.losses().items():
            self.assertAlmostEqual(losses[iteration] / loss, 1, delta=1e-5)

    def test_on_one_two_and_four_ranks_to_the_same_bits(self):
        self.resume_everywhere((1, 2, 4), self.same)

    def test_on_three_ranks_which_add_in_another_order(self):
        self.resume_everywhere((3,), self.alike, "--gradient_accumulation_steps=12")


    def test_the_number_of_ranks_alone_does_not_change_the_batch(self):
        config = self.root / "one_micro_batch_a_rank.jsonc"
        config.write_text(json.dumps({key: value for key, value in TINY.items() if key != "gradient_accumulation_steps"}))

        def train(name, ranks, *options, code=0):
            return self.run_command([TRAIN, "--nproc-per-node", ranks, config, f"--run_name={name}", *options], code)

        train("whole", 4)
        train("part", 4, "--max_iters=16")
        whole = self.folder("whole")
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                run = self.copy_of(self.folder("part"), f"on {ranks}")
                output = train(run.folder.name, ranks, "--init_from=resume").stdout
                self.assertIn(f"changed ranks: 4 in the checkpoint, {ranks} now", output)
                self.assertNotIn("changed gradient_accumulation_steps", output)
                self.assertEqual([record["tokens"] for record in run.records("iteration")],
                                 [4 * TINY["block_size"] * (i + 1) for i in range(TINY["max_iters"])])
                self.same(run, whole)
        error = train("part", 3, "--init_from=resume", code=2).stderr
        self.assertIn("4 micro-batches of 1 sequences an iteration", error)
        self.assertIn("resume with 1, 2 or 4 ranks", error)


class Launching(DistributedTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = cls.reference("one", *FEW)

    def check(self, name):
        self.assert_same_training(self.folder(name), self.one)

    def check_ranks(self, name, ranks):
        self.assertEqual(set(ranks.wait()), {0}, ranks.text())
        self.check(name)

    def test_our_own_launcher(self):
        result = self.launch("own", 2, *FEW)
        self.assertIn("over 2 ranks", result.stdout)
        self.check("own")

    def test_ranks_that_share_cores_are_warned_about_once(self):
        one_core = ["taskset", "-c", min(os.sched_getaffinity(0))]
        warning = "warning: 4 ranks with 4 threads in all share 1 core on the host of rank 0"
        for name, option in (("shared", "--eval_interval=0"), ("planned", "--dry-run")):
            result = self.run_command([*one_core, *self.command(name, "--nproc-per-node", 4, "--threads=1",
                                                                "--max_iters=1", option)])
            self.assertEqual((result.stdout + result.stderr).count(warning), 1, result.stdout + result.stderr)
        self.assertNotIn("warning: ", self.run_command([*one_core, *self.command("alone", "--dry-run")]).stdout)

    def test_our_own_launcher_on_two_nodes(self):
        port = free_port()
        node = ["--nproc-per-node", 2, "--nnodes", 2, "--master-addr", "127.0.0.1", "--master-port", port]
        self.check_ranks("nodes", self.start([(self.command("nodes", *node, "--node-rank", rank, *FEW), {})
                                              for rank in (0, 1)]))

    def test_variables_of_torchrun(self):
        self.check_ranks("variables", self.start_ranks("variables", 2, *FEW))

    def test_torchrun(self):
        torchrun = shutil.which("torchrun")
        if torchrun is None:
            self.skipTest("no torchrun here")
        self.run_command([torchrun, "--no-python", "--nproc-per-node", 2, *self.command("torchrun", *FEW)])
        self.check("torchrun")

    def test_mpirun(self):
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            self.skipTest("no mpirun here")
        open_mpi = "Open" in self.run_command([mpirun, "--version"]).stdout
        many = ["--allow-run-as-root", "--oversubscribe"] if open_mpi else []
        # MPI libraries leave memory behind at exit, which a sanitizer build would count as ours.
        self.run_command([mpirun, *many, "-n", 2, *self.command("mpirun", *FEW)], ASAN_OPTIONS="detect_leaks=0")
        self.check("mpirun")

    def test_variables_of_srun(self):
        job = {"SLURM_JOB_ID": os.getpid(), "SLURM_STEP_ID": 0, "SLURM_NTASKS": 2, "SLURM_STEP_NUM_TASKS": 2,
               "SLURM_NNODES": 1, "SLURM_STEP_NUM_NODES": 1, "SLURM_NODEID": 0, "SLURM_NODELIST": "localhost"}
        self.check_ranks("srun", self.start([(self.command("srun", *FEW),
                                              job | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}) for rank in (0, 1)]))

    def test_a_half_set_environment_says_what_is_missing(self):
        whole = torchrun_variables(0, 2, 29500)
        for missing in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            half = {name: value for name, value in whole.items() if name != missing}
            message = self.run_command(self.command("half"), 2, **half).stderr
            self.assertRegex(message, rf"not {missing};")
        message = self.run_command(self.command("half"), 2, SLURM_PROCID=0, SLURM_LOCALID=0).stderr
        self.assertIn("SLURM_NTASKS", message)
        message = self.run_command(self.command("half"), 2, OMPI_COMM_WORLD_RANK=0).stderr
        self.assertIn("OMPI_COMM_WORLD_SIZE", message)
        self.assertFalse(self.folder("half").folder.exists())


class Disagreement(DistributedTest):
    """What cannot start says why, on every rank."""

    def check(self, ranks, code, *parts):
        self.assertEqual(set(ranks.wait()), {code}, ranks.text())
        for rank in range(len(ranks.processes)):
            for part in parts:
                self.assertRegex(ranks.words(rank), part)

    def test_another_learning_rate(self):
        ranks = self.start_ranks("rates", 3, of_rank={2: ["--learning_rate=0.5"]})
        self.check(ranks, 2, "learning_rate", "rank 2 on .* has 0.5", "rank 0 on .* has 0.003")
        self.assertFalse(self.folder("rates").folder.exists())

    def test_what_other_ranks_say_cannot_command_the_terminal(self):
        evil = "--sample_prompt=a\x1b[2J\x9b2J\x7f\nb"
        ranks = self.start_ranks("evil", 2, of_rank={1: [evil]})
        self.check(ranks, 2, "sample_prompt: rank 1 on .* has .*2J")
        self.assertEqual(re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", ranks.text()), [])

    def test_another_world_size(self):
        port = free_port()
        ranks = self.start([(self.command("sizes"), torchrun_variables(0, 2, port)),
                            (self.command("sizes"), torchrun_variables(1, 3, port)),
                            (self.command("sizes"), torchrun_variables(2, 3, port))])
        self.check(ranks, 2, "one of 3", "one of 2", "same world size")

    def test_a_rank_that_exists_twice(self):
        port = free_port()
        ranks = self.start([(self.command("twins"), torchrun_variables(rank, 3, port)) for rank in (0, 1, 1)])
        self.check(ranks, 2, "rank 1 exists twice")

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            message = self.run_command(self.command("port"), 2, **torchrun_variables(0, 2, port)).stderr
        self.assertRegex(message, rf"cannot listen on port {port}.*choose another port")

    def test_a_master_that_does_not_answer(self):
        port = free_port()
        message = self.run_command(self.command("nobody", "--comm_timeout_s=1"), LOST,
                                   **torchrun_variables(1, 2, port)).stderr
        self.assertRegex(message, rf"could not reach rank 0 at 127.0.0.1:{port} in 1")

    def test_a_rank_that_never_comes(self):
        port = free_port()
        ranks = self.start([(self.command("absent", "--comm_timeout_s=2"), torchrun_variables(rank, 3, port))
                            for rank in (0, 1)])
        self.check(ranks, LOST, "rank 2 has not connected")

    def test_batches_that_ranks_cannot_share(self):
        message = self.launch("uneven", 3, code=2).stderr
        self.assertIn("total_batch_tokens", message)

    def test_a_run_that_exists(self):
        self.launch("taken", 2, *FEW)
        self.check(self.start_ranks("taken", 2, *FEW), 2, "exists already")
        for part in (self.folder("taken").folder / "latest").glob("model-*"):
            part.write_bytes(b"damaged")
        self.check(self.start_ranks("taken", 2, *FEW, "--init_from=resume"), 3, "damaged")


class Faults(DistributedTest):
    """Ranks that die or hang in the middle of a run, which then goes on to the bits of one without faults."""

    RANKS = 4
    FREQUENT = ["--checkpoint_interval=2", "--use_fsdp=true"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = cls.reference("one")
        cls.seed = random.randrange(10**6)
        cls.random = random.Random(cls.seed)

    def start_run(self, name, *options):
        return self.start_ranks(name, self.RANKS, *self.FREQUENT, *options)

    def wait_for_iterations(self, run, ranks, count):
        wait_until(lambda: run.iterations() >= count or any(code is not None for code in ranks.codes()),
                   f"iteration {count}")
        self.assertEqual(set(ranks.codes()), {None}, ranks.text())

    def check_survivors(self, ranks, lost, seconds, reason):
        survivors = [rank for rank in range(self.RANKS) if rank != lost]
        codes = ranks.wait(seconds, but=(lost,))
        for rank in survivors:
            self.assertEqual(codes[rank], LOST, ranks.text())
            self.assertRegex(ranks.words(rank),
                             rf"error: rank {lost} on {re.escape(HOST)} is lost: {reason}.*; in iteration \d+")

    def check_resumed(self, run, ranks):
        self.launch(run.folder.name, ranks, *self.FREQUENT, "--init_from=resume")
        self.assertEqual(run.losses(), self.one.losses())
        self.assert_same_state(run, self.one)

    def kill(self, ranks, lost):
        ranks.signal(lost, signal.SIGKILL)
        self.check_survivors(ranks, lost, 10, "it closed its connection")

    def test_a_rank_that_is_killed_in_an_iteration(self):
        for lost in (0, self.random.randrange(1, self.RANKS)):
            with self.subTest(lost=lost, seed=self.seed):
                run = self.folder(f"killed{lost}")
                ranks = self.start_run(run.folder.name)
                self.wait_for_iterations(run, ranks, self.random.randrange(3, 12))
                time.sleep(self.random.uniform(0, 0.02))  # anywhere in forward, backward and exchanges
                self.kill(ranks, lost)
                self.check_resumed(run, self.RANKS)

    def test_a_rank_that_is_killed_while_a_checkpoint_is_written(self):
        for lost in (0, 3):
            complete, attempt = True, 0
            while complete:  # the kill came after the writing
                attempt += 1
                self.assertLess(attempt, 30, "no kill came in time")
                run = self.folder(f"writing{lost}_{attempt}")
                ranks = self.start_run(run.folder.name)
                self.wait_for_iterations(run, ranks, 4)
                begun = []
                wait_until(lambda: begun.extend(run.partial_checkpoints()) or begun, "a checkpoint begins", pause=0)
                self.kill(ranks, lost)
                complete = begun[0].with_name(begun[0].stem.lstrip(".")).exists()
            self.check_resumed(run, 1)
            self.assertEqual(run.partial_checkpoints(), [])

    def test_a_rank_that_hangs(self):
        lost = self.random.randrange(self.RANKS)
        run = self.folder("hangs")
        ranks = self.start_run("hangs", "--comm_timeout_s=3")
        self.wait_for_iterations(run, ranks, 5)
        ranks.signal(lost, signal.SIGSTOP)
        self.check_survivors(ranks, lost, 3 + 10, "it has not answered for 3 s")
        ranks.signal(lost, signal.SIGCONT)
        self.assertEqual(ranks.wait(10)[lost], LOST, "it detects that the other ranks are gone")
        self.check_resumed(run, 1)


class Launchers(DistributedTest):
    """What the built-in launcher does about signals and lost ranks."""

    RANKS = 4
    OPTIONS = ["--checkpoint_interval=2", "--use_zero1=true"]
    NO_CHECKPOINTS = ["--checkpoint_interval=0", "--eval_interval=0"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.one = cls.reference("one")

    def start_run(self, name, *options):
        """Returns once some iterations are done."""
        launcher = self.start([(self.command(name, "--nproc-per-node", self.RANKS, *self.OPTIONS, *options), {})])
        wait_until(lambda: self.folder(name).iterations() >= 5 or launcher.codes()[0] is not None, "iterations")
        self.assertEqual(launcher.codes(), [None], launcher.text())
        return launcher

    def kill_rank(self, rank):
        os.kill(rank_process(self.root, rank), signal.SIGKILL)

    def test_a_lost_rank_ends_the_run_and_leaves_no_process(self):
        launcher = self.start_run("lost")
        self.kill_rank(2)
        self.assertEqual(launcher.wait(10), [LOST], launcher.text())
        self.assertIn("rank 2 was ended by signal 9", launcher.text())
        self.assertEqual(processes_in(self.root), [])

    def test_a_lost_rank_is_started_again(self):
        launcher = self.start_run("restarted", "--max-restarts", 1)
        self.kill_rank(3)
        self.assertEqual(launcher.wait(), [0], launcher.text())
        self.assertIn("restart 1 of 1", launcher.text())
        self.assertEqual(self.folder("restarted").losses(), self.one.losses())
        self.assert_same_state(self.folder("restarted"), self.one)

    def test_a_rank_lost_before_the_first_checkpoint_starts_the_run_again(self):
        launcher = self.start_run("again", "--max-restarts", 1, *self.NO_CHECKPOINTS)
        self.kill_rank(1)
        self.assertEqual(launcher.wait(), [0], launcher.text())
        self.assertEqual(self.folder("again").iterations(), TINY["max_iters"])
        self.assertEqual(self.folder("again").losses(), self.one.losses())
        self.assert_same_state(self.folder("again"), self.one)

    def test_a_run_that_lost_its_link_is_started_again_where_it_was(self):
        launcher = self.start_run("unlinked", "--max-restarts", 1)
        run = self.folder("unlinked")
        latest = run.folder / "latest"
        wait_until(latest.is_symlink, "a checkpoint")
        first = rank_process(self.root, 0)  # the one that writes the link
        os.kill(first, signal.SIGSTOP)
        latest.unlink(missing_ok=True)
        os.kill(first, signal.SIGKILL)
        self.assertEqual(launcher.wait(), [0], launcher.text())
        self.assertIn("restart 1 of 1", launcher.text())
        self.assertIn("resumed", launcher.text())
        self.assertEqual(run.losses(), self.one.losses())
        self.assert_same_state(run, self.one)

    def test_a_run_from_a_folder_is_not_started_again_without_its_weights(self):
        weights = f"--init_from={self.one.folder / 'latest'}"
        launcher = self.start_run("tuned", "--max-restarts", 1, weights, *self.NO_CHECKPOINTS)
        self.kill_rank(1)
        self.assertEqual(launcher.wait(), [2], launcher.text())
        self.assertIn("holds no checkpoint", launcher.text())

    def test_a_killed_launcher_takes_its_ranks_along(self):
        launcher = self.start_run("orphans")
        launcher.signal(0, signal.SIGKILL)
        launcher.wait()
        wait_until(lambda: not processes_in(self.root), "all ranks end", seconds=10)

    def test_signals_save_a_checkpoint_and_end_well(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number):
                name = number.name.lower()
                launcher = self.start_run(name, *self.NO_CHECKPOINTS)
                launcher.signal(0, number)
                self.assertEqual(launcher.wait(), [0], launcher.text())
                self.assertIn("init_from=resume", launcher.text())
                run = self.folder(name)
                self.assertLess(run.iterations(), TINY["max_iters"], "stopped before the end")
                self.launch(name, 2, *self.OPTIONS, "--init_from=resume")
                self.assertEqual(run.losses(), self.one.losses())
                self.assert_same_state(run, self.one)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
