// What the tests of the CUDA ops share: an emulated device, tensors in its memory with NaN around
// them, and runs in every scheduling order.
//
// References are the CPU ops in double on the inputs as the device has rounded them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <vector>

#include "cuda_emulated/emulated_accelerator.hpp"
#include "isoflop/base/half_precision.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "ops/support.hpp"
#include "simt_emulator/test_support.hpp"

namespace isoflop::emulated {

using device::Context;
using device::TensorView;
using ops::testing::random_values;
using ops::testing::relative_error;
using HostTensor = ops::testing::Tensor<double>;

/// The element types of tensors on a GPU.
inline constexpr std::array kStorageTypes{DType::float32, DType::bfloat16, DType::float16};

/// The most that one rounding to the type may change a number, relative to it; for fp32, room for
/// the roundings of a few operations, as sums are in fp32 for all types.
[[nodiscard]] inline double rounding_tolerance(DType dtype) {
    switch (dtype) {
        case DType::bfloat16: return 0x1p-8;
        case DType::float16: return 0x1p-11;
        default: return 1e-6;
    }
}

/// A tensor in device memory with bytes of 0xFF, which are NaN in every type, on both sides and,
/// until they are written, in all elements of one made without values.
class DeviceTensor {
public:
    /// `shift` moves it away from a 16-byte boundary, in elements.
    DeviceTensor(device::Accelerator& device, DType dtype,
                 std::initializer_list<std::int64_t> shape, const std::vector<double>& values = {},
                 std::int64_t shift = 0)
        : front_(kPoisonBytes + static_cast<std::uint64_t>(shift) * size_in_bytes(dtype)),
          bytes_(TensorView(nullptr, dtype, shape).bytes()),
          memory_(device, front_ + bytes_ + kPoisonBytes),
          view_(memory_.data() + front_, dtype, shape) {
        std::memset(memory_.data(), kPoison, memory_.size());
        EXPECT_TRUE(values.empty() || std::ssize(values) == view_.size());
        for (std::size_t i = 0; i < values.size(); ++i) set(i, static_cast<float>(values[i]));
    }
    ~DeviceTensor() {
        const std::byte* const end = memory_.data() + memory_.size();
        const auto is_poison = [](std::byte byte) { return byte == std::byte{kPoison}; };
        EXPECT_TRUE(std::all_of(memory_.data(), memory_.data() + front_, is_poison) &&
                    std::all_of(end - kPoisonBytes, end, is_poison))
            << "a kernel has written outside a tensor";
    }
    DeviceTensor(const DeviceTensor&) = delete;
    DeviceTensor& operator=(const DeviceTensor&) = delete;

    [[nodiscard]] const TensorView& view() const { return view_; }
    [[nodiscard]] std::vector<double> values() const {
        std::vector<double> values(static_cast<std::size_t>(view_.size()));
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(get(i));
        return values;
    }
    void append_bytes(std::vector<std::byte>& to) const {
        to.insert(to.end(), memory_.data() + front_, memory_.data() + front_ + bytes_);
    }

private:
    static constexpr std::uint64_t kPoisonBytes = 256;
    static constexpr unsigned char kPoison = 0xFF;

    void set(std::size_t i, float value) {
        const DType dtype = view_.dtype();
        if (dtype == DType::float32) {
            static_cast<float*>(view_.data())[i] = value;
        } else {
            static_cast<std::uint16_t*>(view_.data())[i] =
                dtype == DType::bfloat16 ? float_to_bfloat16(value) : float_to_float16(value);
        }
    }
    [[nodiscard]] float get(std::size_t i) const {
        const DType dtype = view_.dtype();
        if (dtype == DType::float32) return static_cast<const float*>(view_.data())[i];
        const std::uint16_t bits = static_cast<const std::uint16_t*>(view_.data())[i];
        return dtype == DType::bfloat16 ? bfloat16_to_float(bits) : float16_to_float(bits);
    }

    std::uint64_t front_;
    std::uint64_t bytes_;
    device::DeviceBuffer memory_;
    TensorView view_;
};

/// Frobenius norm of the difference within `tolerances` roundings of that of the reference, which
/// is floored where numbers may be so small that they lose precision.
inline void expect_close(const DeviceTensor& actual, const std::vector<double>& reference,
                         double tolerances = 1, double floor = 0) {
    const auto norm = [](const std::vector<double>& values) {
        return std::sqrt(ops::testing::dot(values, values));
    };
    const DType dtype = actual.view().dtype();
    std::vector<double> differences = actual.values();
    ASSERT_EQ(differences.size(), reference.size());
    for (std::size_t i = 0; i < reference.size(); ++i) differences[i] -= reference[i];
    EXPECT_LE(norm(differences),
              tolerances * rounding_tolerance(dtype) * std::max(norm(reference), floor));
}

/// Contexts on the emulated device, with NaN in its scratch memory, and on the host.
class CudaOp : public testing::Test {
protected:
    CudaOp() { std::memset(device_.scratch(), 0xFF, device::kScratchBytes); }

    /// `run` makes its tensors, calls an op, and returns the tensors whose bits must be the same in
    /// every scheduling order, as one vector of bytes.
    template <class Run>
    void expect_same_bits_in_all_orders(const Run& run) {
        std::optional<std::vector<std::byte>> first;
        for (const emulator::Options& options : emulator::all_orders()) {
            const emulator::Session session(options);
            const std::vector<std::byte> bits = run();
            if (!first) first = bits;
            EXPECT_TRUE(bits == *first)
                << "order " << static_cast<int>(options.order) << ", seed " << options.seed;
        }
    }

    EmulatedAccelerator device_;
    device::ThreadPool pool_{1};
    Context context_{pool_, &device_};
    Context host_{pool_};
};

/// The bytes of tensors one after another.
template <class... Tensors>
[[nodiscard]] std::vector<std::byte> bytes_of(const Tensors&... tensors) {
    std::vector<std::byte> bytes;
    (tensors.append_bytes(bytes), ...);
    return bytes;
}

/// Global memory was moved in `bytes` in all, at most 2 % more, by accesses that use all of the
/// 32-byte sectors that they touch, but for `unused_bytes` of these.
inline void expect_minimal_traffic(const emulator::Counters& counters, std::uint64_t bytes,
                                   std::uint64_t unused_bytes = 0) {
    const emulator::MemoryCount& load = counters.global_load;
    const emulator::MemoryCount& store = counters.global_store;
    const std::uint64_t moved = load.bytes + store.bytes;
    EXPECT_GE(moved, bytes);
    EXPECT_LE(static_cast<double>(moved), 1.02 * static_cast<double>(bytes));
    EXPECT_LE(static_cast<double>(32 * (load.sectors + store.sectors)),
              1.02 * static_cast<double>(bytes) + static_cast<double>(unused_bytes));
    EXPECT_EQ(counters.global_atomic.bytes, 0U);
}

}  // namespace isoflop::emulated
