"""Random configurations of types with linear attention, state spaces or convolutions; see
generate_class_cases.py."""

from class_case_choices import layer_types, pad_within_vocabulary, routed, sizes

LINEAR = ("linear_attention", "full_attention")


def gated_delta_net(pick):
    """The attention layers of qwen3_next and qwen3_5."""
    keys = sizes(pick, head_dim=256, kv_heads=pick.default("num_key_value_heads"))
    key_heads = pick.between(1, 4)
    pick.maybe(keys, 0.9, linear_num_key_heads=key_heads)
    if "linear_num_key_heads" not in keys:
        key_heads = pick.default("linear_num_key_heads")
    keys["linear_num_value_heads"] = key_heads * pick.one_of(1, 2, 3)
    pick.maybe(keys, 0.9, linear_key_head_dim=2 * pick.between(1, 8))
    pick.maybe(keys, 0.9, linear_value_head_dim=2 * pick.between(1, 8))
    pick.maybe(keys, linear_conv_kernel_dim=pick.between(2, 5))
    pick.flags(keys, "attention_bias")
    layer_types(pick, keys, *LINEAR)
    pick.maybe(keys, 0.3, full_attention_interval=pick.between(2, 5))
    return keys


def qwen3_next(pick):
    keys = gated_delta_net(pick)
    routed(pick, keys, width="moe_intermediate_size")
    pick.maybe(keys, 0.9, shared_expert_intermediate_size=pick.between(5, 70))
    pick.maybe(keys, decoder_sparse_step=pick.between(1, 3))
    pick.maybe(keys, mlp_only_layers=pick.some_layers())
    pick.flags(keys, "norm_topk_prob")
    return keys


def qwen3_5_text(pick):
    return gated_delta_net(pick)


def qwen3_5_moe_text(pick):
    keys = gated_delta_net(pick)
    keys.pop("intermediate_size", None)
    routed(pick, keys, width="moe_intermediate_size")
    pick.maybe(keys, 0.9, shared_expert_intermediate_size=pick.between(5, 70))
    return keys


def minimax(pick):
    keys = sizes(pick, head_dim=None, kv_heads=8)
    routed(pick, keys, "num_local_experts")
    layer_types(pick, keys, *LINEAR)
    pick.maybe(keys, 0.4, block_size=pick.between(8, 64))
    return keys


def state_space_sizes(pick):
    keys = {"vocab_size": pick.between(30, 400), "num_hidden_layers": pick.between(1, 7),
            "state_size": pick.between(4, 32)}
    pick.maybe(keys, conv_kernel=pick.between(2, 5))
    pick.flags(keys, "use_bias", "use_conv_bias")
    pick.maybe(keys, 0.4, tie_word_embeddings=pick.flag())
    for key in ("vocab_size", "num_hidden_layers", "state_size"):
        if pick.flag(0.06):
            del keys[key]
    pad_within_vocabulary(pick, keys)
    return keys


def mamba2(pick):
    keys = state_space_sizes(pick)
    groups = pick.between(1, 4)
    keys["expand"] = pick.one_of(1, 2, 3)
    keys["num_heads"] = keys["expand"] * groups * pick.between(1, 4)
    keys["head_dim"] = 2 * pick.between(2, 9)
    keys["hidden_size"] = keys["num_heads"] * keys["head_dim"] // keys["expand"]
    pick.maybe(keys, 0.8, n_groups=groups)
    if keys["expand"] == 2 and pick.flag():
        del keys["expand"]
    return keys


def mamba(pick):
    keys = state_space_sizes(pick)
    keys["hidden_size"] = pick.between(10, 130)
    pick.maybe(keys, expand=pick.between(1, 3))
    pick.maybe(keys, time_step_rank=pick.one_of("auto", pick.between(1, 12)))
    return keys


def jamba(pick):
    keys = sizes(pick, kv_heads=8)
    routed(pick, keys)
    period = pick.between(2, 4)
    keys.update(attn_layer_period=period, attn_layer_offset=pick.between(0, period - 1))
    period = pick.between(1, 3)
    pick.maybe(keys, 0.8, expert_layer_period=period, expert_layer_offset=pick.between(0, period - 1))
    pick.maybe(keys, mamba_d_state=pick.between(4, 32))
    pick.maybe(keys, mamba_d_conv=pick.between(2, 5))
    pick.maybe(keys, mamba_expand=pick.between(1, 3))
    pick.maybe(keys, mamba_dt_rank=pick.one_of("auto", pick.between(1, 12)))
    pick.flags(keys, "mamba_conv_bias", "mamba_proj_bias")
    return keys


def mamba_2_keys(pick, keys, inner):
    """Sizes of a Mamba-2 mixer whose inner width is a multiple of `inner`."""
    heads = pick.one_of(*(n for n in range(1, 9) if inner % n == 0))
    keys["mamba_n_heads"] = heads
    pick.maybe(keys, 0.6, mamba_d_head=pick.one_of("auto", inner // heads))
    pick.maybe(keys, mamba_n_groups=pick.one_of(*(n for n in range(1, heads + 1) if heads % n == 0)))
    pick.maybe(keys, 0.8, mamba_d_state=pick.between(4, 32))
    pick.maybe(keys, mamba_d_conv=pick.between(2, 5))
    pick.flags(keys, "mamba_conv_bias", "mamba_proj_bias")


def expand_of(pick, keys):
    pick.maybe(keys, 0.6, mamba_expand=pick.between(1, 3))
    return keys.get("mamba_expand", 2)


def falcon_h1(pick):
    keys = sizes(pick, kv_heads=8)
    inner = expand_of(pick, keys) * keys["hidden_size"]
    if pick.flag(0.7):
        inner = 12 * pick.between(1, 8)
        keys["mamba_d_ssm"] = inner
    else:
        keys["mamba_d_ssm"] = None
    mamba_2_keys(pick, keys, inner)
    pick.flags(keys, "attention_bias", "mlp_bias", "projectors_bias", "mamba_rms_norm", "mamba_norm_before_gate")
    return keys


def nemotron_h(pick):
    keys = sizes(pick, head_dim=128, kv_heads=8)
    keys.pop("num_hidden_layers", None)
    kinds = "".join(pick.one_of("M", "*", "-", "E") for _ in range(pick.between(1, 8)))
    if pick.flag(0.6):
        keys["hybrid_override_pattern"] = kinds
        keys["num_hidden_layers"] = len(kinds)
    elif pick.flag(0.8):
        names = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
        keys["layers_block_type"] = [names[kind] for kind in kinds]
    routed(pick, keys, "n_routed_experts", width="moe_intermediate_size")
    pick.maybe(keys, 0.9, moe_shared_expert_intermediate_size=pick.between(5, 70))
    pick.maybe(keys, 0.3, moe_latent_size=pick.between(4, 40))
    groups = pick.between(1, 4)
    keys.update(n_groups=groups, mamba_num_heads=groups * pick.between(1, 3), mamba_head_dim=2 * pick.between(2, 9))
    pick.maybe(keys, 0.8, ssm_state_size=pick.between(4, 32))
    pick.maybe(keys, conv_kernel=pick.between(2, 5))
    pick.flags(keys, "attention_bias", "mlp_bias", "use_bias", "mamba_proj_bias", "use_conv_bias")
    return keys


def lfm2(pick):
    keys = sizes(pick, kv_heads=8)
    keys.pop("tie_word_embeddings", None)
    pick.maybe(keys, 0.4, **{pick.one_of("tie_word_embeddings", "tie_embedding"): pick.flag()})
    if "intermediate_size" in keys and pick.flag(0.3):
        keys["block_ff_dim"] = keys.pop("intermediate_size")
    pick.flags(keys, "conv_bias", "block_auto_adjust_ff_dim")
    pick.maybe(keys, conv_L_cache=pick.between(2, 5))
    pick.maybe(keys, 0.8, block_multiple_of=pick.between(4, 40))
    pick.maybe(keys, 0.4, block_ffn_dim_multiplier=pick.one_of(1.0, 1.25, 0.75))
    if pick.flag(0.4):
        keys["full_attn_idxs"] = pick.some_layers()
    layer_types(pick, keys, "conv", "full_attention")
    return keys


def lfm2_moe(pick):
    keys = sizes(pick, kv_heads=8)
    routed(pick, keys, width="moe_intermediate_size")
    keys["layer_types"] = pick.kinds("conv", "full_attention")
    pick.maybe(keys, 0.7, num_dense_layers=pick.between(0, 4))
    pick.flags(keys, "conv_bias", "use_expert_bias")
    pick.maybe(keys, conv_L_cache=pick.between(2, 5))
    return keys


def bamba(pick):
    keys = sizes(pick, kv_heads=8)
    mamba_2_keys(pick, keys, expand_of(pick, keys) * keys["hidden_size"])
    pick.maybe(keys, 0.8, attn_layer_indices=pick.some_layers())
    pick.flags(keys, "attention_bias", "mlp_bias")
    return keys


def granitemoehybrid(pick):
    keys = sizes(pick)
    mamba_2_keys(pick, keys, expand_of(pick, keys) * keys["hidden_size"])
    routed(pick, keys, "num_local_experts")
    if pick.flag(0.3):
        keys["num_local_experts"] = 0
    pick.maybe(keys, 0.9, shared_intermediate_size=pick.between(5, 70))
    pick.flags(keys, "attention_bias")
    pick.maybe(keys, 0.8, layer_types=pick.kinds("mamba", "attention"))
    pick.maybe(keys, 0.5, position_embedding_type=pick.one_of("rope", "nope"))
    return keys


TYPES = [qwen3_next, qwen3_5_text, qwen3_5_moe_text, minimax, mamba2, mamba, jamba, falcon_h1, nemotron_h, lfm2, bamba,
         granitemoehybrid, lfm2_moe]
