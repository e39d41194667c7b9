// Is it up? Short, blocking questions to a server; for threads that may wait (a second at most).
#pragma once

#include <string>

#include "libs/base/result.h"

namespace gantry::dev {

struct Probe {
  enum class Kind { kNone, kSocket, kRedis, kHttp };
  Kind kind = Kind::kNone;
  std::string socket;             // kSocket, kRedis: path of the unix socket
  std::string user, password;     // kRedis
  int port = 0;                   // kHttp: on 127.0.0.1 ...
  std::string path;               // kHttp: must answer 200
  std::string network_namespace;  // ... of this namespace
};

/// kUnavailable says what is not there yet.
Status ask(const Probe& probe);

}  // namespace gantry::dev
