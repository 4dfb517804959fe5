// Attention by cuDNN: plans made once for each shape and layout, or read from where an earlier run
// has put them, and run with the addresses of a call.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "attention/cudnn/attention_graphs.hpp"
#include "attention/cudnn/capability.hpp"
#include "attention/cudnn/plan.hpp"
#include "attention/cudnn/plan_cache.hpp"

namespace isoflop::attention::cudnn {

class FusedAttention {
public:
    /// All work goes to `stream`. Throws Error where cuDNN cannot start on the device.
    FusedAttention(Functions functions, const Capability& device, CUstream_st* stream,
                   PlanCache cache = {});
    ~FusedAttention();
    FusedAttention(const FusedAttention&) = delete;
    FusedAttention& operator=(const FusedAttention&) = delete;

    /// Whether there is a plan, which is made now; if not, why, in cuDNN's words where it was
    /// asked. Of what calls have in common with the arguments: types and strides.
    [[nodiscard]] Support prepare(const Shape& shape, const ForwardArguments& arguments);
    /// Deterministic where arguments.d_q_sums is empty.
    [[nodiscard]] Support prepare(const Shape& shape, const BackwardArguments& arguments);

    /// After prepare has found a plan.
    [[nodiscard]] std::uint64_t workspace_bytes(const Shape& shape,
                                                const ForwardArguments& arguments);
    [[nodiscard]] std::uint64_t workspace_bytes(const Shape& shape,
                                                const BackwardArguments& arguments);
    /// `workspace`: device memory of that many bytes.
    void run(const Shape& shape, const ForwardArguments& arguments, void* workspace);
    void run(const Shape& shape, const BackwardArguments& arguments, void* workspace);

    [[nodiscard]] std::string version() const { return version_text(functions_.get_version()); }

private:
    struct Entry {
        std::unique_ptr<Plan> plan;
        Support support;
    };
    /// What a plan depends on. The scale is given when it is run.
    using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                           std::int64_t, bool, DType>;
    using ForwardKey = std::tuple<Key, ForwardLayouts>;
    using BackwardKey = std::tuple<Key, BackwardLayouts, bool>;

    [[nodiscard]] Entry& entry(const Shape& shape, const ForwardArguments& arguments);
    [[nodiscard]] Entry& entry(const Shape& shape, const BackwardArguments& arguments);
    template <class Build>
    void make_plan(Entry& entry, const std::string& key, const Build& build);

    Functions functions_;
    Capability device_;
    PlanCache cache_;
    Handle handle_ = nullptr;
    std::map<ForwardKey, Entry> forward_;
    std::map<BackwardKey, Entry> backward_;
};

}  // namespace isoflop::attention::cudnn
