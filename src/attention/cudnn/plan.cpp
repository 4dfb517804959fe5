#include "attention/cudnn/plan.hpp"

#include "isoflop/base/error.hpp"

namespace isoflop::attention::cudnn {
namespace {

/// What the heuristics propose, best first.
std::vector<Descriptor> engine_configs(const Target& target, const Descriptor& graph) {
    constexpr std::size_t most = 16;
    Descriptor heuristics(target.functions(), DescriptorType::engine_heuristics);
    heuristics.set(Attribute::engineheur_operation_graph, graph);
    heuristics.set(Attribute::engineheur_mode, ValueType::heur_mode, kHeuristicsModeA);
    if (target.properties() != nullptr) {
        heuristics.set(Attribute::engineheur_deviceprop, *target.properties());
    }
    heuristics.finalize("engine heuristics");
    std::vector<Descriptor> configs;
    std::vector<RawDescriptor> raw;
    for (std::size_t i = 0; i < most; ++i) {
        configs.emplace_back(target.functions(), DescriptorType::engine_config);
        raw.push_back(configs.back().raw());
    }
    const std::int64_t count = heuristics.get(Attribute::engineheur_results, ValueType::descriptor,
                                              std::span<RawDescriptor>(raw));
    configs.resize(std::min(most, static_cast<std::size_t>(count)));
    return configs;
}

/// Not finalized.
Descriptor empty_plan(const Target& target) {
    Descriptor plan(target.functions(), DescriptorType::execution_plan);
    if (target.properties() != nullptr) {
        plan.set(Attribute::execution_plan_deviceprop, *target.properties());
    } else {
        plan.set(Attribute::execution_plan_handle, ValueType::handle, target.handle());
    }
    return plan;
}

Descriptor plan_of(const Target& target, const Descriptor& config) {
    Descriptor plan = empty_plan(target);
    plan.set(Attribute::execution_plan_engine_config, config);
    plan.finalize("execution plan");
    return plan;
}

}  // namespace

Target::Target(const Functions& functions, const std::string& properties)
    : functions_(&functions), properties_(functions, DescriptorType::device_properties) {
    properties_.set_all(Attribute::deviceprop_json_representation, ValueType::character,
                        properties);
    properties_.finalize("device properties");
}

Plan::Plan(const Target& target, Graph& graph)
    : functions_(&target.functions()), graph_(graph.finalize(target.handle())) {
    std::string refusal = "its heuristics propose no engine";
    for (const Descriptor& config : engine_configs(target, graph_)) {
        try {
            plan_ = plan_of(target, config);
        } catch (const Error& error) {
            refusal = error.what();
            continue;
        }
        ask_for_workspace();
        return;
    }
    throw Error(ExitCode::check_failed, "cuDNN has no plan: " + refusal);
}

Plan::Plan(const Target& target, const std::string& json)
    : functions_(&target.functions()), plan_(empty_plan(target)) {
    plan_.set_all(Attribute::execution_plan_json_representation, ValueType::character, json);
    plan_.finalize("execution plan from JSON");
    ask_for_workspace();
}

std::string Plan::json() const {
    return plan_.text(Attribute::execution_plan_json_representation);
}

void Plan::ask_for_workspace() {
    std::int64_t bytes = 0;
    plan_.get(Attribute::execution_plan_workspace_size, ValueType::int64,
              std::span<std::int64_t>(&bytes, 1));
    workspace_bytes_ = static_cast<std::uint64_t>(bytes);
}

void Plan::run(Handle handle, const std::map<std::int64_t, void*>& addresses,
               void* workspace) const {
    std::vector<std::int64_t> uids;
    std::vector<void*> pointers;
    for (const auto& [uid, address] : addresses) {
        uids.push_back(uid);
        pointers.push_back(address);
    }
    Descriptor pack(*functions_, DescriptorType::variant_pack);
    pack.set_all(Attribute::variant_pack_unique_ids, ValueType::int64, uids);
    pack.set_all(Attribute::variant_pack_data_pointers, ValueType::void_ptr, pointers);
    pack.set(Attribute::variant_pack_workspace, ValueType::void_ptr, workspace);
    pack.finalize("variant pack");
    functions_->check(functions_->backend_execute(handle, plan_.raw(), pack.raw()),
                      "cudnnBackendExecute");
}

}  // namespace isoflop::attention::cudnn
