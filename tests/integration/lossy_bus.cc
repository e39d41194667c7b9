#include "tests/integration/lossy_bus.h"

namespace gantry::testing {

LossyBus::LossyBus(Loop& loop, bus::Bus& bus, uint64_t seed, double drop, double duplicate)
    : loop_(loop), bus_(bus), random_(seed), drop_(drop), duplicate_(duplicate) {}

Status LossyBus::publish(std::string_view subject, std::string_view data, std::string_view reply) {
  return bus_.publish(subject, data, reply);
}

std::unique_ptr<bus::Subscription> LossyBus::subscribe(std::string subject, std::string queue, bus::Handler handler) {
  const bool faulty = subject.starts_with("gantry.events.") || subject.starts_with("gantry.heads.");
  if (!faulty) return bus_.subscribe(std::move(subject), std::move(queue), std::move(handler));
  return bus_.subscribe(std::move(subject), std::move(queue),
                        [this, shared = std::make_shared<bus::Handler>(std::move(handler))](
                            const bus::Message& message) { deliver(shared, message); });
}

void LossyBus::deliver(const std::shared_ptr<bus::Handler>& handler, const bus::Message& message) {
  if (muted_ || chance(drop_)) {
    ++counters_.dropped;
    return;
  }
  ++counters_.delivered;
  if (chance(duplicate_)) {
    ++counters_.duplicated;
    loop_.post(
        [weak = std::weak_ptr(handler), subject = std::string(message.subject), data = std::string(message.data)] {
          if (const auto alive = weak.lock()) (*alive)({subject, {}, data});
        });
  }
  (*handler)(message);
}

void LossyBus::request(std::string_view subject, std::string_view data, Duration timeout,
                       std::function<void(Result<std::string>)> done) {
  bus_.request(subject, data, timeout, std::move(done));
}

std::shared_ptr<void> LossyBus::on_connection(std::function<void(bool)> changed) {
  return bus_.on_connection(std::move(changed));
}

}  // namespace gantry::testing
