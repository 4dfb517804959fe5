// Collectives over messages between ranks, run one after the other by a communication thread.
//
// Sums are made in a fixed order: for a group whose size is a power of two, a binary tree over rank
// numbers, ((0+1)+(2+3))+((4+5)+(6+7)); else in rank order, ((0+1)+2). So every rank gets the same
// bits, and a tree over micro-batches continues over ranks. Additions of bfloat16 are made in
// float32 and rounded to nearest even.
#pragma once

#include "isoflop/comm/communicator.hpp"
#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {

class ThreadedCommunicator final : public Communicator {
public:
    /// Takes the transport. `staging`: scratch for incoming parts, staging_bytes() long and aligned
    /// to 8 bytes; it outlives the communicator.
    ThreadedCommunicator(std::unique_ptr<PointToPoint> transport, std::span<std::byte> staging);
    ~ThreadedCommunicator() override;

    /// Scratch that sums over `size` ranks need for tensors of at most `largest_bytes`: longer
    /// tensors are summed in pieces. The bits of a sum do not depend on it.
    [[nodiscard]] static std::uint64_t staging_bytes(std::uint64_t largest_bytes, int size);

    [[nodiscard]] int rank() const override;
    [[nodiscard]] int size() const override;
    [[nodiscard]] Pending all_reduce(const TensorView& tensor) override;
    [[nodiscard]] Pending reduce_scatter(const TensorView& tensor) override;
    [[nodiscard]] Pending all_gather(const TensorView& tensor) override;
    [[nodiscard]] std::vector<double> gather_values(std::span<const double> values) override;
    void abort() noexcept override;
    [[nodiscard]] CommunicationTotals totals() const override;

private:
    class Worker;
    std::unique_ptr<Worker> worker_;
};

}  // namespace isoflop::comm
