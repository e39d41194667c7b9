// The node's side of a port-forward: a session for each connection into the pod. The client's side (SPDY streams or
// WebSocket channels) hands bytes in and gets bytes out. Loop's thread only.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "libs/bus/session.h"
#include "services/apigw/sessions/pod_target.h"
#include "services/apigw/streams/streams.h"

namespace gantry::apigw {

class PortPipes {
 public:
  /// The client's side. From the loop, never inside a call of PortPipes.
  class Client {
   public:
    virtual void pipe_data(uint32_t pipe, std::string_view data) = 0;
    /// The pod has closed its side: nothing more comes from it.
    virtual void pipe_end(uint32_t pipe) = 0;
    /// The connection failed. pipe_closed() follows.
    virtual void pipe_failed(uint32_t pipe, const std::string& error) = 0;
    virtual void pipe_closed(uint32_t pipe) = 0;
    virtual size_t client_buffered() const = 0;
    /// Too much waits for the pod; go on at client_resume().
    virtual void client_pause() = 0;
    virtual void client_resume() = 0;

   protected:
    ~Client() = default;
  };

  PortPipes(const StreamContext& context, PodTarget target, Client& client);
  ~PortPipes();

  void open(uint32_t pipe, uint16_t port);
  void input(uint32_t pipe, std::string_view data, bool end);
  /// The client is through with it: the connection goes. No call about it comes after.
  void drop(uint32_t pipe);
  /// The client has taken what was buffered.
  void drained();
  size_t size() const { return pipes_.size(); }

 private:
  struct Pipe;
  std::shared_ptr<Pipe> find(uint32_t pipe);
  void opened(uint32_t pipe, Result<std::unique_ptr<bus::Session>> session);
  void closed(uint32_t pipe, const std::string& error);
  void adjust();

  StreamContext context_;
  PodTarget target_;
  Client& client_;
  std::map<uint32_t, std::shared_ptr<Pipe>> pipes_;
  bool paused_ = false;
  std::shared_ptr<PortPipes*> alive_;
};

}  // namespace gantry::apigw
