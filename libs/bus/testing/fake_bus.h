// A NATS network in memory: as many endpoints as wanted on one loop, with the faults that a test asks for.
// Deterministic: the same seed and the same calls give the same deliveries in the same order.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "libs/bus/bus.h"
#include "libs/bus/pending_requests.h"
#include "libs/bus/permissions.h"

namespace gantry::testing {

class FakeBus;

/// What goes wrong, for each delivery on its own. The default is a perfect network.
struct Faults {
  double drop = 0, duplicate = 0;                           // probabilities
  Duration min_delay{}, max_delay{};                        // different delays also reorder
  std::function<bool(std::string_view subject)> only = {};  // faults for these subjects; null: all
};

/// The server in the middle. Outlives its endpoints. Loop's thread only.
class FakeNetwork {
 public:
  explicit FakeNetwork(Loop& loop, uint64_t seed = 1);
  ~FakeNetwork();

  /// A connected endpoint. Without permissions it may do everything.
  std::unique_ptr<FakeBus> connect(std::string identity, std::optional<bus::Permissions> permissions = std::nullopt);
  void set_faults(Faults faults) { faults_ = std::move(faults); }

  struct Counters {
    uint64_t published = 0, delivered = 0, dropped = 0, duplicated = 0, violations = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  friend class FakeBus;
  struct Sub;
  struct Payload;
  struct TreeNode;
  class Handle;
  /// Returns to how many subscriptions it goes (before faults).
  size_t route(std::string_view subject, std::string_view data, std::string_view reply);
  void send(const std::shared_ptr<Sub>& sub, const std::shared_ptr<const Payload>& payload);
  void deliver_later(Duration delay, const std::shared_ptr<Sub>& sub, const std::shared_ptr<const Payload>& payload);
  void add(const std::shared_ptr<Sub>& sub);
  void remove(const std::shared_ptr<Sub>& sub);
  bool chance(double probability);

  Loop& loop_;
  std::mt19937_64 random_;
  Faults faults_;
  Counters counters_;
  std::unique_ptr<TreeNode> root_;
  std::map<uint64_t, Timer> delayed_;
  uint64_t next_id_ = 1, next_endpoint_ = 1;
};

/// One connection to a FakeNetwork.
class FakeBus final : public bus::Bus {
 public:
  ~FakeBus() override;

  Status publish(std::string_view subject, std::string_view data, std::string_view reply = {}) override;
  std::unique_ptr<bus::Subscription> subscribe(std::string subject, std::string queue, bus::Handler handler) override;
  void request(std::string_view subject, std::string_view data, Duration timeout,
               std::function<void(Result<std::string>)> done) override;
  void flush(std::function<void(Status)> done) override;
  bool connected() const override { return connected_; }
  std::shared_ptr<void> on_connection(std::function<void(bool)> changed) override;
  size_t max_payload() const override { return max_payload_; }

  /// Cut: what is under way to it is lost, what it publishes waits in a buffer. Back: the buffer is sent.
  void set_connected(bool connected);
  void set_max_payload(size_t bytes) { max_payload_ = bytes; }
  /// Subjects that it was refused.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  friend class FakeNetwork;
  FakeBus(FakeNetwork& network, std::string identity, std::optional<bus::Permissions> permissions);
  bool allowed(bool publish, std::string_view subject);

  struct Buffered {
    std::string subject, data, reply;
  };
  FakeNetwork& network_;
  std::optional<bus::Permissions> permissions_;
  bool connected_ = true;
  uint64_t connection_ = 1;  // grows with each cut: deliveries of an older one are lost
  size_t max_payload_ = 8u << 20;
  std::string inbox_;
  bus::PendingRequests pending_;
  std::vector<Buffered> buffer_;
  size_t buffered_ = 0;
  std::vector<std::string> violations_;
  std::map<std::string, int, std::less<>> responses_;  // reply subjects that it received and may answer
  std::vector<std::weak_ptr<std::function<void(bool)>>> watchers_;
  std::vector<std::weak_ptr<FakeNetwork::Sub>> subs_;
  std::unique_ptr<bus::Subscription> inbox_sub_;
};

}  // namespace gantry::testing
