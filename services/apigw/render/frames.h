// What watches send, made once for all watchers that want the same: an event's frame is kept for a while, since the
// others come for it in the same turn of the loop. Not thread-safe.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "services/apigw/render/render.h"

namespace gantry::apigw {

/// "application/json", or protobuf with `;stream=watch`.
const char* watch_content_type(Encoding encoding);

class Frames {
 public:
  using Frame = std::shared_ptr<const std::string>;
  struct Counters {
    uint64_t made = 0, shared = 0;
  };

  /// `type`: ADDED, MODIFIED, DELETED; `columns`: with a Table's column definitions.
  Frame event(std::string_view type, const model::Object& object, const Shape& shape, bool columns, WallMicros now);
  static std::string bookmark(const model::Kind& kind, uint64_t revision, bool initial_end, const Shape& shape);
  static std::string error(const Error& error, const Shape& shape);
  const Counters& counters() const { return counters_; }

 private:
  struct Key {
    const model::Kind* kind;
    uint64_t revision;
    int64_t second;  // Tables show ages
    Shape shape;
    char type;
    bool columns;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const {
      return key.revision * 0x9E3779B97F4A7C15 ^ reinterpret_cast<size_t>(key.kind) ^
             static_cast<size_t>(key.type) << 56 ^ static_cast<size_t>(key.shape.form) << 48 ^
             static_cast<size_t>(key.shape.encoding) << 40;
    }
  };

  Counters counters_;
  std::unordered_map<Key, Frame, Hash> frames_;
  std::deque<Key> order_;  // the oldest first
  size_t bytes_ = 0;
};

}  // namespace gantry::apigw
