// Collective operations of a group of ranks, which overlap with computation. Implementations:
// threaded_communicator.hpp on CPUs, nccl.hpp on GPUs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "isoflop/device/tensor_view.hpp"

namespace isoflop::comm {

using device::TensorView;

/// `values` are the small results of gather_values. They have a kind of their own so that the other
/// kinds count the traffic of tensors only.
enum class CollectiveKind { all_reduce, reduce_scatter, all_gather, values };
inline constexpr std::size_t kCollectiveKinds = 4;
[[nodiscard]] std::string_view to_string(CollectiveKind kind);

/// An operation in progress. Its tensors belong to the communicator until `wait` has returned.
class Pending {
public:
    /// State that the communicator keeps for the operation.
    class Operation {
    public:
        Operation() = default;
        virtual ~Operation() = default;
        Operation(const Operation&) = delete;
        Operation& operator=(const Operation&) = delete;
        virtual void wait() = 0;
        [[nodiscard]] virtual bool done() const = 0;
    };

    Pending() = default;  ///< nothing to wait for
    explicit Pending(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}

    /// Makes the computation that follows wait for the operation on this rank: on a CPU this call
    /// returns when the operation is done; on a GPU the stream of the computation waits and this
    /// call returns at once. Rethrows the error that ended the operation. Further calls have no
    /// effect.
    void wait() {
        if (operation_) operation_->wait();
    }
    [[nodiscard]] bool done() const { return !operation_ || operation_->done(); }

private:
    std::shared_ptr<Operation> operation_;
};

/// Totals since the communicator was made.
struct CommunicationTotals {
    /// Bytes that this rank has sent, by kind; indexed by CollectiveKind.
    std::array<std::uint64_t, kCollectiveKinds> bytes_sent{};
    std::array<std::uint64_t, kCollectiveKinds> calls{};
    double seconds = 0;          ///< that the communication thread was at work; no GPU's time
    double exposed_seconds = 0;  ///< that callers waited for it

    CommunicationTotals& operator+=(const CommunicationTotals& other) {
        for (std::size_t kind = 0; kind < kCollectiveKinds; ++kind) {
            bytes_sent[kind] += other.bytes_sent[kind];
            calls[kind] += other.calls[kind];
        }
        seconds += other.seconds;
        exposed_seconds += other.exposed_seconds;
        return *this;
    }
    /// Without small values.
    [[nodiscard]] std::uint64_t tensor_bytes_sent() const {
        std::uint64_t bytes = 0;
        for (const CollectiveKind kind :
             {CollectiveKind::all_reduce, CollectiveKind::reduce_scatter,
              CollectiveKind::all_gather})
            bytes += bytes_sent[static_cast<std::size_t>(kind)];
        return bytes;
    }
};

/// Every rank calls the same operations in the same order, with tensors of equal size and type.
/// Sums are of float32, float64, or bfloat16; other operations move elements of any type.
/// Operations return at once and run in the order of calls. Throws std::invalid_argument for
/// tensors that do not fit.
///
/// After a failure (a lost rank, abort) every operation under way and every later one throws the
/// same LostRank, and the communicator informs the other ranks. Destroying a communicator that has
/// operations without a wait aborts it, as their tensors may no longer exist.
class Communicator {
public:
    Communicator() = default;
    virtual ~Communicator() = default;
    Communicator(const Communicator&) = delete;
    Communicator& operator=(const Communicator&) = delete;

    [[nodiscard]] virtual int rank() const = 0;
    [[nodiscard]] virtual int size() const = 0;

    /// Each element becomes the sum over ranks. The number of elements is a multiple of size();
    /// sends 2 (n-1)/n of the tensor.
    [[nodiscard]] virtual Pending all_reduce(const TensorView& tensor) = 0;
    /// Part r of n equal parts becomes the sum over ranks on rank r; the other parts are left
    /// undefined. Sends (n-1)/n of the tensor.
    [[nodiscard]] virtual Pending reduce_scatter(const TensorView& tensor) = 0;
    /// Part r of n equal parts is rank r's input; all become known. Sends (n-1)/n of the tensor.
    [[nodiscard]] virtual Pending all_gather(const TensorView& tensor) = 0;

    /// Small results of every rank, in rank order: values.size() numbers per rank. Waits for all
    /// ranks.
    [[nodiscard]] virtual std::vector<double> gather_values(std::span<const double> values) = 0;

    /// Makes waiting and later operations fail on every rank. May be called from any thread.
    virtual void abort() noexcept = 0;

    [[nodiscard]] virtual CommunicationTotals totals() const = 0;
};

}  // namespace isoflop::comm
