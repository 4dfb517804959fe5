#include "report/common_json.hpp"

namespace isoflop::report {

using nlohmann::ordered_json;

ordered_json to_json(const model::ModelConfig& config) {
    ordered_json json{{"model_type", config.model_type},
                      {"num_hidden_layers", config.num_hidden_layers},
                      {"hidden_size", config.hidden_size},
                      {"num_attention_heads", config.num_attention_heads},
                      {"num_key_value_heads", config.num_key_value_heads},
                      {"head_dim", config.head_dim},
                      {"intermediate_size", config.intermediate_size},
                      {"vocab_size", config.vocab_size},
                      {"max_position_embeddings", config.max_position_embeddings},
                      {"normalization", to_string(config.normalization)},
                      {"norm_position", to_string(config.norm_position)},
                      {"position_encoding", to_string(config.position_encoding)},
                      {"ffn_type", to_string(config.ffn_type)},
                      {"activation", to_string(config.activation)},
                      {"qk_norm", to_string(config.qk_norm)},
                      {"tie_word_embeddings", config.tie_word_embeddings}};
    if (config.moe) {
        json["num_experts"] = config.moe->num_experts;
        json["num_experts_per_token"] = config.moe->num_experts_per_token;
        json["moe_intermediate_size"] = config.moe->intermediate_size;
        json["num_shared_experts"] = config.moe->num_shared_experts;
    }
    if (config.mla) {
        json["q_lora_rank"] =
            config.mla->q_lora_rank ? ordered_json(*config.mla->q_lora_rank) : nullptr;
        json["kv_lora_rank"] = config.mla->kv_lora_rank;
    }
    if (config.sliding_window) {
        json["sliding_window"] = *config.sliding_window;
        json["window_layers"] = config.num_window_layers();
    }
    if (config.recurrence) {
        const model::Recurrence& mixer = *config.recurrence;
        json["recurrence"] = {{"kind", to_string(mixer.kind)},  {"num_heads", mixer.num_heads},
                              {"head_dim", mixer.head_dim},     {"num_groups", mixer.num_groups},
                              {"state_size", mixer.state_size}, {"conv_kernel", mixer.conv_kernel}};
        json["attention_layers"] = config.num_attention_layers();
    }
    return json;
}

ordered_json to_json(const model::ParameterTotals& totals) {
    ordered_json components = ordered_json::object();
    for (std::size_t i = 0; i < model::kComponentCount; ++i) {
        components[std::string(to_string(static_cast<model::Component>(i)))] =
            totals.by_component[i];
    }
    return {{"total", totals.total},
            {"active", totals.active},
            {"non_embedding", totals.non_embedding},
            {"matmul", totals.matmul},
            {"by_component", components}};
}

ordered_json to_json(const cost::Execution& execution) {
    return {
        {"dtype", to_string(execution.dtype)},
        {"storage_dtype", to_string(execution.storage_dtype())},
        {"gradient_dtype", to_string(execution.gradient_dtype.value_or(execution.storage_dtype()))},
        {"attention_backend", to_string(execution.attention_backend)},
        {"recompute", to_string(execution.recompute)},
        {"parallelism", to_string(execution.parallelism)},
        {"world_size", execution.world_size},
        {"micro_batch_size", execution.micro_batch_size},
        {"gradient_accumulation_steps", execution.grad_accum_steps},
        {"sequence_length", execution.sequence_length}};
}

ordered_json to_json(const recipe::AttentionResolution& attention) {
    return {{"requested", to_string(attention.requested)},
            {"used", to_string(attention.used)},
            {"reason", attention.reason}};
}

ordered_json to_json(const cost::MemoryPlan& plan) {
    ordered_json categories = ordered_json::object();
    const auto bytes = plan.peak_by_category();
    for (std::size_t i = 0; i < cost::kMemoryCategoryCount; ++i) {
        categories[std::string(to_string(static_cast<cost::MemoryCategory>(i)))] = bytes[i];
    }
    ordered_json buffers = ordered_json::array();
    for (const cost::Buffer& buffer : plan.buffers) {
        buffers.push_back({{"name", buffer.name()},
                           {"category", to_string(buffer.category())},
                           {"bytes_each", buffer.bytes_each},
                           {"count", buffer.count},
                           {"offset", buffer.offset}});
    }
    return {{"total_bytes", plan.total_bytes()},
            {"arena_bytes", plan.arena_bytes},
            {"context_bytes_estimate", plan.context_bytes},
            {"by_category", categories},
            {"buffers", buffers}};
}

ordered_json to_json(const std::vector<cost::MatrixProduct>& products) {
    ordered_json list = ordered_json::array();
    for (const cost::MatrixProduct& product : products) {
        list.push_back({{"name", product.name},
                        {"group", to_string(product.group)},
                        {"m", product.m},
                        {"n", product.n},
                        {"k", product.k},
                        {"count", product.count},
                        {"flops", product.flops()}});
    }
    return list;
}

ordered_json to_json(const scaling_law::LossTerms& loss) {
    ordered_json json{{"total", loss.total},
                      {"irreducible", loss.irreducible},
                      {"model_size", loss.model_size},
                      {"data", loss.data}};
    json["standard_error"] = loss.standard_error ? ordered_json(*loss.standard_error) : nullptr;
    return json;
}

ordered_json to_json(const scaling_law::Optimum& optimum) {
    return {{"n_params", optimum.n_params},
            {"n_tokens", optimum.n_tokens},
            {"loss", optimum.loss.total},
            {"loss_standard_error",
             optimum.loss.standard_error ? ordered_json(*optimum.loss.standard_error) : nullptr}};
}

ordered_json conventions_json(const std::array<double, cost::kConventionCount>& flops_per_token) {
    ordered_json json = ordered_json::object();
    for (std::size_t i = 0; i < cost::kConventionCount; ++i) {
        json[std::string(to_string(static_cast<cost::Convention>(i)))] = flops_per_token[i];
    }
    return json;
}

}  // namespace isoflop::report
