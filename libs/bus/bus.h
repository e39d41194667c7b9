// The message bus. Production is NatsBus (nats_bus.h); tests and the simulation use testing::FakeBus, which drops,
// doubles and delays on demand.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "libs/base/loop.h"
#include "libs/base/result.h"

namespace gantry::bus {

struct Message {
  std::string_view subject;  // all three valid during the callback only
  std::string_view reply;
  std::string_view data;
};

/// Destroying it unsubscribes; no callback comes after.
class Subscription {
 public:
  virtual ~Subscription() = default;
  /// Messages shed because the queue of this subscription was full (each is a gap that chains will show).
  virtual uint64_t dropped() const = 0;
};

using Handler = std::function<void(const Message&)>;

/// All calls on the loop's thread; callbacks come on it, never inside the call.
class Bus {
 public:
  virtual ~Bus() = default;

  /// Fire and forget. kUnavailable when not connected and the outgoing buffer is full; kTooLarge above max_payload().
  virtual Status publish(std::string_view subject, std::string_view data, std::string_view reply = {}) = 0;
  /// As publish, with a Nats-Msg-Id: a JetStream stream that captures the subject keeps only the first of an id within
  /// its window.
  virtual Status publish_with_id(std::string_view subject, std::string_view data, std::string_view message_id) {
    return publish(subject, data);
  }
  /// `queue`: at most one member of the queue group gets each message. Survives reconnects.
  virtual std::unique_ptr<Subscription> subscribe(std::string subject, std::string queue, Handler handler) = 0;
  /// One request, one reply, on the identity's own inbox. kTimeout without an answer, kUnavailable when nobody listens.
  virtual void request(std::string_view subject, std::string_view data, Duration timeout,
                       std::function<void(Result<std::string>)> done) = 0;
  /// Calls back once the server has processed everything published since the flush before. kUnavailable when a
  /// connection was lost in between: publish again what must not be missing.
  virtual void flush(std::function<void(Status)> done) = 0;
  virtual bool connected() const = 0;
  /// Called on each change, until the handle is destroyed. After a reconnect, messages may have been missed.
  virtual std::shared_ptr<void> on_connection(std::function<void(bool connected)> changed) = 0;
  virtual size_t max_payload() const = 0;
};

}  // namespace gantry::bus
