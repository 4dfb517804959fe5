"""Random configurations of dense model types; see generate_class_cases.py."""

from class_case_choices import (DERIVED, layer_types, pad_within_vocabulary, sizes, window)

SLIDING = ("sliding_attention", "full_attention")


def smollm3(pick):
    keys = sizes(pick, kv_heads=4)
    pick.flags(keys, "attention_bias", "mlp_bias", "use_sliding_window")
    window(pick, keys)
    pick.maybe(keys, 0.3, no_rope_layer_interval=pick.between(2, 5))
    pick.maybe(keys, 0.3, no_rope_layers=pick.kinds(0, 1))
    layer_types(pick, keys, *SLIDING)
    return keys


def gemma3_text(pick):
    keys = sizes(pick, head_dim=256, kv_heads=4, divisible=True)
    pick.flags(keys, "attention_bias")
    window(pick, keys)
    layer_types(pick, keys, *SLIDING)
    pick.maybe(keys, 0.3, sliding_window_pattern=pick.between(2, 5))
    return keys


def gemma3n_text(pick):
    keys = sizes(pick, head_dim=256, kv_heads=2, divisible=True, low=4)
    layers = keys["num_hidden_layers"] = pick.layers = pick.between(4, 8)
    pick.flags(keys, "attention_bias", "altup_correct_scale")
    window(pick, keys)
    if layers < 5 or pick.flag():
        keys["layer_types"] = ["sliding_attention", "full_attention", *pick.kinds(*SLIDING)[2:]]
        keys["num_kv_shared_layers"] = pick.between(0, layers - 2)
    else:
        keys["num_kv_shared_layers"] = pick.between(0, layers - 5)
    pick.maybe(keys, 0.9, vocab_size_per_layer_input=pick.between(30, 200))
    pick.maybe(keys, 0.9, hidden_size_per_layer_input=pick.between(4, 40))
    pick.maybe(keys, altup_num_inputs=pick.between(2, 5))
    pick.maybe(keys, laurel_rank=pick.between(2, 20))
    if "intermediate_size" in keys and pick.flag(0.4):
        keys["intermediate_size"] = [pick.between(20, 200) for _ in range(layers)]
    return keys


def ministral(pick):
    keys = sizes(pick, head_dim="needed", kv_heads=8)
    pick.maybe(keys, sliding_window=pick.one_of(None, pick.between(4, 64)))
    layer_types(pick, keys, *SLIDING)
    return keys


def ministral3(pick):
    keys = sizes(pick, head_dim=128, kv_heads=8)
    window(pick, keys)
    return keys


def mistral(pick):
    keys = sizes(pick, head_dim=None, kv_heads=8)
    pick.maybe(keys, sliding_window=pick.one_of(None, pick.between(4, 64)))
    return keys


def glm4(pick):
    keys = sizes(pick, head_dim=128, kv_heads=2)
    pick.flags(keys, "attention_bias")
    pick.maybe(keys, 0.3, partial_rotary_factor=pick.one_of(0.5, 1.0))
    return keys


def glm(pick):
    return glm4(pick)


def olmo3(pick):
    keys = sizes(pick)
    pick.flags(keys, "attention_bias")
    window(pick, keys)
    layer_types(pick, keys, *SLIDING)
    return keys


def phi(pick):
    # The norms on queries and keys have hidden_size / num_attention_heads values.
    keys = sizes(pick, head_dim=DERIVED)
    pick.flags(keys, "qk_layernorm")
    pick.maybe(keys, 0.3, partial_rotary_factor=pick.one_of(0.4, 0.5, 1.0))
    return keys


def granite(pick):
    keys = sizes(pick)
    pick.flags(keys, "attention_bias", "mlp_bias")
    pick.maybe(keys, 0.4, embedding_multiplier=12.0, residual_multiplier=0.22, logits_scaling=8.0,
               attention_multiplier=0.015625)
    return keys


def falcon(pick):
    heads = pick.between(1, 8)
    keys = {"vocab_size": pick.between(30, 400), "num_hidden_layers": pick.between(1, 7),
            "num_attention_heads": heads, "hidden_size": heads * 2 * pick.between(2, 9)}
    pick.flags(keys, "alibi", "new_decoder_architecture", "multi_query", "parallel_attn", "bias")
    pick.maybe(keys, num_kv_heads=pick.one_of(*(n for n in range(1, heads + 1) if heads % n == 0)))
    pick.maybe(keys, 0.3, num_ln_in_parallel_attn=pick.between(1, 2))
    pick.maybe(keys, 0.4, ffn_hidden_size=pick.between(20, 200))
    pick.maybe(keys, tie_word_embeddings=pick.flag())
    pad_within_vocabulary(pick, keys)
    return keys


def starcoder2(pick):
    keys = sizes(pick, head_dim=None, kv_heads=2)
    pick.flags(keys, "use_bias")
    window(pick, keys)
    return keys


def gpt_sizes(pick):
    heads = pick.between(1, 7)
    keys = {"vocab_size": pick.between(30, 400), "n_embd": heads * 2 * pick.between(2, 9),
            "n_layer": pick.between(1, 7), "n_head": heads, "n_positions": pick.between(16, 200)}
    pick.maybe(keys, n_inner=pick.one_of(None, pick.between(10, 200)))
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    for key in ("vocab_size", "n_layer", "n_positions"):
        if pick.flag(0.06):
            del keys[key]
    pad_within_vocabulary(pick, keys)
    return keys


def gpt_bigcode(pick):
    keys = gpt_sizes(pick)
    pick.flags(keys, "multi_query")
    return keys


def gptj(pick):
    keys = gpt_sizes(pick)
    pick.maybe(keys, 0.7, rotary_dim=2 * pick.between(1, keys["n_embd"] // keys["n_head"] // 2))
    return keys


def gpt_neo(pick):
    heads = pick.between(1, 7)
    keys = {"vocab_size": pick.between(30, 400), "hidden_size": heads * pick.between(3, 20),
            "num_heads": heads, "max_position_embeddings": pick.between(16, 200)}
    if pick.flag(0.8):
        groups = [[pick.one_of(["global"], ["local"], ["global", "local"]), pick.between(1, 3)]
                  for _ in range(pick.between(1, 3))]
        keys["attention_types"] = groups
        keys["num_layers"] = sum(len(kinds) * count for kinds, count in groups)
    pick.maybe(keys, 0.6, intermediate_size=pick.one_of(None, pick.between(10, 200)))
    pick.maybe(keys, window_size=pick.between(4, 64))
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    pad_within_vocabulary(pick, keys)
    return keys


def opt(pick):
    heads = pick.between(1, 7)
    keys = {"vocab_size": pick.between(30, 400), "hidden_size": heads * pick.between(3, 20),
            "num_hidden_layers": pick.between(1, 7), "num_attention_heads": heads,
            "ffn_dim": pick.between(20, 300), "max_position_embeddings": pick.between(16, 200)}
    pick.maybe(keys, 0.5, word_embed_proj_dim=pick.one_of(keys["hidden_size"], pick.between(10, 60)))
    pick.flags(keys, "do_layer_norm_before", "enable_bias")
    pick.maybe(keys, 0.3, _remove_final_layer_norm=pick.flag())
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    for key in ("vocab_size", "ffn_dim", "num_hidden_layers", "max_position_embeddings"):
        if pick.flag(0.06):
            del keys[key]
    pad_within_vocabulary(pick, keys)
    return keys


def stablelm(pick):
    keys = sizes(pick, head_dim=DERIVED, kv_heads=32)
    pick.flags(keys, "use_qkv_bias", "qk_layernorm", "use_parallel_residual")
    pick.maybe(keys, 0.3, partial_rotary_factor=pick.one_of(0.25, 0.5, 1.0))
    return keys


def cohere2(pick):
    keys = sizes(pick, head_dim=DERIVED)
    pick.flags(keys, "attention_bias")
    window(pick, keys)
    layer_types(pick, keys, *SLIDING)
    pick.maybe(keys, 0.3, sliding_window_pattern=pick.between(2, 5))
    return keys


def cohere(pick):
    keys = sizes(pick)
    pick.flags(keys, "attention_bias", "use_qk_norm")
    return keys


def nemotron(pick):
    keys = sizes(pick, head_dim=None)
    keys.setdefault("num_key_value_heads", keys["num_attention_heads"])  # null breaks the class
    pick.flags(keys, "attention_bias", "mlp_bias")
    return keys


def exaone4(pick):
    keys = sizes(pick, kv_heads=32)
    window(pick, keys)
    pick.maybe(keys, 0.4, sliding_window_pattern=pick.between(2, 5))
    layer_types(pick, keys, *SLIDING)
    if "layer_types" in keys and pick.flag(0.3):
        keys["layer_types"] = pick.kinds("full_attention")
        keys["sliding_window"] = None
        keys.pop("sliding_window_pattern", None)
    return keys


def ernie4_5(pick):
    keys = sizes(pick, head_dim=128, kv_heads=2)
    pick.flags(keys, "use_bias")
    return keys


def hunyuan_v1_dense(pick):
    keys = sizes(pick, head_dim="needed")
    pick.flags(keys, "attention_bias")
    return keys


def seed_oss(pick):
    keys = sizes(pick, head_dim=128, kv_heads=8)
    pick.flags(keys, "attention_bias", "attention_out_bias", "mlp_bias")
    return keys


def arcee(pick):
    keys = sizes(pick, head_dim=None, divisible=True)
    pick.flags(keys, "attention_bias", "mlp_bias")
    return keys


TYPES = [smollm3, gemma3_text, gemma3n_text, ministral, ministral3, mistral, glm4, olmo3, phi, granite, falcon,
         starcoder2, gpt_bigcode, gptj, gpt_neo, opt, stablelm, cohere2, cohere, nemotron, exaone4, ernie4_5,
         hunyuan_v1_dense, seed_oss, arcee, glm]
