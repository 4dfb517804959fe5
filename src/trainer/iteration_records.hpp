// The log record of an iteration: what it computed, and how well it used the machine. Internal to
// the trainer.
#pragma once

#include <cstdint>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/run_log/records.hpp"
#include "isoflop/trainer/session.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "run_setup.hpp"

namespace isoflop::trainer {

/// Iterations of a process without utilisation figures.
inline constexpr std::int64_t kWarmupIterations = 5;

class IterationRecords {
public:
    /// All must outlive this object.
    IterationRecords(const RunSetup& setup, Session& session, const Hardware& hardware)
        : setup_(setup), session_(session), hardware_(hardware) {}

    struct Place {
        std::int64_t iteration = 0;
        std::int64_t of_process = 0;  ///< from 1
        double time_ms = 0;
    };
    [[nodiscard]] run_log::IterationRecord of_iteration(const Place& place,
                                                        const IterationOutcome& outcome);
    [[nodiscard]] double peak_resident_gib() const { return peak_resident_gib_; }

private:
    [[nodiscard]] run_log::MemoryRecord memory();
    [[nodiscard]] std::optional<run_log::CommunicationRecord> communication();
    [[nodiscard]] run_log::UtilisationRecord utilisation(double seconds) const;

    const RunSetup& setup_;
    Session& session_;
    const Hardware& hardware_;
    double peak_resident_gib_ = 0;
    comm::CommunicationTotals communication_before_;
};

}  // namespace isoflop::trainer
