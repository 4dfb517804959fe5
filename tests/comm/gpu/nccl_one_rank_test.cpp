// NCCL itself, as far as one GPU shows it: a communicator of one rank.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "isoflop/comm/nccl.hpp"
#include "support/gpu_fixture.hpp"

namespace isoflop::comm {
namespace {

class StoreOfOneRank final : public Store {
public:
    void set(std::string_view key, std::string_view value) override {
        values_[std::string(key)] = value;
    }
    std::string get(std::string_view key) override { return values_.at(std::string(key)); }
    std::int64_t add(std::string_view key, std::int64_t amount) override {
        return counters_[std::string(key)] += amount;
    }

private:
    std::map<std::string, std::string> values_;
    std::map<std::string, std::int64_t> counters_;
};

class GpuNccl : public test::GpuTest {
protected:
    void SetUp() override {
        test::GpuTest::SetUp();
        if (gpu_ == nullptr) return;
        if (nccl_library().empty()) GTEST_SKIP() << "libnccl.so.2 was not found";
        communicator_ = connect_nccl(store_, std::move(make_local_group(1, 60).front()),
                                     {.device = gpu_->info().ordinal,
                                      .compute_stream = gpu_->stream(),
                                      .group = "one rank"});
    }
    void TearDown() override { communicator_.reset(); }  // before the device

    StoreOfOneRank store_;
    std::unique_ptr<Communicator> communicator_;
};

TEST_F(GpuNccl, CollectivesOfOneRankKeepTheTensor) {
    std::vector<float> values(1000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 0.25F;
    const device::DeviceBuffer buffer = upload(values);
    const TensorView tensor(buffer.data(), DType::float32, {1000});
    EXPECT_EQ(communicator_->size(), 1);
    communicator_->all_reduce(tensor).wait();
    communicator_->reduce_scatter(tensor).wait();
    communicator_->all_gather(tensor).wait();
    EXPECT_EQ(communicator_->gather_values(std::vector<double>{1.5}), std::vector<double>{1.5});
    EXPECT_EQ(download<float>(buffer), values);
}

TEST_F(GpuNccl, WaitsForTheComputationBeforeIt) {
    const std::vector<float> ones(1 << 20, 1.0F);
    const device::DeviceBuffer from = upload(ones);
    const device::DeviceBuffer to(*gpu_, from.size());
    for (int time = 0; time < 3; ++time) {
        gpu_->fill_zero(to.data(), to.size());
        gpu_->copy(to.data(), from.data(), from.size());
        communicator_->all_reduce(TensorView(to.data(), DType::float32, {1 << 20})).wait();
    }
    EXPECT_EQ(download<float>(to), ones);
}

}  // namespace
}  // namespace isoflop::comm
