"""Trains tiny models with --device=cuda under ptxrun, which executes the program's own kernels without a GPU, and
compares them with the CPU. ptxrun must have nothing to report: no race, no stray access, no missing wait.

usage: ptxrun_check.py TRAIN PTXRUN [--gpu-tests PROGRAM] [--quick] [unittest arguments]

Without unittest arguments the tests run side by side, one for each processor.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import unittest

from ptxrun_support import DTYPES, SEEDS, STRATEGIES, TRAIN, PtxrunTest, tolerances

FP32 = "float32"
MANUAL = "--attention_backend=manual"
GPT2 = ["--arch_preset=gpt2", "--bias=true", "--n_kv_head=2"]
# No multiple of a vector's width anywhere, and what is left of a tile everywhere.
ODD = ["--n_head=3", "--n_kv_head=3", "--head_dim=10", "--n_embd=30", "--intermediate_size=37", "--block_size=7",
       "--batch_size=3", "--vocab_size=259"]
EVALUATING = ["--eval_interval=2", "--eval_iters=2"]


class Models(PtxrunTest):
    """As the CPU, on one GPU."""

    def test_types_and_attention_backends(self):
        for dtype in DTYPES:
            for backend in self.backends(dtype):
                self.check(f"--attention_backend={backend}", *EVALUATING, dtype=dtype)

    def test_presets(self):
        post_norm = ["--arch_preset=custom", "--norm_position=post", "--tie_word_embeddings=true"]
        for preset in (["--arch_preset=qwen3", "--head_dim=32"], [*GPT2, "--dropout=0.1"], post_norm,
                       ["--arch_preset=hybrid", "--n_kv_head=2"], ["--arch_preset=legacy", "--n_kv_head=2"]):
            self.check(*preset)
            self.check(*preset, MANUAL, dtype=FP32)

    def test_activations(self):
        for activation in ("gelu", "gelu_tanh", "relu", "leaky_relu"):
            self.check("--ffn_type=standard", f"--activation={activation}", "--max_iters=2")
            self.check(f"--activation={activation}", MANUAL, "--max_iters=2", dtype=FP32)

    def test_odd_sizes(self):
        for dtype in ("bfloat16", FP32):
            self.check(*ODD, MANUAL, dtype=dtype)
            self.check(*ODD, MANUAL, "--arch_preset=gpt2", "--bias=true", "--dropout=0.2", "--recompute=block",
                       dtype=dtype)
            self.check(*ODD, MANUAL, "--arch_preset=qwen3", "--norm_position=post", dtype=dtype)
        self.check("--block_size=33", "--batch_size=1", "--n_head=3", "--n_kv_head=1", "--n_embd=35", "--head_dim=32",
                   "--intermediate_size=101")
        self.check("--block_size=1", "--batch_size=1", "--vocab_size=258", "--n_layer=1", dtype=FP32)

    def test_widths_of_heads(self):
        for backend in ("flash_attn_2", "sdpa"):
            short = [f"--attention_backend={backend}", "--n_layer=1", "--max_iters=2"]
            for head_dim in (32, 64, 96, 128, 256):
                self.check(*short, f"--head_dim={head_dim}", "--block_size=65", "--batch_size=1")
            self.check(*short, "--head_dim=128", "--n_head=4", "--n_kv_head=2", dtype="float16")

    def test_chosen_backends(self):
        def reason(*arguments):
            run = self.gpu("--attention_backend=auto", *arguments)
            self.assertEqual(run.header["requested_backend"], "auto")
            self.assert_alike(run, self.cpu(*arguments), "bfloat16")
            return run.header["backend_reason"]
        pattern = r"^measured: [\d.e+]+ ms \w+, [\d.e+]+ ms \w+, [\d.e+]+ ms \w+"
        self.assertRegex(reason(), pattern + "$")
        self.assertRegex(reason(), pattern + r" \(cached\)$")
        self.assertRegex(reason("--reproducible=true"), r"^table: sdpa first on sm_90 ")

    def test_accumulation_and_pieces_of_the_loss(self):
        self.check("--gradient_accumulation_steps=1")
        self.check("--gradient_accumulation_steps=5", dtype=FP32)
        self.check("--reproducible=true", "--gradient_accumulation_steps=4")
        whole = self.check("--loss_chunk=0")
        pieces = self.check("--loss_chunk=5")
        self.assert_alike(pieces, whole, "bfloat16")
        self.check("--loss_chunk=16", dtype=FP32)

    def test_sums_by_atomics_where_bits_may_change(self):
        self.check("--deterministic=false", "--block_size=65")


class SameBits(PtxrunTest):
    """Ways to compute the same."""

    def test_recomputing(self):
        for options in (["--dtype=bfloat16"], ["--dtype=float32", MANUAL], ["--dtype=float16", *GPT2, "--dropout=0.1"]):
            kept = self.gpu(*options)
            for recompute in ("attention", "block"):
                with self.subTest(options=options, recompute=recompute):
                    self.assert_same(self.gpu(*options, f"--recompute={recompute}"), kept)

    def test_graphs(self):
        for dtype in ("bfloat16", "float16", FP32):
            with self.subTest(dtype=dtype):
                options = [f"--dtype={dtype}", "--gradient_accumulation_steps=3", *EVALUATING, "--sample_interval=2"]
                self.assert_same(self.gpu(*options, "--cuda_graphs=true"), self.gpu(*options, "--cuda_graphs=false"))

    def test_for_every_order_of_execution_and_every_content_of_memory(self):
        everything = [*EVALUATING, "--checkpoint_interval=2", "--sample_interval=2"]
        kinds = {
            "llama": ["--dtype=bfloat16"],
            "gpt2": ["--dtype=float32", MANUAL, *GPT2, "--dropout=0.1", "--recompute=attention"],
            "qwen3": ["--dtype=float16", "--arch_preset=qwen3", "--head_dim=64", "--cuda_graphs=false",
                      "--attention_backend=sdpa"],
        }
        settings = [{"PTXRUN_LAZY": 1}, *({"PTXRUN_SCHED_SEED": seed} for seed in SEEDS),
                    {"PTXRUN_LAZY": 1, "PTXRUN_SCHED_SEED": 7}, {"PTXRUN_FILL": 0}, {"PTXRUN_FILL": 123},
                    {"PTXRUN_LEAKS": 1}]
        for kind, options in kinds.items():
            plain = self.gpu(*options, *everything)
            for variables in settings:
                with self.subTest(kind=kind, **variables):
                    self.assert_same(self.gpu(*options, *everything, **variables), plain)

    def test_resuming(self):
        for options in (["--dtype=bfloat16"], ["--dtype=float16", *GPT2, "--dropout=0.1"], ["--dtype=float32"]):
            with self.subTest(options=options):
                options = [*options, "--max_iters=4", "--checkpoint_interval=2", "--stochastic_rounding=true"]
                whole = self.gpu(*options)
                part = self.gpu(*options, "--max_iters=2")
                resumed = self.gpu(*options, "--init_from=resume", name=part.folder.name)
                self.assertEqual(resumed.losses(), whole.losses())
                self.assertEqual(resumed.norms(), whole.norms())
                self.assertEqual(resumed.state(), whole.state())


class Numbers(PtxrunTest):
    def test_compared_backends(self):
        """By the program itself, against double precision."""
        shapes = ["--repeats=1", "--shape=1,70,4,2,64", "--shape=2,33,2,2,96,full"]
        for dtype in ("bfloat16", "float16"):
            device = ["--device=cuda", f"--dtype={dtype}"]
            self.emulate([TRAIN, "compare-attention", self.config, *device, *shapes], PTXRUN_LAZY=1)
            self.emulate([TRAIN, self.config, *device, "--selfcheck"])

    def test_float16_skips_what_overflows(self):
        # One token: the first scale of 65536 is not divided by a number of tokens.
        tiny = ["--dtype=float16", "--block_size=1", "--batch_size=1", "--gradient_accumulation_steps=1",
                "--max_iters=8", "--gradient_log_interval=1"]
        run = self.gpu(*tiny)
        skipped = [record["iter"] for record in run.records("iteration") if record["skipped"]]
        self.assertEqual(skipped, list(range(len(skipped))), "only the first")
        self.assertIn(len(skipped), range(1, 6))
        # Until the first update nothing differs from a run without updates.
        still = self.cpu(*tiny, "--learning_rate=1e-30")
        for iteration in range(len(skipped) + 1):
            self.assertAlmostEqual(run.losses()[iteration] / still.losses()[iteration], 1, delta=2e-3)
        last = len(skipped)
        self.assertAlmostEqual(run.norms()[last] / still.norms()[last], 1, delta=2e-2)
        self.assert_same(self.gpu(*tiny, "--cuda_graphs=false"), run)

    def test_stochastic_rounding(self):
        for dtype in ("bfloat16", "float16"):
            run = self.check("--stochastic_rounding=true", dtype=dtype)
            self.assert_same(self.gpu("--stochastic_rounding=true", f"--dtype={dtype}", PTXRUN_LAZY=1), run)
            self.assertNotEqual(self.gpu(f"--dtype={dtype}").losses(), run.losses())

    def test_samples(self):
        # Without updates both draw from the same probabilities, but for rounding.
        options = ["--sample_interval=2", "--eval_interval=2", "--learning_rate=1e-30"]
        run = self.check(*options, dtype=FP32)
        name = self.cpu(*options).folder.name
        printed = self.execute(self.train_command(f"{name}b", "--device=cpu", *options)).stdout
        self.assertEqual(sample_of(run.output), sample_of(printed))

    def test_a_checkpoint_is_sampled_and_exported_elsewhere(self):
        run = self.gpu("--checkpoint_interval=2")
        self.execute([TRAIN, "sample", "--checkpoint", run.folder, "--tokens", 5])
        self.execute([TRAIN, "export", "--checkpoint", run.folder, "--format", "hf", "--out", "exported"])

    def test_measured_products(self):
        file = self.root / "out" / "gemm_autotune.txt"
        self.assertFalse(file.exists())
        first = self.check("--gemm_autotune=true")
        text = file.read_text()
        self.assertIn("bf16", text)
        changed = file.stat().st_mtime_ns
        self.assert_same(self.gpu("--gemm_autotune=true", PTXRUN_LAZY=1), first)
        self.assertEqual((file.read_text(), file.stat().st_mtime_ns), (text, changed), "nothing is measured again")


def sample_of(output):
    """What stands between an evaluation and the next iteration."""
    lines = output.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("eval 2"))
    last = next(index for index, line in enumerate(lines) if line.startswith("iter 2/"))
    return [line for line in lines[first + 1:last] if not line.startswith("saved")]


class TwoGpus(PtxrunTest):
    def test_every_strategy_trains_as_one_process_does(self):
        everything = [*EVALUATING, "--gradient_accumulation_steps=4", "--checkpoint_interval=2"]
        for dtype in ("bfloat16", FP32):
            one = self.gpu(f"--dtype={dtype}", *everything)
            for strategy, options in STRATEGIES.items():
                with self.subTest(strategy=strategy, dtype=dtype):
                    run = self.gpu(f"--dtype={dtype}", *everything, *options, ranks=2)
                    self.assertEqual(run.header["metadata"]["world_size"], 2)
                    self.assert_alike(run, one, dtype)
                    self.assert_alike(run, self.cpu(*everything), dtype)
                    for variables in ({"PTXRUN_LAZY": 1}, *({"PTXRUN_SCHED_SEED": seed} for seed in SEEDS)):
                        other = self.gpu(f"--dtype={dtype}", *everything, *options, ranks=2, **variables)
                        self.assert_same(other, run)
                        self.assertEqual(other.state(), run.state())

    def test_two_copies_of_two_shards(self):
        options = ["--n_layer=1", "--max_iters=2", "--gradient_accumulation_steps=4"]
        run = self.gpu(*options, "--use_fsdp=true", "--fsdp_shard_size=2", ranks=4, PTXRUN_LAZY=1)
        self.assert_alike(run, self.cpu(*options), "bfloat16")

    def test_dropout_float16_and_seeds(self):
        model = [*GPT2, "--dropout=0.1", "--dtype=float16", "--recompute=block", "--verify_replicas_interval=1",
                 "--attention_backend=sdpa"]
        one = self.gpu(*model)
        for strategy, seed in zip(("ddp", "zero1", "fsdp"), SEEDS):
            with self.subTest(strategy=strategy):
                self.assert_alike(self.gpu(*model, *STRATEGIES[strategy], ranks=2, PTXRUN_SCHED_SEED=seed, PTXRUN_LAZY=1),
                                  one, "float16")

    def test_a_checkpoint_of_two_goes_on_with_one_and_with_two(self):
        options = ["--use_fsdp=true", "--checkpoint_interval=2", "--max_iters=4"]
        whole = self.gpu(*options, ranks=2)
        part = self.gpu(*options, "--max_iters=2", ranks=2)
        shutil.copytree(part.folder, self.root / "out" / "alone", symlinks=True)
        resumed = self.gpu(*options, "--init_from=resume", name=part.folder.name, ranks=2)
        self.assertEqual(resumed.losses(), whole.losses())
        self.assertEqual(resumed.state(), whole.state())
        alone = self.gpu(*options, "--init_from=resume", "--use_fsdp=false", name="alone")
        self.assert_close(alone.losses(), whole.losses(), tolerances("bfloat16")[0])


class Accesses(PtxrunTest):
    """What nvcc has made of vector accesses, which the emulator takes from the sources."""

    def kernels(self, file):
        """Those that move more than 32 KiB."""
        for kernel in json.loads(file.read_text())["kernels"]:
            if kernel["global_load"]["sectors"] + kernel["global_store"]["sectors"] > 1024:
                yield kernel

    def test_steps_move_whole_sectors(self):
        file = self.root / "steps.json"
        sizes = ["--n_head=4", "--head_dim=64", "--n_embd=256", "--intermediate_size=512", "--block_size=64",
                 "--vocab_size=512", "--max_iters=1"]
        for options in (["--dtype=bfloat16"], ["--dtype=float16", "--attention_backend=sdpa"],
                        ["--dtype=bfloat16", *GPT2], ["--dtype=float32", MANUAL, "--arch_preset=qwen3"]):
            self.gpu(*sizes, *options, PTXRUN_STATS=file)
            for kernel in self.kernels(file):
                with self.subTest(options=options, kernel=kernel["name"]):
                    self.assertGreaterEqual(kernel["global_load"]["efficiency"], 0.9)
                    self.assertGreaterEqual(kernel["global_store"]["efficiency"], 0.9)

    def test_attention_moves_whole_sectors_without_bank_conflicts(self):
        if GpuTests.program is None:
            self.skipTest("no --gpu-tests")
        file = self.root / "attention.json"
        self.emulate([GpuTests.program, "--gtest_filter=Ways/GpuAttentionOfManyTiles.*"], PTXRUN_STATS=file)
        names = set()
        for kernel in self.kernels(file):
            names.add(re.search(r"(\w+)<", kernel["name"]).group(1))
            with self.subTest(kernel=kernel["name"]):
                self.assertEqual(kernel["global_load"]["efficiency"], 1)
                self.assertEqual(kernel["global_store"]["efficiency"], 1)
                self.assertEqual(32 * kernel["cp_async"]["sectors"], kernel["cp_async"]["bytes"])
                self.assertEqual(kernel["shared"]["conflict_wavefronts"], 0)
                self.assertEqual(kernel["ldmatrix"]["conflict_wavefronts"], 0)
        self.assertLessEqual({"forward_kernel", "backward_kernel", "query_gradient_kernel", "key_gradients_kernel",
                              "row_sums_kernel", "round_kernel", "softmax_rows"}, names)


class Refusals(PtxrunTest):
    """What cannot run says why in one line."""

    def refuse(self, pattern, **variables):
        result = self.emulate(self.train_command("refused", "--device=cuda"), 2, **variables)
        self.assertRegex(result.stderr, rf"^error: device=cuda: {pattern}\n$")
        self.assertEqual(result.stdout, "")

    def test_no_gpu_and_old_gpus(self):
        self.refuse("no NVIDIA GPU was found.*", PTXRUN_DEVICE_COUNT=0)
        self.refuse(".*compute capability 7.5; 8.0 .*", PTXRUN_CC="7.5")

    def test_too_little_memory(self):
        # The program needs 64 MiB of its own on the device.
        result = self.emulate(self.train_command("refused", "--device=cuda"), 5, PTXRUN_MEM="32M")
        self.assertRegex(result.stderr, r"^error: .*cannot be allocated.*\n$")


class GpuTests(PtxrunTest):
    """The unit tests for GPUs."""
    program = None

    # Whole steps take most of the time, and are what the runs of train are made of.
    quick = "--gtest_filter=-Choices/WholeSteps*"
    # The emulator has the ops in other orders.
    without_ops = f"{quick}:*OnDevice.*:*OnGpu.*:StochasticRounding.*"

    def setUp(self):
        if self.program is None:
            self.skipTest("no --gpu-tests")

    def check_passing(self, *options, **variables):
        result = self.emulate([self.program, "--gtest_brief=1", *options], **variables)
        self.assertIn("PASSED", result.stdout)
        self.assertNotIn("SKIPPED", result.stdout)

    def test_all_when_work_is_late(self):
        self.check_passing(PTXRUN_LAZY=1)

    def test_at_once(self):
        self.check_passing(self.quick)

    def test_in_other_orders(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                self.check_passing(self.without_ops, PTXRUN_SCHED_SEED=seed)


QUICK = ["Models.test_types_and_attention_backends", "SameBits.test_graphs", "Numbers.test_float16_skips_what_overflows",
         "TwoGpus.test_dropout_float16_and_seeds"]


# What takes longest, so that it begins first.
LONG = ["GpuTests.", "TwoGpus.", "SameBits.test_for_every", "Models.test_odd"]


def names_of_all():
    suites = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    names = [test.id().removeprefix("__main__.") for suite in suites for test in suite]
    return sorted(names, key=lambda name: [not name.startswith(each) for each in LONG])


def run_side_by_side(names):
    """One process for each test. Prints their times and what those that fail say."""
    def run(name):
        begin = time.monotonic()
        result = subprocess.run([sys.executable, "-B", *sys.argv, name], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, check=False)
        print(f"{'passed' if result.returncode == 0 else 'FAILED'} after {time.monotonic() - begin:5.1f} s: {name}")
        if result.returncode != 0:
            print(result.stdout)
        sys.stdout.flush()
        return result.returncode == 0

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        failed = list(pool.map(run, names)).count(False)
    print(f"{failed} of {len(names)} tests failed")
    return 1 if failed else 0


def main():
    arguments = sys.argv[3:]
    quick = "--quick" in arguments
    if quick:
        arguments.remove("--quick")
        sys.argv.remove("--quick")
    if "--gpu-tests" in arguments:
        at = arguments.index("--gpu-tests")
        GpuTests.program = pathlib.Path(arguments[at + 1]).resolve()
        del arguments[at:at + 2]
    if not arguments:
        sys.exit(run_side_by_side(QUICK if quick else names_of_all()))
    unittest.main(argv=[sys.argv[0], *arguments])


if __name__ == "__main__":
    main()
