"""Files of models and plans as users have them, from the file to the report: what is read, assumed,
warned of and refused. `model_files_test.py SCALING_PLAN SOURCE_DIR`"""
import copy
import json
import os
import pty
import subprocess

from scaling_plan_support import BINARY, SOURCE, TIMEOUT_SECONDS, ToolTest, main, run

LLAMA = {"model_type": "llama", "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
         "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32000,
         "max_position_embeddings": 2048}
PLAN = {"architecture": LLAMA, "training_gear": {"gpu_type": "H100", "num_gpus": 8, "available_hours": 720},
        "training_efficiency": {"expected_mfu": 0.4}, "dataset_constraints": {},
        "scaling_law": {"base": "besiroglu_2024"}}
NANOGPT = {"n_layer": 12, "n_head": 12, "n_embd": 768, "vocab_size": 50257, "block_size": 1024, "bias": False}


def plan_with(section, **keys):
    plan = copy.deepcopy(PLAN)
    plan[section] |= keys
    return plan


class FileTest(ToolTest):
    def save(self, content, name="file.json"):
        return self.write(name, content if isinstance(content, str) else json.dumps(content, indent=2))

    def model(self, content):
        done = run("model", self.save(content), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout), done.stderr

    def parameters(self, content):
        return self.model(content)[0]["parameters"]["total"]


class Reports(FileTest):
    """Inputs of public reports, with their right values."""

    def test_dtype_is_read_as_torch_dtype(self):
        mixtral = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "dtype": "bfloat16",
                   "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                   "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
                   "num_experts_per_tok": 2, "vocab_size": 32000, "max_position_embeddings": 32768,
                   "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "sliding_window": None}
        report, errors = self.model(mixtral)
        self.assertEqual(report["parameters"]["total"], 46_702_792_704)
        self.assertEqual(report["parameters"]["active"], 12_879_925_248)
        older = {("torch_dtype" if key == "dtype" else key): value for key, value in mixtral.items()}
        self.assertEqual(report, self.model(older)[0])
        self.assertNotIn("no effect", errors)

    def test_gemma3(self):
        self.assertEqual(self.parameters(
            {"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26,
             "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262144,
             "sliding_window": 512, "max_position_embeddings": 32768}), 999_885_952)

    def test_nested_text_config(self):
        report, _ = self.model({"model_type": "llava", "text_config": LLAMA | {
            "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_key_value_heads": 8,
            "vocab_size": 128256}, "vision_config": {"hidden_size": 1024}})
        self.assertEqual(report["parameters"]["total"], 8_030_261_248)
        self.assertIn("only text_config is read; vision_config left out", report["assumed"])

    def test_nobody_trains_at_the_longest_context_unasked(self):
        long = LLAMA | {"max_position_embeddings": 131072}
        report, errors = self.model(long)
        self.assertIn("8,192 tokens are assumed", errors)
        self.assertIn("sequence_length 8192", report["assumed"])
        done = run("backward", self.save(plan_with("architecture", max_position_embeddings=131072)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("8,192 tokens are assumed", done.stderr + done.stdout)

    def test_foreign_sizes_are_warned_of_in_both_commands(self):
        qwen = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
                "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 16,
                "num_key_value_heads": 16, "vocab_size": 151936, "num_experts": 60, "num_experts_per_tok": 4,
                "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632}
        self.assertIn("shared_expert_intermediate_size", self.model(qwen)[1])
        done = run("backward", self.save(PLAN | {"architecture": qwen}), "--json")
        self.assertIn("shared_expert_intermediate_size", done.stderr)
        self.assertIn("shared_expert_intermediate_size", str(json.loads(done.stdout)["warnings"]))

    def test_foreign_keys_change_nothing_and_are_named(self):
        report, errors = self.model(LLAMA | {"n_layer": 2, "seq_length": 4096, "qkv_bias": True, "num_beam_groups": 1})
        self.assertEqual(report["parameters"]["total"], self.parameters(LLAMA))
        self.assertIn("n_layer", errors)
        self.assertIn("qkv_bias", errors)
        self.assertNotIn("seq_length", errors)
        self.assertNotIn("num_beam_groups", errors)

    def test_keys_of_nanogpt_only(self):
        report, _ = self.model(NANOGPT)
        self.assertIn("124,337,664", report["assumed"][0])

    def test_keys_of_nanochat_are_all_named(self):
        nanochat = {"sequence_len": 2048, "vocab_size": 32768, "n_layer": 20, "n_head": 10, "n_kv_head": 10,
                    "n_embd": 1280, "window_pattern": "SSSL"}
        message = self.refuse("model", self.save(nanochat), says="'sequence_len'; the key is 'max_position_embeddings'")
        self.assertIn("'window_pattern'", message)


class Assumed(FileTest):
    def test_text_and_json_have_the_same(self):
        path = self.save(NANOGPT)
        assumed = json.loads(self.succeed("model", path, "--json"))["assumed"]
        text = " ".join(self.succeed("model", path).split())
        self.assertEqual(text.count("Assumed: "), 1)
        for item in assumed:
            self.assertIn(item, text)
        self.assertIn("tie_word_embeddings false", assumed)
        self.assertIn("sequence_length 1024", assumed)

    def test_a_given_length_is_not_assumed(self):
        assumed = json.loads(self.succeed("model", self.save(NANOGPT), "--sequence_length=512", "--json"))["assumed"]
        self.assertFalse([item for item in assumed if item.startswith("sequence_length")])

    def test_plans_say_the_tied_embedding_of_other_formats(self):
        meta = {"dim": 2048, "n_layers": 4, "n_heads": 16, "vocab_size": 32000, "multiple_of": 256}
        done = run("backward", self.save(PLAN | {"architecture": meta}))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("assumed: tie_word_embeddings false", done.stderr)


class Places(FileTest):
    """Errors of a file carry file:line:column."""

    def refuse_at(self, plan, key, says):
        path = self.save(plan)
        line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if f'"{key}"' in text)
        self.assertRegex(self.refuse("backward", path, says=says), rf"file\.json:{line}:\d+: error: ")

    def test_gpu(self):
        self.refuse_at(plan_with("training_gear", gpu_type="H900"), "gpu_type", "unknown GPU 'H900'")

    def test_law(self):
        self.refuse_at(plan_with("scaling_law", base="hofman_2022"), "base", "hofman_2022")

    def test_precision(self):
        self.refuse_at(plan_with("training_gear", gpu_type="V100", dtype="bfloat16"), "dtype", "bf16")


class Units(FileTest):
    def test_figures_in_other_units_are_recognised(self):
        for section, key, value, says in (
                ("training_gear", "peak_flops_per_gpu", 989, "989 TFLOP/s is 989e12"),
                ("training_efficiency", "expected_mfu", 45, "45 % is 0.45"),
                ("training_efficiency", "expected_mfu", "45%", "45 % is 0.45"),
                ("dataset_constraints", "dataset_size", 1.4, "billions"),
                ("dataset_constraints", "dataset_size", "300B", "write 300e9")):
            with self.subTest(key=key, value=value):
                self.refuse("backward", self.save(plan_with(section, **{key: value})), says=says)
        done = run("backward", self.save(plan_with("training_gear", available_hours=43200)))
        self.assertIn("if seconds are meant, write 12", done.stderr)


class Commands(FileTest):
    def test_an_empty_table_is_no_table(self):
        self.refuse("gpus", "--gpu-table", "", says="--gpu-table takes the name of a file")
        self.refuse("backward", self.save(PLAN), "--gpu-table=", says="--gpu-table")

    def test_help_of_a_command(self):
        self.assertEqual(self.succeed("help", "model"), self.succeed("model", "--help"))
        self.assertEqual(self.succeed("help"), self.succeed("--help"))
        self.refuse("help", "modle", says="did you mean 'model'")

    def test_a_swept_key_has_no_other_value(self):
        for flag in ("--set=num_gpus=4", "--num_gpus=4"):
            self.refuse("sweep", self.save(PLAN), flag, "--over", "num_gpus=8,16", says="num_gpus is set to a value and swept")

    def test_values_that_cannot_be_set_are_rows(self):
        for values in ("0.4,45", "45,0.4"):
            rows = json.loads(self.succeed("sweep", self.save(PLAN), "--over", f"expected_mfu={values}", "--json"))["rows"]
            refused = [row for row in rows if "refusal" in row]
            self.assertEqual((len(rows), len(refused)), (2, 1))
            self.assertIn("45 % is 0.45", refused[0]["refusal"])
        self.refuse("sweep", self.save(PLAN), "--over", "expected_mfu=45", says="45 % is 0.45")


class Escapes(FileTest):
    def test_no_control_character_of_a_file_or_argument_is_printed(self):
        evil = "\x1b[31mX\ty\x07"
        for arguments in (["sweep", self.save(PLAN), "--over", f"gpu_type={evil},H100"],
                          ["compare", self.save(PLAN, f"{evil}.json"), self.save(PLAN, "b.json")],
                          ["backward", self.save(plan_with("training_gear", gpu_type=evil))],
                          ["model", self.save({evil: 1})]):
            done = run(*arguments)
            for control in "\x1b\x07\t":
                self.assertNotIn(control, done.stdout + done.stderr, arguments)

    def test_messages_do_not_end_at_a_zero_byte(self):
        for content in (plan_with("training_gear", gpu_type="H\x00100"), ):
            self.assertIn("scaling-plan gpus", self.refuse("backward", self.save(content), says=r"\x00"))
        self.assertIn("known are", self.refuse("model", self.save({"model_type": "a\x00b"}), says=r"\x00"))
        self.assertIn("' here", self.refuse("model", self.save({"a\x00b": 1, "dim_head": 2}), says=r"\x00"))


class Colour(FileTest):
    """On a terminal, which only a pseudo-terminal is here."""

    def output(self, **variables):
        master, slave = pty.openpty()
        environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
        path = self.save(PLAN)
        process = subprocess.Popen([BINARY, "backward", path], cwd=SOURCE, stdout=slave, stderr=slave,
                                   stdin=subprocess.DEVNULL, env=environment | variables)
        os.close(slave)
        data = b""
        try:
            while chunk := os.read(master, 65536):
                data += chunk
        except OSError:  # the terminal's other end is closed
            pass
        os.close(master)
        self.assertEqual(process.wait(TIMEOUT_SECONDS), 0)
        return data

    def test_is_silenced(self):
        self.assertIn(b"\x1b[", self.output(TERM="xterm-256color"))
        self.assertNotIn(b"\x1b", self.output(TERM="xterm-256color", NO_COLOR="1"))
        self.assertNotIn(b"\x1b", self.output(TERM="dumb"))


if __name__ == "__main__":
    main()
