#include "comm/collectives.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/add.hpp"

namespace isoflop::comm {
namespace {

// An exchange costs a few thread wake-ups, milliseconds each when all cores compute. A piece of
// this size takes many times longer to send, and holds half of a usual bucket of gradients.
constexpr std::uint64_t kLargestStaging = std::uint64_t{16} << 20U;
// Pieces begin on cache lines of the staging buffer, which also aligns every element type.
constexpr std::uint64_t kPieceAlignment = 64;

bool is_power_of_two(int size) {
    return std::has_single_bit(static_cast<unsigned>(size));
}

/// Pieces that arrive at the same time: half of the parts in the first step of halving, or one
/// from every other rank.
std::uint64_t pieces_in_staging(int size) {
    return static_cast<std::uint64_t>(is_power_of_two(size) ? size / 2 : size - 1);
}

/// A range of elements of every part, and the place of its incoming copies.
class Piece {
public:
    Piece(const SumTensor& tensor, std::uint64_t part_elements, std::uint64_t first,
          std::uint64_t elements, std::byte* staging)
        : tensor_(tensor),
          part_bytes_(part_elements * element_bytes(tensor.type)),
          first_byte_(first * element_bytes(tensor.type)),
          elements_(elements),
          staging_(staging) {}

    [[nodiscard]] std::span<std::byte> of_part(int part) const {
        return {tensor_.data + static_cast<std::uint64_t>(part) * part_bytes_ + first_byte_,
                bytes()};
    }
    [[nodiscard]] std::span<std::byte> staged(std::size_t index) const {
        const std::uint64_t stride = (bytes() + kPieceAlignment - 1) & ~(kPieceAlignment - 1);
        return {staging_ + index * stride, bytes()};
    }
    void add(std::span<std::byte> sum, std::span<const std::byte> term) const {
        add_into(tensor_.type, sum.data(), term.data(), elements_);
    }

private:
    [[nodiscard]] std::uint64_t bytes() const { return elements_ * element_bytes(tensor_.type); }

    const SumTensor& tensor_;
    std::uint64_t part_bytes_;
    std::uint64_t first_byte_;
    std::uint64_t elements_;
    std::byte* staging_;
};

class Messages {
public:
    void send(int to, std::span<const std::byte> bytes) { sends_.push_back({to, bytes}); }
    void receive(int from, std::span<std::byte> bytes) { receives_.push_back({from, bytes}); }

    /// Returns the bytes sent.
    std::uint64_t exchange(PointToPoint& transport) {
        transport.exchange(sends_, receives_);
        std::uint64_t sent = 0;
        for (const Outgoing& message : sends_) sent += message.bytes.size();
        return sent;
    }

private:
    std::vector<Outgoing> sends_;
    std::vector<Incoming> receives_;
};

/// Recursive halving. In the step with partner distance d, both partners hold sums of the d ranks
/// around them for the parts whose index equals their rank modulo d. Each keeps the parts whose
/// index equals its rank modulo 2d, so partners 1, 2, 4, ... apart build the tree from its leaves,
/// and rank r ends with part r.
std::uint64_t halve(PointToPoint& transport, const Piece& piece) {
    const int rank = transport.rank();
    const int size = transport.size();
    std::uint64_t sent = 0;
    for (int distance = 1; distance < size; distance *= 2) {
        const int partner = rank ^ distance;
        Messages messages;
        std::size_t staged = 0;
        const int step = 2 * distance;
        for (int part = partner % step; part < size; part += step)
            messages.send(partner, piece.of_part(part));
        for (int part = rank % step; part < size; part += step)
            messages.receive(partner, piece.staged(staged++));
        sent += messages.exchange(transport);
        staged = 0;
        for (int part = rank % step; part < size; part += step)
            piece.add(piece.of_part(part), piece.staged(staged++));
    }
    return sent;
}

/// Every rank sends part j to rank j, which adds the received parts in rank order.
std::uint64_t exchange_directly(PointToPoint& transport, const Piece& piece) {
    const int rank = transport.rank();
    const int size = transport.size();
    // The contribution of rank j is at staging index j, or j - 1 for ranks above the own rank.
    const auto staged = [&](int from) {
        return piece.staged(static_cast<std::size_t>(from < rank ? from : from - 1));
    };
    Messages messages;
    for (int peer = 0; peer < size; ++peer) {
        if (peer == rank) continue;
        messages.send(peer, piece.of_part(peer));
        messages.receive(peer, staged(peer));
    }
    const std::uint64_t sent = messages.exchange(transport);

    // ((0+1)+...)+rank: the sum of the lower ranks is made in staging; a sum of two terms does not
    // depend on their order.
    const std::span<std::byte> own = piece.of_part(rank);
    for (int peer = 1; peer < rank; ++peer) piece.add(staged(0), staged(peer));
    if (rank > 0) piece.add(own, staged(0));
    for (int peer = rank + 1; peer < size; ++peer) piece.add(own, staged(peer));
    return sent;
}

/// Recursive doubling: a block of d neighbouring parts is swapped with that of the partner.
std::uint64_t double_blocks(PointToPoint& transport, std::span<std::byte> tensor) {
    const int rank = transport.rank();
    const int size = transport.size();
    const std::size_t part = tensor.size() / static_cast<std::size_t>(size);
    const auto block = [&](int owner, int distance) {
        const auto first = static_cast<std::size_t>(owner - owner % distance);
        return tensor.subspan(first * part, static_cast<std::size_t>(distance) * part);
    };
    std::uint64_t sent = 0;
    for (int distance = 1; distance < size; distance *= 2) {
        const int partner = rank ^ distance;
        Messages messages;
        messages.send(partner, block(rank, distance));
        messages.receive(partner, block(partner, distance));
        sent += messages.exchange(transport);
    }
    return sent;
}

std::uint64_t gather_directly(PointToPoint& transport, std::span<std::byte> tensor) {
    const int rank = transport.rank();
    const int size = transport.size();
    const std::size_t bytes = tensor.size() / static_cast<std::size_t>(size);
    const auto part = [&](int owner) {
        return tensor.subspan(static_cast<std::size_t>(owner) * bytes, bytes);
    };
    Messages messages;
    for (int peer = 0; peer < size; ++peer) {
        if (peer == rank) continue;
        messages.send(peer, part(rank));
        messages.receive(peer, part(peer));
    }
    return messages.exchange(transport);
}

}  // namespace

std::size_t element_bytes(SumType type) {
    switch (type) {
        case SumType::float64: return 8;
        case SumType::float32: return 4;
        case SumType::bfloat16: return 2;
    }
    return 0;
}

std::uint64_t smallest_staging_bytes(int size) {
    return pieces_in_staging(size) * kPieceAlignment;
}

std::uint64_t staging_bytes(std::uint64_t largest_bytes, int size) {
    if (size == 1) return 0;
    const auto ranks = static_cast<std::uint64_t>(size);
    const std::uint64_t pieces = pieces_in_staging(size);
    const std::uint64_t part = (largest_bytes + ranks - 1) / ranks;
    // In whole cache lines, and at least one, for any number of ranks.
    const std::uint64_t lines = (part + kPieceAlignment - 1) / kPieceAlignment;
    const std::uint64_t most = kLargestStaging / pieces / kPieceAlignment;
    return pieces * kPieceAlignment * std::max(std::min(lines, most), std::uint64_t{1});
}

std::uint64_t reduce_scatter(PointToPoint& transport, const SumTensor& tensor,
                             std::span<std::byte> staging) {
    const int size = transport.size();
    if (size == 1) return 0;
    const std::uint64_t part = tensor.elements / static_cast<std::uint64_t>(size);
    const std::uint64_t room = staging.size() / pieces_in_staging(size);
    const std::uint64_t longest =
        room / kPieceAlignment * (kPieceAlignment / element_bytes(tensor.type));
    std::uint64_t sent = 0;
    for (std::uint64_t first = 0; first < part; first += longest) {
        const Piece piece(tensor, part, first, std::min(longest, part - first), staging.data());
        sent +=
            is_power_of_two(size) ? halve(transport, piece) : exchange_directly(transport, piece);
    }
    return sent;
}

std::uint64_t all_gather(PointToPoint& transport, std::span<std::byte> tensor) {
    if (transport.size() == 1 || tensor.empty()) return 0;
    return is_power_of_two(transport.size()) ? double_blocks(transport, tensor)
                                             : gather_directly(transport, tensor);
}

std::uint64_t all_reduce(PointToPoint& transport, const SumTensor& tensor,
                         std::span<std::byte> staging) {
    const std::uint64_t sent = reduce_scatter(transport, tensor, staging);
    return sent +
           all_gather(transport, {tensor.data, tensor.elements * element_bytes(tensor.type)});
}

void require_equal_parts(std::int64_t elements, int size) {
    if (elements % size == 0) return;
    throw std::invalid_argument("collective: " + std::to_string(elements) +
                                " elements are not equal parts for " + std::to_string(size) +
                                " ranks");
}

}  // namespace isoflop::comm
