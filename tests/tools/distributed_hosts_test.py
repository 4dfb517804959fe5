"""End-to-end tests of train on two hosts, which are network namespaces of this machine.

usage: distributed_hosts_test.py TRAIN [unittest arguments]
"""

import os
import shutil
import signal
import subprocess
import sys
import unittest
import unittest.mock

from distributed_support import DistributedTest, torchrun_variables, wait_until

LOST = 4  # exit code


class TwoHosts(DistributedTest):
    """Two network namespaces with a cable between them are two machines, as far as ranks can tell."""

    ADDRESSES = ("192.0.2.1", "192.0.2.2")  # reserved for examples: nobody's
    HOSTS = ("isoflop-a", "isoflop-b")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.spaces = tuple(f"isoflop-{os.getpid()}-{host}" for host in "ab")
        cls.ends = tuple(f"if{os.getpid()}{host}" for host in "ab")
        try:
            cls.connect()
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or str(error)
            raise unittest.SkipTest(f"network namespaces are not permitted here: {reason.strip()}") from error
        cls.one = cls.reference("one")

    @classmethod
    def connect(cls):
        def ip(*arguments):
            subprocess.run(["ip", *arguments], check=True, text=True, capture_output=True)

        for space in cls.spaces:
            ip("netns", "add", space)
            cls.addClassCleanup(ip, "netns", "del", space)
        ip("link", "add", cls.ends[0], "netns", cls.spaces[0], "type", "veth", "peer", "name", cls.ends[1], "netns",
           cls.spaces[1])
        for space, end, address in zip(cls.spaces, cls.ends, cls.ADDRESSES):
            ip("-n", space, "address", "add", f"{address}/24", "dev", end)
            for link in ("lo", end):
                ip("-n", space, "link", "set", link, "up")
        subprocess.run(cls.on_host(0, ["true"]), check=True, text=True, capture_output=True)

    @classmethod
    def on_host(cls, host, command):
        # hostname(1) refuses the name that one of the tests gives.
        enter = "import os, socket, sys; socket.sethostname(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])"
        return ["ip", "netns", "exec", cls.spaces[host], "unshare", "--uts", sys.executable, "-c", enter,
                cls.HOSTS[host], *command]

    def cable(self, state):
        subprocess.run(["ip", "-n", self.spaces[0], "link", "set", self.ends[0], state], check=True)

    def start_on_both(self, name, *options):
        """A rank on each host, started by hand."""
        alone = {"LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        ranks = self.start([(self.on_host(rank, self.command(name, *options)),
                             torchrun_variables(rank, 2, 29500, self.ADDRESSES[0]) | alone) for rank in (0, 1)])
        run = self.folder(name)
        wait_until(lambda: run.iterations() >= 5 or any(code is not None for code in ranks.codes()), "iterations")
        self.assertEqual(ranks.codes(), [None, None], ranks.text())
        return ranks

    def test_launchers_on_both_train_as_one_process_does(self):
        nodes = self.start([(self.on_host(node, self.command(
            "nodes", "--nnodes", 2, "--node-rank", node, "--nproc-per-node", 2, "--master-addr", self.ADDRESSES[0],
            "--master-port", 29500, "--use_fsdp=true")), {}) for node in (0, 1)])
        self.assertEqual(nodes.wait(), [0, 0], nodes.text())
        self.assert_same_training(self.folder("nodes"), self.one)

    def test_mpirun_finds_the_other_host_without_an_address(self):
        mpirun = shutil.which("mpirun")
        if mpirun is None or "Open" not in self.run_command([mpirun, "--version"]).stdout:
            self.skipTest("no mpirun of Open MPI here")
        agent = self.root / "agent.sh"  # instead of ssh: takes the host's name and a command
        enter = " ".join(f"'{word}'" for word in self.on_host(1, ["sh", "-c"]))
        agent.write_text(f'#!/bin/sh\nshift\nexec {enter} "$*"\n')
        agent.chmod(0o755)
        self.run_command(self.on_host(0, [mpirun, "--allow-run-as-root", "--mca", "plm_rsh_agent", agent, "--host",
                                          ",".join(self.HOSTS), "-n", 2, *self.command("mpirun")]))
        self.assert_same_training(self.folder("mpirun"), self.one)

    def test_a_lost_rank_is_named_with_its_host(self):
        ranks = self.start_on_both("killed", "--max_iters=100000")
        ranks.signal(1, signal.SIGKILL)
        self.assertEqual(ranks.wait(10)[0], LOST, ranks.text())
        self.assertIn(f"rank 1 on {self.HOSTS[1]} is lost", ranks.words(0))
        self.assertEqual(ranks.text().count("this run has no token"), 1)

    def test_a_host_name_cannot_command_the_terminal(self):
        with unittest.mock.patch.object(TwoHosts, "HOSTS", ("isoflop-a", "b\x1b[2Jc")):
            ranks = self.start_on_both("evil", "--max_iters=100000")
            ranks.signal(1, signal.SIGKILL)
            self.assertEqual(ranks.wait(10)[0], LOST, ranks.text())
        self.assertIn("rank 1 on b\\x1b[2Jc is lost", ranks.words(0))
        self.assertNotIn("\x1b", ranks.text())

    def test_a_cut_cable_ends_both_sides(self):
        ranks = self.start_on_both("cut", "--max_iters=100000", "--comm_timeout_s=3")
        self.cable("down")
        self.addCleanup(self.cable, "up")
        self.assertEqual(ranks.wait(3 + 10), [LOST, LOST], ranks.text())
        for rank in (0, 1):
            self.assertIn(f"rank {1 - rank} on {self.HOSTS[1 - rank]} is lost", ranks.words(rank))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
