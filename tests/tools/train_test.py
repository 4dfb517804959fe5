"""End-to-end tests of train: real runs of a tiny model on the built-in corpus.

usage: train_test.py TRAIN SCALING_PLAN SOURCE_DIR [unittest arguments]
"""

import json
import os
import signal
import subprocess
import sys
import time
import unittest
import xml.etree.ElementTree

from train_support import SOURCE, TrainTest


class Runs(TrainTest):
    def test_iterations_are_exactly_max_iters_and_the_loss_falls(self):
        self.run_train(self.config, "--run_name=a")
        losses = self.losses("a")
        self.assertEqual(sorted(losses), list(range(30)))
        self.assertLess(losses[29], losses[0] - 1.0)

    def test_threads_give_the_same_curve_to_the_bit(self):
        self.run_train(self.config, "--run_name=one", "--threads=1")
        self.run_train(self.config, "--run_name=two", "--threads=2")
        self.assertEqual(self.losses("one"), self.losses("two"))
        self.assertEqual(self.weights("one"), self.weights("two"))

    def test_accumulation_equals_the_large_batch(self):
        self.run_train(self.config, "--run_name=8x1", "--batch_size=8", "--gradient_accumulation_steps=1", "--max_iters=5")
        self.run_train(self.config, "--run_name=1x8", "--batch_size=1", "--gradient_accumulation_steps=8", "--max_iters=5")
        large, small = self.losses("8x1"), self.losses("1x8")
        for iteration, loss in large.items():
            self.assertAlmostEqual(small[iteration] / loss, 1, delta=1e-6 if iteration == 0 else 1e-5)

    def test_backends_learn_alike(self):
        for backend in ("flash_attn_2", "sdpa", "manual"):
            self.run_train(self.config, f"--run_name={backend}", f"--attention_backend={backend}", "--max_iters=10")
        for iteration, loss in self.losses("manual").items():
            for backend in ("flash_attn_2", "sdpa"):
                self.assertAlmostEqual(self.losses(backend)[iteration] / loss, 1, delta=1e-5)
        table = self.run_train("compare", "out/flash_attn_2", "out/sdpa", "out/manual").stdout
        for backend in ("flash_attn_2", "sdpa", "manual"):
            self.assertIn(backend, table)

    def test_fallback_is_stated_and_recorded(self):
        for disabled, used in (("flash_attn_2", "sdpa"), ("flash_attn_2,sdpa", "manual")):
            name = used
            output = self.run_train(self.config, f"--run_name={name}", "--attention_backend=flash_attn_2",
                                    f"--disable_backends={disabled}", "--max_iters=1").stdout
            self.assertIn("requested flash_attn_2", " ".join(output.split()))
            log = json.loads((self.root / "out" / name / f"run_{name}.json").read_text())
            self.assertEqual((log["requested_backend"], log["used_backend"]), ("flash_attn_2", used))
        self.run_train(self.config, "--disable_backends=flash_attn_2,sdpa,manual", "--max_iters=1", code=2)

    def test_planned_and_measured_figures_agree(self):
        output = self.run_train(self.config, "--run_name=a", "--max_iters=2").stdout
        for label in ("parameters", "executed FLOPs per iteration", "arena"):
            line = next(line for line in output.splitlines() if line.strip().startswith(label) and line.count("  ") > 1
                        and output.index(line) > output.index("Planned and measured"))
            columns = [part for part in line.strip().split("  ") if part.strip()]
            self.assertEqual(columns[-2].strip(), columns[-1].strip(), line)

    def test_ten_iterations_without_finite_gradients_end_the_run(self):
        output = self.run_train(self.config, "--run_name=a", "--learning_rate=100", "--grad_clip=0", "--weight_decay=100",
                                "--warmup_iters=0", "--max_iters=400", "--eval_interval=0", "--checkpoint_interval=0", code=6).stdout
        self.assertIn("10 iterations in a row", output)


class Resuming(TrainTest):
    def test_a_killed_run_continues_to_the_same_bits(self):
        self.run_train(self.config, "--run_name=whole")
        for attempt in range(5):
            name = f"killed{attempt}"
            process = subprocess.Popen(self.command(self.config, f"--run_name={name}"), cwd=self.root,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            metrics = self.root / "out" / name / "metrics.jsonl"
            wanted = 6 + 4 * attempt  # iterations done when it is killed; the first checkpoint is after 5
            deadline = time.time() + 120
            while time.time() < deadline and process.poll() is None:
                if metrics.exists() and metrics.read_text().count('"iteration"') >= wanted:
                    break
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.run_train(self.config, f"--run_name={name}", "--init_from=resume")
            self.assertEqual(self.weights(name), self.weights("whole"))
            self.assertEqual(self.losses(name), self.losses("whole"))

    def test_a_signal_saves_and_ends_well(self):
        process = subprocess.Popen(self.command(self.config, "--run_name=a", "--max_iters=100000", "--eval_interval=0",
                                                "--checkpoint_interval=0"),
                                   cwd=self.root, stdout=subprocess.PIPE, text=True)
        metrics = self.root / "out" / "a" / "metrics.jsonl"
        deadline = time.time() + 120
        while time.time() < deadline and not (metrics.exists() and metrics.read_text().count('"iteration"') > 3):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, 0, output)
        self.assertIn("init_from=resume", output)
        self.assertTrue((self.root / "out" / "a" / "latest").exists())

    def test_a_damaged_checkpoint_is_named_and_passed_over(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=10")
        newest = self.root / "out" / "a" / "checkpoints" / "step_00000010" / "model.safetensors"
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
        result = self.run_train(self.config, "--run_name=a", "--init_from=resume", "--max_iters=12")
        self.assertIn("step_00000010", result.stderr)
        self.assertIn("resumed out/a at iteration 5", result.stdout)


class Models(TrainTest):
    def test_sample_export_and_import_agree(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=5")
        prompt = ("--prompt", "The ", "--tokens", 20, "--seed", 3)
        first = self.run_train("sample", "--checkpoint", "out/a", *prompt).stdout
        self.assertTrue(first.startswith("The "))
        self.run_train("export", "--checkpoint", "out/a", "--format", "hf", "--out", "exported")
        self.assertEqual(json.loads((self.root / "exported/config.json").read_text())["model_type"], "llama")
        self.run_train("import", "exported", "--out", "out/imported")
        self.assertEqual(first, self.run_train("sample", "--checkpoint", "out/imported", *prompt).stdout)
        self.run_train(self.config, "--run_name=b", "--init_from=exported", "--max_iters=1")
        self.run_train("export", "--checkpoint", "out/a", "--out", "exported", code=2)

    def test_what_came_with_a_model_stays_with_it(self):
        self.run_train(self.config, "--run_name=first", "--max_iters=5")
        self.run_train("export", "--checkpoint", "out/first", "--out", "published")
        published = self.root / "published"
        # As a published model: a tokenizer that this program does not read, and several ends.
        for name in ("tokenizer_isoflop.json", "tokenizer.json", "tokenizer_config.json"):
            (published / name).unlink(missing_ok=True)
        config = json.loads((published / "config.json").read_text())
        config |= {"bos_token_id": 1, "eos_token_id": [2, 7], "pad_token_id": 0}
        (published / "config.json").write_text(json.dumps(config))
        carried = {"tokenizer.json": '{"model": {"type": "BPE"}}', "special_tokens_map.json": '{"pad_token": "<pad>"}',
                   "tokenizer_config.json": '{"tokenizer_class": "PreTrainedTokenizerFast"}',
                   "generation_config.json": '{"eos_token_id": [2, 7], "temperature": 0.6}'}
        for name, text in carried.items():
            (published / name).write_text(text)
        tokens = self.root / "tokens"
        tokens.mkdir()
        for part in ("train", "val"):
            (tokens / f"{part}.bin").write_bytes(bytes(b for i in range(3000) for b in (i * 37 % 250, 0)))
        data = ["--dataset=tokens", "--eval_iters=1", "--max_iters=5"]
        self.run_train("import", "published", "--out", "out/imported")
        self.run_train(self.config, "--run_name=tuned", "--init_from=published", *data)
        self.run_train(self.config, "--run_name=again", "--init_from=out/tuned", *data)
        for run in ("imported", "tuned", "again"):
            self.run_train("export", "--checkpoint", f"out/{run}", "--out", f"exported_{run}")
            exported = self.root / f"exported_{run}"
            for name, text in carried.items():
                self.assertEqual((exported / name).read_text(), text, (run, name))
            written = json.loads((exported / "config.json").read_text())
            self.assertEqual([written[f"{name}_token_id"] for name in ("bos", "eos", "pad")], [1, [2, 7], 0], run)
        refusal = self.run_train("sample", "--checkpoint", "out/again", "--prompt", "a", code=2)
        self.assertIn("tokenizer.json is kept", refusal.stderr)

    def test_a_tokenizer_of_the_data_replaces_that_of_the_import(self):
        self.run_train(self.config, "--run_name=first", "--max_iters=5")
        self.run_train("export", "--checkpoint", "out/first", "--out", "published")
        for name in ("tokenizer_isoflop.json", "tokenizer.json"):
            (self.root / "published" / name).unlink()
        (self.root / "published" / "tokenizer.json").write_text("{}")
        self.run_train(self.config, "--run_name=tuned", "--init_from=published", "--max_iters=5")
        self.run_train("export", "--checkpoint", "out/tuned", "--out", "exported")
        self.assertIn("<|endoftext|>", (self.root / "exported" / "tokenizer.json").read_text())

    def test_a_rope_scaling_that_nothing_computes_is_not_imported(self):
        self.run_train(self.config, "--run_name=first", "--max_iters=5")
        self.run_train("export", "--checkpoint", "out/first", "--out", "published")
        path = self.root / "published" / "config.json"
        config = json.loads(path.read_text()) | {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
        path.write_text(json.dumps(config))
        refusal = self.run_train("import", "published", "--out", "out/imported", code=2)
        self.assertIn("rope_type yarn", refusal.stderr)
        self.assertFalse((self.root / "out" / "imported").exists())
        self.run_train(self.config, "--run_name=tuned", "--init_from=published", code=2)
        self.assertFalse((self.root / "out" / "tuned").exists())

    def test_selfcheck_and_doctor(self):
        self.assertIn("ok", self.run_train("--selfcheck", self.config).stdout)
        doctor = self.run_train("--doctor").stdout
        for row in ("FMA peak", "CUDA", "driver", "cuBLASLt", "cuDNN", "NCCL", "NVML"):
            self.assertRegex(doctor, rf"\n  {row} +\S")
        self.assertRegex(self.run_train("--version").stdout, r"GPU libraries: CUDA .*built in; driver .*, cuBLASLt ")

    def test_prepared_text_trains(self):
        text = self.root / "text.txt"
        text.write_text("To be, or not to be, that is the question.\n" * 400)
        self.run_train("prepare-data", "--input", text, "--tokenizer", "char", "--val-fraction", 0.1, "--out", "data/mine")
        self.run_train(self.config, "--run_name=a", "--dataset=mine", "--max_iters=3")
        self.run_train("prepare-data", "--input", text, "--out", "data/mine", code=2)


class Attention(TrainTest):
    def test_auto_takes_the_table_where_bits_are_promised(self):
        output = self.run_train(self.config, "--run_name=a", "--max_iters=1").stdout
        self.assertIn("auto: table: flash_attn_2 first on a CPU (reproducible)", " ".join(output.split()))
        self.assertFalse((self.root / "out/attention_probe.json").exists())
        log = json.loads((self.root / "out/a/run_a.json").read_text())
        self.assertEqual((log["requested_backend"], log["used_backend"]), ("auto", "flash_attn_2"))
        self.assertTrue(log["backend_reason"].startswith("table: "))

    def test_auto_measures_keeps_and_resumes(self):
        fast = (self.config, "--reproducible=false")
        self.run_train(*fast, "--run_name=a", "--max_iters=2")
        log = json.loads((self.root / "out/a/run_a.json").read_text())
        self.assertTrue(log["backend_reason"].startswith("measured: "), log["backend_reason"])
        cache = self.root / "out/attention_probe.json"
        kept = json.loads(cache.read_text())
        (times,) = kept["milliseconds"].values()
        self.assertEqual(sorted(times), ["flash_attn_2", "manual", "sdpa"])
        slow = next(name for name in times if name != log["used_backend"])
        times[slow] = 1e-9
        cache.write_text(json.dumps(kept))
        self.assertIn("(cached)", self.run_train(*fast, "--run_name=b", "--max_iters=1").stdout)
        other = json.loads((self.root / "out/b/run_b.json").read_text())
        self.assertEqual(other["used_backend"], slow)
        resumed = " ".join(self.run_train(*fast, "--run_name=a", "--init_from=resume", "--max_iters=3").stdout.split())
        self.assertIn(f"auto: {log['backend_reason']}", resumed)
        cache.write_text("{")
        self.assertIn("damaged", self.run_train(*fast, "--run_name=c", "--max_iters=1").stderr)
        self.assertEqual(len(json.loads(cache.read_text())["milliseconds"]), 1)

    def test_comparison_prints_a_table_json_and_a_page(self):
        shapes = ("--shape", "2,33,4,2,16", "--shape=1,64,4,2,16", "--shape", "1,9,2,1,8,full", "--repeats", 1)
        output = self.run_train("compare-attention", *shapes, "--html", "page.html").stdout
        for word in ("2,33,4,2,16", "1,9,2,1,8,full", "flash_attn_2", "sdpa", "manual", "GFLOP/s"):
            self.assertIn(word, output)
        page = xml.etree.ElementTree.parse(self.root / "page.html").getroot()
        svg = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len(list(page.iter(svg + "polyline"))), 2 * 2 * 3)  # groups, plots, backends
        labels = [text.text for text in page.iter(svg + "text")]
        for label in ("sequence length, tokens", "GFLOP/s, forward and backward", "ms, forward and backward"):
            self.assertIn(label, labels)
        html = "{http://www.w3.org/1999/xhtml}"
        self.assertEqual(len(list(page.iter(html + "tr"))), 1 + 3 * 3)
        self.assertFalse(list(page.iter(html + "script")) + list(page.iter(html + "link")))

        data = json.loads(self.run_train("compare-attention", self.config, "--json").stdout)
        self.assertTrue(data["passed"])
        self.assertEqual([shape["sequence_length"] for shape in data["shapes"]], [16, 32, 64])
        for shape in data["shapes"]:
            for backend in shape["backends"]:
                self.assertLess(max(backend["errors"].values()), 2e-5)
                self.assertGreater(backend["flops_per_second"], 0)

    def test_comparison_refuses_what_it_cannot_read(self):
        for shape in ("8,1024", "1,2,3,2,4", "1,x,1,1,1"):
            message = self.run_train("compare-attention", "--shape", shape, code=2).stderr
            self.assertIn(shape, message)
            self.assertIn("B,S,H,Hkv,D", message)
        self.run_train("compare-attention", "--device=cuda", code=2)
        self.run_train("compare-attention", "--repeats=0", code=2)
        self.run_train("compare-attention", "--shape", "1,8,1,1,8", "--html", "no/folder.html", code=3)


class Generated(TrainTest):
    def test_committed_references_are_what_the_table_gives(self):
        for form, path in (("schema", "configs/schema/train.schema.json"), ("markdown", "docs/training.md")):
            self.assertEqual(self.run_train("--print-keys", form).stdout, (SOURCE / path).read_text(),
                             f"regenerate with: train --print-keys {form} > {path}")


class Files(TrainTest):
    """Hostile files, and files that change under a run."""

    def test_deep_nesting_is_refused_by_compare_and_sample(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=5")
        deep = "[" * 105_000 + "]" * 105_000
        (self.root / "run_deep.json").write_text('{"run_name": "x", "training_iterations": [], "config": ' + deep + "}")
        self.assertIn("run_deep.json", self.run_train("compare", "run_deep.json", code=3).stderr)
        log = self.root / "deep.jsonl"
        log.write_text('{"type":"header","config":' + deep + "}\n" + '{"type":"end"}\n')
        self.assertIn("deep.jsonl", self.run_train("compare", "deep.jsonl", code=3).stderr)
        tokenizer = self.root / "out" / "a" / "tokenizer_isoflop.json"
        tokenizer.write_text('{"type": "byte", "more": ' + deep + "}")
        refusal = self.run_train("sample", "--checkpoint", "out/a", "--prompt", "a", code=3)
        self.assertIn("tokenizer_isoflop.json", refusal.stderr)

    def test_many_keys_in_one_object_are_read(self):
        keys = ",".join(f'"key{number}":{number}' for number in range(150_000))
        (self.root / "run_many.json").write_text('{"run_name": "x", "training_iterations": [], "config": {' + keys + "}}")
        self.run_train("compare", "run_many.json")

    def test_pipes_in_the_place_of_files_are_refused_at_once(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=5")
        for file in ("metrics.jsonl", "latest/manifest.json", "latest/model.safetensors"):
            path = self.root / "out" / "a" / file
            path.unlink()
            os.mkfifo(path)
        self.assertIn("pipe", self.run_train("compare", "out/a", code=3).stderr)
        self.assertIn("pipe", self.run_train("sample", "--checkpoint", "out/a/latest", "--prompt", "a", code=3).stderr)
        (self.root / "tokens").mkdir()
        os.mkfifo(self.root / "tokens" / "train.bin")
        self.assertIn("pipe", self.run_train(self.config, "--dataset=tokens", code=3).stderr)

    def test_a_pickle_is_mentioned_and_not_read(self):
        tokens = self.root / "tokens"
        tokens.mkdir()
        for part in ("train", "val"):
            (tokens / f"{part}.bin").write_bytes(bytes(b for i in range(3000) for b in (i * 37 % 250, 0)))
        (tokens / "meta.pkl").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
        result = self.run_train(self.config, "--dataset=tokens", "--max_iters=2", "--eval_iters=1")
        self.assertIn("meta.pkl is not read", result.stderr)
        self.assertFalse((self.root / "ran").exists())


class Sampling(TrainTest):
    def test_options_that_mean_nothing_are_usage_errors(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=1", "--eval_interval=0")
        sample = ("sample", "--checkpoint", "out/a", "--prompt", "a")
        for option, value in (("--temperature", "nan"), ("--temperature", "-1"), ("--temperature", "inf"),
                              ("--top-k", "-3"), ("--tokens", "-1")):
            with self.subTest(option, value=value):
                error = self.run_train(*sample, f"{option}={value}", code=2).stderr
                self.assertIn(f"{option} must be", error)
                self.assertIn(value, error)
        self.run_train(*sample, "--temperature=0", "--top-k=0", "--tokens=0")

    def test_a_beginning_that_the_model_does_not_have_is_named(self):
        if "SentencePiece" not in self.run_train("--version").stdout:
            self.skipTest("this build reads no SentencePiece tokenizer")
        self.run_train("prepare-data", "--input", SOURCE / "README.md", "--tokenizer", "sentencepiece-train:400",
                       "--val-fraction", "0.1", "--out", "data/text")
        self.run_train(self.config, "--run_name=a", "--dataset=text", "--max_iters=1", "--eval_interval=0")
        self.run_train("export", "--checkpoint", "out/a", "--out", "exported")
        exported = self.root / "exported"
        for name in ("config.json", "tokenizer_config.json"):
            content = json.loads((exported / name).read_text())
            content |= {"bos_token_id": 5000} if name == "config.json" else {"add_bos_token": True}
            (exported / name).write_text(json.dumps(content))
        (exported / "generation_config.json").unlink(missing_ok=True)
        error = self.run_train("sample", "--checkpoint", "exported", "--prompt", "the", code=3).stderr
        for words in ("exported/config.json", "bos_token_id is 5000", "vocabulary of"):
            self.assertIn(words, error)


class Errors(TrainTest):
    def test_retired_keys_say_what_to_use(self):
        for key in ("compile", "backend", "wandb_log"):
            self.assertIn("means nothing here", self.run_train(self.config, f"--{key}=true", code=2).stderr)

    def test_bad_values_name_the_key(self):
        for override, word in (("--learning_rate=-1", "learning_rate"), ("--n_layer=0", "num_hidden_layers"),
                               ("--attention_backend=flash", "attention_backend"), ("--n_head=5", "num_attention_heads"),
                               ("--gradient_accumulation_steps=0", "gradient_accumulation_steps"),
                               ("--total_batch_tokens=100", "total_batch_tokens"), ("--device=cuda", "cuda")):
            self.assertIn(word, self.run_train(self.config, override, code=2).stderr, override)

    def test_names_of_runs_have_no_control_characters(self):
        for name, shown in (("a\nb", "a\\nb"), ("a\tb", "a\\tb")):
            error = self.run_train(self.config, f"--run_name={name}", code=2).stderr
            self.assertIn("control character", error)
            self.assertIn(shown, error)
        self.assertFalse(list((self.root / "out").glob("*")))

    def test_a_misspelt_key_gets_a_suggestion(self):
        self.assertIn("n_layer", self.run_train(self.config, "--n_layr=3", code=2).stderr)
        self.config.write_text('{\n  "arch_preset": "llama",\n  "batch_sizes": 3\n}')
        message = self.run_train(self.config, code=2).stderr
        self.assertIn("tiny.jsonc:3:3", message)
        self.assertIn("batch_size", message)

    def test_files_of_other_kinds_are_answered_with_their_command(self):
        message = self.run_train(SOURCE / "configs/plan/flash.jsonc", code=2).stderr
        self.assertIn("--emit-train-config", message)
        theirs = self.root / "config.json"
        theirs.write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
                                      "dtype": "bfloat16", "transformers_version": "5.0.0"}))
        message = self.run_train(theirs, code=2).stderr
        self.assertIn("Hugging Face config.json", message)
        self.assertIn("init_from", message)
        self.assertIn("Read as a training config.", self.run_train(self.config, "--dry-run").stdout)

    def test_a_taken_name_and_missing_runs_are_usage_errors(self):
        self.run_train(self.config, "--run_name=a", "--max_iters=1")
        self.run_train(self.config, "--run_name=a", "--max_iters=1", code=2)
        self.run_train(self.config, "--run_name=nobody", "--init_from=resume", code=2)
        self.run_train(self.config, "--init_from=nowhere", code=2)
        self.run_train(code=2)

    def test_missing_data_is_an_io_error(self):
        self.run_train(self.config, "--dataset=nothing", code=3)

    def test_sixteen_bit_falls_back_with_a_note(self):
        output = self.run_train(self.config, "--dtype=bfloat16", "--max_iters=1").stdout
        self.assertIn("runs as float32", " ".join(output.split()))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
