#ifdef ISOFLOP_HAVE_GLOO

#include "comm/gloo_proof.hpp"

#include <gloo/context.h>
#include <gloo/transport/unbound_buffer.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <limits>
#include <thread>

#include "comm/hmac.hpp"
#include "comm/socket.hpp"
#include "isoflop/base/stop.hpp"

namespace isoflop::comm {
namespace {

using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;

// Far from the slots of a group's messages.
constexpr std::uint64_t kNonceSlot = std::numeric_limits<std::uint64_t>::max() - 1;
constexpr std::uint64_t kProofSlot = std::numeric_limits<std::uint64_t>::max();
// A wait of Gloo that times out closes all connections; the timer below ends waits instead.
constexpr std::chrono::milliseconds kForever = std::chrono::hours(24 * 365);

template <std::size_t Digits>
using Text = std::array<char, Digits>;

template <std::size_t Digits>
std::string_view view(const Text<Digits>& text) {
    return {text.data(), text.size()};
}

/// What is exchanged with one rank. Gloo writes into it, so it stays where it is.
struct Pair {
    Text<kNonceDigits> own_nonce{};
    Text<kNonceDigits> nonce{};
    Text<kProofDigits> own_proof{};
    Text<kProofDigits> proof{};
    std::array<Buffer, 4> buffers{};  ///< in the order of the texts
    bool failed = false;
};

/// Ends the waits of Gloo at a deadline, or when this process is to stop.
class Timer {
public:
    Timer(std::vector<Pair>& pairs, Deadline deadline)
        : thread_([this, &pairs, deadline] {
              constexpr auto kTick = std::chrono::milliseconds(20);
              while (!done_ && !stop_requested() && Clock::now() < deadline) {
                  pollfd stop{.fd = stop_descriptor(), .events = POLLIN, .revents = 0};
                  (void)::poll(&stop, 1, static_cast<int>(kTick.count()));
              }
              // Waits that begin later end too.
              while (!done_) {
                  for (Pair& pair : pairs) {
                      for (Buffer& buffer : pair.buffers) {
                          if (!buffer) continue;
                          buffer->abortWaitRecv();
                          buffer->abortWaitSend();
                      }
                  }
                  std::this_thread::sleep_for(kTick);
              }
          }) {}
    ~Timer() {
        done_ = true;
        thread_.join();
    }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

private:
    std::atomic<bool> done_ = false;
    std::thread thread_;
};

class Exchange {
public:
    Exchange(gloo::Context& context, const JobKey& key, Deadline deadline)
        : context_(context), key_(key), pairs_(static_cast<std::size_t>(context.size)) {
        for (int other = 0; other < context_.size; ++other) {
            Pair& pair = pairs_[static_cast<std::size_t>(other)];
            if (other == context_.rank) continue;
            const std::string nonce = make_nonce();
            std::copy(nonce.begin(), nonce.end(), pair.own_nonce.begin());
            pair.buffers = {buffer_of(pair.own_nonce), buffer_of(pair.nonce),
                            buffer_of(pair.own_proof), buffer_of(pair.proof)};
        }
        const Timer timer(pairs_, deadline);
        nonces();
        proofs();
    }

    [[nodiscard]] const std::vector<Pair>& pairs() const { return pairs_; }

private:
    template <std::size_t Digits>
    Buffer buffer_of(Text<Digits>& text) {
        return context_.createUnboundBuffer(text.data(), text.size());
    }

    /// Calls action(other, pair) for each pair that has not failed; an exception fails it.
    template <class Action>
    void for_each_pair(const Action& action) {
        for (int other = 0; other < context_.size; ++other) {
            Pair& pair = pairs_[static_cast<std::size_t>(other)];
            if (other == context_.rank || pair.failed) continue;
            try {
                action(other, pair);
            } catch (const std::exception&) {  // of Gloo: the connection has ended
                pair.failed = true;
            }
        }
    }

    void nonces() {
        for_each_pair([](int other, Pair& pair) {
            pair.buffers[1]->recv(other, kNonceSlot);
            pair.buffers[3]->recv(other, kProofSlot);
            pair.buffers[0]->send(other, kNonceSlot);
        });
        for_each_pair([](int, Pair& pair) { pair.failed = !pair.buffers[1]->waitRecv(kForever); });
    }

    void proofs() {
        for_each_pair([&](int other, Pair& pair) {
            const std::string proof =
                proof_of(context_.rank, other, view(pair.own_nonce), view(pair.nonce));
            std::copy(proof.begin(), proof.end(), pair.own_proof.begin());
            pair.buffers[2]->send(other, kProofSlot);
        });
        for_each_pair([&](int other, Pair& pair) {
            const bool came = pair.buffers[3]->waitRecv(kForever);
            pair.failed =
                !came || !equal_in_constant_time(view(pair.proof),
                                                 proof_of(other, context_.rank, view(pair.nonce),
                                                          view(pair.own_nonce)));
        });
        for_each_pair([](int, Pair& pair) {
            pair.failed =
                !pair.buffers[0]->waitSend(kForever) || !pair.buffers[2]->waitSend(kForever);
        });
    }

    [[nodiscard]] std::string proof_of(int from, int to, std::string_view nonce_of_sender,
                                       std::string_view nonce_of_receiver) const {
        return key_.proof(
            "pair", {std::to_string(from), std::to_string(to), nonce_of_sender, nonce_of_receiver});
    }

    gloo::Context& context_;
    const JobKey& key_;
    std::vector<Pair> pairs_;
};

}  // namespace

std::vector<std::string> unproved_ranks(gloo::Context& context, const JobKey& key,
                                        const std::vector<std::string>& names,
                                        std::chrono::milliseconds timeout) {
    const Exchange exchange(context, key, Clock::now() + timeout);
    throw_if_stopped("the ranks connect");
    std::vector<std::string> unproved;
    for (std::size_t other = 0; other < names.size(); ++other) {
        if (exchange.pairs()[other].failed) unproved.push_back(names[other]);
    }
    return unproved;
}

}  // namespace isoflop::comm

#endif  // ISOFLOP_HAVE_GLOO
