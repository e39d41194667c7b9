// gzip (RFC 1952) for answers. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "libs/http/message.h"

namespace gantry::http {

/// True if Accept-Encoding names gzip (or *) and does not weigh it with 0.
bool accepts_gzip(const Headers& headers);

/// A stream that is compressed as it grows. Fast rather than small, as an API server wants it.
class Gzip {
 public:
  Gzip();
  ~Gzip();
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  /// Appends to `out` what is ready of the input; `last` ends the stream.
  void add(std::string_view input, bool last, std::string& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The whole at once; "" when `bytes` is no gzip or makes more than `limit`. For clients and tests.
std::string gunzip(std::string_view bytes, size_t limit = 256 << 20);

}  // namespace gantry::http
