// A cuDNN that computes nothing: it keeps what descriptors were given, refuses what the real one
// would refuse for its order, and tells graphs as text. Misuse that the real one may let pass is a
// violation, and the tests expect none: descriptors that do not live or were not finalized, tensors
// without dimensions or alignment, runs without an address of each tensor, with one that is less
// aligned than was declared, or without workspace or stream.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "attention/cudnn/functions.hpp"

namespace isoflop::test {

namespace cudnn = attention::cudnn;

class RecordingCudnn {
public:
    struct Record {
        cudnn::DescriptorType type{};
        std::map<int, std::vector<std::byte>> attributes = {};
        bool finalized = false;
        std::set<std::int64_t> tensors = {};  ///< of a graph, that are in memory or numbers

        template <class T>
        [[nodiscard]] std::vector<T> all(cudnn::Attribute attribute) const {
            const auto found = attributes.find(static_cast<int>(attribute));
            if (found == attributes.end()) return {};
            std::vector<T> values(found->second.size() / sizeof(T));
            std::memcpy(values.data(), found->second.data(), found->second.size());
            return values;
        }
        template <class T>
        [[nodiscard]] T one(cudnn::Attribute attribute) const {
            const auto found = attributes.find(static_cast<int>(attribute));
            T value{};
            if (found != attributes.end() && found->second.size() == sizeof(T))
                std::memcpy(&value, found->second.data(), sizeof(T));
            return value;
        }
        [[nodiscard]] const Record& part(cudnn::Attribute attribute) const {
            return *static_cast<const Record*>(one<void*>(attribute));
        }
        [[nodiscard]] std::int64_t uid(cudnn::Attribute attribute) const {
            return part(attribute).one<std::int64_t>(cudnn::Attribute::tensor_unique_id);
        }
    };

    // What it is to answer.
    std::size_t version = 91900;
    std::size_t cudart_version = 13000;
    int engines = 1;
    int refused_engines = 0;  ///< of which no plan can be made
    std::int64_t workspace_bytes = 4096;
    bool refuses_read_plans = false;
    int create_status = cudnn::kSuccess;

    std::string json = R"({"a plan": 1})";

    // What it has seen.
    CUstream_st* stream = nullptr;
    int handles = 0;
    int living = 0;                       ///< descriptors
    int plans = 0;                        ///< compiled
    int read_plans = 0;                   ///< from JSON
    std::vector<std::string> operations;  ///< of the last graph, in order
    std::map<std::int64_t, Record> tensors;
    struct Run {
        std::map<std::int64_t, void*> addresses;
        std::map<std::int64_t, float> numbers;
        void* workspace = nullptr;
    };
    std::vector<Run> runs;
    std::vector<std::string> violations;

    [[nodiscard]] cudnn::Functions functions() {
        cudnn::Functions table;
        table.get_version = [this] { return version; };
        table.get_cudart_version = [this] { return cudart_version; };
        table.get_error_string = [](int) { return "CUDNN_STATUS_NOT_SUPPORTED"; };
        table.get_last_error_string = [](char* message, std::size_t size) {
            std::strncpy(message, "because of the test", size);
        };
        table.create = [this](cudnn::Handle* handle) {
            *handle = reinterpret_cast<cudnn::Handle>(this);
            if (create_status == cudnn::kSuccess) ++handles;
            return create_status;
        };
        table.destroy = [this](cudnn::Handle) {
            --handles;
            (void)require(living == 0, "a handle that ends before its plans");
            return cudnn::kSuccess;
        };
        table.set_stream = [this](cudnn::Handle, CUstream_st* given) {
            stream = given;
            return cudnn::kSuccess;
        };
        table.backend_create_descriptor = [this](int type, cudnn::RawDescriptor* descriptor) {
            auto* record = new Record;
            record->type = static_cast<cudnn::DescriptorType>(type);
            *descriptor = record;
            records_.insert(record);
            ++living;
            return cudnn::kSuccess;
        };
        table.backend_destroy_descriptor = [this](cudnn::RawDescriptor descriptor) {
            if (!lives(descriptor)) return kRefused;
            records_.erase(descriptor);
            delete static_cast<Record*>(descriptor);
            --living;
            return cudnn::kSuccess;
        };
        table.backend_set_attribute = [this](cudnn::RawDescriptor descriptor, int attribute,
                                             int type, std::int64_t count, const void* elements) {
            if (!lives(descriptor)) return kRefused;
            return set(*static_cast<Record*>(descriptor), attribute,
                       static_cast<cudnn::ValueType>(type), count, elements);
        };
        table.backend_get_attribute = [this](cudnn::RawDescriptor descriptor, int attribute, int,
                                             std::int64_t requested, std::int64_t* count,
                                             void* elements) {
            if (!lives(descriptor)) return kRefused;
            const Record& asked = *static_cast<Record*>(descriptor);
            if (!require(asked.finalized, "an attribute asked for before its descriptor is ready"))
                return kRefused;
            if (attribute == static_cast<int>(cudnn::Attribute::engineheur_results)) {
                *count = std::min<std::int64_t>(requested, engines);
                const Record& graph = asked.part(cudnn::Attribute::engineheur_operation_graph);
                for (std::int64_t i = 0; i < *count; ++i) {
                    auto* const config = static_cast<Record* const*>(elements)[i];
                    if (lives(config)) config->tensors = graph.tensors;
                }
            } else if (attribute == kJson) {
                *count = std::ssize(json);
                std::copy_n(json.data(), std::min(*count, requested), static_cast<char*>(elements));
            } else {
                *count = 1;
                std::memcpy(elements, &workspace_bytes, sizeof(workspace_bytes));
            }
            return cudnn::kSuccess;
        };
        table.backend_finalize = [this](cudnn::RawDescriptor descriptor) {
            if (!lives(descriptor)) return kRefused;
            return finalize(*static_cast<Record*>(descriptor));
        };
        table.backend_execute = [this](cudnn::Handle handle, cudnn::RawDescriptor plan,
                                       cudnn::RawDescriptor pack) {
            if (!lives(plan) || !lives(pack)) return kRefused;
            const auto& ready = *static_cast<Record*>(plan);
            const auto& given = *static_cast<Record*>(pack);
            const bool right = require(handle == reinterpret_cast<cudnn::Handle>(this),
                                       "a run with another handle") &&
                               require(ready.finalized && given.finalized,
                                       "a run with a descriptor that is not ready") &&
                               require(stream != nullptr, "a run before the stream is known");
            return right ? execute(ready, given) : kRefused;
        };
        return table;
    }

private:
    static constexpr int kRefused = 3000;
    static constexpr int kJson =
        static_cast<int>(cudnn::Attribute::execution_plan_json_representation);

    static std::size_t size_of(cudnn::ValueType type) {
        switch (type) {
            case cudnn::ValueType::boolean:
            case cudnn::ValueType::character: return 1;
            case cudnn::ValueType::data_type:
            case cudnn::ValueType::heur_mode:
            case cudnn::ValueType::pointwise_mode:
            case cudnn::ValueType::reduction_operator: return sizeof(int);
            default: return 8;
        }
    }
    bool require(bool holds, const char* what) {
        if (!holds) violations.emplace_back(what);
        return holds;
    }
    bool lives(cudnn::RawDescriptor descriptor) {
        return require(records_.contains(descriptor), "a descriptor that does not live");
    }

    int set(Record& record, int attribute, cudnn::ValueType type, std::int64_t count,
            const void* elements) {
        if (!require(!record.finalized, "an attribute set after its descriptor is ready"))
            return kRefused;
        const auto* bytes = static_cast<const std::byte*>(elements);
        record.attributes[attribute].assign(
            bytes, bytes + static_cast<std::size_t>(count) * size_of(type));
        if (type != cudnn::ValueType::descriptor) return cudnn::kSuccess;
        // Parts must be ready, but for engine configurations, which the heuristics fill.
        for (auto* part : record.all<Record*>(static_cast<cudnn::Attribute>(attribute))) {
            if (!lives(part)) return kRefused;
            const bool ready =
                part->finalized || part->type == cudnn::DescriptorType::engine_config;
            if (!require(ready, "a part that is not ready")) return kRefused;
            // What a graph, or a plan, needs when it runs.
            record.tensors.insert(part->tensors.begin(), part->tensors.end());
        }
        return cudnn::kSuccess;
    }

    int finalize(Record& record) {
        using cudnn::Attribute;
        using cudnn::DescriptorType;
        record.finalized = true;
        if (record.type == DescriptorType::tensor) {
            const auto uid = record.one<std::int64_t>(Attribute::tensor_unique_id);
            const bool described = record.all<std::int64_t>(Attribute::tensor_dimensions).size() ==
                                       record.all<std::int64_t>(Attribute::tensor_strides).size() &&
                                   record.one<std::int64_t>(Attribute::tensor_byte_alignment) >= 4;
            if (!require(described && uid > 0, "a tensor that is not described")) return kRefused;
            if (!record.one<bool>(Attribute::tensor_is_virtual)) record.tensors = {uid};
            tensors[uid] = record;
        } else if (record.type == DescriptorType::operation_graph) {
            operations.clear();
            for (const auto* each : record.all<const Record*>(Attribute::operationgraph_ops))
                operations.push_back(text_of(*each));
        } else if (record.attributes.contains(kJson)) {
            const auto given = record.all<char>(Attribute::execution_plan_json_representation);
            if (refuses_read_plans || std::string(given.begin(), given.end()) != json)
                return kRefused;
            ++read_plans;
        } else if (record.type == DescriptorType::execution_plan) {
            if (refused_engines > 0) {
                --refused_engines;
                return kRefused;
            }
            ++plans;
        }
        return cudnn::kSuccess;
    }

    static std::string text_of(const Record& operation) {
        using cudnn::Attribute;
        using cudnn::DescriptorType;
        const auto name = [&](Attribute attribute) {
            return std::to_string(operation.uid(attribute));
        };
        switch (operation.type) {
            case DescriptorType::operation_matmul:
                return "matmul " + name(Attribute::operation_matmul_adesc) + " " +
                       name(Attribute::operation_matmul_bdesc) + " -> " +
                       name(Attribute::operation_matmul_cdesc);
            case DescriptorType::operation_reduction:
                return "reduce" +
                       std::to_string(operation.part(Attribute::operation_reduction_desc)
                                          .one<int>(Attribute::reduction_operator)) +
                       " " + name(Attribute::operation_reduction_xdesc) + " -> " +
                       name(Attribute::operation_reduction_ydesc);
            case DescriptorType::operation_reshape:
                return "reshape " + name(Attribute::operation_reshape_xdesc) + " -> " +
                       name(Attribute::operation_reshape_ydesc);
            case DescriptorType::operation_pointwise: return pointwise_text(operation);
            default: return "unknown";
        }
    }
    static std::string pointwise_text(const Record& operation) {
        using cudnn::Attribute;
        static const std::map<int, std::string> names = {
            {0, "add"},  {1, "mul"},       {6, "div"},      {9, "sub"},     {13, "exp"},
            {15, "log"}, {21, "identity"}, {303, "cmp_ge"}, {501, "index"}, {601, "select"}};
        const Record& function = operation.part(Attribute::operation_pointwise_pw_descriptor);
        std::string text = names.at(function.one<int>(Attribute::pointwise_mode));
        const auto axis = function.all<std::int64_t>(Attribute::pointwise_axis);
        if (!axis.empty()) text += std::to_string(axis.front());
        for (const Attribute input :
             {Attribute::operation_pointwise_xdesc, Attribute::operation_pointwise_bdesc,
              Attribute::operation_pointwise_tdesc}) {
            if (operation.attributes.contains(static_cast<int>(input)))
                text += " " + std::to_string(operation.uid(input));
        }
        return text + " -> " + std::to_string(operation.uid(Attribute::operation_pointwise_ydesc));
    }

    int execute(const Record& plan, const Record& pack) {
        using cudnn::Attribute;
        Run run;
        const auto uids = pack.all<std::int64_t>(Attribute::variant_pack_unique_ids);
        const auto pointers = pack.all<void*>(Attribute::variant_pack_data_pointers);
        std::set<std::int64_t> missing = plan.tensors;
        for (std::size_t i = 0; i < uids.size(); ++i) {
            missing.erase(uids[i]);
            if (!require(pointers.at(i) != nullptr, "a tensor at no address")) return kRefused;
            if (tensors.at(uids[i]).one<bool>(Attribute::tensor_is_by_value)) {
                run.numbers[uids[i]] = *static_cast<const float*>(pointers.at(i));
            } else {
                run.addresses[uids[i]] = pointers.at(i);
                const auto alignment = static_cast<std::uintptr_t>(
                    tensors.at(uids[i]).one<std::int64_t>(Attribute::tensor_byte_alignment));
                (void)require(reinterpret_cast<std::uintptr_t>(pointers.at(i)) % alignment == 0,
                              "an address less aligned than was declared");
            }
        }
        run.workspace = pack.one<void*>(Attribute::variant_pack_workspace);
        (void)require(missing.empty(), "a run without all tensors");
        (void)require(
            workspace_bytes == 0 || (run.workspace != nullptr &&
                                     reinterpret_cast<std::uintptr_t>(run.workspace) % 16 == 0),
            "a run without workspace");
        runs.push_back(run);
        return cudnn::kSuccess;
    }

    std::set<cudnn::RawDescriptor> records_;
};

}  // namespace isoflop::test
