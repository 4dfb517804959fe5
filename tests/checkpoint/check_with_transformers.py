"""Checks our Hugging Face export and import against transformers itself.

For every case: the exported folder loads with AutoModelForCausalLM without missing, unexpected or misshapen tensors;
its weights are those of the file, bit for bit; its logits are those of our definition of the model, computed here in
double precision from our own configuration; and what transformers saves again, in shards, is imported bit for bit.

Usage: check_with_transformers.py ISOFLOP_HUGGING_FACE_CASES
Exit code 77: torch or transformers is not installed.
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ACTIVATIONS = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
}


def frequencies(config, head_dim):
    """Rotary frequencies, with the scaling of Llama 3 (its reference implementation, apply_scaling)."""
    theta = config.get("rope_theta", 10000.0)
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    scaling = config.get("rope_scaling")
    if scaling is None:
        return frequency
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    context = scaling["original_max_position_embeddings"]
    wavelength = 2 * math.pi / frequency
    smooth = (context / wavelength - low) / (high - low)
    blend = (1 - smooth) * frequency / factor + smooth * frequency
    scaled = torch.where(wavelength > context / low, frequency / factor, blend)
    return torch.where(wavelength < context / high, frequency, scaled)


def rotate(x, config):
    """Half-split rotary embedding of [heads, tokens, head_dim]."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * frequencies(config, x.shape[-1])
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


class Reference:
    """Our definition of the model, straight from our configuration; biases that a model lacks are absent or zero."""

    def __init__(self, config, weights):
        self.config = config
        self.weights = {name: tensor.double() for name, tensor in weights.items()}
        self.gpt2 = config["arch_preset"] == "gpt2"
        self.heads = config["n_head"]
        self.key_value_heads = config.get("n_kv_head", self.heads)
        self.head_dim = config.get("head_dim", config["n_embd"] // self.heads)
        self.activation = ACTIVATIONS[config.get("activation", "gelu" if self.gpt2 else "silu")]
        self.eps = config.get("norm_eps", 1e-5)

    def linear(self, x, name):
        weight = self.weights[name + ".weight"]
        y = x @ (weight if self.gpt2 else weight.T)
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def norm(self, x, name):
        if self.gpt2:
            x = x - x.mean(-1, keepdim=True)
        y = x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weights[name + ".weight"]
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def split(self, x, heads):
        return x.view(x.shape[0], heads, self.head_dim).transpose(0, 1)

    def query_key_value(self, x, block):
        if self.gpt2:
            q, k, v = self.linear(x, block + "attn.c_attn").chunk(3, -1)
        else:
            q, k, v = (self.linear(x, block + f"self_attn.{part}_proj") for part in "qkv")
        q, k, v = self.split(q, self.heads), self.split(k, self.key_value_heads), self.split(v, self.key_value_heads)
        if self.config["arch_preset"] == "qwen3":
            q, k = self.norm(q, block + "self_attn.q_norm"), self.norm(k, block + "self_attn.k_norm")
        return (q, k, v) if self.gpt2 else (rotate(q, self.config), rotate(k, self.config), v)

    def attention(self, x, block):
        q, k, v = self.query_key_value(x, block)
        group = self.heads // self.key_value_heads
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        scores = q @ k.transpose(1, 2) / math.sqrt(self.head_dim)
        distance = torch.arange(x.shape[0])[:, None] - torch.arange(x.shape[0])[None, :]
        hidden = (distance < 0) | (distance >= self.config.get("sliding_window", x.shape[0]))
        mixed = scores.masked_fill(hidden, -math.inf).softmax(-1) @ v
        return self.linear(mixed.transpose(0, 1).flatten(1), block + ("attn.c_proj" if self.gpt2 else "self_attn.o_proj"))

    def feed_forward(self, x, block):
        if self.gpt2:
            return self.linear(self.activation(self.linear(x, block + "mlp.c_fc")), block + "mlp.c_proj")
        gate = self.activation(self.linear(x, block + "mlp.gate_proj"))
        return self.linear(gate * self.linear(x, block + "mlp.up_proj"), block + "mlp.down_proj")

    def logits(self, tokens):
        if self.gpt2:
            embedding, blocks, final = "transformer.wte.weight", "transformer.h.", "transformer.ln_f"
            norms = ("ln_1", "ln_2")
        else:
            embedding, blocks, final = "model.embed_tokens.weight", "model.layers.", "model.norm"
            norms = ("input_layernorm", "post_attention_layernorm")
        x = self.weights[embedding][tokens]
        if self.gpt2:
            x = x + self.weights["transformer.wpe.weight"][: len(tokens)]
        for layer in range(self.config["n_layer"]):
            block = f"{blocks}{layer}."
            x = x + self.attention(self.norm(x, block + norms[0]), block)
            x = x + self.feed_forward(self.norm(x, block + norms[1]), block)
        head = self.weights.get("lm_head.weight", self.weights[embedding])
        return self.norm(x, final) @ head.T


def load(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[problem], f"{problem}: {info[problem]}"
    return model.eval()


def check_weights(model, weights):
    state = model.state_dict()
    for name, tensor in weights.items():
        assert torch.equal(state[name], tensor), f"{name} differs after loading"
    tied = model.config.tie_word_embeddings
    assert set(state) - set(weights) <= ({"lm_head.weight"} if tied else set()), "tensors that the file lacks"


def check_logits(model, config, weights):
    tokens = torch.randint(config["vocab_size"], (config["block_size"],), generator=torch.Generator().manual_seed(1))
    expected = Reference(config, weights).logits(tokens)
    with torch.no_grad():
        found = model.double()(tokens[None]).logits[0]
    # Double against double; transformers computes norms, softmax and rotary tables in single
    # precision all the same.
    error = (found - expected).norm() / expected.norm()
    assert error < 1e-5, f"logits differ by {error:.1e}"
    return error


def check_tokenizer(folder, vocab_size):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if vocab_size > 256:
        text = "Hello,  w\u00f6rld \u20ac\n\t!"
        expected = list(text.encode())
        assert tokenizer.eos_token_id == 256, tokenizer.eos_token_id
        assert tokenizer.encode("a<|endoftext|>") == [97, 256]
    else:
        text = "ab a\n\u00e9\u20ac b"
        expected = ["\n \u0061b\u00e9\u20ac".index(character) for character in text]
    assert tokenizer.encode(text) == expected, tokenizer.encode(text)
    assert tokenizer.decode(expected) == text, repr(tokenizer.decode(expected))


def check_case(program, folder):
    config = json.loads(folder.with_suffix(".json").read_text())
    weights = load_file(folder / "model.safetensors")
    model = load(folder)
    expected_class = folder.with_suffix(".class").read_text()
    assert type(model).__name__ == expected_class, f"{type(model).__name__} instead of {expected_class}"
    check_weights(model, weights)
    for form, options in {"saved": {}, "sharded": {"max_shard_size": "30KB"}}.items():
        saved = folder.with_suffix("." + form)
        model.save_pretrained(saved, **options)
        subprocess.run([program, "import", folder.name, saved], check=True)
    assert list(folder.with_suffix(".sharded").glob("*index.json")), "the second form has no shards"
    check_tokenizer(folder, config["vocab_size"])
    return check_logits(model, config, weights)


def main():
    program = sys.argv[1]
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        subprocess.run([program, "export", root], check=True)
        folders = sorted(path for path in root.iterdir() if path.is_dir())
        assert folders, "no cases"
        for folder in folders:
            try:
                print(f"{folder.name}: logits agree to {check_case(program, folder):.1e}")
            except Exception:
                print(f"case {folder.name}")
                raise
    print(f"{len(folders)} models agree with transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
