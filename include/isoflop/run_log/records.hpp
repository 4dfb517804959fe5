// The records of a run, one per event. metrics.jsonl contains them in order of time (one JSON
// object a line, appended, so a crash loses nothing); run_<name>.json, TensorBoard files and `train
// compare` are derived from them.
//
// Units: times in milliseconds where the name says ms, rates per second, `*_gb` in GiB (2^30
// bytes).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/base/enum_names.hpp"

namespace isoflop::run_log {

/// Model FLOPs utilisation of one iteration; absent during the first five (warm-up).
struct UtilisationRecord {
    std::string convention = "exact";      ///< how mfu counts the model's FLOPs: flop_convention
    double mfu = 0;                        ///< fraction of the peak
    double hfu = 0;                        ///< executed FLOPs, fraction of the peak
    double flops_achieved = 0;             ///< model FLOP/s, by `convention`
    double flops_per_token = 0;            ///< training, by `convention`
    double tokens_per_sec = 0;             ///< all ranks together
    double hardware_peak_flops = 0;        ///< all ranks together
    double attention_flops_per_layer = 0;  ///< forward, per token
    double ffn_flops_per_layer = 0;        ///< forward, per token
    double attention_to_ffn_ratio = 0;
    std::string gpu_name;  ///< device name, "AMD EPYC (fp32 FMA peak, measured)"
    std::string precision;
    std::int64_t num_gpus = 1;  ///< ranks
    std::string architecture;   ///< summary name of the model
};

struct MemoryRecord {
    double allocated_gb = 0;      ///< arena handed out so far: its parts keep their places
    double reserved_gb = 0;       ///< process: RssAnon, or device memory in use
    double max_allocated_gb = 0;  ///< arena peak
    double max_reserved_gb = 0;   ///< highest `reserved_gb` seen
};

/// Of one rank since the iteration before.
struct CommunicationRecord {
    std::uint64_t bytes_sent = 0;  ///< in collectives on tensors
    double ms = 0;                 ///< duration of communication
    double exposed_ms = 0;         ///< part of it that computation waited
};

/// Of the gradients before clipping.
struct GradientRecord {
    double global_norm = 0;
    double mean_layer_norm = 0;
    double max_layer_norm = 0;
    double min_layer_norm = 0;
    double grad_mean = 0;
    double grad_std = 0;
    double grad_min = 0;
    double grad_max = 0;
};

struct IterationRecord {
    std::int64_t iter = 0;  ///< 0 .. max_iters - 1
    double loss = 0;        ///< token mean over all micro-steps and ranks
    double time_ms = 0;
    double lr = 0;
    double grad_norm = 0;     ///< global, before clipping
    std::int64_t tokens = 0;  ///< trained on, up to and including this iteration
    bool skipped = false;     ///< no update: gradients not finite, or no target
    /// Whether files of the log get utilisation, memory and communication too, in about 700 bytes
    /// beside 150.
    bool detailed = true;
    std::optional<UtilisationRecord>
        utilisation;  ///< "mfu" in the JSON: null for the first five iterations
    std::optional<MemoryRecord> memory;
    std::optional<CommunicationRecord> communication;  ///< of the first of several ranks
    std::optional<GradientRecord> gradients;           ///< every gradient_log_interval iterations
};

struct EvalRecord {
    std::int64_t iter = 0;
    double train_loss = 0;
    double val_loss = 0;
    double lr = 0;
    std::string timestamp;                     ///< ISO 8601, local
    std::optional<double> best_val_loss = {};  ///< so far; shown on the console only
    double pause_ms = 0;                       ///< that the evaluation took; for the console
};

struct CheckpointRecord {
    std::int64_t iter = 0;
    std::optional<double> val_loss;
    std::string path;
    std::string timestamp;
    double pause_ms = 0;  ///< that saving took; for the console
};

/// Known when the run starts.
struct StartupRecord {
    std::string timestamp;
    std::int64_t total_params = 0;
    std::int64_t trainable_params = 0;
    std::int64_t non_embedding_params = 0;
    std::string optimizer_type = "AdamW";
    std::vector<std::string> param_groups;  ///< "decayed: 50 tensors, 10,616,832 parameters"
    std::string gpu_name;
    std::int64_t num_gpus = 1;
    double gpu_memory_gb = 0;
    std::string precision;
    std::string parallelism;
    std::string requested_backend;
    std::string used_backend;
    std::string backend_reason;
    std::string backend_run_by = {};  ///< if the backend has several implementations; else empty
};

/// How a run ended. A log without an end belongs to an active or killed run: "running".
enum class EndState {
    finished,  ///< all iterations done
    stopped,   ///< by a signal or a time limit; can be resumed
    diverged,
    failed,
};

/// Summary of a finished or stopped run.
struct SummaryRecord {
    std::int64_t total_iterations = 0;
    std::int64_t final_iter = -1;
    std::optional<double> final_train_loss;
    std::optional<double> best_val_loss;
    double avg_time_ms = 0;         ///< without the first five iterations when there are more
    std::optional<double> avg_mfu;  ///< percent, as in the earlier system
    std::string flop_convention;    ///< of avg_mfu, that of the last iterations; empty without it
    std::int64_t total_eval_steps = 0;
    std::int64_t total_checkpoints = 0;
    std::int64_t skipped_iterations = 0;
};

struct EndRecord {
    EndState state{};
    std::string end_time;
    SummaryRecord summary;
};

}  // namespace isoflop::run_log

template <>
inline constexpr auto isoflop::enum_names<isoflop::run_log::EndState> =
    std::to_array<isoflop::EnumName<isoflop::run_log::EndState>>({
        {isoflop::run_log::EndState::finished, "finished"},
        {isoflop::run_log::EndState::stopped, "stopped"},
        {isoflop::run_log::EndState::diverged, "diverged"},
        {isoflop::run_log::EndState::failed, "failed"},
    });
