#!/usr/bin/env python3
"""Writes class_flops.json: forward FLOPs of small models, counted while transformers runs them.

    venv/bin/python tests/model/generate_class_flops.py [TYPE...] > tests/model/class_flops.json

The versions are those of generate_class_cases.py, whose configurations these are: of each type below the
three smallest random cases that have layers of every kind. The models run on the CPU with eager attention and eager experts on one
sequence of S tokens; torch.utils.flop_counter counts each product that is executed, a multiplication and
an addition as two FLOPs. A case has these members:

  config                 as in class_cases
  sequence_length        S
  linear_flops_per_token all linear maps with parameters: projections, feed-forward networks, routers,
                         shared experts, k of E routed experts, and the logits of every token. No biases,
                         norms, activations or embedding look-ups. Each count is also the sum over the
                         calls of modules of 2 x the elements of their matrices (Gemma 3n calls its
                         modality router twice per layer); the script stops where the two differ. Llama 4 executes every expert for every token; its experts count k of E.
  attention_flops        the products of queries with keys and of weights with values in layers with softmax
                         attention, all S x S pairs though masks and windows discard some, for the
                         whole sequence
  attention_layers       how many layers these are
  indexer_flops          deepseek_v32: the products of the indexer's queries with its keys, S x S, for the whole
                         sequence
  conv_flops_per_token   depthwise convolutions: 2 x the elements of their kernels per token (the padding
                         that transformers computes and discards is not counted)

Not counted: the scans of state-space layers and the chunked products of linear attention, which depend on
the algorithm and not on the model.
"""

import json
import sys

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from class_case_tensors import top_k_of
from generate_class_cases import CASES_PER_TYPE, chosen_keys, make_case

SEQUENCE_LENGTH = 16
CASES_PER_FLOP_TYPE = 3
DENSE = ["smollm3", "gemma3_text", "olmo3", "cohere2", "exaone4", "ministral", "gemma3n_text", "gpt_neo",
         "nemotron", "falcon", "phi", "opt", "gpt_bigcode", "stablelm", "gptj", "apertus"]
MIXTURES = ["qwen2_moe", "gpt_oss", "llama4_text", "glm4_moe", "deepseek_v3", "olmoe", "ernie4_5_moe", "granitemoe",
            "minimax_m2", "phimoe", "deepseek_v32", "hunyuan_v1_moe", "dots1"]
HYBRIDS = ["qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "minimax", "mamba", "mamba2", "jamba", "falcon_h1", "nemotron_h", "lfm2",
           "lfm2_moe", "bamba", "granitemoehybrid"]


def smallest_cases(model_type):
    cases = [make_case(chosen_keys(model_type, number)) for number in range(1, CASES_PER_TYPE + 1)]
    mixtures = [case for case in cases if case.get("active", case["total"]) != case["total"]]

    def kinds(case):
        return len({kind for kind, _ in case.get("layer_types", [])})

    chosen = sorted(mixtures or cases, key=lambda case: (-kinds(case), case["total"]))
    return [case["config"] for case in chosen]


def counted_cases(model_type):
    """Random sizes may build and yet not run, such as layers with a window but without its size."""
    counted = []
    for keys in smallest_cases(model_type):
        if len(counted) < CASES_PER_FLOP_TYPE:
            try:
                counted.append(count(keys))
            except (RuntimeError, ValueError) as error:
                print(f"{keys}: {error}", file=sys.stderr)
    return counted


def real_model(keys):
    keys = dict(keys)
    config = AutoConfig.for_model(keys.pop("model_type"), **keys)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager")
    return config, model.eval()


def is_experts(module):
    return any(parameter.dim() == 3 for parameter in module.parameters(recurse=False)) and "Experts" in type(
        module).__name__


def is_router(module):
    name = type(module).__name__
    return ("Router" in name or "Gate" in name) and hasattr(module, "weight") and module.weight.dim() == 2


def matrix_flops(config, module):
    """2 x the elements of the matrices of one module that a token meets; 0 for other modules."""
    if isinstance(module, torch.nn.Linear) or is_router(module) or type(module).__name__ == "Conv1D":
        return 2 * module.weight.numel()
    if is_experts(module):
        matrices = [p for name, p in module.named_parameters(recurse=False) if "bias" not in name]
        return sum(2 * p.numel() // p.shape[0] for p in matrices) * top_k_of(config)
    return 0


def count_calls(config, model):
    """[(FLOPs per token and call, calls)], which the next forward fills."""
    records = []
    for module in model.modules():
        if flops := matrix_flops(config, module):
            record = [flops, 0]
            records.append(record)
            module.register_forward_hook(lambda *_, record=record: record.__setitem__(1, record[1] + 1))
    return records


def own_counts(counts):
    """Counts of modules without those of the modules inside."""
    modules = {name: {op._overloadpacket.__name__ if hasattr(op, "_overloadpacket") else op.__name__: flops
                      for op, flops in ops.items()}
               for name, ops in counts.items() if name != "Global"}
    own = {}
    for name, ops in modules.items():
        children = [other for other in modules if other.startswith(name + ".")]
        direct = [c for c in children if not any(c.startswith(o + ".") for o in children if o != c)]
        own[name] = {op: flops - sum(modules[c].get(op, 0) for c in direct) for op, flops in ops.items()}
    return own


def count(keys):
    config, model = real_model(keys)
    names = {f"{type(model).__name__}.{name}": module for name, module in model.named_modules()}
    tokens = torch.arange(SEQUENCE_LENGTH).remainder(20)[None]
    calls = count_calls(config, model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=tokens, use_cache=False)
    linear = attention = indexer = 0
    attention_layers = set()
    for name, ops in own_counts(counter.get_flop_counts()).items():
        module = names.get(name)
        products = ops.get("mm", 0) + ops.get("addmm", 0)
        batched = ops.get("bmm", 0) + ops.get("baddbmm", 0)
        if module is not None and is_experts(module) and batched:
            # Llama 4 executes every expert for every token.
            products += batched * top_k_of(config) // module.num_experts
        elif module is not None and is_softmax_attention(module) and batched:
            attention += batched
            attention_layers.add(name)
        elif "Indexer" in type(module).__name__:
            indexer += batched
        linear += products
    # Mamba multiplies with the weight of a module (dt_proj) without calling the module.
    by_modules = sum(flops * max(1, count) for flops, count in calls)
    convolutions = sum(2 * module.weight.numel() for module in model.modules()
                       if isinstance(module, torch.nn.Conv1d))
    if linear != by_modules * SEQUENCE_LENGTH:
        sys.exit(f"{keys}: counted {linear / SEQUENCE_LENGTH}, by modules {by_modules}")
    case = {"config": keys, "sequence_length": SEQUENCE_LENGTH, "linear_flops_per_token": by_modules,
            "attention_flops": attention, "attention_layers": len(attention_layers),
            "conv_flops_per_token": convolutions}
    if indexer:
        case["indexer_flops"] = indexer
    return case


def is_softmax_attention(module):
    name = type(module).__name__
    return "Attention" in name and "Lightning" not in name


def main():
    transformers.logging.set_verbosity_error()
    cases = [case for model_type in sys.argv[1:] or DENSE + MIXTURES + HYBRIDS
             for case in counted_cases(model_type)]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    print(f'{{"transformers": "{transformers.__version__}", "cases": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
