// The Bus on a NATS server, by libnats on a thread of its own (nats_worker.h says why).
#pragma once

#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/bus/bus.h"

namespace gantry::bus {

struct NatsOptions {
  std::string url;      // tls://host:4222, several with commas; nats:// for tests and servers on the same machine only
  std::string ca_file;  // trusted for the server's certificate; empty: the system's
  std::string creds_file;             // user JWT and seed (identity.h); read again at each connect. Empty: anonymous
  std::string identity;               // replies come on _INBOX.<identity>.>
  size_t outgoing_limit = 64u << 20;  // bytes that wait to be sent, connected or not; beyond, publish says kUnavailable
};

/// Connects in the background, at once and for ever, with back-off and jitter; subscriptions and what was published
/// meanwhile follow when it has worked. What was on its way when a connection broke is lost: commands are retried by
/// their ids, events repaired by their chains. Wrong credentials are an error in the log and are tried again: they may
/// be replaced. Messages keep their order over all subscriptions; when the loop falls 256 MiB behind, more are shed and
/// counted (Subscription::dropped). Construct, use and destroy on the loop's thread; `loop` outlives it. What was
/// published before the end is sent if there is a connection; to know that it arrived: flush(), and destroy in its
/// callback.
class NatsBus final : public Bus {
 public:
  NatsBus(UvLoop& loop, NatsOptions options);
  ~NatsBus() override;

  Status publish(std::string_view subject, std::string_view data, std::string_view reply = {}) override;
  Status publish_with_id(std::string_view subject, std::string_view data, std::string_view message_id) override;
  std::unique_ptr<Subscription> subscribe(std::string subject, std::string queue, Handler handler) override;
  void request(std::string_view subject, std::string_view data, Duration timeout,
               std::function<void(Result<std::string>)> done) override;
  void flush(std::function<void(Status)> done) override;
  bool connected() const override;
  std::shared_ptr<void> on_connection(std::function<void(bool connected)> changed) override;
  size_t max_payload() const override;

  struct Counters {
    uint64_t connects = 0, published = 0, received = 0;
    uint64_t refused = 0;     // publishes that found the buffer full
    uint64_t violations = 0;  // of permissions, as the server told
  };
  const Counters& counters() const;
  /// Bytes that wait to be sent.
  size_t buffered() const;

 private:
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace gantry::bus
