// Collective operations of a group of ranks, run one after the other by a thread of their own, so
// that they overlap with computation.
//
// Sums are made in a fixed order: for a group whose size is a power of two, a binary tree over rank
// numbers, ((0+1)+(2+3))+((4+5)+(6+7)); else in rank order, ((0+1)+2). So every rank gets the same
// bits, and a tree over micro-batches continues over ranks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "isoflop/comm/point_to_point.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::comm {

using device::TensorView;

/// `values` are the small results of gather_values, apart so that the other kinds hold the traffic
/// of tensors and nothing else.
enum class CollectiveKind { all_reduce, reduce_scatter, all_gather, broadcast, barrier, values };
inline constexpr std::size_t kCollectiveKinds = 6;
[[nodiscard]] std::string_view to_string(CollectiveKind kind);

/// An operation under way. Its tensors belong to the communicator until `wait` has returned.
class Pending {
public:
    Pending() = default;  ///< nothing to wait for
    /// Returns when the operation is done on this rank; rethrows what ended it. Once is enough,
    /// more often is harmless.
    void wait();
    [[nodiscard]] bool done() const;

private:
    friend class Communicator;
    struct State;
    explicit Pending(std::shared_ptr<State> state) : state_(std::move(state)) {}
    std::shared_ptr<State> state_;
};

/// Totals of a communicator's life.
struct CommunicationTotals {
    /// Bytes that this rank has sent, by kind; indexed by CollectiveKind.
    std::array<std::uint64_t, kCollectiveKinds> bytes_sent{};
    std::array<std::uint64_t, kCollectiveKinds> calls{};
    double seconds = 0;          ///< that the communication thread was at work
    double exposed_seconds = 0;  ///< that callers waited for it

    /// Without what keeps ranks in step: barriers and small values.
    [[nodiscard]] std::uint64_t tensor_bytes_sent() const {
        std::uint64_t bytes = 0;
        for (const CollectiveKind kind :
             {CollectiveKind::all_reduce, CollectiveKind::reduce_scatter,
              CollectiveKind::all_gather, CollectiveKind::broadcast})
            bytes += bytes_sent[static_cast<std::size_t>(kind)];
        return bytes;
    }
};

/// Every rank calls the same operations in the same order, with tensors of equal size and type.
/// Sums are of float32, float64, int64, or bfloat16 (each addition in float32, rounded to nearest
/// even); other operations move elements of any type. Operations return at once and run in the
/// order of calls. Throws std::invalid_argument for tensors that do not fit.
///
/// After a failure (a lost rank, abort) every operation under way and every later one throws the
/// same LostRank, and the other ranks are told. To destroy a communicator with operations that
/// nobody waited for is to abort it: their tensors may be gone.
class Communicator {
public:
    /// Takes the transport. `staging`: scratch for incoming parts, staging_bytes() long and aligned
    /// to 8 bytes; it outlives the communicator.
    Communicator(std::unique_ptr<PointToPoint> transport, std::span<std::byte> staging);
    ~Communicator();
    Communicator(const Communicator&) = delete;
    Communicator& operator=(const Communicator&) = delete;

    [[nodiscard]] int rank() const;
    [[nodiscard]] int size() const;

    /// Scratch that sums over `size` ranks need for tensors of at most `largest_bytes`: longer
    /// tensors are summed in pieces. The bits of a sum do not depend on it.
    [[nodiscard]] static std::uint64_t staging_bytes(std::uint64_t largest_bytes, int size);

    /// Each element becomes the sum over ranks. The number of elements is a multiple of size();
    /// sends 2 (n-1)/n of the tensor.
    [[nodiscard]] Pending all_reduce(const TensorView& tensor);
    /// The same for integers (counters, checksums), which no tensor holds; sums wrap around.
    [[nodiscard]] Pending all_reduce(std::span<std::int64_t> values);
    /// Part r of n equal parts becomes the sum over ranks on rank r; the other parts are left
    /// undefined. Sends (n-1)/n of the tensor.
    [[nodiscard]] Pending reduce_scatter(const TensorView& tensor);
    /// Part r of n equal parts is rank r's input; all become known. Sends (n-1)/n of the tensor.
    [[nodiscard]] Pending all_gather(const TensorView& tensor);
    [[nodiscard]] Pending broadcast(const TensorView& tensor, int root);
    void barrier();

    /// Small results of every rank, in rank order: values.size() each. Waits.
    [[nodiscard]] std::vector<double> gather_values(std::span<const double> values);

    /// Operations that wait and later ones fail on every rank. From any thread.
    void abort() noexcept;

    [[nodiscard]] CommunicationTotals totals() const;

private:
    class Worker;
    std::unique_ptr<Worker> worker_;
};

}  // namespace isoflop::comm
