// The thread that owns a connection of libnats, so that nothing that libnats waits for (TLS, dialling, its own locks)
// stops the loop. Internal to NatsBus.
//
// The loop hands over operations in order; the thread takes all that wait, lets libnats encode them into its buffer and
// writes the buffer once: under load many messages share a wake-up, a system call and a TLS record. It does so as
// libnats' external event loop, which also makes it the reader. What arrives comes back through libnats' one delivery
// thread, in the order of the wire over all subscriptions, into a queue that the loop empties. One more thread a
// process (libnats' timer), none a subscription.
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "libs/base/uv_loop.h"
#include "libs/bus/nats_bus.h"

namespace gantry::bus {

/// Owns a message of libnats.
struct NatsMsgDeleter {
  void operator()(natsMsg* msg) const { natsMsg_Destroy(msg); }
};
using NatsMsg = std::unique_ptr<natsMsg, NatsMsgDeleter>;

class NatsWorker {
 public:
  /// What the loop is told, on the loop's thread. The worker stops calling once it is being destroyed.
  struct Events {
    std::function<void(uint64_t sid, natsMsg* msg)> message;
    std::function<void(bool connected, size_t max_payload, const std::string& reason)> connection;
    std::function<void(const std::string& text)> error;
  };

  NatsWorker(UvLoop& loop, NatsOptions options, Events events);
  /// Sends what was handed over if connected, then closes; waits at most for a dial that is under way (2 s).
  ~NatsWorker();
  NatsWorker(const NatsWorker&) = delete;
  NatsWorker& operator=(const NatsWorker&) = delete;

  // Loop's thread.
  void publish(std::string subject, std::string reply, std::string message_id, std::string data);
  void subscribe(uint64_t sid, std::string subject, std::string queue);
  void unsubscribe(uint64_t sid);
  size_t buffered() const { return buffered_; }
  /// Messages of `sid` shed because the loop fell too far behind.
  uint64_t dropped(uint64_t sid) const;

 private:
  struct Operation {
    enum class Kind : uint8_t { kPublish, kSubscribe, kUnsubscribe } kind = Kind::kPublish;
    uint64_t sid = 0;
    std::string subject, reply_or_queue, message_id, data;
  };
  struct Inbound;
  struct Subscribed {
    std::string subject, queue;
    natsSubscription* handle = nullptr;
  };

  void push(Operation operation);
  void run();
  bool dial();
  natsStatus make_options(natsOptions** made, std::shared_ptr<Inbound>* shared) const;
  bool pause(std::chrono::milliseconds time);
  void perform_waiting();
  void perform(Operation& operation);
  void open(uint64_t sid, Subscribed& sub);
  void close_connection();

  NatsOptions options_;
  std::shared_ptr<Inbound> inbound_;

  std::atomic<size_t> buffered_ = 0;

  // The thread's own.
  natsConnection* connection_ = nullptr;
  std::map<uint64_t, Subscribed> subscribed_;
  std::thread thread_;
};

}  // namespace gantry::bus
