#!/usr/bin/env python3
"""Writes torch_reference.json: losses, gradients and AdamW steps of small models, by PyTorch in double precision.

The models are written here from torch's own functions and differentiated by autograd; nothing is shared with the C++
code but the names and shapes of tensors, and those torch_reference_test.cpp compares. Version 2.4 of torch or later:

    python3 -m venv venv && venv/bin/pip install torch
    venv/bin/python tests/transformer/generate_torch_reference.py > tests/transformer/torch_reference.json

Inputs. Both sides compute weights, tokens and targets from word(name, i), 32 bits that depend on a name and an index:

    weight i of tensor T     (word(T, i) mod 641 - 320) / 1024, plus 1 where T is the weight of a norm: exact in fp32
    token i of the batch     word("tokens", i) mod vocab_size
    target i                 word("targets", i) mod vocab_size, but none (-100) where i mod 7 is 3

Outputs. A tensor is stored as its sketch: its norm, three sums of its elements with signs from bits of word("signs",
i), and its first and last element. The mean square of the sums of a difference estimates the squared norm of the whole
difference, so that an error in any element shows. "steps" holds, for each AdamW step, the loss and the gradient norm
before it; "logits" are those of the last token.
"""

import json
import math

import torch
from torch.nn import functional as F

MASK = 2**32 - 1

# What the presets of our configuration stand for, as far as the models below use them.
PRESETS = {
    "gpt2": {"normalization": "layernorm_nobias", "ffn_type": "standard", "activation": "gelu",
             "position_encoding": "learned_absolute", "weight_tying": True},
    "hybrid": {"normalization": "layernorm_nobias", "ffn_type": "standard", "activation": "gelu",
               "position_encoding": "rope", "weight_tying": True},
    "llama": {"normalization": "rmsnorm", "ffn_type": "swiglu", "activation": "silu",
              "position_encoding": "rope", "weight_tying": False},
}
PRESETS["custom"] = PRESETS["llama"]
PRESETS["qwen3"] = {**PRESETS["llama"], "weight_tying": True, "qk_norm": True}

SIZES = {"n_layer": 2, "n_head": 4, "n_embd": 16, "vocab_size": 23, "block_size": 24}

# name, (sequences, tokens each), our configuration. Two lengths cross the tiles of 64 that fused
# attention works in.
MODELS = [
    ("gpt2", (2, 9), {"arch_preset": "gpt2"}),
    ("gpt2_bias_layernorm", (2, 24), {"arch_preset": "gpt2", "bias": True, "normalization": "layernorm",
                                      "activation": "gelu_tanh"}),
    ("llama", (3, 11), {"arch_preset": "llama", "intermediate_size": 24}),
    ("llama_gqa_long", (2, 150), {"arch_preset": "llama", "intermediate_size": 40, "n_kv_head": 2, "norm_eps": 1e-6,
                                  "rope_theta": 500.0, "block_size": 150}),
    # Of the four frequencies one is kept, one blended and two are divided by the factor.
    ("llama3_rope_scaling", (2, 70), {
        "arch_preset": "llama", "intermediate_size": 24, "head_dim": 8, "rope_theta": 500000.0, "block_size": 70,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 512}}),
    ("qwen3", (2, 13), {"arch_preset": "qwen3", "intermediate_size": 24, "n_kv_head": 2, "head_dim": 10}),
    ("hybrid", (1, 20), {"arch_preset": "hybrid"}),
    ("post_norm", (2, 12), {"arch_preset": "llama", "intermediate_size": 24, "norm_position": "post"}),
    ("post_norm_layernorm_bias", (2, 12), {"arch_preset": "custom", "normalization": "layernorm", "bias": True,
                                           "norm_position": "post", "ffn_type": "standard", "n_kv_head": 1}),
]

# The bound of the gradient norm lies between the norms that occur: some steps are clipped, some are
# not. GPT-2's biases of keys have no gradient but rounding (softmax does not see them), about
# 1e-17, which AdamW divides by eps: 1e-6 keeps that out of the comparison, and lets an error in eps
# show.
OPTIMIZER = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.1, "grad_clip": 1.0,
             "steps": 3}


def word(name, index):
    """FNV-1a of the name, moved on by the index, through the finalizer lowbias32 (Wellons 2018)."""
    x = 0x811C9DC5
    for byte in name.encode():
        x = (x ^ byte) * 0x01000193 & MASK
    x = x + index * 0x9E3779B9 & MASK
    x = (x ^ x >> 16) * 0x7FEB352D & MASK
    x = (x ^ x >> 15) * 0x846CA68B & MASK
    return x ^ x >> 16


def make_weight(name, shape):
    values = [(word(name, i) % 641 - 320) / 1024 for i in range(math.prod(shape))]
    is_norm_weight = len(shape) == 1 and name.endswith(".weight")
    return torch.tensor(values, dtype=torch.float64).add(1 if is_norm_weight else 0).reshape(shape)


def make_batch(vocab_size, batch):
    count = math.prod(batch)
    tokens = [word("tokens", i) % vocab_size for i in range(count)]
    targets = [-100 if i % 7 == 3 else word("targets", i) % vocab_size for i in range(count)]
    return torch.tensor(tokens).reshape(batch), torch.tensor(targets).reshape(batch)


def rope_frequencies(config, head_dim):
    theta = config.get("rope_theta", 10000.0)
    plain = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    scaling = config.get("rope_scaling")
    if scaling is None:
        return plain
    # apply_scaling of Llama 3.1: turns within the original context decide how far a frequency is
    # divided.
    turns = scaling["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return kept * plain + (1 - kept) * plain / scaling["factor"]


def rotate(x, frequencies):
    """[..., tokens, head_dim], halves rotated against each other: multiplication by a complex number."""
    first, second = x.chunk(2, -1)
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * frequencies
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], -1)


class Model:
    """A model as our configuration defines it; `weights` fills up as the first forward asks for them."""

    def __init__(self, config):
        self.config = {**PRESETS[config["arch_preset"]], **config}
        self.hidden = config["n_embd"]
        self.heads = config["n_head"]
        self.key_value_heads = config.get("n_kv_head", self.heads)
        self.head_dim = config.get("head_dim", self.hidden // self.heads)
        self.learned_positions = self.config["position_encoding"] == "learned_absolute"
        self.post_norm = config.get("norm_position") == "post"
        self.gpt2 = config["arch_preset"] == "gpt2"  # its fused tensors, stored [in, out]
        self.weights = {}

    def weight(self, name, *shape):
        if name not in self.weights:
            self.weights[name] = make_weight(name, shape).requires_grad_()
        return self.weights[name]

    def linear(self, x, name, outputs):
        inputs = x.shape[-1]
        if self.gpt2:
            weight = self.weight(name + ".weight", inputs, outputs).T
        else:
            weight = self.weight(name + ".weight", outputs, inputs)
        return F.linear(x, weight, self.weight(name + ".bias", outputs) if self.config.get("bias") else None)

    def norm(self, x, name):
        weight = self.weight(name + ".weight", self.hidden)
        eps = self.config.get("norm_eps", 1e-5)
        if self.config["normalization"] == "rmsnorm":
            return F.rms_norm(x, weight.shape, weight, eps)
        bias = self.weight(name + ".bias", self.hidden) if self.config["normalization"] == "layernorm" else None
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def activate(self, x):
        if self.config["activation"] == "silu":
            return F.silu(x)
        return F.gelu(x, approximate="tanh" if self.config["activation"] == "gelu_tanh" else "none")

    def project(self, x, block):
        """Queries, keys and values, each [sequences, heads, tokens, head_dim]."""
        counts = (self.heads, self.key_value_heads, self.key_value_heads)
        if self.gpt2:
            parts = self.linear(x, block + "attn.c_attn", 3 * self.hidden).chunk(3, -1)
        else:
            parts = [self.linear(x, f"{block}self_attn.{part}_proj", count * self.head_dim)
                     for part, count in zip("qkv", counts)]
        return [part.unflatten(-1, (count, self.head_dim)).transpose(1, 2) for part, count in zip(parts, counts)]

    def head_norm(self, x, name):
        return F.rms_norm(x, x.shape[-1:], self.weight(name, self.head_dim), self.config.get("norm_eps", 1e-5))

    def attention(self, x, block):
        q, k, v = self.project(x, block)
        if self.config.get("qk_norm"):
            q = self.head_norm(q, block + "self_attn.q_norm.weight")
            k = self.head_norm(k, block + "self_attn.k_norm.weight")
        if self.config["position_encoding"] == "rope":
            frequencies = rope_frequencies(self.config, self.head_dim)
            q, k = rotate(q, frequencies), rotate(k, frequencies)
        k, v = (part.repeat_interleave(self.heads // self.key_value_heads, 1) for part in (k, v))
        scores = q @ k.mT / math.sqrt(self.head_dim)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, -math.inf).softmax(-1) @ v
        output = block + ("attn.c_proj" if self.gpt2 else "self_attn.o_proj")
        return self.linear(mixed.transpose(1, 2).flatten(2), output, self.hidden)

    def feed_forward(self, x, block):
        width = self.config.get("intermediate_size", 4 * self.hidden)
        up, down = ("mlp.c_fc", "mlp.c_proj") if self.gpt2 else ("mlp.up_proj", "mlp.down_proj")
        if self.config["ffn_type"] == "swiglu":
            gate = self.activate(self.linear(x, block + "mlp.gate_proj", width))
            return self.linear(gate * self.linear(x, block + up, width), block + down, self.hidden)
        return self.linear(self.activate(self.linear(x, block + up, width)), block + down, self.hidden)

    def block(self, x, block):
        if self.post_norm:
            x = self.norm(x + self.attention(x, block), block + "post_attention_layernorm")
            return self.norm(x + self.feed_forward(x, block), block + "post_feedforward_layernorm")
        first, second = ("ln_1", "ln_2") if self.gpt2 else ("input_layernorm", "post_attention_layernorm")
        x = x + self.attention(self.norm(x, block + first), block)
        return x + self.feed_forward(self.norm(x, block + second), block)

    def logits(self, tokens):
        table = self.weight("transformer.wte.weight" if self.gpt2 else "model.embed_tokens.weight",
                            self.config["vocab_size"], self.hidden)
        x = F.embedding(tokens, table)
        if self.learned_positions:
            positions = self.weight("transformer.wpe.weight", self.config["block_size"], self.hidden)
            x = x + positions[: tokens.shape[1]]
        for layer in range(self.config["n_layer"]):
            x = self.block(x, f"{'transformer.h' if self.gpt2 else 'model.layers'}.{layer}.")
        x = self.norm(x, "transformer.ln_f" if self.gpt2 else "model.norm")
        tied = self.config["weight_tying"]
        return F.linear(x, table if tied else self.weight("lm_head.weight", *table.shape))

    def loss(self, tokens, targets):
        return F.cross_entropy(self.logits(tokens).flatten(0, 1), targets.flatten(), ignore_index=-100)


def sketch(tensor):
    values = tensor.detach().flatten()
    words = torch.tensor([word("signs", i) for i in range(values.numel())])
    sums = [torch.dot(values, (1 - 2 * (words >> bit & 1)).double()).item() for bit in range(3)]
    entries = [values[i].item() for i in (0, -1)]
    return {"norm": values.norm().item(), "sums": sums, "entries": entries}


def make_optimizer(weights):
    """Matrices decay, norms and biases do not."""
    groups = [{"params": [w for w in weights if w.ndim == 2], "weight_decay": OPTIMIZER["weight_decay"]},
              {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=OPTIMIZER["learning_rate"], eps=OPTIMIZER["eps"],
                             betas=(OPTIMIZER["beta1"], OPTIMIZER["beta2"]))


def train(model, batch):
    """Loss and gradient norm before each step. Clipping is written out because torch's clip_grad_norm_ adds 1e-6 to
    the norm that it divides by, which ours does not."""
    weights = list(model.weights.values())
    optimizer = make_optimizer(weights)
    steps = []
    for _ in range(OPTIMIZER["steps"]):
        optimizer.zero_grad()
        loss = model.loss(*batch)
        loss.backward()
        norm = torch.cat([w.grad.flatten() for w in weights]).norm()
        if norm > OPTIMIZER["grad_clip"]:
            for w in weights:
                w.grad *= OPTIMIZER["grad_clip"] / norm
        optimizer.step()
        steps.append({"loss": loss.item(), "gradient_norm": norm.item()})
    return steps


def make_case(name, batch_shape, choices):
    config = {**SIZES, **choices}
    model = Model(config)
    batch = make_batch(config["vocab_size"], batch_shape)
    loss = model.loss(*batch)
    loss.backward()
    case = {"name": name, "model": config, "batch": batch_shape[0], "sequence_length": batch_shape[1],
            "loss": loss.item(), "logits": model.logits(batch[0])[-1, -1].tolist()}
    gradients = {tensor: sketch(weight.grad) for tensor, weight in model.weights.items()}
    case["steps"] = train(model, batch)
    with torch.no_grad():
        case["loss_after_steps"] = model.loss(*batch).item()
    case["tensors"] = [{"name": tensor, "shape": list(weight.shape), "gradient": gradients[tensor],
                        "weight_after_steps": sketch(weight)} for tensor, weight in model.weights.items()]
    return case


def write(case):
    """One line for each tensor."""
    tensors = ",\n  ".join(json.dumps(tensor, separators=(",", ":")) for tensor in case.pop("tensors"))
    return f'{json.dumps(case)[:-1]}, "tensors": [\n  {tensors}]}}'


def main():
    torch.set_num_threads(1)  # threads would change the last bits
    cases = ",\n".join(write(make_case(*model)) for model in MODELS)
    header = f'"torch": "{torch.__version__}", "optimizer": {json.dumps(OPTIMIZER)}'
    print(f'{{{header}, "cases": [\n{cases}\n]}}')


if __name__ == "__main__":
    main()
