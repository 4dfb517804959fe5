// What is refused, with its name, and offsets beyond 32 bits.
#include <sys/mman.h>

#include "attention/emulated/launch_kernels.hpp"

namespace isoflop::test {
namespace {

using simt::Bfloat16;

template <class Change>
void expect_refused(const std::string& part, const Change& change, bool in_backward = true) {
    HalfProblem<Bfloat16> problem(make_shape(20, 20, 64, true, 2, 1));
    const auto message = [&](const auto& run) -> std::string {
        try {
            run();
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "accepted";
    };
    Shape shape = problem.shape;
    attention::ForwardArguments forward = problem.forward_arguments();
    attention::BackwardArguments backward = problem.backward_arguments();
    change(shape, forward, backward);
    EXPECT_THAT(message([&] { attention::flash_attn_2::forward(nullptr, shape, forward); }),
                testing::HasSubstr(part));
    if (!in_backward) return;
    EXPECT_THAT(message([&] { attention::flash_attn_2::backward(nullptr, shape, backward); }),
                testing::HasSubstr(part));
}

TEST(FlashAttn2Arguments, UnalignedMemoryIsRefused) {
    expect_refused("q is not aligned to 16 bytes", [](auto&, auto& forward, auto& backward) {
        forward.q.data = static_cast<Bfloat16*>(forward.q.data) + 4;
        backward.q.data = forward.q.data;
    });
    expect_refused("a stride of k, 68 elements", [](auto&, auto& forward, auto& backward) {
        forward.k.token_stride = 68;
        backward.k.token_stride = 68;
    });
    expect_refused("a stride of v, 1281 elements", [](auto&, auto& forward, auto& backward) {
        forward.v.batch_stride = 1281;
        backward.v.batch_stride = 1281;
    });
    expect_refused("a stride of o, 12 elements", [](auto&, auto& forward, auto& backward) {
        forward.o.head_stride = 12;
        backward.o.head_stride = 12;
    });
}

TEST(FlashAttn2Arguments, UnsupportedShapesAndTypesAreRefused) {
    expect_refused("head_dim 80 is none of 32, 64, 96, 128 and 256",
                   [](auto& shape, auto&, auto&) { shape.head_dim = 80; });
    expect_refused("3 heads cannot share 2 kv_heads", [](auto& shape, auto&, auto&) {
        shape.heads = 3;
        shape.kv_heads = 2;
    });
    expect_refused("scale", [](auto& shape, auto&, auto&) { shape.scale = 0; });
    expect_refused("negative length", [](auto& shape, auto&, auto&) { shape.key_length = -1; });
    expect_refused("longer than 2^30",
                   [](auto& shape, auto&, auto&) { shape.key_length = std::int64_t{1} << 31; });
    expect_refused("k has another element type than q", [](auto&, auto& forward, auto& backward) {
        forward.k.dtype = DType::float16;
        backward.k.dtype = DType::float16;
    });
    expect_refused("no kernel for float32", [](auto&, auto& forward, auto& backward) {
        for (Heads* x : {&forward.q, &forward.k, &forward.v, &forward.o}) x->dtype = DType::float32;
        for (Heads* x : {&backward.q, &backward.k, &backward.v, &backward.o, &backward.d_o,
                         &backward.d_q, &backward.d_k, &backward.d_v}) {
            x->dtype = DType::float32;
        }
    });
    expect_refused("v is missing", [](auto&, auto& forward, auto& backward) {
        forward.v.data = nullptr;
        backward.v.data = nullptr;
    });
    expect_refused("lse is missing", [](auto&, auto& forward, auto& backward) {
        forward.lse = {};
        backward.lse = {};
    });
    expect_refused("lse has the wrong size", [](auto&, auto& forward, auto& backward) {
        forward.lse = forward.lse.flat_range(0, 20);
        backward.lse = forward.lse;
    });
}

TEST(FlashAttn2Arguments, BufferOfQueryGradientsIsChecked) {
    HalfProblem<Bfloat16> problem(make_shape(20, 20, 64, true, 2, 1));
    emulator::GlobalArray<float> sums(2 * 20 * 64);
    const auto message = [&](const device::TensorView& buffer) -> std::string {
        try {
            attention::flash_attn_2::backward_with_atomics(nullptr, problem.shape,
                                                           problem.backward_arguments(), buffer);
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "accepted";
    };
    EXPECT_THAT(message({}), testing::HasSubstr("d_q_sums is missing"));
    EXPECT_THAT(message({&sums[0], DType::float32, {2, 20, 32}}),
                testing::HasSubstr("d_q_sums has the wrong size"));
    EXPECT_THAT(message({&sums[1], DType::float32, {2, 20, 64}}),
                testing::HasSubstr("d_q_sums is not aligned"));
}

/// Memory that takes up space only where it is touched.
class SparseMemory {
public:
    explicit SparseMemory(std::size_t bytes)
        : bytes_(bytes),
          data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
    ~SparseMemory() {
        if (available()) munmap(data_, bytes_);
    }
    SparseMemory(const SparseMemory&) = delete;
    SparseMemory& operator=(const SparseMemory&) = delete;
    [[nodiscard]] bool available() const { return data_ != MAP_FAILED; }
    [[nodiscard]] Bfloat16* data() const { return static_cast<Bfloat16*>(data_); }

private:
    std::size_t bytes_;
    void* data_;
};

TEST(FlashAttn2Arguments, OffsetsPassThirtyTwoBits) {
    constexpr std::int64_t far = (std::int64_t{1} << 31) + 64;
    const SparseMemory memory(static_cast<std::size_t>(4 * far) * sizeof(Bfloat16));
    if (!memory.available()) GTEST_SKIP() << "no address space";
    // Batches, tokens and heads each more than 2^31 elements apart.
    const Shape shape = make_shape(2, 2, 32, true, 2, 2, 2);
    HalfProblem<Bfloat16> near(shape);
    HalfProblem<Bfloat16> sparse(shape);
    auto forward = sparse.forward_arguments();
    auto backward = sparse.backward_arguments();
    std::int64_t offset = 0;
    const auto place = [&](Heads& heads, const HalfTensor<Bfloat16>& values) {
        heads = {memory.data() + offset, DType::bfloat16, far + 4096, far, far + 8192};
        offset += 64;
        values.for_each([&](auto b, auto s, auto h, auto i, const Bfloat16& x) {
            static_cast<Bfloat16*>(heads.data)[b * heads.batch_stride + s * heads.token_stride +
                                               h * heads.head_stride + i] = x;
        });
    };
    place(forward.q, near.q);
    place(forward.k, near.k);
    place(forward.v, near.v);
    place(forward.o, near.o);
    backward.q = forward.q;
    backward.k = forward.k;
    backward.v = forward.v;
    backward.o = forward.o;
    place(backward.d_o, near.d_o);
    place(backward.d_q, near.d_q);
    place(backward.d_k, near.d_k);
    place(backward.d_v, near.d_v);
    near.run();
    attention::flash_attn_2::forward(nullptr, shape, forward);
    attention::flash_attn_2::backward(nullptr, shape, backward);
    const auto expect_same = [&](const Heads& heads, const HalfTensor<Bfloat16>& values) {
        values.for_each([&](auto b, auto s, auto h, auto i, const Bfloat16& x) {
            const auto* data = static_cast<const Bfloat16*>(heads.data);
            EXPECT_EQ(
                data[b * heads.batch_stride + s * heads.token_stride + h * heads.head_stride + i]
                    .bits,
                x.bits);
        });
    };
    expect_same(forward.o, near.o);
    expect_same(backward.d_q, near.d_q);
    expect_same(backward.d_k, near.d_k);
    expect_same(backward.d_v, near.d_v);
}

}  // namespace
}  // namespace isoflop::test
