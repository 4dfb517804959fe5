"""What the earlier Python trainer promised or got wrong, where it takes a whole run to see; the rest is in
tests/trainer/earlier_*_test.cpp. Numbers are those of its list of defects.

usage: earlier_trainer_test.py TRAIN SCALING_PLAN SOURCE_DIR [unittest arguments]
"""

import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import termios
import time
import unittest

from train_support import PLAN, TrainTest


class EarlierTrainerTest(TrainTest):
    def log(self, run):
        return json.loads((self.root / "out" / run / f"run_{run}.json").read_text())

    def write_config(self, name, **keys):
        path = self.root / name
        path.write_text(json.dumps({"warmup_iters": 0, "eval_interval": 0, "eval_iters": 1, "max_iters": 3, **keys}))
        return path

    def state(self, run):
        return json.loads((self.root / "out" / run / "latest" / "trainer_state.json").read_text())


class Defects(EarlierTrainerTest):
    def test_05_06_mfu_is_of_all_tokens_by_a_stated_formula(self):
        self.run_train(self.config, "--run_name=exact", "--max_iters=6")
        self.assertEqual(self.log("exact")["training_iterations"][5]["mfu"]["flop_convention"], "exact")
        self.run_train(self.config, "--run_name=a", "--max_iters=8", "--flop_convention=palm")
        log = self.log("a")
        for record in log["training_iterations"][5:]:
            mfu = record["mfu"]
            n, layers, hidden, length = log["startup_info"]["model"]["total_params"], 2, 64, 32
            self.assertEqual(mfu["flop_convention"], "palm")
            self.assertEqual(mfu["flops_per_token"], 6 * n + 12 * layers * hidden * length)
            tokens = 4 * 2 * length  # micro-batch x accumulation over all ranks x block
            self.assertAlmostEqual(mfu["tokens_per_sec"] * record["time_ms"] / 1000 / tokens, 1, delta=1e-9)
            self.assertAlmostEqual(mfu["tokens_per_sec"] * mfu["flops_per_token"] / mfu["flops_achieved"], 1, delta=1e-9)
            self.assertAlmostEqual(mfu["flops_achieved"] / mfu["hardware_peak_flops"] / mfu["mfu"], 1, delta=1e-9)
            self.assertAlmostEqual(mfu["mfu_percent"] / 100 / mfu["mfu"], 1, delta=1e-9)

    def test_07_the_peak_is_measured_and_never_that_of_an_a100(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=6")
        mfu = self.log("a")["training_iterations"][5]["mfu"]
        self.assertIn("measured", mfu["gpu_name"])
        self.assertNotIn("A100", mfu["gpu_name"])
        self.assertNotEqual(mfu["hardware_peak_tflops"], 312)

    def test_08_gradient_statistics_are_logged(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=5", "--gradient_log_interval=2")
        for record in self.log("a")["training_iterations"]:
            self.assertEqual("gradients" in record, record["iter"] % 2 == 0)
            if "gradients" in record:
                self.assertGreater(record["gradients"]["global_norm"], 0)
                self.assertEqual(record["gradients"]["global_norm"], record["grad_norm"])

    def test_12_sixteen_bits_run_on_a_cpu(self):
        output = self.run_train(self.config, "--dtype=float16", "--max_iters=1").stdout
        self.assertIn("dtype float16 runs as float32", " ".join(output.split()))

    def test_16_a_worse_evaluation_does_not_replace_the_best(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=8", "--eval_interval=1", "--learning_rate=0.3",
                       "--warmup_iters=0", "--checkpoint_interval=0", "--always_save_checkpoint=True")
        losses = [step["val_loss"] for step in self.log("a")["eval_steps"]]
        worse = [i for i, loss in enumerate(losses) if loss > min(losses[:i + 1])]
        self.assertTrue(worse, losses)
        self.assertEqual(self.log("a")["summary"]["best_val_loss"], min(losses))
        self.assertEqual(self.state("a")["best_val_loss"], min(losses))
        saved = {int(path.name[5:]): json.loads((path / "trainer_state.json").read_text())["best_val_loss"]
                 for path in (self.root / "out/a/checkpoints").iterdir()}
        for step, best in saved.items():
            self.assertEqual(best, min(losses[:step]), step)

    def test_17_runs_are_as_long_as_asked(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=7")
        log = self.log("a")
        self.assertEqual([record["iter"] for record in log["training_iterations"]], list(range(7)))
        self.assertEqual((log["summary"]["total_iterations"], log["summary"]["final_iter"]), (7, 6))

    def test_18_training_goes_on_from_gpt2_with_a_shorter_context(self):
        gpt2 = self.write_config("gpt2.json", arch_preset="gpt2", normalization="layernorm", bias=True,
                                 activation="gelu_tanh", n_layer=2, n_head=4, n_embd=32, block_size=32, batch_size=4)
        self.run_train(gpt2, "--run_name=a")
        self.run_train("export", "--checkpoint", "out/a", "--out", "gpt2")
        # Nothing here repeats the sizes of the model.
        config = self.write_config("more.json", block_size=16, batch_size=4)
        output = self.run_train(config, "--init_from=gpt2", "--run_name=b").stdout
        self.assertIn("2L-4H-32D-AbsPos-LN-GELU-PreNorm", output)
        resumed = self.run_train(config, "--run_name=b", "--init_from=resume", "--max_iters=5").stdout
        self.assertIn("resumed out/b at iteration 3", resumed)
        self.run_train(config, "--run_name=c", "--init_from=out/b")
        self.assertTrue(self.run_train("sample", "--checkpoint", "out/b", "--prompt", "The", "--tokens", 3).stdout)
        self.run_train("export", "--checkpoint", "out/b", "--out", "again")
        self.assertEqual(json.loads((self.root / "again/config.json").read_text())["n_positions"], 32)
        self.assertIn("give the folder", self.run_train(config, "--init_from=gpt2-xl", code=2).stderr)

    def test_19_overrides_are_read_in_pythons_spelling_too(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=1", "--learning_rate=1", "--out_dir=o=1", "--bias=False",
                       "--save_log_to_json=True")
        self.assertTrue((self.root / "o=1" / "a" / "run_a.json").exists())
        self.assertIn("learning_rate must be a number", self.run_train(self.config, "--learning_rate=a=b", code=2).stderr)

    def test_20_a_killed_run_keeps_its_log(self):
        process = subprocess.Popen(self.command(self.config, "--run_name=a", "--max_iters=100000", "--eval_interval=0",
                                                "--log_interval=1000", "--log_save_interval=100000"),
                                   cwd=self.root, stdout=subprocess.DEVNULL)
        metrics = self.root / "out" / "a" / "metrics.jsonl"
        deadline = time.time() + 120
        while time.time() < deadline and not (metrics.exists() and metrics.read_text().count('"iteration"') > 20):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        iterations = [json.loads(line)["iter"] for line in metrics.read_text().splitlines()[:-1] if '"iteration"' in line]
        self.assertGreaterEqual(len(iterations), 20)
        self.assertEqual(iterations, list(range(len(iterations))))
        compared = json.loads(self.run_train("compare", "--json").stdout)["runs"][0]
        self.assertEqual(compared["end_state"], "running")
        self.assertGreaterEqual(compared["iterations"], 20)

    def test_21_compare_shows_what_was_built(self):
        for name, choice in (("a", "--normalization=layernorm"), ("b", "--position_encoding=none"), ("c", "--seed=2")):
            self.run_train(self.config, f"--run_name={name}", "--max_iters=1", choice)
        table = self.run_train("compare").stdout
        for architecture in ("llama(layernorm/rope/swiglu)", "llama(rmsnorm/none/swiglu)", "llama(rmsnorm/rope/swiglu)"):
            self.assertIn(architecture, table)
        newest = json.loads(self.run_train("compare", "--latest", 2, "--json", "--out_dir", "out").stdout)["runs"]
        self.assertEqual({run["run_name"] for run in newest}, {"b", "c"})


class Fields(EarlierTrainerTest):
    """Every field of the earlier log is in the log of a run, and every figure of an iteration on the console."""

    SCHEMA = {
        "": "run_name start_time config startup_info training_iterations eval_steps checkpoints metadata end_time summary",
        "config": "out_dir eval_interval log_interval eval_iters eval_only always_save_checkpoint init_from "
                  "save_log_to_json log_save_interval gradient_log_interval dataset gradient_accumulation_steps batch_size "
                  "block_size n_layer n_head n_embd dropout bias arch_preset normalization activation attention_backend "
                  "position_encoding norm_position ffn_type weight_tying rope_theta learning_rate max_iters weight_decay "
                  "beta1 beta2 grad_clip decay_lr warmup_iters lr_decay_iters min_lr use_zero1 use_fsdp "
                  "fsdp_min_num_params fsdp_activation_checkpointing device dtype norm_eps vocab_size d_ff",
        "startup_info": "timestamp model optimizer config hardware",
        "startup_info.model": "total_params trainable_params non_embedding_params",
        "startup_info.optimizer": "type param_groups",
        "startup_info.hardware": "gpu_name num_gpus gpu_memory_gb precision parallelism",
        "training_iterations.-1": "iter loss time_ms mfu memory gradients",
        "training_iterations.-1.mfu": "mfu mfu_percent flops_achieved flops_per_token tokens_per_sec hardware_peak_flops "
                                      "hardware_peak_tflops achieved_tflops gpu_name precision num_gpus "
                                      "attention_flops_per_layer ffn_flops_per_layer attention_to_ffn_ratio architecture",
        "training_iterations.-1.memory": "allocated_gb reserved_gb max_allocated_gb max_reserved_gb",
        "training_iterations.-1.gradients": "global_norm mean_layer_norm max_layer_norm min_layer_norm grad_mean grad_std "
                                            "grad_min grad_max",
        "eval_steps.-1": "iter train_loss val_loss timestamp lr",
        "checkpoints.-1": "iter val_loss path timestamp",
        "metadata": "world_size device dtype compile use_zero1 use_fsdp",
        "summary": "total_iterations final_iter final_train_loss best_val_loss avg_time_ms avg_mfu total_eval_steps "
                   "total_checkpoints",
    }

    def test_the_log_has_every_field_with_a_value(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=7", "--gradient_log_interval=1")
        log = self.log("a")
        for place, names in self.SCHEMA.items():
            part = log
            for step in filter(None, place.split(".")):
                part = part[int(step) if step.lstrip("-").isdigit() else step]
            for name in names.split():
                self.assertIn(name, part, place)
                self.assertIsNotNone(part[name], f"{place}.{name}")
        self.assertTrue(all(record["mfu"] is None for record in log["training_iterations"][:5]))

    def test_the_console_has_every_figure(self):
        primary, secondary = pty.openpty()  # a wide terminal: 80 columns have room for the most important ones
        termios.tcsetwinsize(secondary, (50, 200))
        process = subprocess.Popen(self.command(self.config, "--run_name=a", "--max_iters=8", "--log_interval=1",
                                                "--gradient_log_interval=7"), cwd=self.root, stdout=secondary)
        os.close(secondary)
        output = ""
        try:
            while chunk := os.read(primary, 65536):
                output += chunk.decode()
        except OSError:
            pass  # the end
        os.close(primary)
        self.assertEqual(process.wait(), 0, output)
        output = re.sub("\x1b\\[[0-9]*[mK]", "", output)
        line = next(line for line in output.splitlines() if line.startswith("iter 7/8"))
        for figure in ("loss", " ms", "lr ", "MFU", "HFU", "tok/s", "FLOP/s", "mem ", "norm "):
            self.assertIn(figure, line)
        for figure in ("layer norms", "mean", "std", "model FLOPs", "attention/FFN",
                       "process memory", "train loss", "val loss", "log out/a/run_a.json"):
            self.assertIn(figure, output)


@unittest.skipUnless(pathlib.Path("/proc/self/status").exists(), "needs /proc")
class Memory(EarlierTrainerTest):
    """Anonymous memory of the process at its peak against the plan. Beside the arena live packed panels of products,
    attention tiles, the matrices of the GEMM rate measurement (freed before the first iteration) and the runtime."""

    SLACK = 50e6

    def peak_anonymous_bytes(self, *arguments):
        process = subprocess.Popen(self.command(*arguments), cwd=self.root, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        peak = 0
        while process.poll() is None:
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if "RssAnon" in fields:
                resident = {key: 1024 * int(fields[key].split()[0]) for key in ("RssAnon", "RssFile", "VmHWM")}
                # Between two samples only the high-water mark sees a peak; it includes mapped
                # files.
                peak = max(peak, resident["RssAnon"], resident["VmHWM"] - resident["RssFile"])
            time.sleep(0.005)
        output = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 0, output)
        return peak

    def test_the_process_takes_what_was_planned(self):
        base = {"n_layer": 4, "n_head": 4, "n_embd": 256, "vocab_size": 4096, "block_size": 256, "batch_size": 2}
        cases = {
            "smallest": {**base, "n_layer": 1, "n_embd": 32, "block_size": 16, "vocab_size": 257, "arch_preset": "llama"},
            "llama": {**base, "arch_preset": "llama", "n_kv_head": 2},
            "sdpa": {**base, "arch_preset": "hybrid", "attention_backend": "sdpa"},
            "manual": {**base, "arch_preset": "llama", "attention_backend": "manual", "batch_size": 8},
            "attention": {**base, "arch_preset": "qwen3", "head_dim": 64, "recompute": "attention"},
            "block": {**base, "arch_preset": "gpt2", "recompute": "block", "dropout": 0.1},
            "accumulation": {**base, "arch_preset": "gpt2", "gradient_accumulation_steps": 3},
            "large": {**base, "arch_preset": "llama", "n_embd": 512, "vocab_size": 16384, "batch_size": 8},
        }
        for name, keys in cases.items():
            config = self.write_config(f"{name}.json", **keys)
            plan = subprocess.run([str(PLAN), "model", str(config), "--json"], text=True, capture_output=True)
            self.assertEqual(plan.returncode, 0, plan.stderr)
            planned = json.loads(plan.stdout)["memory"]["total_bytes"]
            peak = self.peak_anonymous_bytes(config, f"--run_name={name}", "--threads=2")
            print(f"{name}: planned {planned / 1e6:.1f} MB, peak RssAnon {peak / 1e6:.1f} MB", file=sys.stderr)
            self.assertLessEqual(abs(peak - planned), 0.1 * planned + self.SLACK, name)
            if planned < 1e8:
                continue  # the memory of iterations is below that of the start
            recorded = max(record["memory"]["max_reserved_gb"] for record in self.records(name)
                           if record["type"] == "iteration") * 2**30
            self.assertLessEqual(abs(peak - recorded), 0.02 * peak + 5e6, f"{name}: what the log calls the peak")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
