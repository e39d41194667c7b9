// Shims that containerd does not know: it died between starting one and writing it down.
#pragma once

#include <set>
#include <string>

#include "services/nodeagent/cri/exec.h"

namespace gantry::nodeagent {

/// Looks twice after each connection to containerd, some seconds apart; a shim that had no container both times is
/// killed. Loop's thread only; what is passed by reference outlives it.
class OrphanShims {
 public:
  OrphanShims(Loop& loop, GrpcCalls& calls, containerd::services::containers::v1::Containers::Stub& containers,
              std::string socket)
      : loop_(loop), calls_(calls), containers_(containers), socket_(std::move(socket)) {}
  void connected();

 private:
  void look(int left);

  Loop& loop_;
  GrpcCalls& calls_;
  containerd::services::containers::v1::Containers::Stub& containers_;
  std::string socket_;
  std::set<std::string> suspects_;
  Timer timer_;
};

}  // namespace gantry::nodeagent
