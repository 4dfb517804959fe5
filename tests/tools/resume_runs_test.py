"""Runs that stop and go on: their schedule, their logs, and a disk without space.

usage: resume_runs_test.py TRAIN SCALING_PLAN SOURCE_DIR [unittest arguments]
"""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

from resume_support import ResumeTest, crc32c


class Schedule(ResumeTest):
    LONG = ("--warmup_iters=3", "--eval_interval=0", "--checkpoint_interval=5")

    def rates(self, run):
        return [r["lr"] for r in self.iterations(run)]

    def extended(self, name, *options):
        self.copy("a", name)
        return self.resume(name, *self.LONG, "--max_iters=40", *options).stdout

    def test_a_constant_rate_does_not_decay_after_warming_up_again(self):
        constant = ("--decay_lr=false",)
        self.train("a", *self.LONG, "--max_iters=20", *constant)
        output = " ".join(self.extended("rewarm", "--resume_schedule=rewarm", *constant).split())
        self.assertNotIn("decays to", output)
        self.assertEqual(len(set(self.rates("rewarm")[24:])), 1)

    def test_a_longer_cosine_run_does_not_jump(self):
        self.train("a", *self.LONG, "--max_iters=20")
        before = self.rates("a")
        output = self.extended("keep")
        self.assertIn("resume_schedule=rewarm", output)
        self.assertIn("resume_schedule=stretch", output)
        rates = self.rates("keep")
        self.assertEqual(rates[:20], before)
        self.assertEqual(len(set(rates[21:])), 1)
        self.assertAlmostEqual(rates[39], 3e-4, delta=1e-12)
        self.assertLessEqual(rates[20], before[19])
        # Resumed once more, with nothing changed, it goes on so.
        self.resume("keep", *self.LONG, "--max_iters=40")
        self.extended("rewarm", "--resume_schedule=rewarm")
        rewarmed = self.rates("rewarm")
        self.assertEqual(rewarmed[:20], before)
        self.assertLess(rewarmed[20], rewarmed[21])
        self.assertAlmostEqual(rewarmed[23], 3e-3, delta=1e-9)
        self.assertLess(rewarmed[39], 3.3e-4)
        self.extended("stretch", "--resume_schedule=stretch")
        self.train("whole", *self.LONG, "--max_iters=40")
        self.assertEqual(self.rates("stretch")[20:], self.rates("whole")[20:])

    def test_a_choice_survives_a_second_resume(self):
        self.train("a", *self.LONG, "--max_iters=20")
        for choice in ("keep", "rewarm", "stretch"):
            options = (*self.LONG, "--max_iters=40", "--keep_checkpoints=0", f"--resume_schedule={choice}")
            self.copy("a", choice)
            self.resume(choice, *options)
            whole = self.rates(choice)
            shutil.rmtree(self.folder_of(choice))
            self.copy("a", choice)
            self.resume(choice, *options)
            for step in (35, 40):  # killed after 30
                shutil.rmtree(self.folder_of(choice) / f"checkpoints/step_{step:08d}", ignore_errors=True)
            output = self.resume(choice, *options).stdout
            self.assertEqual(self.rates(choice), whole, output)

    def test_wsd_is_extended_before_its_decay(self):
        options = ("--lr_schedule=wsd", "--wsd_decay_fraction=0.5", "--warmup_iters=2", "--eval_interval=0",
                   "--checkpoint_interval=5", "--keep_checkpoints=0")
        self.train("a", *options, "--max_iters=20")
        for step in (15, 20):
            shutil.rmtree(self.folder_of("a") / f"checkpoints/step_{step:08d}")
        shutil.rmtree(self.folder_of("a") / "checkpoints/step_00000010")
        self.resume("a", *options, "--max_iters=40")
        self.train("whole", *options, "--max_iters=40")
        self.assertEqual(self.rates("a"), self.rates("whole"))


class Space(ResumeTest):
    def test_checkpoints_that_do_not_fit_are_refused_before_the_first_iteration(self):
        error = self.train("a", "--max_iters=1000000000000", "--keep_checkpoints=0", "--checkpoint_interval=1",
                           code=3).stderr
        self.assertRegex(error, r"1,000,000,000,000 checkpoints of \S+ \S+ need \S+ \S+, and \S+ \S+ are free")
        self.assertFalse((self.folder_of("a") / "metrics.jsonl").exists())

    def test_the_size_it_counts_with_is_that_of_a_written_checkpoint(self):
        for options in ((), ("--tie_word_embeddings=true", "--n_layer=3")):
            with self.subTest(options):
                error = self.train("a", *options, "--max_iters=1000000000000", "--keep_checkpoints=0",
                                   "--checkpoint_interval=1", code=3).stderr
                number, unit = re.search(r"checkpoints of (\S+) (\S+) need", error).groups()
                self.assertEqual(unit, "MiB")
                self.train(f"b{len(options)}", *options, "--max_iters=1", "--eval_interval=0")
                folder = self.folder_of(f"b{len(options)}") / "checkpoints/step_00000001"
                written = sum(path.stat().st_size for path in folder.rglob("*"))
                self.assertAlmostEqual(float(number) * 2**20 / written, 1, delta=0.03)

    def test_no_validation_data_are_needed_without_evaluations(self):
        self.write_tokens("train.bin", [i * i % 257 for i in range(4000)])
        data = ("--train_data=train.bin", "--vocab_size=257", "--max_iters=6")
        self.train("a", *data, "--eval_interval=0")
        self.assertEqual(self.evaluations("a"), [])
        self.assertEqual(self.steps("a"), [5, 6])
        self.assertIn("val_data", self.train("b", *data, code=2).stderr)
        (self.root / "data/mine").mkdir(parents=True)
        shutil.copy(self.root / "train.bin", self.root / "data/mine/train.bin")
        mine = ("--dataset=mine", "--vocab_size=257", "--max_iters=6")
        self.train("c", *mine, "--eval_interval=0")
        self.assertIn("eval_interval=0", self.train("d", *mine, code=3).stderr)


class Logs(ResumeTest):
    def test_nothing_is_logged_twice(self):
        self.train("a", "--max_iters=17", "--lr_decay_iters=30")
        for _ in range(2):  # at its end, and once more with nothing left to do
            self.resume("a", "--max_iters=30", "--lr_decay_iters=30")
        self.resume("a", "--max_iters=30", "--lr_decay_iters=30")
        for kind in ("iteration", "eval", "checkpoint"):
            numbers = [r["iter"] for r in self.records("a") if r["type"] == kind]
            self.assertEqual(numbers, sorted(set(numbers)), kind)
        document = json.loads((self.folder_of("a") / "run_a.json").read_text())
        self.assertEqual([r["iter"] for r in document["training_iterations"]], list(range(30)))
        self.assertEqual([r["iter"] for r in document["eval_steps"]], [10, 17, 20, 30])

    def test_an_evaluation_that_was_cut_off_is_made_once(self):
        self.train("whole", "--max_iters=20")
        self.train("a", "--max_iters=20", "--keep_checkpoints=0")
        self.cut_off("a", 10)
        self.resume("a", "--max_iters=20")
        self.assertEqual(self.evaluations("a"), self.evaluations("whole"))
        self.assertEqual(self.weights("a"), self.weights("whole"))

    def cut_off(self, run, step):
        """As a run that was killed between the checkpoint of `step` and its evaluation."""
        checkpoints = self.folder_of(run) / "checkpoints"
        folder = checkpoints / f"step_{step:08d}"
        for path in checkpoints.glob("step_*"):
            if path != folder:
                shutil.rmtree(path)
        manifest = (folder / "manifest.json").read_text()
        body = re.sub(r'"val_loss": [0-9.e-]+', '"val_loss": null', manifest[:manifest.rindex(',\n  "manifest_crc32c"')])
        (folder / "manifest.json").write_text(f'{body},\n  "manifest_crc32c": "{crc32c(body.encode())}"\n}}\n')

    def test_compare_needs_no_more_memory_for_a_long_log(self):
        self.train("a", "--max_iters=20")
        header, line = (self.folder_of("a") / "metrics.jsonl").read_text().splitlines()[:2]
        self.assertIn('"iter":0,', line)
        peaks = {}
        for iterations in (100, 100_000):
            log = self.root / f"out/n{iterations}/metrics.jsonl"
            log.parent.mkdir()
            with open(log, "w") as file:
                file.write(header + "\n")
                file.writelines(line.replace('"iter":0,', f'"iter":{i},') + "\n" for i in range(iterations))
            with subprocess.Popen(self.command("compare", log.parent), stdout=subprocess.PIPE, text=True) as process:
                self.assertIn(f"({iterations} iterations logged)", process.stdout.read())
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(process.returncode, 0)
            peaks[iterations] = usage.ru_maxrss
        self.assertGreater(log.stat().st_size, 10e6)
        self.assertLess(peaks[100_000] - peaks[100], 4096, "KiB")

    def test_an_iteration_takes_at_most_200_bytes(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=300", "--eval_interval=0", "--checkpoint_interval=0",
                       "--n_layer=1", "--batch_size=1", "--gradient_accumulation_steps=1", "--log_interval=100")
        lines = [line for line in (self.folder_of("a") / "metrics.jsonl").read_text().splitlines(True)
                 if line.startswith('{"type":"iteration"')]
        self.assertEqual(len(lines), 300)
        self.assertLessEqual(sum(map(len, lines)) / 300, 200)
        detailed = [r["iter"] for r in map(json.loads, lines) if "memory" in r]
        self.assertEqual(detailed, [*range(8), 100, 200])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
