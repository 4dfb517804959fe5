// Rotary embedding on a GPU against the CPU's in double, from the same rounded inputs.
#include "isoflop/ops/rope.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

using ops::RopeShape;
using ops::RopeTable;

model::ModelConfig config_of(std::int64_t head_dim) {
    model::ModelConfig config;
    config.num_attention_heads = 4;
    config.num_key_value_heads = 2;
    config.head_dim = head_dim;
    config.hidden_size = 4 * head_dim;
    config.rope_theta = 10000;
    return config;
}

struct Case {
    std::int64_t heads = 0;
    std::int64_t head_dim = 0;
    std::int64_t rows = 0;
    std::int64_t other_columns = 0;  ///< after the rotated heads
    std::int64_t shift = 0;
};

class RopeOnDevice : public DeviceOp {
protected:
    static std::vector<double> values_of(const RopeTable& table) {
        const std::vector<float> values = table.device_values();
        return {values.begin(), values.end()};
    }

    /// A table of some positions whose copy is on the device.
    struct Table {
        Table(device::Device& device, std::int64_t head_dim)
            : table(config_of(head_dim), 16),
              copy(device, DType::float32, {16 * head_dim}, values_of(table)) {
            table.set_device_copy(static_cast<const float*>(copy.view().data()));
        }
        RopeTable table;
        DeviceTensor copy;
    };

    [[nodiscard]] static RopeShape shape_of(const Case& c) {
        return {
            .heads = c.heads, .head_dim = c.head_dim, .sequence_length = 11, .first_position = 3};
    }

    void check(DType dtype, const Case& c) {
        SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(c.heads) +
                     " heads of " + std::to_string(c.head_dim) + ", " + std::to_string(c.rows) +
                     " rows, shifted by " + std::to_string(c.shift));
        const Table table(*device_, c.head_dim);
        const std::int64_t width = c.heads * c.head_dim + c.other_columns;
        const DeviceTensor packed(*device_, dtype, {c.rows, width},
                                  random_values(c.rows * width, 1), c.shift);
        HostTensor host({c.rows, width}, packed.values());
        ops::rope_forward(context_, table.table, shape_of(c), packed.view());
        ops::rope_forward(host_, table.table, shape_of(c), host.view());
        expect_close(packed, host.values());
        HostTensor turned({c.rows, width}, packed.values());
        ops::rope_backward(context_, table.table, shape_of(c), packed.view());
        ops::rope_backward(host_, table.table, shape_of(c), turned.view());
        expect_close(packed, turned.values());
    }
};

TEST_F(RopeOnDevice, IsThatOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t head_dim : {2, 6, 14, 32, 66, 128}) {
            check(dtype, {3, head_dim, 25, 0, 0});
            check(dtype, {2, head_dim, 1, head_dim, 0});
        }
        check(dtype, {3, 64, 5, 5, 0});   // rows that packs do not fit
        check(dtype, {3, 64, 5, 64, 1});  // nor this place
        check(dtype, {40, 128, 3, 64, 0});
        check(dtype, {0, 64, 3, 64, 0});
        check(dtype, {3, 64, 0, 64, 0});
    }
}

TEST_F(RopeOnDevice, OtherColumnsKeepTheirBits) {
    const Table table(*device_, 32);
    const DeviceTensor packed(*device_, narrow(DType::bfloat16), {7, 96}, random_values(7 * 96, 2));
    const std::vector<double> before = packed.values();
    ops::rope_forward(context_, table.table, shape_of({2, 32}), packed.view());
    const std::vector<double> after = packed.values();
    for (std::size_t row = 0; row < 7; ++row) {
        for (std::size_t column = 64; column < 96; ++column)
            EXPECT_EQ(after[row * 96 + column], before[row * 96 + column]);
    }
}

TEST_F(RopeOnDevice, BlocksGoOnWhereThereAreMoreRows) {
    // Up to 8 blocks of a multiprocessor, for 6 rows at once.
    check(narrow(DType::bfloat16), {40, 64, 49 * multiprocessors()});
}

TEST_F(RopeOnDevice, SameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t head_dim : {30, 64}) {
            const Table table(*device_, head_dim);
            const RopeShape shape = shape_of({40, head_dim});
            const std::int64_t width = shape.heads * head_dim;
            const std::vector<double> values = random_values(67 * width, 4);
            expect_same_bits_in_all_orders([&] {
                const DeviceTensor packed(*device_, dtype, {67, width}, values);
                ops::rope_forward(context_, table.table, shape, packed.view());
                return bytes_of(packed);
            });
        }
    }
}

}  // namespace
}  // namespace isoflop::test
