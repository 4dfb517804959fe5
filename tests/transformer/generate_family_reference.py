#!/usr/bin/env python3
"""Writes family_reference.json: losses, logits and gradients of small models of the classes of transformers, in double
precision. Weights, tokens and sketches are those of generate_torch_reference.py. torch 2.5 and transformers 4.57:

    python3 -m venv venv && venv/bin/pip install torch==2.5.1 transformers==4.57.1
    venv/bin/python tests/transformer/generate_family_reference.py > tests/transformer/family_reference.json

"model" is a config.json that the class reads; the classes' casts to single precision are turned into double, so that
the comparison is one of formulas and not of rounding.
"""

import json

import generate_torch_reference as reference
import torch
import transformers

SIZES = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 4, "vocab_size": 23,
         "intermediate_size": 24, "max_position_embeddings": 64}
GROUPED = {**SIZES, "num_key_value_heads": 2}

# name, (sequences, tokens each), config.json.
MODELS = [
    ("gemma", (2, 13), {**SIZES, "model_type": "gemma", "num_key_value_heads": 1, "head_dim": 8,
                        "hidden_act": "gelu_pytorch_tanh"}),
    ("gemma2", (2, 13), {**GROUPED, "model_type": "gemma2", "head_dim": 8, "query_pre_attn_scalar": 24,
                         "attn_logit_softcapping": 5.0, "final_logit_softcapping": 2.0, "sliding_window": 4}),
    ("gemma2_whole_context", (2, 13), {**GROUPED, "model_type": "gemma2", "head_dim": 8, "query_pre_attn_scalar": 24,
                                       "attn_logit_softcapping": None, "final_logit_softcapping": 2.0,
                                       "sliding_window": 64}),
    ("gemma3_text", (2, 13), {**GROUPED, "model_type": "gemma3_text", "head_dim": 8, "query_pre_attn_scalar": 24,
                              "rope_theta": 100000.0, "rope_local_base_freq": 50.0, "sliding_window": 64,
                              "sliding_window_pattern": 2}),
    ("gemma3_text_window", (2, 13), {**GROUPED, "model_type": "gemma3_text", "head_dim": 8, "sliding_window": 5,
                                     "sliding_window_pattern": 3}),
    ("gpt_neox", (2, 13), {**SIZES, "model_type": "gpt_neox", "hidden_size": 32, "rotary_pct": 0.5}),
    ("gpt_neox_sequential", (2, 13), {**SIZES, "model_type": "gpt_neox", "hidden_size": 32, "rotary_pct": 0.25,
                                      "use_parallel_residual": False, "tie_word_embeddings": True}),
    ("phi", (2, 13), {**SIZES, "model_type": "phi", "hidden_size": 32, "partial_rotary_factor": 0.5}),
    ("phi3", (2, 13), {**GROUPED, "model_type": "phi3", "hidden_size": 32, "partial_rotary_factor": 0.75,
                       "sliding_window": None, "pad_token_id": 0}),
    ("olmo2", (2, 13), {**GROUPED, "model_type": "olmo2"}),
    ("granite", (2, 13), {**GROUPED, "model_type": "granite", "embedding_multiplier": 3.0,
                          "residual_multiplier": 0.4, "attention_multiplier": 0.3, "logits_scaling": 2.5}),
    ("smollm3", (2, 13), {**GROUPED, "model_type": "smollm3", "no_rope_layer_interval": 2, "pad_token_id": 0}),
    ("mistral_window", (2, 13), {**GROUPED, "model_type": "mistral", "sliding_window": 5}),
    ("qwen2_window", (2, 13), {**GROUPED, "model_type": "qwen2", "use_sliding_window": True, "sliding_window": 5,
                               "max_window_layers": 1}),
    ("olmo3", (2, 13), {**GROUPED, "model_type": "olmo3", "rope_theta": 10000.0, "sliding_window": 64, "pad_token_id": 0}),
    ("cohere", (2, 13), {**GROUPED, "model_type": "cohere", "rope_theta": 10000.0, "logit_scale": 0.25, "pad_token_id": 0}),
    ("cohere2", (2, 13), {**GROUPED, "model_type": "cohere2", "logit_scale": 0.25, "sliding_window": 64,
                          "sliding_window_pattern": 2, "pad_token_id": 0}),
    ("stablelm", (2, 13), {**GROUPED, "model_type": "stablelm", "hidden_size": 32, "partial_rotary_factor": 0.5,
                           "use_qkv_bias": True}),
    ("starcoder2", (2, 13), {**GROUPED, "model_type": "starcoder2"}),
    ("nemotron", (2, 13), {**GROUPED, "model_type": "nemotron", "hidden_size": 32, "partial_rotary_factor": 0.5}),
    ("seed_oss", (2, 13), {**GROUPED, "model_type": "seed_oss", "head_dim": 8, "pad_token_id": 0}),
    ("exaone4", (2, 13), {**GROUPED, "model_type": "exaone4", "sliding_window": 64, "sliding_window_pattern": 2}),
    ("gptj", (2, 13), {"model_type": "gptj", "n_layer": 3, "n_embd": 32, "n_head": 4, "n_inner": 40, "rotary_dim": 4,
                       "vocab_size": 23, "n_positions": 64, "tie_word_embeddings": False}),
    ("gpt2", (2, 13), {"model_type": "gpt2", "n_layer": 2, "n_embd": 16, "n_head": 4, "vocab_size": 23,
                       "n_positions": 24}),
    ("glm", (2, 13), {**GROUPED, "model_type": "glm", "head_dim": 8, "partial_rotary_factor": 0.5, "pad_token_id": 0}),
    ("glm4", (2, 13), {**GROUPED, "model_type": "glm4", "head_dim": 8, "partial_rotary_factor": 0.5,
                       "pad_token_id": 0}),
    ("arcee", (2, 13), {**GROUPED, "model_type": "arcee", "head_dim": 4}),
    ("ernie4_5", (2, 13), {**GROUPED, "model_type": "ernie4_5", "head_dim": 8, "rope_theta": 10000.0,
                           "tie_word_embeddings": True, "pad_token_id": 0}),
]


def compute_in_double():
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double


def own_parameters(model):
    """A tied head is the embedding."""
    return dict(model.named_parameters())


def make_model(config):
    values = {key: value for key, value in config.items() if key != "model_type"}
    values.update({"attn_implementation": "eager", "use_cache": False})
    if "pad_token_id" in values or config["model_type"] not in ("gpt2", "gptj"):
        values["pad_token_id"] = 0
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(config["model_type"], **values), attn_implementation="eager").double()
    with torch.no_grad():
        for name, weight in own_parameters(model).items():
            weight.copy_(reference.make_weight(name, list(weight.shape)))
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    return model.eval()


def make_case(name, batch_shape, config):
    model = make_model(config)
    tokens, targets = reference.make_batch(config["vocab_size"], batch_shape)
    logits = model(input_ids=tokens).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    loss.backward()
    tensors = [{"name": tensor, "shape": list(weight.shape), "gradient": reference.sketch(weight.grad)}
               for tensor, weight in own_parameters(model).items()]
    return {"name": name, "model": config, "batch": batch_shape[0], "sequence_length": batch_shape[1],
            "loss": loss.item(), "logits": logits[-1, -1].tolist(), "tensors": tensors}


def main():
    torch.set_num_threads(1)
    compute_in_double()
    cases = ",\n".join(reference.write(make_case(*model)) for model in MODELS)
    print(f'{{"torch": "{torch.__version__}", "transformers": "{transformers.__version__}", "cases": [\n{cases}\n]}}')


if __name__ == "__main__":
    main()
