"""No control character from outside reaches a terminal, whichever way it takes.

usage: terminals_test.py TRAIN SCALING_PLAN SOURCE_DIR [unittest arguments]
"""

import fcntl
import json
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

TRAIN = pathlib.Path(sys.argv[1]).resolve()
PLAN = pathlib.Path(sys.argv[2]).resolve()
SOURCE = pathlib.Path(sys.argv[3]).resolve()

EVIL = "\x1b]0;owned\x07\x1b[2J\x7f\u009b31m"  # title, clear, DEL, a C1 control
FORBIDDEN = [bytes([code]) for code in [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F]]
TINY = {"arch_preset": "llama", "n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 16, "batch_size": 1,
        "max_iters": 2, "warmup_iters": 0, "eval_interval": 0, "gradient_accumulation_steps": 1}


class ToolTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()
        self.config = self.write("tiny.jsonc", TINY)

    def write(self, name, content):
        path = self.root / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def run_tool(self, tool, *arguments, codes=(0, 2, 3), **variables):
        result = subprocess.run([os.fsencode(str(part)) for part in (tool, *arguments)], cwd=self.root,
                                capture_output=True, timeout=300, env=os.environ | variables)
        self.check(result.stdout + result.stderr)
        self.assertIn(result.returncode, codes, result.stdout + result.stderr)
        self.assertNotIn(b"internal error", result.stderr)
        return result

    def on_terminal(self, stream, command, columns=None, codes=(0, 2, 3)):
        """What a terminal gets of one of the output streams; 0 columns: it does not say how many."""
        primary, secondary = pty.openpty()
        if columns is not None:
            fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {stream: secondary}
        with subprocess.Popen(command, cwd=self.root, env=os.environ | {"NO_COLOR": "1"}, **streams) as process:
            os.close(secondary)
            shown = b""
            try:
                while chunk := os.read(primary, 4096):
                    shown += chunk
            except OSError:
                pass  # the end
            self.assertIn(process.wait(), codes, shown)
        os.close(primary)
        return shown

    def check(self, output):
        for control in FORBIDDEN:
            self.assertNotIn(control, output)
        self.assertFalse([point for point in output.decode() if "\x80" <= point < "\xa0"], output)  # valid, no C1


class Terminals(ToolTest):
    # --- what a user gives

    def test_arguments(self):
        for tool in (TRAIN, PLAN):
            for arguments in ([EVIL], [f"--{EVIL}"], [f"--{EVIL}=1"], [self.config, f"--seed={EVIL}"],
                              ["model", EVIL], ["model", self.config, f"--{EVIL}=1"], ["backward", EVIL],
                              ["sample", "--checkpoint", EVIL], ["compare", EVIL], [b"\xff\xfe".decode(errors="surrogateescape")],
                              ["prepare-data", "--input", EVIL, "--out", EVIL], ["import", EVIL, "--out", "x"],
                              [self.config, f"--dataset={EVIL}"], [self.config, f"--init_from={EVIL}"],
                              [self.config, f"--attention_backend={EVIL}"]):
                with self.subTest(tool=tool.name, arguments=arguments):
                    self.run_tool(tool, *arguments)

    def test_names_of_files_and_runs(self):
        config = self.write(f"{EVIL}.jsonc", TINY)
        self.run_tool(TRAIN, config, "--dry-run", codes=[0])
        self.run_tool(PLAN, "model", config)
        self.write(f"{EVIL}-broken.jsonc", "{")
        self.run_tool(TRAIN, f"{EVIL}-broken.jsonc", codes=[2, 3])
        run = self.run_tool(TRAIN, self.config, f"--run_name={EVIL}")
        if run.returncode == 0:
            self.run_tool(TRAIN, "compare", f"out/{EVIL}", codes=[0])
            self.run_tool(TRAIN, self.config, f"--run_name={EVIL}", codes=[2])
            self.run_tool(TRAIN, self.config, f"--run_name={EVIL}", "--init_from=resume", codes=[0])

    def test_environment_of_a_launcher(self):
        for variables in ({"RANK": EVIL, "WORLD_SIZE": "2"},
                          {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": EVIL, "MASTER_PORT": "29500"},
                          {"SLURM_PROCID": EVIL, "SLURM_NTASKS": "2"}):
            with self.subTest(variables=variables):
                self.run_tool(TRAIN, self.config, "--comm_timeout_s=1", codes=[2, 4], **variables)

    # --- what files say

    def test_configs(self):
        for content in ({EVIL: 1}, {"arch_preset": EVIL}, {"run_name": EVIL + "/"}, {"n_layer": EVIL},
                        {"model_type": EVIL, "hidden_size": 8}, {"architectures": [EVIL]},
                        {"training_gear": {"gpu_type": EVIL}}, {"scaling_law": EVIL}):
            config = self.write("evil.jsonc", content)
            for tool, command in ((TRAIN, []), (PLAN, ["model"]), (PLAN, ["backward"])):
                with self.subTest(content=content, command=command):
                    self.run_tool(tool, *command, config)
        raw = self.root / "raw.jsonc"
        for data in (b'{"n_layer": "\x1b[2J"}', b'{"\xff\xfe": 1}', b"\x1b[2J", b'{"n_layer": 1, // \x1b\n "x\x9b": 2}'):
            raw.write_bytes(data)
            self.run_tool(TRAIN, raw, codes=[2, 3])
            self.run_tool(PLAN, "model", raw, codes=[2, 3])

    def test_logs_of_other_runs(self):
        self.run_tool(TRAIN, self.config, "--run_name=plain", codes=[0])
        run = self.root / "out" / "plain"
        for file in (run / "metrics.jsonl", run / "run_plain.json"):
            if file.exists():
                evil = json.dumps(EVIL)[1:-1]
                file.write_text(file.read_text().replace("plain", evil).replace("llama", evil))
        self.run_tool(TRAIN, "compare", run, codes=[0, 3])
        listed = self.run_tool(TRAIN, "compare", run, "--json", codes=[0, 3])
        if listed.returncode == 0:
            json.loads(listed.stdout)

    def test_checkpoints(self):
        self.run_tool(TRAIN, self.config, "--run_name=a", codes=[0])
        manifest = next((self.root / "out" / "a" / "checkpoints").iterdir()) / "manifest.json"
        whole = manifest.read_text()
        for part in ("model.safetensors", "float32", "F32", "weight"):
            manifest.write_text(whole.replace(part, json.dumps(EVIL)[1:-1]))
            self.run_tool(TRAIN, self.config, "--run_name=a", "--init_from=resume", codes=[0, 2, 3])
            self.run_tool(TRAIN, "export", "--checkpoint", "out/a", "--out", "exported", codes=[0, 2, 3])

    def test_data(self):
        text = self.write("text.txt", "to be or not to be " * 100)
        self.run_tool(TRAIN, "prepare-data", "--input", text, "--tokenizer", "char", "--out", f"data/{EVIL}")
        self.run_tool(TRAIN, "prepare-data", "--input", text, "--tokenizer", "char", "--out", "data/plain", codes=[0])
        for file in (self.root / "data" / "plain").glob("*.json"):
            file.write_text(file.read_text().replace("char", json.dumps(EVIL)[1:-1]))
        self.run_tool(TRAIN, self.config, "--dataset=plain", codes=[0, 2, 3])

    def test_json_is_json_whatever_the_names_are(self):
        odd = os.fsdecode(b"out\xff\xfe")
        self.run_tool(TRAIN, self.config, "--run_name=a", f"--out_dir={odd}", codes=[0, 2])
        if (self.root / odd).exists():
            json.loads(self.run_tool(TRAIN, "compare", f"{odd}/a", "--json", codes=[0]).stdout)

    # --- what a model writes

    def test_generated_text_on_a_terminal(self):
        text = self.root / "escapes.txt"
        text.write_bytes(("\x1b[31m\x07" * 400).encode())
        self.run_tool(TRAIN, "prepare-data", "--input", text, "--tokenizer", "char", "--out", "data/escapes", codes=[0])
        self.run_tool(TRAIN, self.config, "--dataset=escapes", "--run_name=a", codes=[0])
        sample = [str(TRAIN), "sample", "--checkpoint", "out/a", "--prompt", "[3", "--tokens", "40", "--seed", "1"]
        piped = subprocess.run(sample, cwd=self.root, capture_output=True, check=True)
        self.assertIn(b"\x1b", piped.stdout, "a file gets the text as it is")
        shown = self.on_terminal("stdout", sample, codes=[0])
        self.assertIn(b"\\x1b", shown)
        self.check(shown)


class Messages(ToolTest):
    """Warnings and errors are divided between words on a terminal, and are whole lines elsewhere."""

    def written(self, columns, *command):
        return self.on_terminal("stderr", list(map(str, command)), columns=columns).decode().replace("\r\n", "\n")

    def check_wrapped(self, *command):
        whole = subprocess.run(list(map(str, command)), cwd=self.root, capture_output=True, text=True, timeout=300).stderr
        self.assertGreater(max(map(len, whole.splitlines())), 100, "a message to divide")
        for columns in (66, 80, 0):
            with self.subTest(command=command, columns=columns):
                text = self.written(columns, *command)
                self.assertEqual(text.split(), whole.split(), "the same words")
                lines = text.splitlines()
                self.assertGreater(len(lines), len(whole.splitlines()))
                self.assertLessEqual(max(map(len, lines)), columns or 80, text)

    def test_errors_of_both_tools(self):
        self.check_wrapped(PLAN, "backward", self.write("m.json", {"n_layer": 2, "n_head": 2, "n_embd": 16}))
        self.write("plan.jsonc", {"training_gear": {}})
        self.check_wrapped(TRAIN, "plan.jsonc")

    def test_warnings(self):
        self.check_wrapped(PLAN, "backward", SOURCE / "configs/plan/hoffmann.jsonc", "--batch_size=1",
                           "--gradient_accumulation_steps=1", "--quiet")

    def test_commands_stay_whole(self):
        text = self.written(50, PLAN, "compare")
        self.assertIn("scaling-plan compare configs/plan/*.jsonc\n", text)
        text = self.written(50, TRAIN, "backward")
        self.assertNotIn("internal", text)


class Columns(ToolTest):
    """Reports, help and the output of a run fit 80 columns; help begins with a screenful."""

    PLANS = sorted((SOURCE / "configs/plan").glob("*.jsonc"))
    COMMANDS = {TRAIN: ["prepare-data", "sample", "export", "import", "compare", "compare-attention"],
                PLAN: ["backward", "model", "compare", "sweep", "laws", "gpus", "types", "validate", "schema"]}
    SCREEN = 30

    def lines(self, tool, *arguments, codes=(0,), columns=80):
        lines = self.run_tool(tool, *arguments, codes=codes).stdout.decode().splitlines()
        for line in lines:
            self.assertLessEqual(len(line), columns, f"{arguments}: {line}")
        return lines

    def test_reports_of_every_shipped_config(self):
        for plan in self.PLANS:
            self.lines(PLAN, "backward", plan)
            self.lines(PLAN, "backward", plan, "--all-conventions", "--memory-model=megatron")
        self.lines(PLAN, "compare", *self.PLANS)
        for model in sorted((SOURCE / "configs/models").glob("*.jsonc")):
            self.lines(PLAN, "model", model, "--all-conventions", "--gpu_type=H100")
        for train in sorted((SOURCE / "configs/train").glob("*.jsonc")):
            self.lines(PLAN, "model", train)
            if train.name != "shakespeare.jsonc":  # needs the prepared text
                self.lines(TRAIN, train, "--dry-run", codes=(0, 5))  # 5: too large for this machine
        self.lines(PLAN, "backward", self.PLANS[0], "--compat=dsc180_a06")
        self.lines(PLAN, "model", SOURCE / "configs/models/llama3_8b.jsonc", "--compat=dsc180_a06")

    def test_lists(self):
        for command in ("laws", "gpus", "validate"):
            self.lines(PLAN, command)
        self.lines(TRAIN, "--doctor")
        self.lines(TRAIN, "compare-attention", "--shape", "1,64,2,1,32", "--repeats", "1", "--device=cpu")
        self.lines(TRAIN, "--selfcheck", self.config)

    def test_emitted_configs(self):
        lines = self.lines(PLAN, "backward", SOURCE / "configs/plan/flash.jsonc", "--emit-train-config", "-")
        self.assertIn("// A rank needs ", "\n".join(lines))

    def test_a_run_from_start_to_comparison(self):
        lines = self.lines(TRAIN, self.config, "--run_name=a", "--max_iters=12", "--eval_interval=6", "--eval_iters=1",
                           "--gradient_log_interval=5")
        self.assertEqual(len([line for line in lines if line.startswith("iter ") and " ETA " in line]), 12)
        self.assertTrue(any("layer norms" in line for line in lines))
        self.assertTrue(any(line.strip().startswith("fits") and "yes" in line for line in lines))
        plain = self.lines(TRAIN, self.config, "--run_name=b")
        self.assertFalse(any("layer norms" in line for line in plain), "only on request")
        (self.root / "out/empty").mkdir()
        self.assertIn("Note: out/empty holds no run, and is skipped",
                      self.lines(TRAIN, "compare", "out/a", "out/b", "out/empty"))

    def test_help_is_a_screenful_of_its_command(self):
        examples = set()
        for tool, commands in self.COMMANDS.items():
            for arguments in ([], *([command] for command in commands)):
                with self.subTest(tool=tool.name, arguments=arguments):
                    page = self.lines(tool, *arguments, "--help")
                    self.assertTrue(page[0].startswith("Usage: "))
                    self.assertLessEqual(len(page), self.SCREEN)
                    self.assertTrue(any("--help-all" in line for line in page))
                    own = tuple(page[page.index("Examples:") + 1:-2])
                    self.assertNotIn(own, examples, "each has its own examples")
                    examples.add(own)
                    self.assertGreater(len(self.lines(tool, *arguments, "--help-all")), 2)
        self.assertIn("training_gear", "\n".join(self.lines(PLAN, "backward", "--help-all")))
        self.assertIn("Config keys:", self.lines(TRAIN, "--help-all"))

    def test_examples_of_help_are_commands_that_parse(self):
        for tool, commands in self.COMMANDS.items():
            for arguments in ([], *([command] for command in commands)):
                for line in self.lines(tool, *arguments, "--help"):
                    words = line.split()
                    if words[:1] != [tool.name] or words[1] in ("prepare-data", "import", "export", "sample"):
                        continue
                    with self.subTest(line=line):
                        given = [word for word in words[1:] if word.startswith("--") and word != "--help"]
                        known = "\n".join(self.lines(tool, *arguments, "--help-all"))
                        for name in (word.split("=")[0].lstrip("-") for word in given):
                            self.assertIn(name, known)
                        for word in words[1:]:
                            if word.startswith("configs/") and "*" not in word:
                                self.assertTrue((SOURCE / word).exists(), word)


class Pipes(ToolTest):
    """A reader that has enough, as head has, is no error."""

    def left_by_reader(self, tool, *arguments):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as closed:
            return subprocess.run([str(tool), *map(str, arguments)], cwd=self.root, stdout=closed,
                                  stderr=subprocess.PIPE, timeout=300)

    def test_both_tools_end_quietly(self):
        for tool, arguments in ((PLAN, ["gpus"]), (PLAN, ["gpus", "--json"]), (PLAN, ["--help"]),
                                (PLAN, ["validate"]), (PLAN, ["backward", "--help-all"]), (TRAIN, ["--help"]),
                                (TRAIN, ["--help-all"]), (TRAIN, [self.config, "--dry-run"]),
                                (TRAIN, [self.config, "--dry-run", "--json"]), (TRAIN, [self.config])):
            with self.subTest(tool=tool.name, arguments=arguments):
                result = self.left_by_reader(tool, *arguments)
                self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_a_full_disk_is_an_error(self):
        for tool, arguments in ((PLAN, ["gpus"]), (TRAIN, ["--help-all"])):
            with self.subTest(tool=tool.name), open("/dev/full", "wb") as full:
                result = subprocess.run([str(tool), *arguments], stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(result.returncode, 3)
                self.assertIn(b"standard output", result.stderr)


class UsageErrors(ToolTest):
    """Values that cannot be are refused by their names."""

    def refused(self, *arguments):
        return self.run_tool(TRAIN, *arguments, codes=[2]).stderr.decode()

    def test_dropout_of_everything(self):
        self.assertIn("dropout", self.refused(self.config, "--dropout=1"))
        self.run_tool(TRAIN, self.config, "--dropout=0.99", "--dry-run", codes=[0])

    def test_a_very_long_run_name(self):
        for length in (201, 300, 5000):
            self.assertIn("run_name", self.refused(self.config, f"--run_name={'x' * length}"))
        self.run_tool(TRAIN, self.config, f"--run_name={'x' * 200}", codes=[0])

    def test_a_prompt_of_100_kb(self):
        self.run_tool(TRAIN, self.config, "--run_name=a", codes=[0])
        refusal = self.refused("sample", "--checkpoint", "out/a", "--prompt", "x" * 100_000)
        self.assertIn("16 positions", refusal)
        self.assertLess(len(refusal), 1000)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
