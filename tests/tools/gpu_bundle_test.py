#!/usr/bin/env python3
"""tools/gpu_bundle/run.sh with programs that only pretend: order, verdicts, time limits, and results of stopped runs."""

import fnmatch
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
TOOLS = SOURCE / "tools/gpu_bundle"

DOCTOR = """\
Devices
  CPU                            Some CPU
  GPU 0                          NVIDIA H100 80GB HBM3 sm_90, 132 SMs, 79 GiB of 80 GiB free, CUDA 13.0
  GPU 0 libraries                driver for CUDA 13.0, cuBLASLt 13.1.0
"""

# Writes the losses that the carried reference has, changed by $losses; environment variables say
# what else it does.
TRAIN = r"""#!/usr/bin/env bash
case $1 in
    --version) echo "train 0.1.0 (pretended)"; exit ;;
    --doctor) cat "$FAKES/doctor"; exit ;;
    compare-attention) echo compared; exit ;;
esac
echo "train $*" >>"$FAKES/calls"
for argument in "$@"; do
    case $argument in
        --out_dir=*) out=${argument#*=} ;;
        --run_name=*) name=${argument#*=} ;;
        --attention_backend=*) backend=${argument#*=} ;;
        --n_layer=100) echo "error: does not fit" >&2; exit 5 ;;
        --selfcheck) echo checked; exit ;;
    esac
done
mkdir -p "$out/$name"
used=$backend
if [[ $name == ${FAKE_FALLBACK:-none} ]]; then used=manual; fi
if [[ $backend == sdpa && $name == plans* ]]; then
    mkdir -p "$out/cudnn_plans"
    [[ -e $out/cudnn_plans/a && -z ${FAKE_PLANS_AGAIN:-} ]] || echo plan >"$out/cudnn_plans/a"
fi
loss=5.5
if [[ $name == ${FAKE_LOSS_OF:-none} ]]; then loss=$FAKE_LOSS; fi
{
    echo '{"type":"header","used_backend":"'$used'","backend_reason":"a reason","config":{}}'
    echo '{"type":"iteration","iter":0,"loss":'$loss',"time_ms":1,"grad_norm":3.1,"tokens":308}'
    echo '{"type":"iteration","iter":1,"loss":5.25,"time_ms":1,"grad_norm":2.5,"tokens":616}'
} >"$out/$name/metrics.jsonl"
echo trained
"""

REFERENCE = """\
{"sequence_length": 77, "iterations": [
{"iter": 0, "loss": 5.5, "grad_norm": 3.1},
{"iter": 1, "loss": 5.2501, "grad_norm": 2.5}
]}
"""

# One test in each suite. FAKE_FAILS, FAKE_HANGS, FAKE_SKIPS: a suite that does.
TESTS = r"""#!/usr/bin/env bash
if [[ $1 == --gtest_list_tests ]]; then
    printf '%s\n  Test\n' GpuDevice. RopeCuda. GpuProducts. GpuOddBiases. Ways/GpuAttention. Cases/WholeSteps. GpuNccl.
    exit
fi
for argument in "$@"; do
    case $argument in --gtest_filter=*) suite=${argument#*=} ;; esac
done
suite=${suite%.\*}
if [[ -n ${FAKE_IGNORES_TERM:-} ]]; then trap '' TERM; fi
if [[ $suite == "${FAKE_HANGS:-}" ]]; then echo $$ >"$FAKES/hangs"; sleep 100; fi
if [[ $suite == "${FAKE_FAILS:-}" ]]; then
    printf 'expected 1 | 2\n[  FAILED  ] %s.Test (0 ms)\n' "$suite"
    exit 1
fi
if [[ $suite == "${FAKE_CRASHES:-}" ]]; then kill -SEGV $$; fi
if [[ $suite == "${FAKE_SKIPS:-}" ]]; then
    printf 'file.cpp:1: Skipped\nlibnccl.so.2 was not found\n\n[  PASSED  ] 0 tests.\n[  SKIPPED ] 1 test.\n'
    exit
fi
echo "[  PASSED  ] 1 test."
"""

BENCH = r"""#!/usr/bin/env bash
echo "bench $(basename "$0") $*" >>"$FAKES/calls"
echo "figures of $(basename "$0")"
"""


class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.bundle = self.folder / "bundle"
        for each in ("bin", "carried", "path", "configs/train"):
            (self.bundle / each).mkdir(parents=True)
        for script in ("run.sh", "steps.sh"):
            shutil.copy(TOOLS / script, self.bundle / script)
        (self.bundle / "MANIFEST").write_text("architecture 90-real\ncommit abc\n")
        for length in (77, 130, 1000, 1024):
            (self.bundle / f"carried/cpu_{length}.json").write_text(REFERENCE)
        (self.bundle / "carried/tiny.json").write_text("{}")
        self.doctor(DOCTOR)
        self.program("bin/train", TRAIN)
        self.program("bin/scaling-plan", "#!/bin/sh\necho 0.1.0\n")
        self.program("bin/isoflop_gpu_tests", TESTS)
        for name in ("ops", "gemm", "attention", "step"):
            self.program(f"bin/bench_gpu_{name}", BENCH)
        self.program("path/compute-sanitizer", "#!/usr/bin/env bash\nwhile [[ $1 == --* ]]; do shift 2; done\nexec \"$@\"\n")
        self.program("path/no-python", "#!/bin/sh\nexit 1\n")

    def doctor(self, text):
        (self.folder / "doctor").write_text(text)

    def program(self, name, text):
        path = self.bundle / name
        path.write_text(text)
        path.chmod(0o755)

    def command(self, *options):
        return [str(self.bundle / "run.sh"), "--torch", "no-python", *options]

    def environment(self, **variables):
        return {**os.environ, "PATH": f"{self.bundle}/path:{os.environ['PATH']}", "FAKES": str(self.folder), **variables}

    def run_bundle(self, *options, code=0, **variables):
        """Lines of verdicts, as lists of words."""
        result = subprocess.run(self.command(*options), env=self.environment(**variables), text=True, capture_output=True,
                                check=False, timeout=300)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertEqual(result.stderr, "")
        self.output = result.stdout
        return [line.split() for line in result.stdout.splitlines() if re.match(r"(PASS|FAIL|SKIP|TIMEOUT) ", line)]

    def verdicts(self, *options, **variables):
        return {words[3]: words[0] for words in self.run_bundle(*options, **variables)}

    def results(self, name="h100_80gb_hbm3"):
        return (self.bundle / f"results/{name}.md").read_text()

    def row(self, step):
        return next(line for line in self.results().splitlines() if line.startswith(f"| {step} |"))


    def assert_gone(self):
        process = int((self.folder / "hangs").read_text())
        for _ in range(100):
            if not Path(f"/proc/{process}").exists():
                return
            time.sleep(0.05)
        self.fail("the program still runs")


class Order(RunTest):
    def test_everything_in_the_order_of_the_table(self):
        lines = self.run_bundle("--quick")
        self.assertEqual({words[0] for words in lines if words[3] != "pytorch"}, {"PASS"}, self.output)
        names = [words[3] for words in lines]
        groups = list(dict.fromkeys(name.split("/")[0] for name in names))
        self.assertEqual(groups, ["versions", "libraries", "doctor", "device", "products", "attention", "ops", "steps",
                                  "training", "compare", "plans", "nccl", "sanitizer", "bench_products", "bench_attention",
                                  "bench_steps", "bench_ops", "pytorch", "faults", "odd_biases"])
        self.assertEqual(groups, self.listed_groups())
        for suite in ("device/GpuDevice", "products/GpuProducts", "attention/Ways/GpuAttention", "ops/RopeCuda",
                      "steps/Cases/WholeSteps", "nccl/GpuNccl", "odd_biases/GpuOddBiases"):
            self.assertEqual(names.count(suite), 1)
        self.assertEqual(names[-1], "odd_biases/GpuOddBiases")
        self.assertEqual(sum(name.startswith("training/") for name in names), 8)
        text = self.results()
        self.assertEqual(text.splitlines()[0], "# NVIDIA H100 80GB HBM3")
        self.assertIn("- Status: complete\n", text)
        self.assertIn("\nfigures of bench_gpu_gemm\n", text)
        self.assertIn("measure nothing", text)
        self.assertEqual(list((self.bundle / "results").glob("*.tmp")), [])

    def test_every_pattern_of_the_table_names_a_suite(self):
        suites = {name for folder in ("devices", "cuda", "gpu") for file in SOURCE.glob(f"tests/*/{folder}/*_test.cpp")
                  for name in re.findall(r"^TEST(?:_[FP])?\((\w+),", file.read_text(), re.MULTILINE)}
        patterns = re.findall(r'^    "\S+ +\d+ +suites +(.*)"$', (TOOLS / "run.sh").read_text(), re.MULTILINE)
        self.assertEqual(len(patterns), 7)
        for pattern in " ".join(patterns).split():
            self.assertTrue(fnmatch.filter(suites, pattern), pattern)

    def listed_groups(self):
        listed = subprocess.run(self.command("--list"), text=True, capture_output=True, check=True).stdout
        return [line.split()[0] for line in listed.splitlines()]

    def test_training_at_each_length_with_and_without_graphs_twice(self):
        names = list(self.verdicts("--only", "training/bfloat16/sdpa,training/tf32"))[3:]
        self.assertEqual(len(names), 2 * 4 * 4)
        self.assertEqual(names[:4], [f"training/bfloat16/sdpa/77/{run}" for run in
                                     ("graphs", "graphs_again", "no_graphs", "no_graphs_again")])
        calls = (self.folder / "calls").read_text()
        for part in ("--block_size=1024", "--cuda_graphs=false", "--dtype=tf32 --attention_backend=manual"):
            self.assertIn(part, calls)

    def test_benchmarks_measure_quickly_unless_there_is_time(self):
        self.run_bundle("--only=bench_ops")
        self.run_bundle("--only=bench_ops", "--minutes=30")
        first, second = (self.folder / "calls").read_text().splitlines()
        self.assertIn("--quick", first)
        self.assertNotIn("--quick", second)
        self.assertIn("--seconds=160", second)


class Verdicts(RunTest):
    def test_a_failure_is_shown_and_the_others_still_run(self):
        verdicts = self.verdicts("--only=device,products", code=1, FAKE_FAILS="GpuDevice")
        self.assertEqual(verdicts["device/GpuDevice"], "FAIL")
        self.assertEqual(verdicts["products/GpuProducts"], "PASS")
        self.assertIn("\n### device/GpuDevice\n\n```\nexpected 1 | 2\n", self.results())
        self.assertIn("- Status: complete, with 1 failures", self.results())

    def test_a_crash_names_its_signal(self):
        self.assertEqual(self.verdicts("--only=device", code=1, FAKE_CRASHES="GpuDevice")["device/GpuDevice"], "FAIL")
        self.assertIn("exit code 139", self.row("device/GpuDevice"))

    def test_what_cannot_be_tested_here_is_skipped_with_the_reason(self):
        self.assertEqual(self.verdicts("--only=nccl", FAKE_SKIPS="GpuNccl")["nccl/GpuNccl"], "SKIP")
        self.assertIn("| libnccl.so.2 was not found |", self.row("nccl/GpuNccl"))

    def test_a_step_that_hangs_ends_at_its_limit(self):
        verdicts = self.verdicts("--only=device,products", "--slow=0.02", code=1, FAKE_HANGS="GpuDevice")
        self.assertEqual(verdicts["device/GpuDevice"], "TIMEOUT")
        self.assertEqual(verdicts["products/GpuProducts"], "PASS")
        self.assertIn("not done after 2.4 s", self.row("device/GpuDevice"))
        self.assert_gone()

    def test_a_program_that_ignores_the_end_of_its_step_is_killed(self):
        verdicts = self.verdicts("--only=device,products", "--slow=0.01", code=1, FAKE_HANGS="GpuDevice",
                                 FAKE_IGNORES_TERM="1")
        self.assertEqual((verdicts["device/GpuDevice"], verdicts["products/GpuProducts"]), ("TIMEOUT", "PASS"))
        self.assert_gone()

    def test_losses_are_compared_with_the_carried_ones(self):
        name = "bfloat16-manual-77-graphs"
        only = "--only=training/bfloat16/manual/77/graphs"
        self.assertEqual(self.verdicts(only, FAKE_LOSS_OF=name, FAKE_LOSS="5.505")[only[7:]], "PASS")
        for wrong in ("5.52", "nan", "null"):
            self.assertEqual(self.verdicts(only, code=1, FAKE_LOSS_OF=name, FAKE_LOSS=wrong)[only[7:]], "FAIL")

    def test_float32_is_compared_closely(self):
        only = "--only=training/float32/manual/77/graphs"
        self.verdicts(only, code=1, FAKE_LOSS_OF="float32-manual-77-graphs", FAKE_LOSS="5.505")

    def test_a_second_run_has_to_have_the_same_bits(self):
        verdicts = self.verdicts("--only=training/bfloat16/manual/77", code=1, FAKE_LOSS_OF="bfloat16-manual-77-no_graphs",
                                 FAKE_LOSS="5.50000001")
        self.assertEqual([verdict for name, verdict in verdicts.items() if name.startswith("training")],
                         ["PASS", "PASS", "FAIL", "PASS"])

    def test_another_backend_is_no_pass(self):
        only = "--only=training/bfloat16/sdpa/77/graphs"
        self.assertEqual(self.verdicts(only, FAKE_FALLBACK="bfloat16-sdpa-77-graphs")[only[7:]], "SKIP")
        self.assertIn("bfloat16 has no sdpa here: manual a reason", self.row(only[7:]))

    def test_plans_that_are_written_again_fail(self):
        self.assertEqual(self.verdicts("--only=plans")["plans/read"], "PASS")
        self.assertEqual(self.verdicts("--only=plans", code=1, FAKE_PLANS_AGAIN="1")["plans/read"], "FAIL")

    def test_a_library_that_is_missing(self):
        self.program("path/ldd", "#!/bin/sh\necho '	libfmt.so.9 => not found'\n")
        self.assertEqual(self.verdicts("--only=nothing", code=1)["libraries"], "FAIL")
        self.assertIn("libfmt.so.9 => not found", self.row("libraries"))


class Stopped(RunTest):
    def test_when_the_minutes_are_over(self):
        verdicts = self.verdicts("--only=device,products,ops", "--minutes=0.1", code=3, FAKE_HANGS="GpuDevice")
        self.assertEqual(list(verdicts), ["versions", "libraries", "doctor", "device/GpuDevice"])
        self.assertIn("the 0.1 minutes were over during device/GpuDevice", self.results())
        self.assertIn("- Not run: products ops\n", self.results())

    def start(self, **variables):
        process = subprocess.Popen(self.command("--only=device,products"), stdout=subprocess.PIPE, text=True,
                                   env=self.environment(FAKE_HANGS="GpuDevice", **variables))
        self.addCleanup(process.stdout.close)
        deadline = time.monotonic() + 60
        while not (self.folder / "hangs").exists() or not (self.folder / "hangs").read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        return process

    def test_by_signals(self):
        for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)):
            with self.subTest(number=number):
                (self.folder / "hangs").unlink(missing_ok=True)
                process = self.start()
                process.send_signal(number)
                self.assertIn("results: ", process.communicate(timeout=60)[0])
                self.assertEqual(process.returncode, code)
                self.assert_gone()
                self.assertIn(f"- Status: stopped by {number.name} during device/GpuDevice\n", self.results())
                self.assertIn("- Not run: products\n", self.results())

    def test_by_a_signal_that_the_program_ignores(self):
        process = self.start(FAKE_IGNORES_TERM="1")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143)
        self.assert_gone()

    def test_killed(self):
        process = self.start()
        process.kill()
        process.wait(timeout=60)
        os.kill(int((self.folder / "hangs").read_text()), signal.SIGKILL)
        self.assertIn("- Status: running device/GpuDevice", self.results())
        self.assertIn("| doctor | PASS |", self.results())


class Refused(RunTest):
    def test_no_gpu(self):
        self.doctor("Devices\n  GPU                            none               no NVIDIA driver is installed\n")
        lines = self.run_bundle(code=2)
        self.assertEqual([words[3] for words in lines], ["versions", "libraries", "doctor"])
        self.assertIn("no GPU was found: no NVIDIA driver is installed", self.results("no_gpu"))
        self.assertEqual([path.name for path in (self.bundle / "results").glob("*.md")], ["no_gpu.md"])

    def test_programs_that_do_not_start(self):
        self.program("bin/train", "#!/bin/sh\necho 'libgloo.so.0: cannot open shared object file' >&2\nexit 127\n")
        self.assertEqual(self.verdicts(code=1), {"versions": "FAIL"})
        text = self.results("unknown_gpu")
        self.assertTrue(text.startswith("# Unknown GPU\n"))
        self.assertIn("the programs do not start: libgloo.so.0: cannot open shared object file", text)

    def test_code_for_another_gpu(self):
        for other in ("86", "100", "120"):
            self.doctor(DOCTOR.replace("sm_90", f"sm_{other}"))
            self.run_bundle(code=2)
            self.assertIn(f"this bundle is for sm_90, and NVIDIA H100 80GB HBM3 is sm_{other}", self.results())

    def test_newer_gpus_of_the_same_generation_and_ptx(self):
        for architecture, gpu in (("80-real", "86"), ("80-virtual", "90"), ("90", "90")):
            (self.bundle / "MANIFEST").write_text(f"architecture {architecture}\n")
            self.doctor(DOCTOR.replace("sm_90", f"sm_{gpu}"))
            self.run_bundle("--only=nothing")

    def test_wrong_command_lines(self):
        for options in (["--minute", "3"], ["--minutes", "many"], ["--minutes"], ["--slow", "x"]):
            result = subprocess.run(self.command(*options), text=True, capture_output=True, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertRegex(result.stderr, r"^run.sh: .*--help\)\n$")
        self.assertFalse((self.bundle / "results").exists())

    def test_help(self):
        text = subprocess.run(self.command("--help"), text=True, capture_output=True, check=True).stdout
        self.assertIn("--minutes N ", text)
        self.assertNotIn("set -", text)


class BundleScript(unittest.TestCase):
    def test_architectures(self):
        for wrong in ("", "9", "sm_90", "90;100", "90-cubin"):
            result = subprocess.run([SOURCE / "tools/bundle_gpu.sh", wrong], text=True, capture_output=True, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn("ARCH is a compute capability", result.stderr)

    def test_lengths_of_the_references_are_those_of_the_steps(self):
        of = {path.name: re.search(r"^lengths=\(([\d ]+)\)", path.read_text(), re.M).group(1)
              for path in (SOURCE / "tools/bundle_gpu.sh", TOOLS / "run.sh")}
        self.assertEqual(len(set(of.values())), 1, of)


if __name__ == "__main__":
    unittest.main()
