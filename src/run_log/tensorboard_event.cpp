#include "tensorboard_event.hpp"

#include <bit>

#include "isoflop/base/checksum.hpp"

namespace isoflop::run_log {
namespace {

/// As the protocol-buffer encoding calls them: how a field's bytes are delimited.
enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, length_delimited = 2, fixed32 = 5 };

template <class Unsigned>
void append_little_endian(std::string& bytes, Unsigned value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
        bytes += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
    }
}

/// The few kinds of protobuf fields that events need.
class MessageEncoder {
public:
    void varint_field(unsigned number, std::uint64_t value) {
        key(number, WireType::varint);
        varint(value);
    }
    void double_field(unsigned number, double value) {
        key(number, WireType::fixed64);
        append_little_endian(bytes_, std::bit_cast<std::uint64_t>(value));
    }
    void float_field(unsigned number, float value) {
        key(number, WireType::fixed32);
        append_little_endian(bytes_, std::bit_cast<std::uint32_t>(value));
    }
    /// Text, or the bytes of an inner message.
    void bytes_field(unsigned number, std::string_view value) {
        key(number, WireType::length_delimited);
        varint(value.size());
        bytes_ += value;
    }
    [[nodiscard]] const std::string& bytes() const { return bytes_; }

private:
    void key(unsigned number, WireType type) {
        varint((number << 3U) | static_cast<unsigned>(type));
    }

    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    void varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7U) {
            bytes_ += static_cast<char>(static_cast<unsigned char>(value | 0x80U));
        }
        bytes_ += static_cast<char>(static_cast<unsigned char>(value));
    }

    std::string bytes_;
};

MessageEncoder event(double wall_time) {
    constexpr unsigned kWallTime = 1;
    MessageEncoder encoder;
    encoder.double_field(kWallTime, wall_time);
    return encoder;
}

MessageEncoder event(double wall_time, std::int64_t step) {
    constexpr unsigned kStep = 2;
    MessageEncoder encoder = event(wall_time);
    encoder.varint_field(kStep, static_cast<std::uint64_t>(step));
    return encoder;
}

std::string summary_value(const TensorBoardScalar& scalar) {
    constexpr unsigned kTag = 1;
    constexpr unsigned kSimpleValue = 2;
    MessageEncoder encoder;
    encoder.bytes_field(kTag, scalar.tag);
    encoder.float_field(kSimpleValue, static_cast<float>(scalar.value));
    return encoder.bytes();
}

/// A checksum stored beside checksummed data is rotated and offset, so that checksums of data that
/// contain checksums stay meaningful.
std::uint32_t masked_checksum(std::string_view bytes) {
    constexpr std::uint32_t kOffset = 0xA282EAD8;
    return std::rotr(crc32c(bytes), 15) + kOffset;
}

}  // namespace

std::string version_event(double wall_time) {
    constexpr unsigned kFileVersion = 3;
    MessageEncoder encoder = event(wall_time);
    encoder.bytes_field(kFileVersion, "brain.Event:2");
    return encoder.bytes();
}

std::string restart_event(double wall_time, std::int64_t step) {
    constexpr unsigned kSessionLog = 7;
    constexpr unsigned kStatus = 1;
    constexpr std::uint64_t kStart = 1;
    MessageEncoder session_log;
    session_log.varint_field(kStatus, kStart);
    MessageEncoder encoder = event(wall_time, step);
    encoder.bytes_field(kSessionLog, session_log.bytes());
    return encoder.bytes();
}

std::string scalar_event(double wall_time, std::int64_t step,
                         std::span<const TensorBoardScalar> scalars) {
    constexpr unsigned kSummary = 5;
    constexpr unsigned kValue = 1;
    MessageEncoder summary;
    for (const TensorBoardScalar& scalar : scalars)
        summary.bytes_field(kValue, summary_value(scalar));
    MessageEncoder encoder = event(wall_time, step);
    encoder.bytes_field(kSummary, summary.bytes());
    return encoder.bytes();
}

std::string framed_record(std::string_view bytes) {
    std::string record;
    append_little_endian(record, static_cast<std::uint64_t>(bytes.size()));
    append_little_endian(record, masked_checksum(record));
    record += bytes;
    append_little_endian(record, masked_checksum(bytes));
    return record;
}

}  // namespace isoflop::run_log
