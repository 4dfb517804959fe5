"""Runs that go on from files: states that are not the trainer's, imported models, data windows, the best checkpoint.

usage: resume_files_test.py TRAIN SCALING_PLAN SOURCE_DIR [unittest arguments]
"""

import json
import re
import statistics
import sys
import unittest

from resume_support import DONE, ResumeTest
from train_support import SOURCE

MISSING = object()


def changed(state, path, value):
    """A copy of the state with another value at "key.key"."""
    copy = json.loads(json.dumps(state))
    *parents, last = path.split(".")
    holder = copy
    for key in parents:
        holder = holder[key]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    return copy


class States(ResumeTest):
    """Values that no trainer writes, in a checkpoint whose checksums are right."""

    WRONG = [
        ("iter", (MISSING, None, -1, "10", 1.5, 9, 2**63)),
        ("updates", (MISSING, None, -1, "10", [10], 11)),
        ("loss_scale", ("1", 0, -1, [1])),
        ("updates_at_loss_scale", ("0", -1, 0.5)),
        ("best_val_loss", ("low", [1])),
        ("samples", (-1, "80", 2**60)),
        ("batch", (8, "ranks")),
        ("batch.ranks", (MISSING, 0, -1, "1", 2**40)),
        ("batch.micro_batches", (0, "2")),
        ("schedule", (3, [1])),
        ("schedule.max_iters", (MISSING, "10", -1)),
        ("schedule.lr_decay_iters", ("10", -1)),
        ("schedule.lr_decay_iters_of_keys", (MISSING, 1.5)),
        ("schedule.rewarm", (3, {"start": "x", "from": 1}, {"start": 1, "from": "x"})),
        ("data", ("train", 3)),
        ("data.train", (MISSING, 3)),
        ("data.validation", (3,)),
        ("attention", (3, "sdpa")),
        ("imported_model", (3, "llama")),
        ("config", (3, [], "x")),
        ("config.num_hidden_layers", ("two", [2])),
        ("config.batch_size", ("x", -1)),
    ]

    def check(self, error, words):
        self.assertIn("trainer_state.json", error)
        self.assertIn(words, error)
        self.assertNotIn("internal", error)

    def test_a_resumed_run_names_the_file_and_the_key(self):
        self.train("a", *DONE)
        state = self.state("a", 10)
        before = self.weights("a")
        for path, values in self.WRONG:
            for value in values:
                with self.subTest(path, value="missing" if value is MISSING else value):
                    self.write_state("a", 10, changed(state, path, value))
                    shown = path.removeprefix("config.")
                    self.check(self.resume("a", "--max_iters=12", code=3).stderr, shown)
        for value in ([state], 3, None):
            with self.subTest(whole=type(value).__name__):
                self.write_state("a", 10, value)
                self.check(self.resume("a", "--max_iters=12", code=3).stderr, "no object")
        self.assertEqual(self.weights("a"), before)
        self.write_state("a", 10, state)
        self.resume("a", "--max_iters=12")

    def test_counts_that_multiply_beyond_64_bits(self):
        self.train("a", *DONE)
        state = self.state("a", 10)
        self.write_state("a", 10, changed(changed(state, "samples", 2**50), "config.max_position_embeddings", 2**20))
        self.assertIn("trainer_state.json", self.resume("a", "--max_iters=12", code=3).stderr)

    def test_a_new_run_from_the_weights_checks_them_too(self):
        self.train("a", *DONE)
        state = self.state("a", 10)
        start = ("--init_from=out/a/checkpoints/step_00000010", "--max_iters=2")
        for path, value in (("batch.ranks", 0), ("imported_model", "llama"), ("config", 3), ("iter", "x")):
            with self.subTest(path):
                self.write_state("a", 10, changed(state, path, value))
                self.check(self.train("b", *start, code=3).stderr, path)
                self.assertFalse(self.folder_of("b").exists())
        self.write_state("a", 10, [state])
        self.check(self.train("b", *start, code=3).stderr, "no object")
        self.write_state("a", 10, {})  # weights are all that is needed
        self.train("b", *start)

    def test_other_commands_on_such_a_checkpoint(self):
        self.train("a", *DONE)
        state = self.state("a", 10)
        for broken in ([state], 3, {}, changed(state, "config", 3), changed(state, "imported_model", "llama")):
            self.write_state("a", 10, broken)
            for command in (("sample", "--checkpoint", "out/a", "--tokens", "2"),
                            ("export", "--checkpoint", "out/a", "--out", "exported")):
                with self.subTest(command[0], state=str(broken)[:30]):
                    self.check(self.run_train(*command, code=3).stderr, "")


class Notes(ResumeTest):
    def test_a_folder_name_cannot_command_the_terminal(self):
        self.train("a", *DONE)
        evil = self.root / "we\x1b[2Jights"
        (self.folder_of("a") / "checkpoints/step_00000010").rename(evil)
        output = self.train("b", f"--init_from={evil.name}", "--max_iters=2").stdout
        self.assertIn("a new run from the weights of we\\x1b[2Jights", output)
        self.assertNotIn("\x1b", output)

    def test_the_refusal_names_the_values_of_an_imported_model(self):
        self.train("a", *DONE)
        self.run_train("export", "--checkpoint", "out/a", "--out", "exported")
        self.train("b", "--init_from=exported", *DONE)
        for key, value, words in (
                ("rope_theta", "500000", "rope_theta: 10000 in the checkpoint, 500000 now"),
                ("norm_eps", "1e-6", "(norm_eps): 1e-05 in the checkpoint, 1e-06 now"),
                ("activation", "gelu", "(activation): silu in the checkpoint, gelu now")):
            with self.subTest(key):
                error = self.resume("b", "--max_iters=12", f"--{key}={value}", code=2).stderr
                self.assertIn(words, error)
                self.assertNotIn("not set in the checkpoint", error)
        output = self.resume("b", "--max_iters=12", "--rope_theta=10000", "--norm_eps=1e-5", "--activation=silu").stdout
        self.assertNotIn("rope_theta", output[output.index("resumed"):])


class Windows(ResumeTest):
    """Which windows of the data a run reads: with a learning rate near 0 every window has a loss of its own."""

    STILL = ("--learning_rate=1e-30", "--min_lr=0", "--warmup_iters=0", "--weight_decay=0", "--eval_interval=0",
             "--checkpoint_interval=0")

    def test_a_resumed_run_reads_the_next_windows_whatever_its_batch(self):
        single = ("--batch_size=1", "--gradient_accumulation_steps=1")
        self.train("single", *self.STILL, *single, "--max_iters=48")
        of_window = list(self.losses("single").values())
        self.assertGreater(statistics.stdev(of_window), 1e-3, "windows have losses of their own")
        self.train("first", *self.STILL, "--max_iters=2")  # 2 x 8 sequences
        for ranks, batch, accumulation in ((1, 2, 3), (1, 8, 1), (1, 1, 5), (2, 2, 2), (2, 1, 6)):
            with self.subTest(ranks=ranks, batch=batch, accumulation=accumulation):
                name = f"r{ranks}b{batch}a{accumulation}"
                self.copy("first", name)
                self.on_ranks(ranks, name, *self.STILL, "--init_from=resume", f"--batch_size={batch}",
                              f"--gradient_accumulation_steps={accumulation}", "--max_iters=4", code=0)
                sizes = [8, 8, batch * accumulation, batch * accumulation]
                begin = 0
                for (iteration, loss), size in zip(self.losses(name).items(), sizes, strict=True):
                    mean = statistics.fmean(of_window[begin:begin + size])
                    self.assertAlmostEqual(loss / mean, 1, delta=1e-6, msg=iteration)
                    begin += size


class Best(ResumeTest):
    RISING = ("--eval_interval=2", "--checkpoint_interval=0", "--always_save_checkpoint=false", "--keep_checkpoints=1",
              "--learning_rate=2", "--warmup_iters=40", "--lr_decay_iters=100000")

    def check_best(self, run):
        step, best = min(self.evaluations(run), key=lambda entry: entry[1])
        self.assertLess(step, self.steps(run)[-1], "a run whose last weights are the best proves nothing")
        self.assertEqual(self.manifest(run, step)["val_loss"], best)
        self.assertEqual(self.state(run)["best_val_loss"], best)

    def test_an_earlier_best_stays_over_a_resume_and_a_signal(self):
        self.train("a", *self.RISING, "--max_iters=16")
        self.check_best("a")
        self.resume("a", *self.RISING, "--max_iters=20")
        self.check_best("a")
        process = self.start("a", *self.RISING, "--init_from=resume", "--max_iters=100000")
        self.stop_after(process, "a", 24)
        self.check_best("a")

    def test_begins_anew_when_evaluations_take_other_windows(self):
        self.train("a", *self.RISING, "--max_iters=16")
        self.check_best("a")
        before = self.state("a")["best_val_loss"]
        output = self.resume("a", *self.RISING, "--max_iters=20", "--eval_iters=3").stdout
        self.assertIn("lowest validation loss begins anew", output)
        later = [loss for step, loss in self.evaluations("a") if step > 16]
        self.assertEqual(len(later), 2)
        self.assertGreater(min(later), before)
        self.assertEqual(self.state("a")["best_val_loss"], min(later))

    def test_an_evaluation_without_any_target_is_never_the_best(self):
        tokens = [i * i % 257 for i in range(4000)]
        self.write_tokens("train.bin", tokens)
        self.write_tokens("val.bin", [7] * 400)
        options = ("--train_data=train.bin", "--val_data=val.bin", "--vocab_size=257", "--eval_interval=2",
                   "--ignore_index=7", "--keep_checkpoints=1")
        self.train("a", *options, "--max_iters=6")
        self.assertEqual(self.evaluations("a"), [(2, None), (4, None), (6, None)])
        self.assertIsNone(self.state("a")["best_val_loss"])
        self.assertIsNone(self.manifest("a", 6)["val_loss"])
        self.resume("a", *options, "--max_iters=8")
        self.assertIsNone(self.state("a")["best_val_loss"])
        document = json.loads((self.folder_of("a") / "run_a.json").read_text())
        self.assertIsNone(document["summary"]["best_val_loss"])


class Extension(ResumeTest):
    def test_the_commands_of_the_manual_make_no_jump_of_the_learning_rate(self):
        text = (SOURCE / "docs/running.md").read_text()
        first, second = re.findall(r"^\S*/train (\S+\.jsonc .*--run_name=first.*)$", text, re.MULTILINE)
        self.assertIn("--init_from=resume", second)
        for command in (first, second):
            config, *options = command.split()
            self.run_train(SOURCE / config, *options, "--n_layer=1", "--batch_size=1", "--eval_interval=0")
        done = int(re.search(r"--max_iters=(\d+)", first)[1])
        rates = [r["lr"] for r in self.iterations("first")]
        self.assertEqual(len(rates), int(re.search(r"--max_iters=(\d+)", second)[1]))
        self.assertGreater(len(rates), done)
        self.assertAlmostEqual(rates[done] / rates[done - 1], 1, delta=0.1)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
