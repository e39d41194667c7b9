// A list in pieces, so that a list of any length needs little memory beside its objects. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "services/apigw/render/render.h"

namespace gantry::apigw {

class ListWriter {
 public:
  ListWriter(const model::Kind& kind, std::vector<model::Object> items, ListMeta meta, Shape shape, WallMicros now);

  /// Appends the next piece, of about `bytes` where the encoding can be cut at all (plain JSON); false after the last.
  bool more(std::string& out, size_t bytes);

 private:
  void begin(std::string& out) const;
  std::string protobuf() const;

  const model::Kind& kind_;
  std::vector<model::Object> items_;
  ListMeta meta_;
  Shape shape_;
  WallMicros now_;
  size_t next_ = 0;
  bool begun_ = false;
};

}  // namespace gantry::apigw
