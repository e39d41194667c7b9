// Calls to CSI drivers on their sockets. The protocol's messages travel as JSON (protobuf's own mapping, with the field
// names of the specification), so that what drives them needs no gRPC: volume/csi/ has the real one, tests a fake.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/base/loop.h"
#include "libs/base/result.h"

namespace gantry::nodeagent {

class CsiTransport {
 public:
  virtual ~CsiTransport() = default;
  /// `method`: csi.v1.Node/NodePublishVolume. Answers once, on the loop, never inside the call. Errors carry the
  /// driver's words: `rpc error: code = Internal desc = ...`; kNotFound, kAlreadyExists, kUnavailable (nobody at that
  /// socket), kTimeout, kTooManyRequests (the driver is out of room) as they are, the rest kInternal.
  virtual void call(const std::string& socket, const std::string& method, std::string request, Duration deadline,
                    std::function<void(Result<std::string>)> done) = 0;
};

}  // namespace gantry::nodeagent
