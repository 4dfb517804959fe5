#!/usr/bin/env python3
"""Writes class_cases/TYPE.json: random small models of every type, as transformers builds them.

    python3 -m venv venv && venv/bin/pip install torch 'transformers==5.24.0'
    venv/bin/python tests/model/generate_class_cases.py [TYPE...]
    venv/bin/python tests/model/generate_class_cases.py --check [TYPE...]

The models are built on the meta device, so no memory is needed. The output is the same on every run.
`--check` saves one real model per type with save_pretrained and compares the tensors of its files.

A file is {"transformers": version, "model_type": type, "cases": [case, ...]}, one case on each line. A
case has these members:

  config         a config.json: the model type and the keys that were chosen, others left to the class; in
                 each tenth case the file as save_pretrained writes it, with the keys of every base class
  total          the elements of `tensors`: each parameter once where weights are tied, and buffers that are
                 in the checkpoint and that training changes (the score corrections of routers)
  active         mixtures only: total without the routed experts that one token does not use; the biases of
                 experts belong to the expert, and a router belongs to the active parameters
  saved_buffers  the part of total that is in buffers, where it is not 0
  layer_types    the resolved kind of each layer as [[kind, how often in succession], ...], where the class
                 has such a list
  sliding_window the resolved window in tokens, where some layer has one
  tensors        sorted rows [name, [shape], layers, experts] with the names of a checkpoint. In a name {i}
                 stands for the layer and {e} for the expert. layers: [[first, last], ...], inclusive, or
                 null without {i}. experts: the number of experts, counted from 0, or null without {e}.
  constants      buffers in the checkpoint that follow from the configuration (the decays of MiniMax's
                 linear attention), as rows; not part of total

The first case of a type has no keys but the model type (and NEEDED below, without which some classes cannot
be built); 40 random cases follow.
"""

import json
import pathlib
import sys

import torch
import transformers

import class_types_dense
import class_types_hybrid
import class_types_mixture
from class_case_choices import Choices
from class_case_tensors import build, describe, is_constant, make_case

CASES_PER_TYPE = 40
FOLDER = pathlib.Path(__file__).parent / "class_cases"
TYPES = {build.__name__: build
         for module in (class_types_dense, class_types_mixture, class_types_hybrid)
         for build in module.TYPES}

# What a class needs before it can be built at all.
NEEDED = {
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "dots1": {"n_shared_experts": 2, "n_routed_experts": 128, "num_experts_per_tok": 6},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 8},
}


def chosen_keys(model_type, number):
    if number == 0:
        return {"model_type": model_type, **NEEDED.get(model_type, {})}
    return {"model_type": model_type, **TYPES[model_type](Choices(model_type, number))}


def make_numbered_case(model_type, number):
    keys = chosen_keys(model_type, number)
    case = make_case(keys)
    if number % 10 == 5:
        config, _ = build(keys)
        case["config"] = json.loads(config.to_json_string())
    return case


def write(model_type):
    cases = [make_numbered_case(model_type, number) for number in range(CASES_PER_TYPE + 1)]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    path = FOLDER / f"{model_type}.json"
    path.write_text(f'{{"transformers": "{transformers.__version__}", "model_type": "{model_type}", "cases": [\n'
                    f"{lines}\n]}}\n")
    print(f"{model_type}: {len(cases)} cases, {path.stat().st_size} bytes")


def check(model_type):
    """The tensors of a real file against those that make_case derives without one."""
    import tempfile

    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM

    cases = {number: make_case(chosen_keys(model_type, number)) for number in range(1, CASES_PER_TYPE + 1)}
    mixtures = {number: case for number, case in cases.items() if "active" in case}
    number, case = min((mixtures or cases).items(), key=lambda item: item[1]["total"])
    keys = chosen_keys(model_type, number)
    keys = {key: value for key, value in keys.items() if key != "model_type"}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **keys))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        saved = {}
        for path in pathlib.Path(folder).glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                for name in file.keys():
                    saved[name] = torch.empty(file.get_slice(name).get_shape(), device="meta")
    rows = describe({name: tensor for name, tensor in saved.items() if not is_constant(name)})
    if rows != case["tensors"]:
        sys.exit(f"{model_type}: case {number} differs from its saved file:\n"
                 + "\n".join(map(str, [row for row in rows if row not in case["tensors"]]))
                 + "\nnot saved:\n" + "\n".join(map(str, [row for row in case["tensors"] if row not in rows])))
    print(f"{model_type}: case {number} has the {len(saved)} tensors of its saved file")


def main():
    names = sys.argv[1:]
    task = write
    if names and names[0] == "--check":
        task = check
        names = names[1:]
    transformers.logging.set_verbosity_error()
    FOLDER.mkdir(exist_ok=True)
    for name in names or TYPES:
        task(name)


if __name__ == "__main__":
    main()
