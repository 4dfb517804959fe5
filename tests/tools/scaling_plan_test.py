#!/usr/bin/env python3
"""Tests of the scaling-plan program as users call it: spellings, exit codes, output, and robustness. Single commands:
scaling_plan_commands_test.py.

    scaling_plan_test.py BINARY SOURCE_FOLDER [unittest arguments]
"""
import json
import os
import random
import re
import subprocess
import threading

from scaling_plan_support import BINARY, SOURCE, TIMEOUT_SECONDS, ToolTest, main, run, shipped

# A word inf, nan or -inf with an optional unit behind it, as printf or JSON writers spell it.
NO_NUMBER = re.compile(r"(?<![A-Za-z_])[-+]?(inf|nan)(inity)?(?![A-Za-z_])", re.IGNORECASE)


class Acceptance(ToolTest):
    def test_compat_backward_shows_the_earlier_figures(self):
        text = self.succeed("backward", "configs/plan/hoffmann.jsonc", "--compat", "dsc180_a06")
        for figure in ("6.89B", "4.62e+21", "51.10B", "2.2859", "30.13", "90.40"):
            self.assertIn(figure, text)

    def test_compat_model_shows_the_earlier_figures(self):
        text = self.succeed("model", "configs/models/example_llama.jsonc", "--compat", "dsc180_a06")
        self.assertIn("6,738,415,616", text)
        self.assertIn("86.65 GB", text)
        flash = self.succeed("model", "configs/models/example_llama_flash.jsonc", "--compat", "dsc180_a06")
        self.assertIn("78.65 GB", flash)

    def test_without_compat_the_peak_and_flops_are_exact(self):
        plan = json.loads(self.succeed("backward", "configs/plan/hoffmann.jsonc", "--json"))
        self.assertEqual(plan["peak_flops_per_gpu"], 989.4e12)
        expected = 6 * plan["parameters"]["matmul"] + 12 * 32 * 2048 * 4096
        self.assertEqual(plan["training_flops_per_token"], expected)

    def test_the_shipped_plans_have_the_same_compute(self):
        compute = {json.loads(self.succeed("backward", path, "--json"))["compute_flops"] for path in shipped("plan")}
        self.assertGreaterEqual(len(shipped("plan")), 4)
        self.assertEqual(len(compute), 1)

    def test_the_first_plans_that_a_user_sees_fit_their_gpus(self):
        first = re.compile(r"scaling-plan backward (\S+\.jsonc)")
        for page in ("tools/quickstart.sh", "README.md"):
            with self.subTest(page=page):
                plan = first.search((SOURCE / page).read_text(encoding="utf-8"))[1]
                self.assertIs(json.loads(self.succeed("backward", plan, "--json"))["memory"]["fits"], True)

    def test_validate_passes(self):
        text = self.succeed("validate")
        self.assertIn(" 0 out of tolerance", text)

    def test_every_shipped_model_is_analysed(self):
        for path in shipped("models"):
            text = self.succeed("model", path)
            self.assertIsNone(NO_NUMBER.search(text), path)


class Spellings(ToolTest):
    PLAN = "configs/plan/hoffmann.jsonc"

    def test_old_flags_are_commands(self):
        self.assertEqual(self.succeed("--backward_config", self.PLAN), self.succeed("backward", self.PLAN))
        self.assertEqual(self.succeed("--backward_config=" + self.PLAN), self.succeed("backward", self.PLAN))
        self.assertEqual(self.succeed("--json", "--backward_config", self.PLAN),
                         self.succeed("backward", self.PLAN, "--json"))
        model = "configs/models/gpt2_124m.jsonc"
        self.assertEqual(self.succeed("--model_config", model), self.succeed("model", model))
        self.assertEqual(self.succeed("--validate"), self.succeed("validate"))

    def test_overrides_have_three_spellings(self):
        reference = self.succeed("backward", self.PLAN, "--set", "training_gear.num_gpus=16", "--json")
        self.assertEqual(json.loads(reference)["hardware"]["num_gpus"], 16)
        for spelling in (["--training_gear.num_gpus=16"], ["--training_gear.num_gpus", "16"], ["--num_gpus=16"],
                         ["--num_gpus", "16"], ["--set", "num_gpus=16"]):
            self.assertEqual(self.succeed("backward", self.PLAN, *spelling, "--json"), reference)
            self.assertEqual(self.succeed("backward", *spelling, self.PLAN, "--json"), reference)

    def test_keys_that_hugging_face_also_has_mean_ours(self):
        plan = json.loads(self.succeed("backward", self.PLAN, "--dtype=fp8", "--json"))
        self.assertEqual(plan["hardware"]["dtype"], "float8")

    def test_model_takes_execution_keys_too(self):
        model = json.loads(self.succeed("model", "configs/models/llama3_8b.jsonc", "--sequence_length=8192",
                                        "--batch_size=2", "--recompute=block", "--json"))
        self.assertEqual(model["sequence_length"], 8192)
        self.assertEqual(model["execution"]["micro_batch_size"], 2)
        self.assertEqual(model["execution"]["recompute"], "block")
        deeper = json.loads(self.succeed("model", "configs/models/llama3_8b.jsonc", "--n_layer=2", "--json"))
        self.assertEqual(deeper["model"]["num_hidden_layers"], 2)

    def test_help_and_version(self):
        self.assertIn("sweep", self.succeed("--help"))
        self.assertRegex(self.succeed("--version"), r"scaling-plan \d+\.\d+\.\d+ \(commit ")
        for option in ("--version", "--doctor"):
            self.assertRegex(self.succeed(option), r"GPU libraries: CUDA .*built in; driver .*, cuBLASLt .*, cuDNN .*, "
                                                   r"NCCL .*, NVML ")
        for command in ("backward", "model", "compare", "sweep", "laws", "gpus", "types", "validate", "schema"):
            self.assertIn("Usage", self.succeed(command, "--help"))
        self.assertIn("training_gear", self.succeed("backward", "--help-all"))

    def test_conventions(self):
        text = self.succeed("model", "configs/models/llama3_8b.jsonc", "--sequence_length=8192", "--all-conventions")
        for figure in ("61.07", "57.91", "51.47", "48.32", "48.18"):
            self.assertIn(figure + " GFLOP", text)
        self.assertIn("Training, palm", self.succeed("backward", self.PLAN, "--convention", "palm"))
        self.refuse("backward", self.PLAN, "--convention", "plam", says="did you mean 'palm'")

    def test_json_of_every_command(self):
        sweep = ["sweep", self.PLAN, "--over", "num_gpus=8,16", "--over", "dtype=bf16,fp8"]
        for arguments in (["backward", self.PLAN], ["backward", self.PLAN, "--compat", "dsc180_a06"],
                          ["model", "configs/models/llama3_8b.jsonc"],
                          ["model", "configs/models/deepseek_v3.jsonc", "--compat", "dsc180_a06"],
                          ["compare", *shipped("plan")], sweep, ["laws"], ["gpus"], ["validate"]):
            parsed = json.loads(self.succeed(*arguments, "--json"), parse_constant=self.fail)
            self.assertIsInstance(parsed, dict)
        rows = json.loads(self.succeed(*sweep, "--json"))["rows"]
        self.assertEqual([(row["values"]["training_gear.num_gpus"], row["values"]["training_gear.dtype"])
                          for row in rows], [("8", "bf16"), ("8", "fp8"), ("16", "bf16"), ("16", "fp8")])

    def test_quiet_prints_results_only(self):
        self.assertEqual(len(self.succeed("backward", self.PLAN, "--quiet").splitlines()), 5)
        self.assertEqual(len(self.succeed("model", "configs/models/gpt2_124m.jsonc", "--quiet").splitlines()), 3)
        self.assertEqual(len(self.succeed("validate", "--quiet").splitlines()), 1)

    def test_compare_has_a_column_for_each_plan(self):
        text = self.succeed("compare", "configs/plan/hoffmann.jsonc", "configs/plan/besiroglu.jsonc")
        self.assertRegex(text, r"2\.1500 +2\.1494")

    def test_warnings_go_to_standard_error(self):
        done = run("backward", self.PLAN, "--peak_flops_per_gpu=1979e12", "--json")
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: ", done.stderr)
        self.assertIn("sparse", done.stderr)
        self.assertIn("sparse", json.loads(done.stdout)["warnings"][0])

    def test_gpu_table_can_be_replaced(self):
        table = (SOURCE / "configs" / "gpus.jsonc").read_text()
        self.assertIn("989.4", table)
        path = self.write("gpus.jsonc", table.replace("989.4", "1000"))
        plan = json.loads(self.succeed("backward", self.PLAN, "--gpu-table", path, "--json"))
        self.assertEqual(plan["peak_flops_per_gpu"], 1000e12)


class FileKinds(ToolTest):
    """What a file is follows from its structure, is said, and other kinds are answered."""

    PLAN = "configs/plan/flash.jsonc"
    TRAIN = "configs/train/arch_llama.jsonc"
    MODEL = "configs/models/gpt2_124m.jsonc"

    def hugging_face(self, **more):
        return self.write("config.json", json.dumps({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 500, "max_position_embeddings": 256,
            "ignore_index": -100, **more}))

    def test_reports_say_what_was_read(self):
        for arguments, kind, words in ((["backward", self.PLAN], "plan", "plan config"),
                                       (["model", self.TRAIN], "training", "training config"),
                                       (["model", self.MODEL], "model", "model config"),
                                       (["model", self.hugging_face()], "hugging_face", "Hugging Face config.json")):
            self.assertIn(f"Read as a {words}.\n", self.succeed(*arguments))
            self.assertEqual(json.loads(self.succeed(*arguments, "--json"))["file_kind"], kind)

    def test_a_hugging_face_config_is_no_training_config(self):
        for more in ({"torch_dtype": "bfloat16", "transformers_version": "4.57.1"},
                     {"dtype": "bfloat16", "transformers_version": "5.0.0",
                      "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}):
            model = json.loads(self.succeed("model", self.hugging_face(**more), "--json"))
            self.assertEqual(model["file_kind"], "hugging_face")
            self.assertEqual(model["execution"]["micro_batch_size"], 1)
            self.assertEqual(model["execution"]["dtype"], "bfloat16")

    def test_other_kinds_are_answered_with_their_command(self):
        self.refuse("backward", self.TRAIN, says=f"`scaling-plan model {self.TRAIN}` or `train {self.TRAIN}`")
        self.refuse("compare", self.PLAN, self.TRAIN, says="`scaling-plan model")
        self.refuse("sweep", self.TRAIN, "--over", "num_gpus=8", says="`scaling-plan model")
        self.refuse("model", self.PLAN, says=f"`scaling-plan backward {self.PLAN}`")


class Linking(ToolTest):
    def test_needs_no_library_of_the_trainer(self):
        """The planner alone: no CUDA, MPI, Gloo, NCCL or threads."""
        done = subprocess.run(["ldd", BINARY], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            self.skipTest(done.stdout)
        names = {line.split()[0].split("/")[-1] for line in done.stdout.splitlines() if line.strip()}
        sanitizers = ("libasan", "libubsan", "libtsan", "librt", "libdl", "libpthread", "libresolv")
        allowed = ("linux-vdso", "ld-linux", "libc.so", "libm.so", "libstdc++", "libgcc_s", "libfmt", "libspdlog")
        with_sanitizer = any(name.startswith(("libasan", "libtsan")) for name in names)
        unknown = [name for name in names
                   if not name.startswith(allowed + (sanitizers if with_sanitizer else ()))]
        self.assertEqual(unknown, [])

    def test_is_small(self):
        if "Release" not in self.succeed("--version"):
            self.skipTest("sizes are those of a release build")
        self.assertLess(os.path.getsize(BINARY), 8 * 2**20)


class ExitCodes(ToolTest):
    PLAN = "configs/plan/hoffmann.jsonc"

    def test_a_plan_that_does_not_fit_is_an_answer(self):
        text = self.succeed("backward", self.PLAN)
        self.assertRegex(text, r"fits +no")

    def test_usage(self):
        self.refuse(says="no command given; commands: backward, model")
        self.refuse("frobnicate", says="'frobnicate' is no command; commands: backward, model")
        self.refuse("bakward", self.PLAN, says="did you mean 'backward'")
        self.assertEqual(self.succeed("help"), self.succeed("--help"))
        self.refuse("backward", self.PLAN, "--emit-train-config", "", says="takes a file name")
        picture = self.folder / "refused.svg"
        self.refuse("backward", self.PLAN, "--plot", picture, "--convention", "plam", says="palm")
        self.assertFalse(picture.exists(), "a refused command leaves no file")
        self.refuse("backward", self.PLAN, "--frobnicate")
        self.refuse("backward", self.PLAN, "--num_gpu=8", says="did you mean '--num_gpus'")
        self.refuse("backward", says="takes one configuration file")
        self.refuse("backward", self.PLAN, self.PLAN, says="found 2")
        self.refuse("compare", says="configs/plan")
        self.refuse("sweep", self.PLAN, says="--over")
        self.refuse("schema", "plans", says="plan, model or markdown")
        self.refuse("backward", self.PLAN, "--num_gpus", says="needs a value")
        self.refuse("backward", self.PLAN, "--set", "num_gpus")
        self.refuse("backward", self.PLAN, "--compat", "other", says="dsc180_a06")
        self.refuse("backward", self.PLAN, "--memory-model", "other", says="isoflop or megatron")
        self.refuse("backward", self.PLAN, "--use_flash_attention=true", says="in several sections")

    def test_pipes_are_read_once(self):
        model, plan = "configs/models/llama3_8b.jsonc", self.PLAN
        for command, path in (("model", model), ("backward", plan), ("compare", plan)):
            text = (SOURCE / path).read_text()
            for name in ("-", "/dev/stdin"):
                done = subprocess.run([BINARY, command, name, "--json"], input=text, cwd=SOURCE, text=True,
                                      capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
                self.assertEqual(done.returncode, 0, f"{command} {name}\n{done.stderr}")
            fifo = self.folder / f"{command}.fifo"
            os.mkfifo(fifo)
            writer = threading.Thread(target=fifo.write_text, args=(text,))
            writer.start()
            self.succeed(command, fifo, "--json")
            writer.join()
        done = subprocess.run([BINARY, "model", "-"], input="{\n\"colour\": 1}", cwd=SOURCE, text=True,
                              capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
        self.assertIn("standard input:2:1: error: unknown key 'colour'", done.stderr)

    def test_compare_fits_in_a_hundred_columns(self):
        text = self.succeed("compare", *shipped("plan"), *shipped("plan"))
        self.assertLessEqual(max(map(len, text.splitlines())), 100)
        self.assertGreater(text.count("memory per GPU"), 1, "several tables")

    def test_files_that_cannot_be_read(self):
        self.refuse("backward", "configs/plan/hofmann.jsonc", says="did you mean")
        self.refuse("backward", self.folder, says="directory")
        self.refuse("backward", self.write("empty.jsonc", ""), says="empty")
        self.refuse("backward", "/dev/zero")
        if os.geteuid() != 0:
            locked = self.write("locked.jsonc", "{}")
            locked.chmod(0)
            self.refuse("backward", locked)

    def test_standard_output_that_is_full(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        for arguments in (["backward", self.PLAN], ["model", "configs/models/gpt2_124m.jsonc"], ["gpus"],
                          ["validate", "--quiet"], ["--help"], ["--version"]):
            with open("/dev/full", "w") as full:
                done = run(*arguments, stdout=full)
            self.assertEqual(done.returncode, 3, arguments)
            self.assertIn("standard output", done.stderr)

    def test_large_files_are_refused(self):
        path = self.folder / "large.jsonc"
        with open(path, "wb") as file:
            file.write(b"{")
            for _ in range(100):
                file.write(b" " * (1 << 20))
        self.refuse("backward", path, says="16")

    def test_deep_nesting_is_refused(self):
        self.refuse("backward", self.write("deep.jsonc", "[" * 1_000_000), says="nested")
        self.refuse("model", self.write("deep.json", '{"a":' * 100_000), says="nested")

    def test_bad_configs(self):
        text = (SOURCE / self.PLAN).read_text()
        cases = {
            "H100": ('"H100"', '"H1000"', "H1000"),
            "heads": ('"num_attention_heads": 32', '"num_attention_heads": 33', "num_attention_heads"),
            "type": ('"num_gpus": 8', '"num_gpus": "eight"', "must be an integer"),
            "key": ('"num_gpus"', '"num_gpu"', "did you mean 'num_gpus'"),
            "section": ('"training_gear"', '"training_gears"', "did you mean 'training_gear'"),
            "law": ('"hoffmann_2022"', '"hofmann_2022"', "did you mean"),
            "nan": ('"expected_mfu": 0.45', '"expected_mfu": NaN', "error"),
        }
        for name, (old, new, says) in cases.items():
            self.assertIn(old, text)
            path = self.write(f"{name}.jsonc", text.replace(old, new))
            self.refuse("backward", path, says=says)
        located = self.refuse("backward", self.folder / "type.jsonc")
        self.assertRegex(located, r"type\.jsonc:\d+:\d+: error: .*\n +\d+ \| .*\n +\| +\^")

    def test_malformed_corpus(self):
        files = sorted((SOURCE / "tests" / "config" / "malformed").glob("*.jsonc"))
        self.assertGreater(len(files), 50)
        for path in files:
            for command in ("backward", "model"):
                self.refuse(command, path)

    def test_precisions_that_a_gpu_lacks(self):
        self.refuse("backward", self.PLAN, "--gpu_type=A100", "--dtype=fp8", says="bf16")


class Robustness(ToolTest):
    """For every input the program ends with an answer or a refusal, and prints no infinities."""

    def check(self, *arguments):
        done = run(*arguments)
        self.assertIn(done.returncode, (0, 2), f"{arguments}\n{done.stderr}")
        self.assertNotIn("internal error", done.stderr)
        if done.returncode == 0:
            self.assertIsNone(NO_NUMBER.search(done.stdout), f"{arguments}\n{done.stdout}")
        else:
            self.assertIn("error: ", done.stderr, arguments)
        return done.returncode

    def test_extreme_values_of_every_numeric_key(self):
        schema = json.loads(self.succeed("schema", "plan"))
        extremes = ("0", "-1", "1", "NaN", "Infinity", "1e308", "-1e308", "1e-308", "9223372036854775807",
                    "9223372036854775808", "1.5")
        keys = 0
        for section, description in schema["properties"].items():
            for key, field in description.get("properties", {}).items():
                kinds = field.get("type", [])
                if not {"integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds):
                    continue
                if field["description"].startswith("Alias of"):
                    continue
                keys += 1
                limits = [str(int(field[name])) if float(field[name]).is_integer() else str(field[name])
                          for name in ("minimum", "maximum") if name in field]
                for value in (*extremes, *limits):
                    self.check("backward", "configs/plan/hoffmann.jsonc", "--set", f"{section}.{key}={value}")
        self.assertGreater(keys, 40)

    def test_mutated_configs(self):
        plans, models = shipped("plan"), shipped("models")
        outcomes = {0: 0, 2: 0}
        for seed in range(200):
            chooser = random.Random(seed)
            command, path = ("backward", chooser.choice(plans)) if seed % 2 else ("model", chooser.choice(models))
            text = mutated((SOURCE / path).read_text(), chooser)
            flags = chooser.choice([[], ["--json"], ["--all-conventions"], ["--compat", "dsc180_a06"]])
            outcomes[self.check(command, self.write("mutated.jsonc", text), *flags)] += 1
        # The mutations are neither all harmless nor all fatal.
        self.assertGreater(outcomes[0], 20, outcomes)
        self.assertGreater(outcomes[2], 20, outcomes)

    def test_arguments_that_are_no_text(self):
        strange = os.fsdecode(b"\xff\xfe")
        self.check("backward", strange)
        self.check("backward", "configs/plan/hoffmann.jsonc", "--gpu_type=" + strange)
        self.check("backward", "configs/plan/hoffmann.jsonc", "--gpu-table", strange, "--json")
        self.check("--" + strange)
        self.check("backward", "")
        self.check("backward", "configs/plan/hoffmann.jsonc", "--set", "gpu_type=" + "x" * 100_000)

    def test_config_paths_that_are_no_text_give_valid_json(self):
        path = os.path.join(os.fsencode(self.folder), b"gpus\xff.jsonc")
        with open(path, "wb") as file:
            file.write((SOURCE / "configs" / "gpus.jsonc").read_bytes())
        text = self.succeed("backward", "configs/plan/hoffmann.jsonc", "--gpu-table", os.fsdecode(path), "--json")
        json.loads(text)


def mutated(text, chooser):
    """One to three random changes: of a number, of a character, of a line, or of a stretch."""
    for _ in range(chooser.randint(1, 3)):
        kind = chooser.randrange(6)
        numbers = list(re.finditer(r"(?<=: )[-+0-9.e]+", text))
        if kind <= 2 and numbers:
            place = chooser.choice(numbers)
            value = chooser.choice(["0", "-1", "1", "2", "3", "7", "64", "0.5", "1e3", "1e9", "1e15", "1e300", "-1e300",
                                    "1e-300", "123456789", "9223372036854775807", "null", "true", '"x"', "[]", "{}",
                                    str(chooser.randint(1, 100_000)), str(chooser.random())])
            text = text[:place.start()] + value + text[place.end():]
        elif kind == 3:
            place = chooser.randrange(len(text))
            text = text[:place] + chooser.choice('{}[]",:/*\\\n 09aZ\u00e9\u0000') + text[place + 1:]
        elif kind == 4:
            lines = text.split("\n")
            line = chooser.randrange(len(lines))
            if chooser.random() < 0.5:
                del lines[line]
            else:
                lines.insert(chooser.randrange(len(lines)), lines[line])
            text = "\n".join(lines) or "{"
        else:
            start = chooser.randrange(len(text))
            text = text[:start] + text[start + chooser.randint(1, 30):] or "{"
    return text


if __name__ == "__main__":
    main()
