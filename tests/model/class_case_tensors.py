"""The tensors of a checkpoint of a model that transformers builds on the meta device.

Used by generate_class_cases.py, which describes the format of the cases.
"""

import os
import re

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402
from transformers.core_model_loading import revert_weight_conversion  # noqa: E402

LAYER = re.compile(r"^(.*?\.(?:layers|h|blocks)\.)(\d+)(\..*)$")
EXPERT = re.compile(r"^(.*\.experts\.)(\d+)(\..*)$")

# Buffers that transformers saves though they follow from the configuration.
CONSTANTS = ("slope_rate", "query_decay", "key_decay", "diagonal_decay")


def build(keys):
    """The resolved configuration and the causal language model on the meta device."""
    keys = dict(keys)
    config = AutoConfig.for_model(keys.pop("model_type"), **keys)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return config, model


def is_constant(name):
    return name.rsplit(".", 1)[-1] in CONSTANTS


def stored_tensors(model):
    """Tensors by their name in memory: parameters, a tied one once, and buffers that are saved."""
    tensors = dict(model.named_parameters())
    saved = model.state_dict()
    tensors.update((name, buffer) for name, buffer in model.named_buffers() if name in saved)
    return tensors


def checkpoint_tensors(model):
    """Tensors by the names that save_pretrained writes: fused experts are split again."""
    return revert_weight_conversion(model, stored_tensors(model))


def top_k_of(config):
    for key in ("num_experts_per_tok", "moe_topk", "moe_k"):
        value = getattr(config, key, None)
        if isinstance(value, int):
            return value
        if isinstance(value, list):
            return value[0]
    raise ValueError(f"{config.model_type}: no number of experts per token")


def unused_by_one_token(config, model):
    """Parameters of routed experts that one token does not use. In memory experts are fused into one
    tensor per layer, with the expert as the first dimension."""
    unused = 0
    for name, tensor in model.named_parameters():
        if ".experts." in name:
            experts = tensor.shape[0]
            unused += tensor.numel() // experts * max(0, experts - top_k_of(config))
    return unused


def ranges(numbers):
    """[0, 1, 2, 5] -> [[0, 2], [5, 5]]."""
    spans = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return spans


def describe(tensors):
    """Tensors that differ in layer or expert only, as one row each; see generate_class_cases.py."""
    groups = {}
    for name, tensor in tensors.items():
        layer = expert = None
        if match := LAYER.match(name):
            name, layer = f"{match[1]}{{i}}{match[3]}", int(match[2])
        if match := EXPERT.match(name):
            name, expert = f"{match[1]}{{e}}{match[3]}", int(match[2])
        layers = groups.setdefault((name, tuple(tensor.shape)), {})
        layers.setdefault(layer, set()).add(expert)
    # Layers with different numbers of experts get rows of their own.
    rows = []
    for (name, shape), layers in groups.items():
        counts = {}
        for layer, experts in layers.items():
            count = None if None in experts else len(experts)
            counts.setdefault(count, []).append(layer)
        for count, where in counts.items():
            rows.append([name, list(shape), None if None in where else ranges(where), count])
    return sorted(rows, key=lambda row: (row[0], row[1], row[2] or [], row[3] or 0))


def make_case(keys):
    config, model = build(keys)
    memory = stored_tensors(model)
    stored = checkpoint_tensors(model)
    constants = {name: tensor for name, tensor in stored.items() if is_constant(name)}
    stored = {name: tensor for name, tensor in stored.items() if not is_constant(name)}
    total = sum(tensor.numel() for tensor in stored.values())
    assert total == sum(t.numel() for name, t in memory.items() if not is_constant(name)), keys
    case = {"config": keys, "total": total}
    unused = unused_by_one_token(config, model)
    if unused or any(".experts." in name for name in memory):
        case["active"] = total - unused
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if parameters != total:
        case["saved_buffers"] = total - parameters
    layer_types = getattr(config, "layer_types", None) or getattr(config, "attention_layers", None)
    if layer_types:
        case["layer_types"] = run_lengths(layer_types)
    window = getattr(config, "sliding_window", None)
    if window and not (layer_types and "sliding_attention" not in layer_types):
        case["sliding_window"] = window
    case["tensors"] = describe(stored)
    if constants:
        case["constants"] = describe(constants)
    return case


def run_lengths(values):
    """["a", "a", "b"] -> [["a", 2], ["b", 1]]."""
    runs = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return runs
