// What a rank asked of its GPU, and whether that is right: the rules that keep collectives and the
// computation apart, which no result on the host can show.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace isoflop::comm {

struct GpuCall {
    enum class Kind { collective, record, wait };
    Kind kind = Kind::collective;
    std::string name = {};  ///< of a collective: "all_reduce"
    std::size_t count = 0;  ///< as NCCL was given it
    int dtype = 0;          ///< NCCL's number
    const void* stream = nullptr;
    int event = 0;  ///< of record and wait
};

class GpuLog {
public:
    void add(GpuCall call) {
        const std::lock_guard lock(mutex_);
        calls_.push_back(std::move(call));
    }
    [[nodiscard]] std::vector<GpuCall> calls() const {
        const std::lock_guard lock(mutex_);
        return calls_;
    }
    [[nodiscard]] std::vector<GpuCall> collectives() const {
        std::vector<GpuCall> result;
        for (const GpuCall& call : calls()) {
            if (call.kind == GpuCall::Kind::collective) result.push_back(call);
        }
        return result;
    }

private:
    mutable std::mutex mutex_;
    std::vector<GpuCall> calls_;
};

/// Reads a log from its first call to its last.
class GpuRules {
public:
    explicit GpuRules(const void* compute_stream) : compute_(compute_stream) {}

    /// What is wrong with it, one sentence each. Every operation has been waited for by its end.
    [[nodiscard]] std::vector<std::string> violations(const GpuLog& log) {
        for (const GpuCall& call : log.calls()) read(call);
        for (std::size_t i = 0; i < collectives_.size(); ++i) {
            const Collective& each = collectives_[i];
            const std::string name = each.name + " (collective " + std::to_string(i) + ")";
            if (!each.has_event) report(name + " has no event behind it");
            if (each.waits != 1) {
                report("the computation waits " + std::to_string(each.waits) + " times for " +
                       name);
            }
        }
        return std::move(violations_);
    }

private:
    struct Collective {
        std::string name;
        bool has_event = false;
        int waits = 0;
    };

    void report(const std::string& text) { violations_.push_back(text); }

    void read(const GpuCall& call) {
        switch (call.kind) {
            case GpuCall::Kind::collective: read_collective(call); break;
            case GpuCall::Kind::record: read_record(call); break;
            case GpuCall::Kind::wait: read_wait(call); break;
        }
    }

    void read_collective(const GpuCall& call) {
        if (call.stream == compute_) report(call.name + " is on the stream of the computation");
        if (communication_ == nullptr) communication_ = call.stream;
        if (call.stream != communication_) report(call.name + " is on a stream of its own");
        if (!follows_computation_) report(call.name + " does not wait for the computation");
        follows_computation_ = false;
        points_of_computation_.clear();
        collectives_.push_back({.name = call.name});
    }

    void read_record(const GpuCall& call) {
        recorded_.insert(call.event);
        if (call.stream == compute_) {
            points_of_computation_.insert(call.event);
        } else if (!collectives_.empty() && !collectives_.back().has_event) {
            collectives_.back().has_event = true;
            ends_[call.event] = collectives_.size() - 1;
        }
    }

    void read_wait(const GpuCall& call) {
        if (!recorded_.contains(call.event)) report("a stream waits for what was never recorded");
        if (call.stream != compute_) {
            // Only a point after the collective before covers what was computed since.
            if (points_of_computation_.contains(call.event)) follows_computation_ = true;
        } else if (const auto end = ends_.find(call.event); end != ends_.end()) {
            ++collectives_[end->second].waits;
        } else {
            report("the computation waits for no collective");
        }
    }

    const void* compute_;
    const void* communication_ = nullptr;
    bool follows_computation_ = false;
    std::set<int> recorded_;
    std::set<int> points_of_computation_;  ///< recorded since the last collective
    std::map<int, std::size_t> ends_;      ///< event behind a collective
    std::vector<Collective> collectives_;
    std::vector<std::string> violations_;
};

}  // namespace isoflop::comm
