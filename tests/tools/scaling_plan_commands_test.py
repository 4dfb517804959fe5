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

    def test_prints_to_standard_output(self):
        text = self.succeed("backward", self.PLAN, "--emit-train-config", "-")
        self.assertIn("n_layer", json.loads(without_comments(text)))

    def test_missing_folder_is_an_output_error(self):
        self.refuse("backward", self.PLAN, "--emit-train-config", self.folder / "no" / "train.jsonc", code=3)

    def test_refusal_writes_nothing(self):
        path = self.folder / "train.jsonc"
        self.refuse("backward", self.PLAN, "--parallelism=zero2", "--emit-train-config", path, says="zero2")
        for gpu in ("MI300X", "V100-SXM2-32"):
            self.refuse("backward", self.PLAN, f"--gpu_type={gpu}", "--dtype=float16", "--emit-train-config", path,
                        says="does not run on " + gpu)
        self.assertFalse(path.exists())


class Plot(ToolTest):
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
                                    ("training_gear", "num_gpu", 8), ("training_efficiency", "expected_mfu", 1.5),
                                    ("training_efficiency", "recompute", "some")):
            bad = json.loads(json.dumps(config))
            bad[section][key] = value
            self.assertTrue(list(validator.iter_errors(bad)), (section, key, value))
            path = self.write("bad.jsonc", json.dumps(bad))
            self.refuse("backward", path, says=key)


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
        self.assertEqual(len(self.succeed("sweep", path, "--over", "num_gpus=8,16").splitlines()), 3)

    def test_bad_axes(self):
        plan = "configs/plan/hoffmann.jsonc"
        self.refuse("sweep", plan, "--over", "num_gpus", says="key=value")
        self.refuse("sweep", plan, "--over", "num_gpus=8..2", says="ascending")
        self.refuse("sweep", plan, "--over", "num_gpus=1..1e12", says="points")
        self.refuse("sweep", plan, "--over", "num_gpu=1,2", says="did you mean 'num_gpus'")
        self.refuse("sweep", plan, "--over", "num_gpus=1,2", "--over", "num_gpus=4", says="two axes")

    def test_points_without_a_plan_are_rows(self):
        lines = self.succeed("sweep", "configs/plan/hoffmann.jsonc", "--over", "num_attention_heads=33,32").splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn("cannot be planned: ", lines[1])
        self.assertIn("num_attention_heads", lines[1])
        rows = json.loads(self.succeed("sweep", "configs/plan/hoffmann.jsonc", "--json", "--over", "num_attention_heads=33,32"))["rows"]
        self.assertIn("num_attention_heads", rows[0]["refusal"])
        self.assertGreater(rows[1]["n_tokens"], 0)

    def test_a_hundred_thousand_points_are_rows(self):
        # A second on an idle machine (tests/benchmarks); a wrong complexity meets ctest's limit.
        for axes in (["--over", "num_gpus=1..100", "--over", "available_hours=1..1000"],
                     ["--over", "available_hours=1..100000"]):
            text = self.succeed("sweep", "configs/plan/hoffmann.jsonc", *axes)
            self.assertEqual(text.count("\n"), 100_001)


if __name__ == "__main__":
    main()
