#!/usr/bin/env python3
"""Tests of what scaling-plan compares, sweeps and writes as tables, and of model files as input.

    scaling_plan_tables_test.py BINARY SOURCE_FOLDER [unittest arguments]
"""
import csv
import io
import json
import re
import subprocess

from scaling_plan_support import BINARY, SOURCE, ToolTest, main, run

PLAN = "configs/plan/hoffmann.jsonc"
OTHER_PLAN = "configs/plan/besiroglu.jsonc"
MODEL = "configs/models/llama3_8b.jsonc"
OTHER_MODEL = "configs/models/gpt2_124m.jsonc"
TRAIN = "configs/train/arch_llama.jsonc"
BUDGET = ("--gpu_type=H100", "--num_gpus=8", "--available_hours=720", "--expected_mfu=0.4")
WITHOUT_GPUS = tuple(flag for flag in BUDGET if "num_gpus" not in flag)
HUGGING_FACE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 512,
                "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 1024, "vocab_size": 5000,
                "max_position_embeddings": 2048, "transformers_version": "4.57.1"}


def records(text):
    """CSV as Python reads it; names of columns without their units."""
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    names = [re.sub(r" \[[^\]]*\]$", "", name) for name in rows[0]]
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


def at_path(value, path):
    for part in path.split("."):
        if value is None:
            return None
        value = value[part]
    return value


def as_csv(value):
    """How the CSV writes a value of JSON."""
    return {None: "", True: "true", False: "false"}.get(value, value) if not isinstance(value, (int, float)) \
        or isinstance(value, bool) else value


class TableTest(ToolTest):
    def assert_same(self, cell, value):
        """With full precision: equal as numbers of double precision, or as text."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.assertEqual(float(cell), float(value))
        else:
            self.assertEqual(cell, as_csv(value))

    def hugging_face(self, name="config.json", **more):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**HUGGING_FACE, **more}))
        return path

    def plan(self, architecture, name="plan.jsonc"):
        return self.write(name, json.dumps({
            "architecture": architecture,
            "training_gear": {"gpu_type": "H100", "num_gpus": 8, "available_hours": 720},
            "training_efficiency": {"expected_mfu": 0.4}}))


class References(TableTest):
    def test_a_plan_names_its_architecture(self):
        self.hugging_face("models/config.json")
        inside = json.loads(self.succeed("backward", self.plan(HUGGING_FACE), "--json"))
        named = json.loads(self.succeed("backward", self.plan("models/config.json"), "--json"))
        self.assertEqual(named["n_params"], inside["n_params"])
        self.assertEqual(named["predicted_loss"], inside["predicted_loss"])

    def test_an_override_is_relative_to_the_working_folder(self):
        path = self.plan("missing.json")
        for spelling in (["--architecture", MODEL], [f"--architecture={MODEL}"], ["--set", f"architecture={MODEL}"]):
            plan = json.loads(self.succeed("backward", path, "--json", *spelling))
            self.assertEqual(plan["n_params"], 8030261248)
        plan = json.loads(self.succeed("backward", path, "--json", f"--architecture={MODEL}", "--num_hidden_layers=16"))
        self.assertEqual(plan["model"]["num_hidden_layers"], 16)

    def test_every_kind_of_file_that_model_reads_is_an_architecture(self):
        train = self.write("train.jsonc", json.dumps({"n_layer": 4, "n_head": 4, "n_embd": 256, "block_size": 512,
                                                      "batch_size": 3, "dataset": "builtin", "max_iters": 10}))
        for path in (TRAIN, train, MODEL, self.hugging_face()):
            with self.subTest(path=path):
                model = json.loads(self.succeed("model", path, "--json"))
                count = model["parameters"]["total"]
                named = self.plan(str(SOURCE / path))
                for plan in (json.loads(self.succeed("backward", named, "--json")),
                             json.loads(self.succeed("backward", PLAN, "--json", "--sequence_length=256",
                                                     f"--architecture={path}")),
                             json.loads(self.succeed("sweep", PLAN, "--json", "--sequence_length=256",
                                                     "--over", f"architecture={path}"))["rows"][0]):
                    self.assertEqual(plan["n_params"], count)
        self.assertIn("is a plan config", self.refuse("backward", self.plan(str(SOURCE / OTHER_PLAN))))
        self.refuse("backward", self.plan(str(self.write("bad.jsonc", '{"n_layer": 2, "batch_size": "x"}'))),
                    says="bad.jsonc:1:30: error: ")

    def test_keys_may_stand_in_place_of_a_file(self):
        keys = '{"arch_preset": "llama", "n_layer": 4, "n_head": 4, "n_embd": 256, "vocab_size": 1000}'
        count = json.loads(self.succeed("model", self.write("m.jsonc", keys), "--json"))["parameters"]["total"]
        plan = json.loads(self.succeed("backward", PLAN, "--json", f"--architecture={keys}"))
        self.assertEqual(plan["n_params"], count)
        self.refuse("backward", PLAN, '--architecture={"n_layer": 4, "n_heads_": 2}', says="n_heads_")
        self.refuse("backward", PLAN, '--architecture={"n_layer": 4', says="architecture:1:")

    def test_a_plan_from_standard_input_names_files_of_the_working_folder(self):
        text = json.dumps({"architecture": MODEL, "training_gear": {"gpu_type": "H100", "num_gpus": 8,
                           "available_hours": 720}, "training_efficiency": {"expected_mfu": 0.4}})
        done = subprocess.run([BINARY, "backward", "-", "--json"], cwd=SOURCE, input=text, text=True,
                              capture_output=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["n_params"], 8030261248)
        for name in ("-", "/dev/stdin"):
            with open(self.write("plan.jsonc", text)) as file:
                done = subprocess.run([BINARY, "backward", name, "--json"], cwd=SOURCE, stdin=file, text=True,
                                      capture_output=True, timeout=600)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["n_params"], 8030261248)

    def test_errors_are_in_the_file_that_has_them(self):
        path = self.plan("no/such.json")
        self.assertRegex(self.refuse("backward", path, says="architecture"), r"plan\.jsonc:1:18: error: ")
        self.write("bad.json", '{"n_layer": 2,\n "n_embd": "x"}')
        self.assertRegex(self.refuse("backward", self.plan("bad.json"), says="n_embd"), r"bad\.json:2:\d+: error: ")

    def test_notes_are_those_of_the_model(self):
        self.write("params.json", json.dumps({"dim": 512, "n_layers": 4, "n_heads": 8, "norm_eps": 1e-5,
                                              "vocab_size": 5000, "multiple_of": 256}))
        model = json.loads(self.succeed("model", self.folder / "params.json", "--json"))
        done = run("backward", self.plan("params.json"), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(model["assumed"])
        for assumed in model["assumed"]:
            self.assertIn(assumed, done.stderr)

    def test_the_schema_takes_both(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("python3-jsonschema is not installed")
        schema = json.loads((SOURCE / "configs/schema/plan.schema.json").read_text())
        validator = getattr(jsonschema, "Draft202012Validator", jsonschema.Draft7Validator)(schema)
        for architecture, valid in (("x.json", True), (HUGGING_FACE | {"architectures": None}, None), (7, False),
                                    ({"n_layer": 2}, True), ({"n_layer": "2"}, False)):
            config = json.loads(self.plan(architecture).read_text())
            if valid is not None:
                self.assertEqual(validator.is_valid(config), valid, architecture)


class ModelFiles(TableTest):
    def test_backward_takes_the_rest_from_flags(self):
        for path, kind in ((MODEL, "model"), (self.hugging_face(), "hugging_face")):
            plan = json.loads(self.succeed("backward", path, *BUDGET, "--json"))
            model = json.loads(self.succeed("model", path, "--json"))
            self.assertEqual(plan["n_params"], model["parameters"]["total"])
            self.assertEqual(plan["file_kind"], kind)
        self.assertIn("Read as a model config.", self.succeed("backward", MODEL, *BUDGET))

    def test_missing_flags_include_the_budget(self):
        message = self.refuse("backward", MODEL)
        for flag in ("--gpu_type=NAME", "--expected_mfu=NUMBER", "two of --num_gpus=NUMBER, --available_hours=NUMBER",
                     "--training_tokens=NUMBER (or --target_loss=NUMBER)"):
            self.assertIn(flag, message)
        message = self.refuse("backward", MODEL, "--num_gpus=8", "--expected_mfu=0.4")
        self.assertIn("--gpu_type=NAME, and one of --available_hours=NUMBER, --training_tokens=NUMBER", message)
        message = self.refuse("backward", MODEL, "--num_gpus=8", "--training_tokens=1e10", "--gpu_type=H100")
        self.assertIn("--expected_mfu=NUMBER", message)
        self.assertNotIn("one of", message)

    def test_missing_flags_are_listed_in_one_message(self):
        message = self.refuse("backward", MODEL, "--num_gpus=8", says="this is a model config")
        for flag in ("--gpu_type=NAME", "--expected_mfu=NUMBER"):
            self.assertIn(flag, message)
        self.assertNotIn("--num_gpus", message)

    def test_training_configs_are_refused(self):
        self.refuse("backward", TRAIN, *BUDGET, says="this is a training config")
        self.refuse("compare", MODEL, TRAIN, says="this is a training config")

    def test_a_sweep_takes_a_model_file_and_model_files(self):
        rows = json.loads(self.succeed("sweep", MODEL, *WITHOUT_GPUS, "--over", "num_gpus=8,16", "--json"))["rows"]
        self.assertEqual([row["n_params"] for row in rows], [8030261248] * 2)
        rows = json.loads(self.succeed("sweep", PLAN, "--sequence_length=1024", "--json", "--over",
                                       f"architecture={MODEL},{OTHER_MODEL}", "--num_hidden_layers=4"))["rows"]
        for row, model in zip(rows, (MODEL, OTHER_MODEL)):
            self.assertEqual(row["values"]["architecture"], model)
            expected = json.loads(self.succeed("model", model, "--num_hidden_layers=4", "--json"))
            self.assertEqual(row["n_params"], expected["parameters"]["total"])

    def test_compare_shows_models_without_a_budget(self):
        text = self.succeed("compare", MODEL, OTHER_MODEL, "--batch_size=2")
        for words in ("llama3_8b", "gpt2_124m", "8.03B", "training GFLOP/token", "KV cache per token", "weights"):
            self.assertIn(words, text)
        models = json.loads(self.succeed("compare", MODEL, self.hugging_face(), "--json"))["models"]
        alone = json.loads(self.succeed("model", MODEL, "--json"))
        self.assertEqual(models[0]["memory"]["total_bytes"], alone["memory"]["total_bytes"])
        self.assertEqual(models[1]["file_kind"], "hugging_face")

    def test_compare_plans_models_with_a_budget(self):
        plans = json.loads(self.succeed("compare", MODEL, OTHER_MODEL, *BUDGET, "--json"))["plans"]
        alone = json.loads(self.succeed("backward", OTHER_MODEL, *BUDGET, "--json"))
        self.assertEqual(plans[1]["predicted_loss"], alone["predicted_loss"])
        self.refuse("compare", MODEL, OTHER_MODEL, "--gpu_type=H100", says="--expected_mfu=NUMBER")

    def test_compare_plans_a_model_with_the_budget_of_the_first_plan(self):
        plans = json.loads(self.succeed("compare", OTHER_MODEL, PLAN, OTHER_PLAN, "--sequence_length=1024",
                                        "--json"))["plans"]
        alone = json.loads(self.succeed("backward", PLAN, f"--architecture={OTHER_MODEL}", "--sequence_length=1024",
                                        "--json"))
        self.assertEqual([plan["name"] for plan in plans], ["gpt2_124m", "hoffmann", "besiroglu"])
        self.assertEqual(plans[0]["predicted_loss"], alone["predicted_loss"])
        self.assertEqual(plans[0]["law"]["id"], "hoffmann_2022")

    def test_files_of_one_name_are_told_apart_by_their_folder(self):
        a, b = self.hugging_face("small/config.json"), self.hugging_face("large/config.json", num_hidden_layers=8)
        models = json.loads(self.succeed("compare", a, b, "--json"))["models"]
        self.assertEqual([model["name"] for model in models], ["small/config", "large/config"])


class Tables(TableTest):
    def check_markdown(self, text):
        lines = text.splitlines()
        self.assertEqual(len({len(line) for line in lines}), 1, text)
        self.assertTrue(all(line.startswith("| ") and line.endswith(" |") for line in lines), text)
        self.assertRegex(lines[1], r"^\|( -+:? \|)+$")
        return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]

    def check_csv(self, text, items):
        rows = records(text)
        self.assertEqual(len(rows), len(items))
        for row, item in zip(rows, items):
            for name, cell in row.items():
                self.assert_same(cell, at_path(item, name))

    def test_csv_of_compare_is_the_json_with_full_precision(self):
        for arguments, key in (([PLAN, OTHER_PLAN, "--expected_mfu=0.37"], "plans"),
                               ([PLAN, MODEL, "--gpu_hour_price=2.37", "--energy_price=0.19"], "plans"),
                               ([MODEL, OTHER_MODEL], "models")):
            items = json.loads(self.succeed("compare", *arguments, "--json"))[key]
            self.check_csv(self.succeed("compare", *arguments, "--csv", "-"), items)

    def test_csv_of_sweep_is_the_json_with_full_precision(self):
        arguments = ["sweep", PLAN, "--over", "num_gpus=8..24:8", "--with", "available_hours=720,360,240",
                     "--over", "num_attention_heads=32,33", "--gpu_hour_price=1.1"]
        items = json.loads(self.succeed(*arguments, "--json"))["rows"]
        text = self.succeed(*arguments, "--csv", "-")
        self.assertTrue(text.startswith("training_gear.num_gpus [GPUs],training_gear.available_hours [hours],"))
        rows = records(text)
        self.assertEqual(len(rows), 6)
        for row, item in zip(rows, items):
            for name, cell in row.items():
                if name in item["values"]:
                    self.assertEqual(cell, item["values"][name])
                elif name == "refusal":
                    self.assertEqual(cell, item.get("refusal", "").split("\n")[0])
                elif "refusal" in item:
                    self.assertEqual(cell, "")
                else:
                    self.assert_same(cell, item[name])
        self.assertIn("num_attention_heads", rows[1]["refusal"])

    def test_records_end_with_the_line_end_of_the_format(self):
        path = self.folder / "table.csv"
        self.succeed("compare", PLAN, "--csv", path)
        self.assertEqual(path.read_bytes().count(b"\r\n"), 2)
        self.assertEqual(path.read_bytes().count(b"\n"), 2)

    def test_markdown_has_equal_widths_and_the_cells_of_the_text(self):
        plain = self.succeed("compare", PLAN, OTHER_PLAN)
        rows = self.check_markdown(self.succeed("compare", PLAN, OTHER_PLAN, "--markdown", "-"))
        self.assertEqual(rows[0], ["", "hoffmann", "besiroglu"])
        for label, *cells in rows[2:]:
            for cell in cells:
                self.assertIn(cell, plain)
            self.assertIn(label.replace("\\", ""), plain)
        self.check_markdown(self.succeed("compare", MODEL, OTHER_MODEL, "--markdown", "-"))
        rows = self.check_markdown(self.succeed("sweep", PLAN, "--over", "num_gpus=8,16", "--markdown", "-",
                                                "--over", "num_attention_heads=32,33"))
        self.assertEqual(len(rows), 6)
        self.assertIn("num_attention_heads", rows[3][-1])

    def test_files_are_written_beside_the_text(self):
        table, picture = self.folder / "table.csv", self.folder / "table.md"
        for command in (["compare", PLAN], ["sweep", PLAN, "--over", "num_gpus=8"]):
            plain = self.succeed(*command)
            self.assertEqual(self.succeed(*command, "--csv", table, "--markdown", picture), plain)
            self.assertEqual(table.read_text(), self.succeed(*command, "--csv", "-"))
            self.assertEqual(picture.read_text(), self.succeed(*command, "--markdown", "-"))
            table.unlink(), picture.unlink()

    def test_a_sweep_without_a_plan_ends_as_the_plan_does(self):
        table = self.folder / "table.csv"
        single = self.refuse("backward", PLAN, "--num_attention_heads=33")
        swept = self.refuse("sweep", PLAN, "--over", "num_attention_heads=33", "--csv", table)
        self.assertIn(single.splitlines()[0].split("error: ")[-1], swept)
        message = self.refuse("sweep", PLAN, "--over", "num_attention_heads=33,35", "--json")
        self.assertIn("None of the 2 points", message)
        self.assertFalse(table.exists())

    def test_a_refused_command_writes_nothing(self):
        table, old = self.folder / "table.csv", self.write("old.md", "mine")
        for command in (["compare", PLAN], ["sweep", PLAN, "--over", "num_gpus=8"]):
            self.refuse(*command, "--csv", table, "--markdown", old, says="not overwritten")
            self.refuse(*command, "--csv", "-", "--markdown", "-", says="both take standard output")
            self.refuse(*command, "--csv", table, "--markdown", table, says="both take")
            self.refuse(*command, "--csv", "", says="--csv takes a file name")
            self.refuse(*command, "--csv", "-", "--json", says="both print")
            self.refuse(*command, "--csv", table, "--num_gpus=0", says="num_gpus")
            self.refuse(*command, "--csv", self.folder / "no" / "table.csv", code=3)
        self.refuse("sweep", PLAN, "--over", "num_gpus=1..10001", "--markdown", table, says="--csv can write")
        self.assertFalse(table.exists())
        self.assertEqual(old.read_text(), "mine")

    def test_names_are_neither_formulas_nor_markup(self):
        names = ["=HYPERLINK(\"http:x\",\"y\")", "@SUM(1+1)*cmd", "-2+3", "+1|2", "a,b", "two\nlines", "\x1b[31mred",
                 "`code` *b* [l](u) <i>"]
        paths = []
        for name in names:
            path = self.folder / f"{name.replace('/', '_')}.jsonc"
            path.write_text((SOURCE / PLAN).read_text())
            paths.append(path)
        text = self.succeed("compare", *paths, "--csv", "-")
        self.assertNotIn("\x1b", text)
        rows = records(text)
        for name, row in zip(names, rows):
            self.assertNotIn(row["name"][0], "=+-@")
            self.assertEqual(row["name"].lstrip("'")[:3], name[:3].replace("\x1b", "\\x1b")[:3])
        rows = self.check_markdown(self.succeed("compare", *paths, "--markdown", "-"))
        self.assertEqual({len(row) for row in rows}, {1 + len(names)})
        self.assertIn("\\`code\\` \\*b\\* \\[l\\](u) \\<i\\>", rows[0])
        self.assertNotIn("\x1b", self.succeed("compare", *paths))

    def test_values_of_a_sweep_are_neither(self):
        arguments = ["sweep", PLAN, "--over", "gpu_type=H100,=1+1,a|b,\"x,y\""]
        rows = records(self.succeed(*arguments, "--csv", "-"))
        self.assertEqual([row["training_gear.gpu_type"] for row in rows], ["H100", "'=1+1", "a|b", "x,y"])
        self.check_markdown(self.succeed(*arguments, "--markdown", "-"))


class With(TableTest):
    def test_keys_move_together(self):
        rows = json.loads(self.succeed("sweep", PLAN, "--over=num_gpus=8,16", "--with", "available_hours=720,360",
                                       "--with=gpu_type=H100,A100", "--over", "expected_mfu=0.3,0.4", "--with",
                                       "batch_size=1,2", "--json"))["rows"]
        values = [tuple(row["values"].values()) for row in rows]
        self.assertEqual(values, [("8", "720", "H100", "0.3", "1"), ("8", "720", "H100", "0.4", "2"),
                                  ("16", "360", "A100", "0.3", "1"), ("16", "360", "A100", "0.4", "2")])

    def test_keys_of_a_model_move_with_its_file_in_any_order(self):
        files = ["configs/models/gpt2_124m.jsonc", MODEL]
        gear = ("--gpu_type=H100", "--num_gpus=8", "--available_hours=24", "--expected_mfu=0.4")
        counts = []
        for names, layers in ((files, (2, 3)), (files[::-1], (3, 2))):
            rows = json.loads(self.succeed("sweep", MODEL, *gear, "--over", "architecture=" + ",".join(names), "--with",
                                           "num_hidden_layers={},{}".format(*layers), "--json"))["rows"]
            counts.append({row["values"]["architecture"]: row["n_params"] for row in rows})
        self.assertEqual(counts[0], counts[1])
        self.assertEqual(set(counts[0]), set(files))

    def test_a_model_file_that_is_missing_is_a_row(self):
        rows = json.loads(self.succeed("sweep", PLAN, "--over", f"architecture={MODEL},missing.json", "--json"))["rows"]
        self.assertIn("missing.json", rows[1]["refusal"])
        self.assertEqual(rows[0]["n_params"], 8030261248)

    def test_bad_companions(self):
        self.refuse("sweep", PLAN, "--with", "num_gpus=8", says="moves with the --over before it")
        self.refuse("sweep", PLAN, "--with", "num_gpus=8", "--over", "available_hours=1",
                    says="moves with the --over before it")
        self.refuse("sweep", PLAN, "--over", "num_gpus=8,16", "--with", "available_hours=1", says="1 values for the 2")
        self.refuse("sweep", PLAN, "--over", "num_gpus=8", "--with", "num_gpus=8", says="two axes")
        self.refuse("sweep", PLAN, "--over", "num_gpus=8,16", "--with", "num_gpu=1,2", says="did you mean 'num_gpus'")

    def test_values_with_commas(self):
        values = '{"type":"linear","factor":2.0},{"type":"linear","factor":4.0}'
        rows = json.loads(self.succeed("sweep", PLAN, "--over", f"rope_scaling={values}", "--json"))["rows"]
        self.assertEqual([row["values"]["architecture.rope_scaling"] for row in rows], values.replace("},{", "}|{").split("|"))
        self.refuse("sweep", PLAN, "--over", "rope_scaling={\"type\":1", says="'}' is missing")

    def test_architectures_as_json(self):
        models = ['{"n_layer":%d,"n_head":4,"n_embd":256,"vocab_size":1000,"arch_preset":"llama"}' % layers
                  for layers in (4, 8)]
        rows = json.loads(self.succeed("sweep", PLAN, "--over", f"architecture={models[0]},{MODEL},{models[1]}", "--with",
                                       "num_gpus=8,16,24", "--json"))["rows"]
        for row, model in zip(rows, (self.write("a.jsonc", models[0]), MODEL, self.write("b.jsonc", models[1]))):
            self.assertEqual(row["n_params"], json.loads(self.succeed("model", model, "--json"))["parameters"]["total"])


class Costs(TableTest):
    def test_reports_state_their_assumptions(self):
        text = self.succeed("backward", PLAN)
        for words in ("10. Energy and cost", "700 W", "76 %", "3.37 MWh", "GPU hours x board power x share x PUE"):
            self.assertIn(words, text)
        self.assertNotIn("USD", text)
        plan = json.loads(self.succeed("backward", PLAN, "--json"))
        self.assertAlmostEqual(plan["energy_kwh"], 8 * 720 * 0.7 * 0.76 * 1.1, places=6)
        self.assertIsNone(plan["cost"])

    def test_prices_give_money(self):
        arguments = [PLAN, "--gpu_hour_price=2.5", "--energy_price=0.2", "--currency=EUR"]
        text = self.succeed("backward", *arguments)
        self.assertIn("14,400.00 EUR", text)
        plan = json.loads(self.succeed("backward", *arguments, "--json"))
        self.assertAlmostEqual(plan["cost"]["total"], 14400 + plan["energy_kwh"] * 0.2, places=6)
        self.assertIn("15,074.15 EUR", self.succeed("compare", *arguments))
        self.assertIn("15,074.15 EUR", self.succeed("sweep", *arguments, "--over", "batch_size=1"))
        self.assertIn("energy", self.succeed("sweep", PLAN, "--over", "pue=1.1,1.5"))
        self.assertNotIn("energy", self.succeed("sweep", PLAN, "--over", "batch_size=1"))

    def test_a_power_without_a_source_is_unknown(self):
        text = self.succeed("backward", PLAN, "--gpu_type=Trainium2")
        self.assertRegex(text, r"Board power +unknown")
        self.assertIsNone(json.loads(self.succeed("backward", PLAN, "--gpu_type=Trainium2", "--json"))["energy_kwh"])
        self.assertIn("MWh", self.succeed("backward", PLAN, "--gpu_type=Trainium2", "--board_power=500"))

    def test_a_bad_currency_is_pointed_at(self):
        path = self.write("plan.jsonc", (SOURCE / PLAN).read_text().replace(
            '"output_options"', '"cost_assumptions": {\n"currency": "eur"},\n"output_options"'))
        self.assertRegex(self.refuse("backward", path, says="three capital letters"), r"plan\.jsonc:\d+:13: error: ")


if __name__ == "__main__":
    main()
