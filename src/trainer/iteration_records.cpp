#include "iteration_records.hpp"

#include <algorithm>

#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/trainer/schedule.hpp"

namespace isoflop::trainer {
namespace {

/// Of a process, whatever detail_log_interval is.
constexpr std::int64_t kDetailedIterations = 8;

}  // namespace

run_log::IterationRecord IterationRecords::of_iteration(const Place& place,
                                                        const IterationOutcome& outcome) {
    const recipe::Recipe& config = setup_.plan.config;
    run_log::IterationRecord record;
    record.iter = place.iteration;
    record.loss = outcome.loss;
    record.time_ms = place.time_ms;
    record.lr = learning_rate(config, place.iteration);
    record.grad_norm = outcome.grad_norm;
    record.tokens = session_.samples_before(place.iteration + 1) * config.execution.sequence_length;
    record.skipped = outcome.skipped;
    record.detailed = place.of_process <= kDetailedIterations ||
                      place.iteration % config.keys.run.detail_log_interval == 0;
    record.gradients = outcome.gradients;
    record.memory = memory();
    record.communication = communication();
    if (place.of_process > kWarmupIterations)
        record.utilisation = utilisation(place.time_ms / 1000.0);
    return record;
}

std::optional<run_log::CommunicationRecord> IterationRecords::communication() {
    if (session_.communicator() == nullptr) return std::nullopt;
    const comm::CommunicationTotals now = session_.communication_totals();
    const comm::CommunicationTotals& before = communication_before_;
    const run_log::CommunicationRecord record{
        now.tensor_bytes_sent() - before.tensor_bytes_sent(),
        1000.0 * (now.seconds - before.seconds),
        1000.0 * (now.exposed_seconds - before.exposed_seconds)};
    communication_before_ = now;
    return record;
}

run_log::MemoryRecord IterationRecords::memory() {
    const double resident = static_cast<double>(setup_.device->memory_use().used_bytes) / kGiB;
    peak_resident_gib_ = std::max(peak_resident_gib_, resident);
    const double arena = static_cast<double>(session_.memory().high_water_bytes()) / kGiB;
    return {arena, resident, arena, peak_resident_gib_};
}

run_log::UtilisationRecord IterationRecords::utilisation(double seconds) const {
    const recipe::RunPlan& plan = setup_.plan;
    const recipe::Recipe& config = plan.config;
    const double tokens_per_second = static_cast<double>(config.tokens_per_iteration) / seconds;
    run_log::UtilisationRecord record;
    record.convention = to_string(config.keys.run.flop_convention);
    record.flops_per_token = plan.model_flops_per_token;
    record.tokens_per_sec = tokens_per_second;
    record.flops_achieved = tokens_per_second * plan.model_flops_per_token;
    record.hardware_peak_flops = hardware_.peak_flops;
    if (hardware_.peak_flops > 0) {
        record.mfu = record.flops_achieved / hardware_.peak_flops;
        record.hfu = tokens_per_second * plan.executed_flops_per_token / hardware_.peak_flops;
    }
    record.attention_flops_per_layer = plan.attention_flops_per_layer;
    record.ffn_flops_per_layer = plan.ffn_flops_per_layer;
    record.attention_to_ffn_ratio = plan.ffn_flops_per_layer > 0
                                        ? plan.attention_flops_per_layer / plan.ffn_flops_per_layer
                                        : 0;
    record.gpu_name = hardware_.device_name();
    record.precision = std::string(short_name(config.execution.dtype));
    record.num_gpus = config.world_size;
    record.architecture = model::summary_name(config.model);
    return record;
}

}  // namespace isoflop::trainer
