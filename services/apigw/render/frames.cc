#include "services/apigw/render/frames.h"

#include "libs/model/protobuf.h"
#include "services/apigw/render/proto.h"

namespace gantry::apigw {
namespace {

constexpr size_t kMaxBytes = 8 << 20;

/// A WatchEvent with its length before it, as streams of protobuf frame their messages.
std::string protobuf_frame(std::string_view type, std::string_view sealed) {
  ProtoWriter raw, event;
  raw.bytes(1, sealed);
  event.bytes(1, type);
  event.bytes(2, raw.text());
  const auto size = static_cast<uint32_t>(event.text().size());
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  return out + event.text();
}

}  // namespace

const char* watch_content_type(Encoding encoding) {
  return encoding == Encoding::kProtobuf ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/json";
}

Frames::Frame Frames::event(std::string_view type, const model::Object& object, const Shape& shape, bool columns,
                            WallMicros now) {
  const bool table = shape.form == Form::kTable;
  const Key key{&object.kind(), object.revision(), table ? now / 1'000'000 : 0, shape, type.front(), table && columns};
  auto& frame = frames_[key];
  if (frame) {
    ++counters_.shared;
    return frame;
  }
  ++counters_.made;
  frame = std::make_shared<const std::string>(shape.encoding == Encoding::kProtobuf
                                                  ? protobuf_frame(type, encode_object(object, shape, now))
                                                  : watch_json(type, object, shape.form, shape.rows, columns, now));
  const Frame made = frame;
  bytes_ += made->size();
  order_.push_back(key);
  while (bytes_ > kMaxBytes && order_.size() > 1) {
    const auto oldest = frames_.find(order_.front());
    bytes_ -= oldest->second->size();
    frames_.erase(oldest);
    order_.pop_front();
  }
  return made;
}

std::string Frames::bookmark(const model::Kind& kind, uint64_t revision, bool initial_end, const Shape& shape) {
  if (shape.encoding != Encoding::kProtobuf) return bookmark_json(kind, revision, initial_end, shape.form);
  ProtoWriter meta, object;
  meta.bytes(6, std::to_string(revision));
  if (initial_end) {
    ProtoWriter entry;
    entry.bytes(1, "k8s.io/initial-events-end");
    entry.bytes(2, "true");
    meta.bytes(12, entry.text());
  }
  object.bytes(1, meta.text());
  return protobuf_frame("BOOKMARK", shape.form == Form::kPartial
                                        ? model::seal_protobuf("meta.k8s.io/v1", "PartialObjectMetadata", object.text())
                                        : model::seal_protobuf(kind.api_version(), kind.kind, object.text()));
}

std::string Frames::error(const Error& error, const Shape& shape) {
  return shape.encoding == Encoding::kProtobuf ? protobuf_frame("ERROR", encode_status(error, shape))
                                               : watch_error_json(error);
}

}  // namespace gantry::apigw
