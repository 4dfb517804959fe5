"""Runs that stop and go on: what a resumed run keeps, what it may change, and what its files say.

usage: resume_test.py TRAIN SCALING_PLAN SOURCE_DIR [unittest arguments]
"""

import json
import os
import re
import shutil
import struct
import sys
import time
import unittest

from resume_support import DONE, ResumeTest


class Lineage(ResumeTest):
    def test_auto_goes_on_where_latest_is_lost_or_dangles(self):
        self.train("whole", "--max_iters=20", "--lr_decay_iters=20")
        self.train("a", *DONE, "--lr_decay_iters=20")
        first = self.losses("a")
        for case in ("lost", "dangles", "folder"):
            with self.subTest(case):
                self.copy("a", case)
                latest = self.folder_of(case) / "latest"
                target = latest.resolve()
                latest.unlink()
                if case == "dangles":
                    latest.symlink_to("checkpoints/step_00000099")
                if case == "folder":  # a copy that followed links
                    shutil.copytree(target, latest)
                result = self.train(case, "--init_from=auto", "--max_iters=20", "--lr_decay_iters=20")
                self.assertIn(f"resumed out/{case} at iteration 10", result.stdout)
                self.assertRegex(result.stderr, "note: .*latest.* leads to checkpoints/step_00000010 again")
                self.assertEqual({i: self.losses(case)[i] for i in first}, first, "the old log stays")
                self.assertEqual(self.losses(case), self.losses("whole"))
                self.assertEqual(os.readlink(latest), "checkpoints/step_00000020")

    def test_a_log_beside_the_checkpoints_of_another_run_is_refused(self):
        for run in ("a", "b"):
            self.train(run, *DONE)
        shutil.rmtree(self.folder_of("a") / "checkpoints")
        shutil.copytree(self.folder_of("b") / "checkpoints", self.folder_of("a") / "checkpoints")
        log = self.folder_of("a") / "metrics.jsonl"
        before = log.read_bytes()
        error = self.resume("a", "--max_iters=12", code=2).stderr
        for words in ("checkpoints are of run", "metrics.jsonl is of run"):
            self.assertIn(words, error)
        self.assertEqual(log.read_bytes(), before)
        # An older log does not say whose it is.
        header, rest = before.decode().split("\n", 1)
        header = json.loads(header)
        del header["metadata"]["lineage"]
        log.write_text(json.dumps(header, separators=(",", ":")) + "\n" + rest)
        self.resume("a", "--max_iters=12")

    def test_a_run_lost_before_its_first_checkpoint_keeps_the_name_in_its_log(self):
        process = self.start("a", "--max_iters=100000", "--checkpoint_interval=0", "--eval_interval=0")
        metrics = self.folder_of("a") / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (metrics.exists() and '"iteration"' in metrics.read_text()):
            time.sleep(0.01)
        process.kill()
        process.communicate()
        self.assertFalse((self.folder_of("a") / "latest").exists())
        self.train("a", "--init_from=auto", "--max_iters=5")
        self.train("a", "--init_from=auto", "--max_iters=10")
        self.assertEqual(self.manifest("a", 10)["lineage"], self.records("a")[0]["metadata"]["lineage"])

    def test_an_imported_model_is_trained_without_model_keys(self):
        self.train("a", *DONE)
        self.run_train("export", "--checkpoint", "out/a", "--out", "exported")
        for run in ("c", "d"):
            self.run_train("import", "exported", "--out", f"out/{run}")
        plain = json.loads(self.config.read_text())
        for key in ("arch_preset", "n_layer", "n_head", "n_kv_head", "n_embd", "intermediate_size"):
            del plain[key]
        self.config.write_text(json.dumps(plain))
        self.resume("c", "--max_iters=5")
        self.assertEqual(sorted(self.losses("c")), list(range(5)))
        self.resume("c", "--max_iters=10")
        self.assertEqual(sorted(self.losses("c")), list(range(10)))
        self.train("e", "--init_from=out/d", "--max_iters=5")
        self.assertEqual({i: self.losses("c")[i] for i in range(3)}, {i: self.losses("e")[i] for i in range(3)})

    def test_auto_never_begins_at_zero_over_a_run_whose_checkpoints_are_gone(self):
        self.train("a", *DONE)
        for with_link in (True, False):
            shutil.rmtree(self.folder_of("a") / "checkpoints", ignore_errors=True)
            if not with_link:
                (self.folder_of("a") / "latest").unlink()
            log = (self.folder_of("a") / "metrics.jsonl").read_bytes()
            error = self.train("a", "--init_from=auto", code=3).stderr
            self.assertIn("had checkpoints, and none is left", error)
            self.assertEqual((self.folder_of("a") / "metrics.jsonl").read_bytes(), log)

    def test_auto_does_not_wait_for_a_pipe_in_place_of_the_log(self):
        self.train("a", *DONE)
        shutil.rmtree(self.folder_of("a") / "checkpoints")
        (self.folder_of("a") / "latest").unlink()
        log = self.folder_of("a") / "metrics.jsonl"
        log.unlink()
        os.mkfifo(log)
        self.assertIn("metrics.jsonl", self.train("a", "--init_from=auto", code=3).stderr)

    def test_checkpoints_of_two_runs_are_not_mixed(self):
        self.train("a", *DONE)
        self.train("b", "--max_iters=5", "--seed=5")
        shutil.copytree(self.folder_of("b") / "checkpoints/step_00000005",
                        self.folder_of("a") / "checkpoints/step_00000007")
        for choice in ("resume", "auto"):
            error = self.train("a", f"--init_from={choice}", "--max_iters=20", code=2).stderr
            self.assertIn("checkpoints are of different runs", error)
            self.assertIn("step_00000007", error)

    def test_rotation_only_touches_its_own(self):
        self.train("a", *DONE)
        self.train("b", "--max_iters=5", "--seed=5")
        lineages = {self.manifest("a", 10)["lineage"], self.manifest("b", 5)["lineage"]}
        self.assertEqual(len(lineages), 2)
        self.resume("a", "--max_iters=20")
        self.assertIn(self.manifest("a", 20)["lineage"], lineages, "a resumed run is the same run")


class Keys(ResumeTest):
    FIXED = {
        "n_head": (8, "num_attention_heads (n_head): 4 in the checkpoint, 8 now"),
        "rope_theta": (500000, "rope_theta: 10000 in the checkpoint, 500000 now"),
        "norm_eps": (1e-6, "(norm_eps): 1e-05 in the checkpoint, 1e-06 now"),
        "activation": ("gelu", "(activation): silu in the checkpoint, gelu now"),
        "n_layer": (3, "(n_layer): 2 in the checkpoint, 3 now"),
        "block_size": (16, "(block_size): 32 in the checkpoint, 16 now"),
        "seed": (7, "seed: 1337 in the checkpoint, 7 now"),
        "ignore_index": (-1, "ignore_index: -100 in the checkpoint, -1 now"),
    }

    def test_keys_that_the_checkpoint_fixes(self):
        self.train("a", *DONE)
        before = self.weights("a")
        for key, (value, words) in self.FIXED.items():
            with self.subTest(key):
                error = self.resume("a", "--max_iters=12", f"--{key}={value}", code=2).stderr
                self.assertIn(words, error)
                self.assertIn("--init_from=out/a/checkpoints/step_00000010", error)
        self.assertEqual(self.weights("a"), before)

    def test_a_key_given_as_it_was_is_no_change(self):
        self.train("a", *DONE)
        output = self.resume("a", "--rope_theta=10000", "--norm_eps=1e-5", "--seed=1337", "--max_iters=10").stdout
        self.assertNotIn("changed", output)

    def test_data_are_what_they_are_not_where(self):
        tokens = [i * i % 257 for i in range(4000)]
        self.write_tokens("train.bin", tokens)
        self.write_tokens("val.bin", tokens[:400])
        data = ("--train_data=train.bin", "--val_data=val.bin", "--vocab_size=257")
        self.train("a", *DONE, *data)
        self.copy("a", "b")
        (self.root / "elsewhere").mkdir()
        (self.root / "train.bin").rename(self.root / "elsewhere/train.bin")
        moved = ("--train_data=elsewhere/train.bin", *data[1:])
        self.assertIn("changed train_data", self.resume("a", *moved, "--max_iters=12").stdout)
        self.write_tokens("train.bin", tokens[:3900])
        error = self.resume("b", *data, "--max_iters=12", code=2).stderr
        self.assertIn("training data: 4000 tokens", error)
        self.assertIn("3900 tokens", error)
        self.assertIn("train_data: train.bin in the checkpoint, not set now",
                      self.resume("b", "--max_iters=12", "--vocab_size=257", code=2).stderr)

    def test_a_change_anywhere_in_the_data_is_one(self):
        tokens = [i * i % 257 for i in range(400_000)]
        data = ("--train_data=train.bin", "--val_data=val.bin", "--vocab_size=257")
        self.write_tokens("train.bin", tokens)
        self.write_tokens("val.bin", tokens[:400])
        self.train("a", *DONE, *data)
        changed = list(tokens)
        changed[200_000 - 50_000] += 1  # not among the 4 times 1024 that older programs looked at
        self.write_tokens("train.bin", changed)
        self.assertIn("training data", self.resume("a", *data, "--max_iters=12", code=2).stderr)
        # The same tokens in several files are no other data.
        for part in range(2):
            self.write_tokens(f"part_{part}.bin", tokens[part * 150_000:150_000 if part == 0 else None])
        parts = ("--train_data=part_*.bin", *data[1:])
        self.copy("a", "old")
        self.assertIn("changed train_data", self.resume("a", *parts, "--max_iters=12").stdout)
        # A checkpoint of an older program has the sample alone.
        state = self.state("old", 10)
        for part, text in state["data"].items():
            state["data"][part] = re.sub(", 16-bit tokens [0-9a-f]{8}", "", text)
        self.write_state("old", 10, state)
        self.resume("old", *data, "--max_iters=12")

    def test_a_changed_shard_is_seen_by_its_checksums(self):
        text = "".join(f"{i} squared is {i * i}.\n" for i in range(20_000))
        data = ("--dataset=text", "--eval_interval=0")
        for name, old, new in (("data/text", "", ""), ("data/other", "7000 squared", "7000 Squared")):
            (self.root / "text.txt").write_text(text.replace(old, new) if old else text)
            self.run_train("prepare-data", "--input", "text.txt", "--out", name)
        self.train("a", *DONE, *data)
        (self.root / "data/text").rename(self.root / "data/moved")
        (self.root / "data/other").rename(self.root / "data/text")
        self.assertIn("training data", self.resume("a", *data, "--max_iters=12", code=2).stderr)
        self.resume("a", "--dataset=data/moved", "--eval_interval=0", "--max_iters=12")

    def test_changes_that_may_be_are_said_and_logged(self):
        self.train("a", *DONE)
        output = self.resume("a", "--learning_rate=1e-3", "--weight_decay=0.2", "--max_iters=12",
                             "--attention_backend=manual", "--log_interval=5").stdout
        for words in ("changed learning_rate: 0.003 in the checkpoint, 0.001 now",
                      "changed weight_decay: 0.1 in the checkpoint, 0.2 now",
                      "changed max_iters: 10 in the checkpoint, 12 now",
                      "changed attention_backend: auto in the checkpoint, manual now"):
            self.assertIn(words, output)
        self.assertNotIn("changed log_interval", output)
        (resumed,) = [r for r in self.records("a") if r["type"] == "resume"]
        self.assertEqual(resumed["changes"]["weight_decay"], {"before": "0.1", "now": "0.2"})

    def test_a_new_run_from_the_weights_says_so(self):
        self.train("a", *DONE)
        output = self.train("b", "--init_from=out/a/checkpoints/step_00000010", "--n_head=8", "--n_kv_head=4",
                            "--max_iters=5").stdout
        self.assertIn("a new run from the weights of out/a/checkpoints/step_00000010", output)
        self.assertIn("another model: num_attention_heads (n_head): 4 in the checkpoint, 8 now", output)
        self.assertEqual(sorted(self.losses("b")), list(range(5)))


class Cursor(ResumeTest):
    """The data: every window of block_size + 1 tokens is numbered, and a constant token says which one it is."""

    def test_another_batch_reads_on_where_the_last_one_ended(self):
        self.train("a", *DONE)  # 10 iterations of 2 x 4 sequences
        self.assertEqual(self.state("a")["samples"], 80)
        for options, sequences in ((("--batch_size=2",), 4), (("--gradient_accumulation_steps=6",), 24),
                                   (("--batch_size=8", "--gradient_accumulation_steps=1"), 8)):
            with self.subTest(options):
                name = f"b{sequences}{len(options)}"
                self.copy("a", name)
                self.resume(name, *options, "--max_iters=14")
                self.assertEqual(self.state(name)["samples"], 80 + 4 * sequences)
                tokens = [r["tokens"] for r in self.iterations(name)]
                self.assertEqual(tokens[:10], [32 * 8 * (i + 1) for i in range(10)])
                self.assertEqual(tokens[10:], [32 * (80 + sequences * (i + 1)) for i in range(4)])

    def test_the_split_of_a_batch_is_no_matter(self):
        self.train("a", *DONE, "--lr_decay_iters=20")
        self.copy("a", "b")
        self.resume("a", "--max_iters=20", "--lr_decay_iters=20")
        self.resume("b", "--batch_size=2", "--gradient_accumulation_steps=4", "--max_iters=20", "--lr_decay_iters=20")
        for iteration, loss in self.losses("a").items():
            self.assertAlmostEqual(self.losses("b")[iteration] / loss, 1, delta=1e-5)

    def test_an_older_checkpoint_counts_by_its_own_batch(self):
        self.train("a", *DONE)
        self.make_older("a", 10)
        self.resume("a", "--batch_size=2", "--max_iters=12")
        self.assertEqual(self.state("a")["samples"], 80 + 2 * 4)

    def make_older(self, run, step):
        """Takes out what older programs did not write."""
        state = self.state(run, step)
        for key in ("samples", "batch", "schedule", "data"):
            del state[key]
        self.write_state(run, step, state, without=["lineage"])
        for path in (self.folder_of(run) / "checkpoints").glob("step_*"):
            if path.name != f"step_{step:08d}":
                shutil.rmtree(path)

    def test_max_tokens_counts_what_was_read(self):
        self.config.write_text(json.dumps({**json.loads(self.config.read_text()), "max_iters": None,
                                           "max_tokens": 32 * 8 * 20, "lr_schedule": "constant"}
                                          | {}).replace('"max_iters": null, ', ""))
        self.train("a", "--max_tokens=2560")
        self.resume("a", "--batch_size=2")
        self.assertEqual(self.iterations("a")[-1]["tokens"], 32 * 8 * 20)
        self.assertEqual(len(self.iterations("a")), 10 + 20)


class Facts(ResumeTest):
    """A checkpoint says what was measured on exactly its weights."""

    def check_losses(self, run):
        """Every loss in a manifest is one of the log, of the same number."""
        evaluated = dict(self.evaluations(run))
        for step in self.steps(run):
            loss = self.manifest(run, step)["val_loss"]
            self.assertEqual(loss, evaluated.get(step), step)
            self.assertEqual(self.state(run, step).get("val_loss"), loss)

    def test_the_best_evaluated_weights_stay_whatever_the_intervals(self):
        for name, options in (("unequal", ("--eval_interval=3", "--checkpoint_interval=5", "--keep_checkpoints=1")),
                              ("only_best", ("--eval_interval=2", "--checkpoint_interval=0",
                                             "--always_save_checkpoint=false", "--keep_checkpoints=1")),
                              ("together", ("--eval_interval=4", "--checkpoint_interval=2", "--keep_checkpoints=1"))):
            with self.subTest(name):
                self.train(name, *options, "--max_iters=24", "--learning_rate=2", "--warmup_iters=40")
                step, best = min(self.evaluations(name), key=lambda entry: entry[1])
                self.assertLess(step, 24, "a run whose last weights are the best proves nothing")
                self.assertEqual(self.manifest(name, step)["val_loss"], best)
                self.assertEqual(self.state(name)["best_val_loss"], best)
                self.check_losses(name)

    def test_a_stopped_run_has_no_loss_of_other_weights(self):
        process = self.start("a", "--max_iters=100000", "--eval_interval=2", "--checkpoint_interval=1000000")
        self.stop_after(process, "a", 5)
        self.check_losses("a")

    def test_bad_validation_data_lose_nothing(self):
        tokens = [i * i % 257 for i in range(4000)]
        self.write_tokens("train.bin", tokens)
        self.write_tokens("val.bin", tokens[:100] + [400] + tokens[:100])
        for options, steps in ((("--eval_interval=4", "--checkpoint_interval=0"), [4]),
                               (("--eval_interval=4", "--checkpoint_interval=0", "--always_save_checkpoint=false"), [4]),
                               (("--eval_interval=0", "--checkpoint_interval=0"), [6])):
            for ranks in (1, 2):
                with self.subTest(options, ranks=ranks):
                    shutil.rmtree(self.root / "out", ignore_errors=True)
                    error = self.on_ranks(ranks, "a", "--train_data=train.bin", "--val_data=val.bin",
                                          "--vocab_size=257", "--max_iters=6", "--eval_iters=0", *options, code=3).stderr
                    self.assertIn("val.bin", error)
                    self.assertEqual(self.steps("a"), steps)
                    self.assertIsNone(self.manifest("a", steps[0])["val_loss"])
                    self.assertEqual([r["iter"] for r in self.records("a") if r["type"] == "checkpoint"], steps)

    def test_bad_training_data_lose_nothing(self):
        tokens = [i * i % 257 for i in range(4000)]
        self.write_tokens("train.bin", tokens[:3000] + [400] + tokens[:999])
        self.write_tokens("val.bin", tokens[:400])
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                shutil.rmtree(self.root / "out", ignore_errors=True)
                self.on_ranks(ranks, "a", "--train_data=train.bin", "--val_data=val.bin", "--vocab_size=257",
                              "--max_iters=100", "--eval_interval=0", "--checkpoint_interval=0", code=3)
                self.assertGreater(len(self.iterations("a")), 0)
                self.assertEqual(self.steps("a"), [len(self.iterations("a"))])


class Divergence(ResumeTest):
    WILD = ("--learning_rate=100", "--grad_clip=0", "--weight_decay=100", "--warmup_iters=0")

    def test_the_checkpoint_named_as_intact_resumes_well(self):
        self.train("a", "--max_iters=20", "--lr_decay_iters=40")
        good = self.losses("a")[19]
        wild = self.resume("a", *self.WILD, "--max_iters=400", "--checkpoint_interval=1", "--keep_checkpoints=0",
                           "--eval_interval=3", code=6).stdout
        named = re.search(r"(out/a/checkpoints/step_(\d+)) is intact", wild)
        self.assertIsNotNone(named, wild)
        skipped = [r["iter"] for r in self.iterations("a") if r.get("skipped")]
        self.assertEqual(len(skipped), 10)
        self.assertLessEqual(max(self.steps("a")), skipped[0], "none is written while updates are skipped")
        self.assertEqual(max(self.steps("a")), int(named.group(2)))
        self.assertEqual((self.folder_of("a") / "latest").resolve(), self.root.resolve() / named.group(1))
        self.resume("a", "--learning_rate=1e-3", "--max_iters=40")
        losses = self.losses("a")
        self.assertEqual(sorted(losses), list(range(40)))
        self.assertLess(losses[39], good)

    def test_an_end_amid_skipped_updates_leaves_a_checkpoint_that_resumes_well(self):
        self.train("a", "--max_iters=20", "--lr_decay_iters=40")
        wild = (*self.WILD, "--checkpoint_interval=1", "--keep_checkpoints=0", "--eval_interval=0")
        self.copy("a", "probe")
        self.resume("probe", *wild, "--max_iters=400", code=6)
        skipped = [r["iter"] for r in self.iterations("probe") if r.get("skipped")]
        self.copy("a", "b")
        end = self.resume("b", *wild, f"--max_iters={skipped[4]}", code=6).stdout
        named = re.search(r"(out/b/checkpoints/step_(\d+)) is the newest checkpoint with a sound loss", end)
        self.assertIsNotNone(named, end)
        self.assertEqual(max(self.steps("b")), int(named.group(2)))
        self.assertEqual(max(self.steps("b")), max(self.steps("probe")), "as after ten of them")
        self.assertEqual((self.folder_of("b") / "latest").resolve(), self.root.resolve() / named.group(1))
        self.resume("b", "--learning_rate=1e-3", "--max_iters=40")
        self.assertLess(self.losses("b")[39], 5)

    def poison(self, path):
        """Writes NaN and infinity into the first tensor of a file without checksums; returns its name."""
        data = bytearray(path.read_bytes())
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        name = next(key for key in header if key != "__metadata__")
        first = 8 + length + header[name]["data_offsets"][0]
        data[first:first + 12] = struct.pack("<fff", float("nan"), 1.0, float("inf"))
        path.write_bytes(data)
        return name

    def test_weights_that_are_not_finite_are_named(self):
        self.train("a", "--max_iters=5")
        self.run_train("export", "--checkpoint", "out/a", "--out", "exported")
        name = self.poison(self.root / "exported/model.safetensors")
        error = self.train("b", "--init_from=exported", "--max_iters=5", code=2).stderr
        self.assertIn(f"{name}: 2 values", error)
        self.assertIn("allow_nonfinite_weights=true", error)
        self.assertFalse(self.folder_of("b").exists() and self.steps("b"))
        imported = self.run_train("import", "exported", "--out", "out/c")
        self.assertIn(f"{name}: 2 values", imported.stderr)
        self.assertIn(f"{name}: 2 values", self.train("d", "--init_from=out/c", "--max_iters=5", code=2).stderr)
        asked = self.train("e", "--init_from=exported", "--max_iters=1", "--allow_nonfinite_weights=true",
                           "--eval_interval=0").stdout
        self.assertIn(f"{name}: 2 values", asked)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
