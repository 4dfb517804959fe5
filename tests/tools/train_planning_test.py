"""End-to-end tests of train beside scaling-plan: dry runs, memory, emitted configs.

usage: train_planning_test.py TRAIN SCALING_PLAN SOURCE_DIR [unittest arguments]
"""

import json
import subprocess
import sys
import unittest

from train_support import PLAN, SOURCE, TrainTest


class Planning(TrainTest):
    def expect_the_plans_memory(self, *options):
        output = self.run_train(self.config, "--dry-run", *options).stdout
        self.assertIn("Memory plan", output)
        self.assertFalse((self.root / "out").exists())
        plan = subprocess.run([str(PLAN), "model", str(self.config), "--json", *options], text=True,
                              capture_output=True)
        self.assertEqual(plan.returncode, 0, plan.stderr)
        figures = json.loads(plan.stdout)
        memory = figures["memory"]
        line = " ".join(output[output.index("Attention backend"):output.index("Memory plan")].split())
        self.assertIn(figures["attention"]["used"], line)
        self.assertIn(figures["attention"]["reason"], line)
        self.assertEqual(figures["execution"]["attention_backend"], figures["attention"]["used"])
        section = output[output.index("Memory plan"):output.index("Expectation")]
        for category in ("weights", "gradients", "optimizer_moments", "activations"):
            line = next(line for line in section.splitlines() if line.strip().startswith(category))
            number, unit = line.split()[1:3]
            bytes_shown = float(number) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
            self.assertAlmostEqual(memory["by_category"][category] / bytes_shown, 1, delta=0.01)
        return figures, plan.stderr

    def test_the_dry_run_shows_the_plans_memory(self):
        figures, warnings = self.expect_the_plans_memory()
        self.assertEqual(figures["attention"]["requested"], "auto")
        self.assertNotIn("attention", warnings)

    def test_the_dry_run_and_the_plan_fall_back_alike(self):
        for options, requested in (
                (("--disable_backends=flash_attn_2,sdpa",), "auto"),
                (("--attention_backend=sdpa", "--disable_backends=sdpa"), "sdpa"),
                (("--device=cuda", "--dtype=float32", "--attention_backend=flash_attn_2"), "flash_attn_2"),
                (("--device=cuda", "--dtype=tf32"), "auto"),
                (("--device=cuda", "--head_dim=80", "--attention_backend=sdpa"), "sdpa")):
            figures, warnings = self.expect_the_plans_memory(*options)
            self.assertEqual(figures["attention"]["requested"], requested, options)
            self.assertEqual(figures["attention"]["used"], "manual", options)
            self.assertEqual("attention runs with manual instead of" in warnings, requested != "auto", options)

    def dry_run(self, *options, code=0):
        output = self.run_train(self.config, "--dry-run", "--json", *options, code=code).stdout
        return json.loads(output)["memory"]

    def test_the_dry_run_ends_as_the_run_would(self):
        fits = self.dry_run()
        self.assertTrue(fits["fits"])
        self.assertEqual(fits["headroom_bytes"], fits["capacity_bytes"] - fits["total_bytes"])
        large = ("--n_embd=65536", "--n_layer=96")
        text = self.run_train(self.config, "--dry-run", *large, code=5).stdout
        self.assertRegex(text, r"\n  fits +no +\S+ GiB too much")
        self.run_train(self.config, *large, code=5)
        self.assertFalse(self.dry_run(*large, code=5)["fits"])

    def test_the_dry_run_compares_with_the_gpu_that_is_named(self):
        unknown = self.run_train(self.config, "--dry-run", "--device=cuda").stdout
        if "no GPU is here" not in " ".join(unknown.split()):
            self.skipTest("this machine has a GPU, with which a dry run compares")
        self.assertIsNone(self.dry_run("--device=cuda")["fits"])
        named = self.dry_run("--gpu_type=H100")  # device=auto plans for it
        self.assertEqual((named["device"], named["fits"]), ("H100-SXM", True))
        medium = ("--n_embd=4096", "--n_head=32", "--n_layer=32", "--batch_size=4", "--gradient_accumulation_steps=4",
                  "--block_size=2048")
        self.assertTrue(self.dry_run("--gpu_type=B300", *medium)["fits"])
        small = self.dry_run("--gpu_type=RTX-4090", "--n_embd=1024", "--n_head=16", "--n_layer=24", "--batch_size=64",
                             "--block_size=2048", "--gradient_accumulation_steps=32", code=5)
        self.assertIn("batch_size=", small["change"]["description"])
        changed = dict(pair.split("=") for pair in small["change"]["description"].split(", "))
        again = self.dry_run("--gpu_type=RTX-4090", "--n_embd=1024", "--n_head=16", "--n_layer=24", "--batch_size=64",
                             "--block_size=2048", "--gradient_accumulation_steps=32",
                             *(f"--{key}={value}" for key, value in changed.items()))
        self.assertTrue(again["fits"], "the change is one that train takes")
        self.assertEqual(again["total_bytes"], small["change"]["total_bytes"])
        self.run_train(self.config, "--dry-run", "--gpu_type=H1000", code=2)

    def test_types_that_it_does_not_train_are_not_offered(self):
        refusal = self.run_train(self.config, "--dtype=fp8", "--dry-run", code=2).stderr
        self.assertIn("bfloat16", refusal)
        self.assertNotIn("float4", refusal)

    def test_an_emitted_plan_runs_unchanged(self):
        plan = self.root / "plan.jsonc"
        plan.write_text(json.dumps({
            "architecture": {"n_layer": 2, "n_embd": 64, "n_head": 4, "intermediate_size": 128, "vocab_size": 257,
                             "block_size": 32},
            "training_gear": {"gpu_type": "A100-SXM4-80GB", "num_gpus": 1, "available_hours": 0.0000001, "dtype": "float32"},
            "training_efficiency": {"expected_mfu": 0.4, "batch_size": 2},
        }))
        emitted = self.root / "emitted.jsonc"
        result = subprocess.run([str(PLAN), "backward", str(plan), "--emit-train-config", str(emitted)], text=True,
                                capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.run_train(emitted, "--run_name=planned")
        tokens = max(r["tokens"] for r in self.records("planned") if r["type"] == "iteration")
        planned = subprocess.run([str(PLAN), "backward", str(plan), "--json"], text=True, capture_output=True)
        figures = json.loads(planned.stdout)
        self.assertEqual(tokens, figures["schedule"]["steps"] * figures["schedule"]["tokens_per_step"])

    def test_the_planned_mfu_is_that_of_the_end_of_the_run(self):
        plan = self.root / "plan.jsonc"
        plan.write_text(json.dumps({
            "architecture": {"n_layer": 1, "n_embd": 64, "n_head": 4, "vocab_size": 257, "block_size": 32},
            "training_gear": {"gpu_type": "A100", "num_gpus": 1, "available_hours": 1e-8, "dtype": "float32"},
            "training_efficiency": {"expected_mfu": 0.37, "flop_convention": "palm", "batch_size": 2}}))
        emitted = self.root / "emitted.jsonc"
        subprocess.run([str(PLAN), "backward", str(plan), "--emit-train-config", str(emitted)], check=True,
                       capture_output=True)
        text = emitted.read_text()
        self.assertIn('"expected_mfu": 0.37', text)
        self.assertIn('"gpu_type": "A100-SXM-80"', text)
        output = " ".join(self.run_train(emitted, "--run_name=planned", "--max_iters=8", "--lr_decay_iters=8",
                                         "--device=cpu").stdout.split())
        self.assertIn("(plan: 37 % palm MFU)", output)

    def test_shipped_configs_plan_and_the_classic_loop_works(self):
        for config in sorted((SOURCE / "configs/train").glob("*.jsonc")):
            if config.name == "shakespeare.jsonc":
                continue  # needs the prepared text
            self.run_train(config, "--dry-run", "--gpu_type=B300")  # some need more than this machine has
        config = SOURCE / "configs/train/arch_custom.jsonc"
        for backend in ("flash_attn_2", "sdpa", "manual"):
            self.run_train(config, f"--attention_backend={backend}", "--max_iters=3", "--eval_iters=1")
        runs = sorted((self.root / "out").iterdir())
        self.assertEqual(len(runs), 3)
        self.run_train("compare", *runs)

    def test_gpt2_124m_has_the_published_count(self):
        output = self.run_train(SOURCE / "configs/train/gpt2_124m.jsonc", "--dry-run").stdout
        self.assertIn("124,439,808", output)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
