#!/usr/bin/env python3
"""Tests of single commands of scaling-plan: emit-train-config, plots, schema and sweep.

    scaling_plan_commands_test.py BINARY SOURCE_FOLDER [unittest arguments]
"""
import json
import re
import xml.etree.ElementTree

from scaling_plan_support import SOURCE, ToolTest, main, run, shipped, without_comments


class EmitTrainConfig(ToolTest):
    PLAN = "configs/plan/flash.jsonc"

    def test_writes_a_config_with_the_numbers_of_the_plan(self):
        path = self.folder / "train.jsonc"
        self.succeed("backward", self.PLAN, "--emit-train-config", path)
        config = json.loads(without_comments(path.read_text()))
        plan = json.loads(self.succeed("backward", self.PLAN, "--json"))
        self.assertEqual(config["n_layer"], plan["model"]["num_hidden_layers"])
        self.assertEqual(config["max_iters"], plan["schedule"]["steps"])
        self.assertEqual(config["batch_size"] * config["gradient_accumulation_steps"],
                         plan["schedule"]["sequences_per_step"])

    def test_never_trains_on_more_tokens_than_the_data_have(self):
        for size, epochs in ((10**9, 1), (10**8, 3.5), (12_345_678, 1), (10**10, 0.5)):
            with self.subTest(size=size, epochs=epochs):
                options = (self.PLAN, f"--dataset_size={size}", f"--max_epochs={epochs}")
                config = json.loads(without_comments(self.succeed("backward", *options, "--emit-train-config", "-")))
                plan = json.loads(self.succeed("backward", *options, "--json"))
                self.assertEqual(config["max_iters"], plan["schedule"]["steps"])
                trained = config["max_iters"] * plan["schedule"]["tokens_per_step"]
                self.assertLessEqual(trained, size * epochs)
                self.assertGreater(trained + plan["schedule"]["tokens_per_step"], plan["n_tokens"])

    def test_a_step_that_the_data_cannot_fill_is_refused(self):
        path = self.folder / "train.jsonc"
        message = self.refuse("backward", self.PLAN, "--dataset_size=1000000", "--max_epochs=1", "--emit-train-config",
                              path, says="more than the 1000000 that dataset_size x max_epochs allow")
        self.assertFalse(path.exists())
        advised = dict(part.split("=") for part in re.findall(r"\b(?:batch_size|gradient_accumulation_steps)=\d+", message))
        self.assertTrue(advised, message)
        self.succeed("backward", self.PLAN, "--dataset_size=1000000", "--max_epochs=1", "--emit-train-config", path,
                     *(f"--{key}={value}" for key, value in advised.items()))

    def test_never_overwrites(self):
        path = self.write("train.jsonc", "mine")
        self.refuse("backward", self.PLAN, "--emit-train-config", path, says="not overwritten")
        self.assertEqual(path.read_text(), "mine")

    def test_a_link_to_nowhere_is_not_followed(self):
        target = self.folder / "target.jsonc"
        link = self.folder / "link.jsonc"
        link.symlink_to(target)
        self.assertIn(run("backward", self.PLAN, "--emit-train-config", link).returncode, (2, 3))
        self.assertFalse(target.exists())

    def test_writes_the_keys_of_every_class(self):
        gear = ("--gpu_type=H100", "--num_gpus=8", "--available_hours=24", "--expected_mfu=0.4", "--sequence_length=1024")
        sizes = {
            "gpt2": {"n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "n_inner": 3000},
            "mpt": {"d_model": 4096, "n_heads": 32, "n_layers": 32, "max_seq_len": 2048, "expansion_ratio": 3,
                    "attn_config": {"kv_n_heads": 4}},
            "bloom": {"hidden_size": 1024, "n_head": 16, "n_layer": 24},
            "gpt_neox": {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24,
                         "intermediate_size": 3072, "max_position_embeddings": 2048},
        }
        for model_type, keys in sizes.items():
            with self.subTest(model_type):
                path = self.write("model.json", json.dumps({"model_type": model_type, "vocab_size": 50432} | keys))
                advised = json.loads(self.succeed("backward", path, *gear, "--json"))["optimum"]["advised"]
                plan = self.write("advised.jsonc", self.succeed("backward", path, *gear, "--emit-plan", "-"))
                again = json.loads(self.succeed("backward", plan, "--json"))
                self.assertEqual(again["n_params"], advised["n_params"])
                self.assertEqual(again["predicted_loss"], advised["predicted_loss"])

    def test_prints_to_standard_output(self):
        self.refuse("backward", self.PLAN, "--emit-train-config", "-", "--json", says="both print to standard output")
        text = self.succeed("backward", self.PLAN, "--emit-train-config", "-")
        self.assertIn("n_layer", json.loads(without_comments(text)))

    def test_says_whether_it_fits(self):
        def heading(*options):
            text = self.succeed("backward", self.PLAN, "--emit-train-config", "-", *options)
            return " ".join(line[3:] for line in text.splitlines() if line.startswith("// "))
        self.assertRegex(heading("--gpu_type=B300"), r"A rank needs \S+ GiB of the \S+ GiB of B300-SXM: fits, \S+ GiB to spare")
        self.assertRegex(heading("--gpu_type=A100-40"),
                         r"of A100-SXM-40: does not fit, \S+ GiB too much; .*(use_fsdp|use_zero1|batch_size|recompute)")

    def test_missing_folder_is_an_output_error(self):
        self.refuse("backward", self.PLAN, "--emit-train-config", self.folder / "no" / "train.jsonc", code=3)

    def test_refusal_writes_nothing(self):
        path = self.folder / "train.jsonc"
        self.refuse("backward", self.PLAN, "--parallelism=zero2", "--emit-train-config", path, says="zero2")
        for gpu in ("MI300X", "V100-SXM2-32"):
            self.refuse("backward", self.PLAN, f"--gpu_type={gpu}", "--dtype=float16", "--emit-train-config", path,
                        says="does not run on " + gpu)
        self.assertFalse(path.exists())


class Model(ToolTest):
    MODEL = "configs/models/llama3_8b.jsonc"

    def memory(self, *options):
        return json.loads(self.succeed("model", self.MODEL, "--sequence_length=2048", "--json", *options))["memory"]

    def test_says_whether_it_fits_a_gpu(self):
        self.assertIsNone(self.memory()["gpu"])
        self.assertNotIn("fits", self.memory())
        large = self.memory("--gpu_type=B300")
        self.assertEqual((large["gpu"], large["fits"]), ("B300-SXM", True))
        self.assertEqual(large["headroom_bytes"], large["capacity_bytes"] - large["total_bytes"])
        small = self.memory("--gpu_type=H100")
        self.assertFalse(small["fits"])
        self.assertTrue(small["change"] or small["gpus_needed"])
        text = self.succeed("model", self.MODEL, "--gpu_type=H100", "--num_gpus=8")
        self.assertRegex(text, r"\n  H100-SXM memory +79.18 GiB\n  fits +no +\S+ GiB too much\n  Cheapest change")
        self.refuse("model", self.MODEL, "--gpu_type=H1000", says="H1000")

    def test_says_what_has_no_effect(self):
        result = run("model", self.MODEL, "--sequence_length=2048", "--expected_mfu=0.4")
        self.assertIn("expected_mfu has no effect", result.stderr)
        result = run("model", self.MODEL, "--sequence_length=2048", "--flop_convention=palm")
        self.assertIn("Training, palm", result.stdout)
        self.assertNotIn("no effect", result.stderr)
        self.assertIn("Training, palm", self.succeed("model", "configs/train/arch_llama.jsonc", "--flop_convention=palm"))

    def test_small_models_are_counted_in_their_unit(self):
        text = self.succeed("model", "configs/train/arch_llama.jsonc", "--n_layer=1", "--n_embd=64", "--n_head=2",
                            "--vocab_size=256")
        self.assertRegex(text, r"Training per token +\S+ [MK]FLOP")
        self.assertNotRegex(text, r" 0\.0\d+ GFLOP")


class EmitPlan(ToolTest):
    PLAN = "configs/plan/auto.jsonc"
    LIMITED = ("--dataset_size=5e9", "--max_epochs=1")

    def test_writes_the_advised_plan(self):
        path = self.folder / "best.jsonc"
        plan = json.loads(self.succeed("backward", self.PLAN, *self.LIMITED, "--emit-plan", path, "--json"))
        advised = plan["optimum"]["advised"]
        again = json.loads(self.succeed("backward", path, "--json"))
        for key in ("n_params", "n_tokens", "predicted_loss"):
            self.assertEqual(again[key], advised[key], key)
        self.assertEqual(again["execution"], advised["execution"])
        self.assertTrue(again["memory"]["fits"])
        self.assertLessEqual(again["n_tokens"], 5e9)
        self.assertEqual(again["warnings"], [])

    def test_is_run_by_train(self):
        """The advised plan is a plan: what train executes is written from it."""
        path = self.folder / "best.jsonc"
        self.succeed("backward", self.PLAN, "--emit-plan", path)
        config = json.loads(without_comments(self.succeed("backward", path, "--emit-train-config", "-")))
        plan = json.loads(self.succeed("backward", path, "--json"))
        self.assertEqual(config["max_iters"], plan["schedule"]["steps"])

    def test_prints_to_standard_output(self):
        plan = json.loads(without_comments(self.succeed("backward", self.PLAN, "--emit-plan", "-")))
        self.assertEqual(plan["training_gear"]["num_gpus"], 8)

    def test_never_overwrites(self):
        path = self.write("best.jsonc", "mine")
        self.refuse("backward", self.PLAN, "--emit-plan", path, says="not overwritten")
        self.assertEqual(path.read_text(), "mine")

    def test_refusals_write_nothing(self):
        path = self.folder / "best.jsonc"
        self.refuse("backward", self.PLAN, "--emit-plan", "", says="takes a file name")
        self.refuse("backward", self.PLAN, "--emit-plan", "-", "--emit-train-config", "-", says="both take standard output")
        self.refuse("backward", "configs/plan/hoffmann.jsonc", "--compat", "dsc180_a06", "--emit-plan", path,
                    says="--emit-plan")
        self.refuse("backward", self.PLAN, "--vocab_size=200000000", "--emit-plan", path, says="no model of this family")
        self.refuse("backward", self.PLAN, "--emit-plan", path, "--plot", path, says="both take")
        self.refuse("backward", self.PLAN, "--emit-plan", path, "--plot", self.write("old.svg", "mine"),
                    says="not overwritten")
        self.assertFalse(path.exists())

    def test_an_unusual_batch_is_warned_of_in_text_and_json(self):
        done = run("backward", self.PLAN, "--gradient_accumulation_steps=1", "--json")
        plan = json.loads(done.stdout)
        self.assertIn("times smaller than the usual", done.stderr)
        self.assertTrue(any("times smaller than the usual" in warning for warning in plan["warnings"]))
        self.assertTrue(plan["batch"]["unusual"])
        self.assertEqual(plan["batch"]["advised_gradient_accumulation_steps"], 128)
        self.assertNotIn("batch", run("backward", self.PLAN).stderr)


class Plot(ToolTest):
    def test_draws_a_law_whose_loss_is_the_same_everywhere(self):
        for constants in (("--A=1e-12", "--B=1e-12"), ("--alpha=10", "--B=1e-12")):
            picture = self.succeed("backward", "configs/plan/auto.jsonc", *constants, "--plot", "-")
            self.assertTrue(picture.startswith("<svg"))
            self.assertNotIn("nan", picture)

    PLAN = "configs/plan/auto.jsonc"
    NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

    def test_makes_the_picture_of_the_readme(self):
        """Equal up to the last digit of a coordinate, which may differ between math libraries."""
        path = self.folder / "curve.svg"
        self.succeed("backward", self.PLAN, "--plot", path)
        made, shipped_picture = path.read_text(), (SOURCE / "docs/images/isoflop_curve.svg").read_text()
        self.assertEqual(self.NUMBER.sub("#", made), self.NUMBER.sub("#", shipped_picture))
        for number, expected in zip(self.NUMBER.findall(made), self.NUMBER.findall(shipped_picture)):
            self.assertAlmostEqual(float(number), float(expected), delta=0.11)

    def test_dash_prints_the_picture(self):
        text = self.succeed("backward", self.PLAN, "--plot", "-")
        self.assertEqual(xml.etree.ElementTree.fromstring(text).tag.rpartition("}")[2], "svg")
        self.assertFalse((SOURCE / "-").exists())
        self.refuse("backward", self.PLAN, "--plot", "-", "--emit-train-config", "-", says="standard output")

    def test_readme_shows_the_picture_and_its_command(self):
        readme = (SOURCE / "README.md").read_text()
        self.assertIn("](docs/images/isoflop_curve.svg)", readme)
        self.assertIn(f"scaling-plan backward {self.PLAN} --plot isoflop_curve.svg", readme)

    def test_is_well_formed_and_refers_to_no_other_file(self):
        path = self.folder / "curve.svg"
        self.succeed("backward", self.PLAN, "--plot", path, "--json")
        xml.etree.ElementTree.parse(path)
        self.assertNotRegex(path.read_text().replace("http://www.w3.org/2000/svg", ""), "href|url\\(|http")

    def test_never_overwrites(self):
        path = self.write("curve.svg", "mine")
        self.refuse("backward", self.PLAN, "--plot", path, says="not overwritten")
        self.assertEqual(path.read_text(), "mine")

    def test_compat_has_no_picture(self):
        path = self.folder / "curve.svg"
        self.refuse("backward", "configs/plan/hoffmann.jsonc", "--compat", "dsc180_a06", "--plot", path, says="--plot")
        self.assertFalse(path.exists())


class GeneratedFiles(ToolTest):
    """Files made by `scaling-plan schema` are those in the repository."""

    def test_the_page_of_model_types_is_current(self):
        self.assertEqual((SOURCE / "docs" / "models.md").read_text(), self.succeed("types", "--markdown", "-"),
                         "run: scaling-plan types --markdown - > docs/models.md")
        types = {entry["model_type"]: entry for entry in json.loads(self.succeed("types", "--json"))["types"]}
        self.assertTrue(types["smollm3"]["trained"])
        self.assertFalse(types["mamba2"]["trained"])
        self.assertIn("mamba2", types["mamba2"]["reason"])
        self.assertGreater(sum(len(entry["published"]) for entry in types.values()), 100)

    def check(self, subject, file):
        expected = self.succeed("schema", subject)
        committed = (SOURCE / file).read_text()
        self.assertEqual(committed, expected, f"{file} is out of date: scaling-plan schema {subject} > {file}")

    def test_plan_schema(self):
        self.check("plan", "configs/schema/plan.schema.json")

    def test_model_schema(self):
        self.check("model", "configs/schema/model.schema.json")

    def test_configuration_page(self):
        self.check("markdown", "docs/configuration.md")

    def validator(self, kind):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("python3-jsonschema is not installed")
        schema = json.loads((SOURCE / "configs" / "schema" / f"{kind}.schema.json").read_text())
        version = getattr(jsonschema, "Draft202012Validator", jsonschema.Draft7Validator)
        version.check_schema(schema)
        return version(schema)

    def test_shipped_configs_follow_their_schema(self):
        for kind, folder in (("plan", "plan"), ("model", "models")):
            validator = self.validator(kind)
            for path in shipped(folder):
                config = json.loads(without_comments((SOURCE / path).read_text()))
                self.assertEqual([error.message for error in validator.iter_errors(config)], [], path)
                pointer = config.get("$schema")
                self.assertEqual(((SOURCE / path).parent / pointer).resolve(),
                                 (SOURCE / "configs" / "schema" / f"{kind}.schema.json").resolve())

    def test_schemas_refuse_what_the_program_refuses(self):
        validator = self.validator("plan")
        config = json.loads(without_comments((SOURCE / "configs/plan/hoffmann.jsonc").read_text()))
        for section, key, value in (("training_gear", "num_gpus", 0), ("training_gear", "num_gpus", "8"),
                                    ("training_gear", "num_gpus", "sovle"), ("scaling_law", "target_loss", 0),
                                    ("training_gear", "num_gpu", 8), ("training_efficiency", "expected_mfu", 1.5),
                                    ("training_efficiency", "recompute", "some")):
            bad = json.loads(json.dumps(config))
            bad[section][key] = value
            self.assertTrue(list(validator.iter_errors(bad)), (section, key, value))
            path = self.write("bad.jsonc", json.dumps(bad))
            self.refuse("backward", path, says=key)

    def test_schema_takes_both_forms_of_a_key_that_may_be_solved_for(self):
        validator = self.validator("plan")
        config = json.loads(without_comments((SOURCE / "configs/plan/hoffmann.jsonc").read_text()))
        config["training_gear"]["num_gpus"] = "solve"
        config["dataset_constraints"]["training_tokens"] = 1e11
        self.assertEqual([error.message for error in validator.iter_errors(config)], [])
        self.succeed("backward", self.write("plan.jsonc", json.dumps(config)))


class Sweep(ToolTest):
    def test_rows_are_the_single_plans(self):
        rows = json.loads(self.succeed("sweep", "configs/plan/hoffmann.jsonc", "--over", "num_gpus=8..24:8", "--json"))
        for row in rows["rows"]:
            gpus = row["values"]["training_gear.num_gpus"]
            plan = json.loads(self.succeed("backward", "configs/plan/hoffmann.jsonc", f"--num_gpus={gpus}", "--json"))
            self.assertEqual(row["n_tokens"], plan["n_tokens"])
            self.assertEqual(row["predicted_loss"], plan["predicted_loss"])
            self.assertEqual(row["memory_bytes"], plan["memory"]["total_bytes"])

    def test_a_required_key_may_be_swept_over(self):
        text = (SOURCE / "configs/plan/hoffmann.jsonc").read_text().replace('"num_gpus": 8,', "")
        path = self.write("plan.jsonc", text)
        lines = self.succeed("sweep", path, "--over", "num_gpus=8,16").splitlines()
        self.assertEqual([line.split()[0] for line in lines[:3]], ["num_gpus", "8", "16"])
        self.assertIn("limit", lines[0])  # the plan has a dataset_size

    def test_bad_axes(self):
        plan = "configs/plan/hoffmann.jsonc"
        self.refuse("sweep", plan, "--over", "num_gpus", says="key=value")
        self.refuse("sweep", plan, "--over", "num_gpus=8..2", says="ascending")
        self.refuse("sweep", plan, "--over", "num_gpus=1..1e12", says="points")
        self.refuse("sweep", plan, "--over", "num_gpu=1,2", says="did you mean 'num_gpus'")
        self.refuse("sweep", plan, "--over", "num_gpus=1,2", "--over", "num_gpus=4", says="two axes")

    def test_points_without_a_plan_are_rows(self):
        text = self.succeed("sweep", "configs/plan/hoffmann.jsonc", "--over", "num_attention_heads=33,32")
        self.assertRegex(" ".join(text.split()), r" 33 cannot be planned: .*num_attention_heads.* 32 \S+B ")
        rows = json.loads(self.succeed("sweep", "configs/plan/hoffmann.jsonc", "--json", "--over", "num_attention_heads=33,32"))["rows"]
        self.assertIn("num_attention_heads", rows[0]["refusal"])
        self.assertGreater(rows[1]["n_tokens"], 0)

    def test_a_hundred_thousand_points_are_rows(self):
        # A second on an idle machine (tests/benchmarks); a wrong complexity meets ctest's limit.
        for axes in (["--over", "num_gpus=1..100", "--over", "available_hours=1..1000"],
                     ["--over", "available_hours=1..100000"]):
            text = self.succeed("sweep", "configs/plan/hoffmann.jsonc", *axes)
            self.assertEqual(text.count("yes\n") + text.count("no\n"), 100_000)

    def test_solved_hours_are_a_column(self):
        axes = ["--over", "training_tokens=1e11,2e11", "--available_hours=solve"]
        lines = self.succeed("sweep", Solve.PLAN, *axes).splitlines()
        hours = lines[0].split().index("hours")
        rows = json.loads(self.succeed("sweep", Solve.PLAN, *axes, "--json"))["rows"]
        for line, row in zip(lines[1:3], rows, strict=True):
            tokens = row["values"]["dataset_constraints.training_tokens"]
            plan = json.loads(self.succeed("backward", Solve.PLAN, f"--training_tokens={tokens}",
                                           "--available_hours=solve", "--json"))
            self.assertEqual(row["available_hours"], plan["solved"]["available_hours"])
            self.assertEqual(row["n_tokens"], float(tokens))
            self.assertAlmostEqual(float(line.split()[hours]), row["available_hours"], delta=0.05)
        self.assertNotIn("GPUs", lines[0])

    def test_an_axis_may_solve_at_some_points(self):
        axes = ("--over", "num_gpus=8,solve", "--over", "target_loss=solve,2.15")
        lines = self.succeed("sweep", Solve.PLAN, *axes).splitlines()
        self.assertIn("GPUs", lines[0].split())
        rows = json.loads(self.succeed("sweep", Solve.PLAN, *axes, "--json"))["rows"]
        self.assertEqual(["refusal" in row for row in rows], [False, True, True, False])
        self.assertEqual(sum("cannot be planned" in line for line in lines), 2)

    def test_sweeps_of_budgets_have_no_such_columns(self):
        header = self.succeed("sweep", Solve.PLAN, "--over", "num_gpus=8,16").splitlines()[0]
        self.assertNotIn("hours", header)
        self.assertNotIn("GPUs", header)


class Solve(ToolTest):
    """GPUs, hours, tokens and loss: two of them give the others."""
    PLAN = "configs/plan/hoffmann.jsonc"

    def plan(self, *arguments):
        return json.loads(self.succeed("backward", self.PLAN, *arguments, "--json"))

    def test_each_pair_gives_the_same_plan(self):
        budget = self.plan()
        tokens, loss = f"--training_tokens={budget['n_tokens']!r}", f"--target_loss={budget['predicted_loss']!r}"
        for given in (tokens, loss):
            hours = self.plan("--available_hours=solve", given)
            self.assertAlmostEqual(hours["solved"]["available_hours"] / 720, 1, delta=1e-11)
            gpus = self.plan("--set", "training_gear.num_gpus=solve", given)
            self.assertAlmostEqual(gpus["solved"]["exact_num_gpus"] / 8, 1, delta=1e-11)
            for plan in (hours, gpus):
                self.assertAlmostEqual(plan["n_tokens"] / budget["n_tokens"], 1, delta=1e-11)
                self.assertAlmostEqual(plan["predicted_loss"], budget["predicted_loss"], delta=1e-12)

    def test_a_budget_is_planned_as_before(self):
        asked = self.succeed("backward", self.PLAN, "--training_tokens=solve", "--target_loss", "solve")
        self.assertEqual(asked, self.succeed("backward", self.PLAN))

    def test_text_says_what_was_solved_for(self):
        text = " ".join(self.succeed("backward", self.PLAN, "--num_gpus=solve", "--target_loss=2.1").split())
        for part in ("rounded up", "of 720 h given", "they reach the target loss", "Cheapest for this loss"):
            self.assertIn(part, text)

    def test_refusals_name_the_keys_and_the_place(self):
        path = self.write("plan.jsonc", without_comments((SOURCE / self.PLAN).read_text()))
        place = re.compile(r"plan\.jsonc:\d+:\d+: error: ")
        for arguments, says in ((["--training_tokens=1e11"], "training_gear.available_hours"),
                                (["--num_gpus=solve", "--training_tokens=1e11", "--target_loss=2"], "leave one"),
                                (["--num_gpus=solve"], "add training_gear.num_gpus"),
                                (["--num_gpus=null", "--available_hours=null"], "none is given"),
                                (["--num_gpus=null", "--available_hours=null", "--training_tokens=1e11"], "GPU hours"),
                                (["--num_gpus=solve", "--training_tokens=1e15"], "more than the data give"),
                                (["--num_gpus=solve", "--target_loss=1.7"], "approaches with unlimited")):
            message = self.refuse("backward", path, *arguments, says=says)
            keys_of_the_file = says.startswith(("training_gear", "add", "none", "GPU hours"))
            self.assertEqual(place.search(message) is not None, keys_of_the_file, message)

    def test_emitted_config_trains_on_the_tokens(self):
        arguments = ("configs/plan/flash.jsonc", "--available_hours=solve", "--training_tokens=1e9")
        config = json.loads(without_comments(self.succeed("backward", *arguments, "--emit-train-config", "-")))
        plan = json.loads(self.succeed("backward", *arguments, "--json"))
        self.assertEqual(config["max_iters"], -(-1_000_000_000 // plan["schedule"]["tokens_per_step"]))

    def test_compare_shows_solved_plans(self):
        text = self.succeed("compare", self.PLAN, "configs/plan/besiroglu.jsonc", "--training_tokens=2e11",
                            "--num_gpus=solve")
        self.assertIn("8 x H100-SXM", text)

    def test_the_earlier_system_plans_budgets_only(self):
        self.refuse("backward", self.PLAN, "--available_hours=solve", "--training_tokens=1e11",
                    "--compat", "dsc180_a06", says="GPUs and hours only")

    def test_a_model_alone_has_no_budget(self):
        self.refuse("model", "configs/models/llama3_8b.jsonc", "--num_gpus=solve", says="no budget")


if __name__ == "__main__":
    main()
