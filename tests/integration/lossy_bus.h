// A Bus that loses and doubles events and heads on their way to the subscriber. Loop's thread only; what it wraps
// outlives it.
#pragma once

#include <random>

#include "libs/bus/bus.h"

namespace gantry::testing {

class LossyBus final : public bus::Bus {
 public:
  /// `drop` and `duplicate` are probabilities for each delivery on its own. A double comes late.
  LossyBus(Loop& loop, bus::Bus& bus, uint64_t seed, double drop, double duplicate);

  /// Nothing arrives while muted: what comes last is a lost tail.
  void mute(bool muted) { muted_ = muted; }
  struct Counters {
    uint64_t delivered = 0, dropped = 0, duplicated = 0;
  };
  const Counters& counters() const { return counters_; }

  Status publish(std::string_view subject, std::string_view data, std::string_view reply = {}) override;
  std::unique_ptr<bus::Subscription> subscribe(std::string subject, std::string queue, bus::Handler handler) override;
  void request(std::string_view subject, std::string_view data, Duration timeout,
               std::function<void(Result<std::string>)> done) override;
  void flush(std::function<void(Status)> done) override { bus_.flush(std::move(done)); }
  bool connected() const override { return bus_.connected(); }
  std::shared_ptr<void> on_connection(std::function<void(bool)> changed) override;
  size_t max_payload() const override { return bus_.max_payload(); }

 private:
  void deliver(const std::shared_ptr<bus::Handler>& handler, const bus::Message& message);
  bool chance(double probability) { return std::uniform_real_distribution<>()(random_) < probability; }

  Loop& loop_;
  bus::Bus& bus_;
  std::mt19937_64 random_;
  const double drop_, duplicate_;
  bool muted_ = false;
  Counters counters_;
};

}  // namespace gantry::testing
