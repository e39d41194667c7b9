// containerd's event stream: what happened to tasks, told as it happens.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "github.com/containerd/containerd/api/services/events/v1/events.grpc.pb.h"
#include "services/nodeagent/cri/grpc_calls.h"

namespace gantry::nodeagent {

/// Subscribes to the k8s.io namespace's task events and keeps subscribing. The server does not say when a subscription
/// stands, and has no replay: so we publish a probe of our own until it comes back, and only then call connected(),
/// after which a listing misses nothing. Loop's thread only.
class TaskEvents {
 public:
  struct Callbacks {
    std::function<void()> connected;
    std::function<void(const std::string& why)> disconnected;
    std::function<void(const std::string& container_id)> exited;  // the container's own process, not an exec's
    std::function<void(const std::string& container_id)> oom;
  };
  TaskEvents(GrpcCalls& calls, std::shared_ptr<grpc::Channel> channel, Callbacks callbacks);
  ~TaskEvents();
  void start();

 private:
  class Stream;
  using Events = containerd::services::events::v1::Events;
  using Envelope = containerd::services::events::v1::Envelope;
  void probe();
  void on_event(uint64_t generation, const Envelope& envelope);
  void on_end(uint64_t generation, const grpc::Status& status);

  GrpcCalls& calls_;
  std::unique_ptr<Events::Stub> stub_;
  Callbacks callbacks_;
  uint64_t generation_ = 0;
  bool connected_ = false, told_ = false;
  std::string token_;
  Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
