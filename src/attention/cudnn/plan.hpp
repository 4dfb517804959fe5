// How cuDNN will run a graph on a device: the first engine of its heuristics that takes the graph,
// compiled. What it needs of memory is known then.
#pragma once

#include <map>

#include "attention/cudnn/graph.hpp"

namespace isoflop::attention::cudnn {

/// A device: that of a handle, or one that is not here, described by cuDNN's own JSON, for which
/// plans can be made but not run.
class Target {
public:
    /// `functions` must outlive it.
    Target(const Functions& functions, Handle handle) : functions_(&functions), handle_(handle) {}
    Target(const Functions& functions, const std::string& properties);

    [[nodiscard]] const Functions& functions() const { return *functions_; }
    [[nodiscard]] Handle handle() const { return handle_; }
    /// Null where there is a handle.
    [[nodiscard]] const Descriptor* properties() const {
        return handle_ == nullptr ? &properties_ : nullptr;
    }

private:
    const Functions* functions_;
    Handle handle_ = nullptr;
    Descriptor properties_;
};

class Plan {
public:
    /// Throws Error with cuDNN's words when no engine takes the graph.
    Plan(const Target& target, Graph& graph);
    /// One that was compiled before. Throws Error when cuDNN does not take it.
    Plan(const Target& target, const std::string& json);

    /// For the other constructor.
    [[nodiscard]] std::string json() const;

    [[nodiscard]] std::uint64_t workspace_bytes() const { return workspace_bytes_; }

    /// Addresses of all real tensors and scalars by uid. Work is given to the handle's stream.
    void run(Handle handle, const std::map<std::int64_t, void*>& addresses, void* workspace) const;

private:
    void ask_for_workspace();

    const Functions* functions_;
    Descriptor graph_;
    Descriptor plan_;
    std::uint64_t workspace_bytes_ = 0;
};

}  // namespace isoflop::attention::cudnn
