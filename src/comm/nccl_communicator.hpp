// Collectives of NCCL on a communication stream (nccl_link.hpp describes the order on the GPU).
//
// Each collective is one call outside of any group, whose functions are not loaded: a group of
// several calls would be one launch, and its first collective would end only with its last. zero1
// and fsdp use the first result while the later collectives still run.
#pragma once

#include <mutex>

#include "comm/nccl_watchdog.hpp"
#include "isoflop/comm/communicator.hpp"

namespace isoflop::comm {

class NcclCommunicator final : public Communicator {
public:
    /// Waits until every rank of `control` has called it.
    NcclCommunicator(NcclLibraries libraries, const NcclOptions& options, const NcclUniqueId& id,
                     std::unique_ptr<PointToPoint> control);
    ~NcclCommunicator() override;

    [[nodiscard]] int rank() const override { return rank_; }
    [[nodiscard]] int size() const override { return size_; }
    [[nodiscard]] Pending all_reduce(const TensorView& tensor) override;
    [[nodiscard]] Pending reduce_scatter(const TensorView& tensor) override;
    [[nodiscard]] Pending all_gather(const TensorView& tensor) override;
    [[nodiscard]] std::vector<double> gather_values(std::span<const double> values) override;
    void abort() noexcept override;
    /// Bytes as counted on CPUs; what NCCL really sends depends on the algorithm that it chooses.
    [[nodiscard]] CommunicationTotals totals() const override;

private:
    template <class Call>
    Pending start(CollectiveKind kind, std::uint64_t bytes_sent, const char* function,
                  const Call& call);

    const int rank_;
    const int size_;
    const std::shared_ptr<NcclLink> link_;
    NcclWatchdog watchdog_;
    mutable std::mutex mutex_;  ///< guards totals_
    CommunicationTotals totals_;
};

/// The same as connect_nccl, with libraries from `load`.
[[nodiscard]] std::unique_ptr<Communicator> connect_nccl_with(
    const std::function<NcclLibraries()>& load, Store& store, std::unique_ptr<PointToPoint> control,
    const NcclOptions& options);

}  // namespace isoflop::comm
