#!/usr/bin/env python3
"""Writes hf_cases.json: random small models of every known type, as transformers builds them.

Each case is a config.json, the exact number of parameters (tied weights once), the tensors, and which layers
have an attention window. The models are built on the meta device, so no memory is needed. Tensors are those
of a checkpoint of transformers 4 (one tensor per expert; transformers 5 fuses experts in memory and splits
them again when saving), so the script asks for that version:

    python3 -m venv venv && venv/bin/pip install torch 'transformers==4.57.1'
    venv/bin/python tests/model/generate_hf_cases.py > tests/model/hf_cases.json

Counts under transformers 5 are the same, but for the biases of experts in deepseek_v2 with mlp_bias, which
version 5 leaves out; no released model has them.

The output is the same on every run. A tensor is written as "pattern shape layers experts", for example
"model.layers.#.mlp.experts.#.up_proj.weight 24x64 @1-3 *8": # stands for the indices.
"""

import json
import os
import random
import re
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

CASES_PER_TYPE = 48
LAYER = re.compile(r"^(.*\.(?:layers|h|blocks)\.)(\d+)(\..*)$")
EXPERT = re.compile(r"^(.*\.experts\.)(\d+)(\..*)$")


class Choices:
    """Random sizes, deliberately odd ones; `maybe` leaves keys out so that defaults are tested."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def between(self, low, high):
        return self.random.randint(low, high)

    def one_of(self, *values):
        return self.random.choice(values)

    def maybe(self, keys, probability, **more):
        if self.random.random() < probability:
            keys.update(more)

    def flag(self):
        return self.random.random() < 0.5


def llama_sizes(pick, default_kv_heads=None, has_head_dim=True, default_head_dim=None):
    """Hugging Face names; kv heads and head_dim are sometimes left to the class."""
    kv_heads = pick.one_of(1, 2, 3, 4)
    heads = kv_heads * pick.one_of(1, 2, 3, 5)
    head_dim = 2 * pick.between(2, 9)
    keys = {
        "vocab_size": pick.between(30, 400),
        "hidden_size": heads * head_dim,
        "intermediate_size": pick.between(20, 300),
        "num_hidden_layers": pick.between(1, 7),
        "num_attention_heads": heads,
        "max_position_embeddings": pick.between(16, 200),
    }
    if has_head_dim and pick.flag():
        keys["hidden_size"] = pick.between(10, 130)
        keys["head_dim"] = head_dim
    elif default_head_dim is not None:
        if pick.flag():
            keys["head_dim"] = head_dim
    elif pick.flag():
        keys["head_dim"] = None
    if pick.between(1, 4) == 1:
        if default_kv_heads is not None:
            keys["num_attention_heads"] = default_kv_heads * pick.one_of(1, 2)
            if keys.get("head_dim") is None:
                keys["hidden_size"] = head_dim * keys["num_attention_heads"]
    else:
        keys["num_key_value_heads"] = kv_heads
    pick.maybe(keys, 0.5, tie_word_embeddings=pick.flag())
    return keys


def window(pick, keys, opt_in):
    pick.maybe(keys, 0.5, sliding_window=pick.between(4, 64))
    if opt_in:
        pick.maybe(keys, 0.5, use_sliding_window=pick.flag())
        pick.maybe(keys, 0.7, max_window_layers=pick.between(0, 5))


def llama(pick):
    keys = llama_sizes(pick)
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    pick.maybe(keys, 0.5, mlp_bias=pick.flag())
    pick.maybe(keys, 0.3, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64})
    return keys


def mistral(pick):
    keys = llama_sizes(pick, default_kv_heads=8)
    window(pick, keys, opt_in=False)
    return keys


def qwen2(pick):
    keys = llama_sizes(pick, default_kv_heads=32)
    if keys.get("head_dim", 0) is None:
        del keys["head_dim"]  # the class reads it with getattr: null would not mean "derive"
    window(pick, keys, opt_in=True)
    return keys


def qwen3(pick):
    keys = llama_sizes(pick, default_kv_heads=32, default_head_dim=128)
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    window(pick, keys, opt_in=True)
    return keys


def olmo2(pick):
    keys = llama_sizes(pick)
    if keys.get("head_dim", 0) is None:
        del keys["head_dim"]
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    return keys


def phi3(pick):
    keys = llama_sizes(pick)
    if keys.get("head_dim", 0) is None:
        del keys["head_dim"]
    window(pick, keys, opt_in=False)
    keys["pad_token_id"] = 0
    return keys


def gemma(pick):
    keys = llama_sizes(pick, default_kv_heads=16, default_head_dim=256)
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    pick.maybe(keys, 0.5, hidden_act="gelu")
    pick.maybe(keys, 0.5, hidden_activation="gelu_pytorch_tanh")
    return keys


def gemma2(pick):
    keys = llama_sizes(pick, default_kv_heads=4, default_head_dim=256)
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    pick.maybe(keys, 0.5, sliding_window=pick.between(4, 64))
    return keys


def gemma3_text(pick):
    keys = llama_sizes(pick, default_kv_heads=4, default_head_dim=256)
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    pick.maybe(keys, 0.5, sliding_window=pick.between(4, 64))
    pick.maybe(keys, 0.3, sliding_window_pattern=pick.between(2, 5))
    return keys


def fused_sizes(pick, names):
    heads = pick.between(1, 7)
    values = {
        "vocab_size": pick.between(30, 400),
        "hidden_size": heads * pick.between(3, 20),
        "num_hidden_layers": pick.between(1, 7),
        "num_attention_heads": heads,
        "max_position_embeddings": pick.between(16, 200),
    }
    return {names.get(key, key): value for key, value in values.items() if names.get(key, key)}


def gpt2(pick):
    keys = fused_sizes(pick, {
        "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions"})
    pick.maybe(keys, 0.5, n_inner=pick.one_of(None, pick.between(10, 200)))
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    pick.maybe(keys, 0.3, activation_function="relu")
    return keys


def mpt(pick):
    # The class of transformers knows only alibi without biases and a four-fold feed-forward
    # network.
    keys = fused_sizes(pick, {
        "hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
        "max_position_embeddings": "max_seq_len"})
    pick.maybe(keys, 0.5, no_bias=True)
    pick.maybe(keys, 0.5, expansion_ratio=4)
    pick.maybe(keys, 0.5, learned_pos_emb=pick.flag())
    pick.maybe(keys, 0.5, attn_config={"alibi": True, "attn_type": "multihead_attention"})
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    return keys


def gpt_neox(pick):
    keys = fused_sizes(pick, {})
    keys["intermediate_size"] = pick.between(20, 300)
    keys["hidden_size"] = keys["num_attention_heads"] * 8 * pick.between(1, 4)
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    pick.maybe(keys, 0.5, use_parallel_residual=pick.flag())
    pick.maybe(keys, 0.5, rotary_pct=pick.one_of(0.25, 0.5, 1.0))
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    return keys


def bloom(pick):
    width = pick.one_of("hidden_size", "n_embed")
    keys = fused_sizes(pick, {
        "hidden_size": width, "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
        "max_position_embeddings": ""})
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    return keys


def mixtral(pick):
    keys = llama_sizes(pick, default_kv_heads=8)
    keys["num_local_experts"] = pick.between(2, 9)
    pick.maybe(keys, 0.6, num_experts_per_tok=pick.between(1, 2))
    window(pick, keys, opt_in=False)
    return keys


def qwen3_moe(pick):
    keys = llama_sizes(pick, default_kv_heads=4)
    if keys.get("head_dim", 0) is None:
        del keys["head_dim"]
    layers = keys["num_hidden_layers"]
    keys["num_experts"] = pick.one_of(0, 3, 4, 7, 8)
    keys["moe_intermediate_size"] = pick.between(5, 60)
    keys["num_experts_per_tok"] = pick.between(1, 3)
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    pick.maybe(keys, 0.6, decoder_sparse_step=pick.one_of(1, 2, 3))
    pick.maybe(keys, 0.6, mlp_only_layers=sorted(
        pick.random.sample(range(layers), pick.between(0, layers))))
    window(pick, keys, opt_in=True)
    return keys


def deepseek(pick):
    keys = llama_sizes(pick, has_head_dim=False, default_head_dim=0)
    keys.pop("head_dim", None)
    heads = keys["num_attention_heads"]
    keys["num_key_value_heads"] = heads
    keys["hidden_size"] = pick.between(10, 130)
    keys["q_lora_rank"] = pick.one_of(None, pick.between(5, 40))
    keys["kv_lora_rank"] = pick.between(5, 40)
    keys["qk_nope_head_dim"] = pick.between(3, 16)
    keys["qk_rope_head_dim"] = 2 * pick.between(1, 8)
    keys["v_head_dim"] = pick.between(3, 16)
    keys["n_routed_experts"] = pick.between(3, 10)
    keys["moe_intermediate_size"] = pick.between(5, 60)
    keys["num_experts_per_tok"] = pick.between(1, 3)
    pick.maybe(keys, 0.7, first_k_dense_replace=pick.between(0, 4))
    pick.maybe(keys, 0.5, attention_bias=pick.flag())
    return keys


def deepseek_v2(pick):
    keys = deepseek(pick)
    keys["n_shared_experts"] = pick.one_of(None, 1, 2)
    pick.maybe(keys, 0.5, mlp_bias=pick.flag())
    pick.maybe(keys, 0.5, moe_layer_freq=1)
    return keys


def deepseek_v3(pick):
    keys = deepseek(pick)
    keys["n_shared_experts"] = pick.between(1, 3)
    return keys


TYPES = [llama, mistral, qwen2, qwen3, olmo2, phi3, gemma, gemma2, gemma3_text, gpt2, mpt, gpt_neox, bloom,
         mixtral, qwen3_moe, deepseek_v2, deepseek_v3]


def ranges(numbers):
    """[0, 1, 2, 5] -> "0-2,5"."""
    spans = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def stored_tensors(model):
    """Parameters, a tied one once, and buffers that are saved (DeepSeek-V3's score correction)."""
    tensors = dict(model.named_parameters())
    saved = model.state_dict()
    tensors.update((name, buffer) for name, buffer in model.named_buffers() if name in saved)
    return tensors


def describe(tensors):
    """Tensors that differ in layer or expert only, as one line each."""
    groups = {}
    for name, tensor in tensors.items():
        layer = expert = None
        if match := LAYER.match(name):
            name, layer = f"{match[1]}#{match[3]}", int(match[2])
        if match := EXPERT.match(name):
            name, expert = f"{match[1]}#{match[3]}", int(match[2])
        shape = "x".join(str(size) for size in tensor.shape)
        layers, experts = groups.setdefault((name, shape), (set(), set()))
        layers.add(layer)
        experts.add(expert)
    lines = []
    for (name, shape), (layers, experts) in groups.items():
        line = f"{name} {shape}"
        if None not in layers:
            line += f" @{ranges(layers)}"
        if None not in experts:
            line += f" *{len(experts)}"
        lines.append(line)
    return sorted(lines)


def make_case(build, number):
    model_type = build.__name__
    keys = build(Choices(f"{model_type} {number}"))
    config = AutoConfig.for_model(model_type, **keys)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    tensors = stored_tensors(model)
    # Every fourth case is the whole file as save_pretrained writes it, foreign keys and all.
    written = json.loads(config.to_json_string()) if number % 4 == 3 else keys
    case = {"config": {"model_type": model_type, **written},
            "total": sum(tensor.numel() for tensor in tensors.values()),
            "tensors": describe(tensors)}
    types = getattr(config, "layer_types", None)
    if types:
        case["window_layers"] = [i for i, kind in enumerate(types) if kind == "sliding_attention"]
    return case


def main():
    if not transformers.__version__.startswith("4."):
        sys.exit(f"transformers 4 is needed; found {transformers.__version__}")
    cases = [make_case(build, number) for build in TYPES for number in range(CASES_PER_TYPE)]
    print(f'{{"transformers": "{transformers.__version__}", "cases": [')
    print(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases))
    print("]}")


if __name__ == "__main__":
    main()
