"""Random configurations of mixtures of experts; see generate_class_cases.py."""

from class_case_choices import DERIVED, layer_types, routed, sizes, window
from class_types_dense import SLIDING


def qwen2_moe(pick):
    keys = sizes(pick, kv_heads=16)
    routed(pick, keys, width="moe_intermediate_size")
    pick.maybe(keys, 0.9, shared_expert_intermediate_size=pick.between(5, 70))
    pick.maybe(keys, decoder_sparse_step=pick.between(1, 3))
    pick.maybe(keys, mlp_only_layers=pick.some_layers())
    pick.flags(keys, "qkv_bias", "use_sliding_window", "norm_topk_prob")
    window(pick, keys)
    pick.maybe(keys, max_window_layers=pick.between(0, 5))
    layer_types(pick, keys, *SLIDING)
    return keys


def gpt_oss(pick):
    keys = sizes(pick, head_dim=64, kv_heads=8)
    routed(pick, keys, "num_local_experts")
    pick.flags(keys, "attention_bias")
    window(pick, keys)
    layer_types(pick, keys, *SLIDING)
    return keys


def llama4_text(pick):
    keys = sizes(pick, head_dim=128, kv_heads=8)
    routed(pick, keys, "num_local_experts")
    pick.maybe(keys, 0.9, intermediate_size_mlp=pick.between(20, 300))
    pick.maybe(keys, interleave_moe_layer_step=pick.between(1, 3))
    pick.maybe(keys, 0.4, moe_layers=pick.some_layers())
    pick.flags(keys, "attention_bias", "use_qk_norm")
    pick.maybe(keys, 0.4, no_rope_layers=pick.kinds(0, 1))
    pick.maybe(keys, attention_chunk_size=pick.one_of(None, pick.between(4, 64)))
    layer_types(pick, keys, "chunked_attention", "full_attention")
    return keys


def glm4_moe(pick):
    keys = sizes(pick, kv_heads=8)
    routed(pick, keys, "n_routed_experts", width="moe_intermediate_size")
    pick.maybe(keys, n_shared_experts=pick.between(1, 3))
    pick.maybe(keys, 0.7, first_k_dense_replace=pick.between(0, 4))
    pick.flags(keys, "attention_bias", "use_qk_norm")
    pick.maybe(keys, 0.3, num_nextn_predict_layers=1)
    return keys


def latent(pick):
    """Multi-head latent attention and experts, as in DeepSeek-V3."""
    keys = sizes(pick, head_dim=DERIVED)
    keys["num_key_value_heads"] = keys["num_attention_heads"]
    keys["hidden_size"] = pick.between(10, 130)
    pick.maybe(keys, 0.9, q_lora_rank=pick.between(5, 40))
    pick.maybe(keys, 0.9, kv_lora_rank=pick.between(5, 40))
    pick.maybe(keys, 0.9, qk_nope_head_dim=pick.between(3, 16))
    pick.maybe(keys, 0.9, qk_rope_head_dim=2 * pick.between(1, 8))
    pick.maybe(keys, 0.9, v_head_dim=pick.between(3, 16))
    routed(pick, keys, "n_routed_experts", width="moe_intermediate_size")
    keys.update(n_group=1, topk_group=1)
    pick.maybe(keys, n_shared_experts=pick.between(1, 3))
    pick.maybe(keys, 0.7, first_k_dense_replace=pick.between(0, 4))
    pick.flags(keys, "attention_bias")
    return keys


def deepseek_v3(pick):
    keys = latent(pick)
    if pick.flag(0.3):
        keys["q_lora_rank"] = None
    return keys


def deepseek_v32(pick):
    keys = latent(pick)
    pick.maybe(keys, 0.9, index_n_heads=pick.between(1, 6))
    if pick.flag(0.9):
        keys["index_head_dim"] = keys.get("qk_rope_head_dim", 64) + 2 * pick.between(1, 8)
    pick.maybe(keys, index_topk=pick.between(4, 64))
    pick.maybe(keys, 0.3, mlp_layer_types=pick.kinds("dense", "sparse"))
    return keys


def minimax_m2(pick):
    keys = sizes(pick, head_dim=128, kv_heads=8)
    routed(pick, keys, "num_local_experts")
    return keys


def olmoe(pick):
    keys = sizes(pick, head_dim=DERIVED)  # the norm of the queries has hidden_size elements
    routed(pick, keys)
    pick.flags(keys, "attention_bias", "norm_topk_prob")
    pick.maybe(keys, 0.3, clip_qkv=8.0)
    return keys


def phimoe(pick):
    keys = sizes(pick, kv_heads=8)
    routed(pick, keys, "num_local_experts")
    if "num_experts_per_tok" in keys:
        keys["num_experts_per_tok"] = 2  # the router of the class selects two, whatever the key is
    pick.flags(keys, "attention_bias", "lm_head_bias")
    window(pick, keys)
    return keys


def granitemoe(pick):
    keys = sizes(pick)
    routed(pick, keys, "num_local_experts")
    pick.flags(keys, "attention_bias")
    return keys


def ernie4_5_moe(pick):
    keys = sizes(pick, kv_heads=4)
    routed(pick, keys, "moe_num_experts", "moe_k", width="moe_intermediate_size")
    pick.maybe(keys, moe_num_shared_experts=pick.between(0, 3))
    pick.maybe(keys, 0.6, moe_layer_start_index=pick.between(0, 3))
    pick.maybe(keys, 0.3, moe_layer_end_index=pick.between(1, pick.layers))
    pick.maybe(keys, moe_layer_interval=pick.between(1, 3))
    pick.flags(keys, "use_bias")
    return keys


def dots1(pick):
    keys = sizes(pick, kv_heads=32)
    routed(pick, keys, "n_routed_experts", width="moe_intermediate_size")
    keys["n_shared_experts"] = pick.between(1, 3)
    pick.maybe(keys, 0.7, first_k_dense_replace=pick.between(0, 4))
    pick.flags(keys, "attention_bias")
    pick.maybe(keys, 0.6, sliding_window=pick.one_of(None, pick.between(4, 64)))
    pick.maybe(keys, max_window_layers=pick.between(0, 5))
    layer_types(pick, keys, *SLIDING)
    return keys


def hunyuan_v1_moe(pick):
    keys = sizes(pick, head_dim="needed")
    routed(pick, keys, top_k="moe_topk")
    pick.flags(keys, "attention_bias")
    return keys


TYPES = [qwen2_moe, gpt_oss, llama4_text, glm4_moe, deepseek_v3, deepseek_v32, minimax_m2, olmoe, phimoe, granitemoe,
         ernie4_5_moe, dots1, hunyuan_v1_moe]
