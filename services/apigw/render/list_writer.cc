#include "services/apigw/render/list_writer.h"

#include <fmt/format.h>

#include "libs/model/json.h"
#include "libs/model/protobuf.h"
#include "services/apigw/render/parts.h"
#include "services/apigw/render/proto.h"

namespace gantry::apigw {

ListWriter::ListWriter(const model::Kind& kind, std::vector<model::Object> items, ListMeta meta, Shape shape,
                       WallMicros now)
    : kind_(kind), items_(std::move(items)), meta_(std::move(meta)), shape_(shape), now_(now) {}

void ListWriter::begin(std::string& out) const {
  const std::string meta = list_meta_json(meta_);
  switch (shape_.form) {
    case Form::kTable:
      out +=
          fmt::format(R"({{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions":{},"rows":[)",
                      meta, column_definitions(kind_));
      return;
    case Form::kPartial:
      out += fmt::format(
          R"({{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{},"items":[)", meta);
      return;
    case Form::kPlain:
      out += fmt::format(R"({{"kind":"{}List","apiVersion":"{}","metadata":{},"items":[)", kind_.kind,
                         kind_.api_version(), meta);
  }
}

bool ListWriter::more(std::string& out, size_t bytes) {
  if (shape_.encoding == Encoding::kProtobuf && shape_.form != Form::kTable) {
    out += protobuf();
    return false;
  }
  const bool whole = shape_.encoding == Encoding::kYaml || shape_.pretty;
  std::string text;
  std::string& to = whole ? text : out;
  const size_t enough = whole ? SIZE_MAX : out.size() + bytes;
  if (!std::exchange(begun_, true)) begin(to);
  for (; next_ < items_.size(); ++next_) {
    if (to.size() >= enough) return true;
    if (next_ > 0) to += ',';
    const auto& item = items_[next_];
    if (shape_.form == Form::kTable) {
      append_row(to, item, shape_.rows, now_);
    } else if (shape_.form == Form::kPartial) {
      append_partial(to, item);
    } else {
      model::to_json(item, to, {.type_meta = false});
    }
  }
  to += "]}\n";
  if (whole) out += restyle(std::move(text), shape_);
  return false;
}

std::string ListWriter::protobuf() const {
  ProtoWriter list, meta;
  meta.bytes(1, "");
  if (meta_.revision != 0) meta.bytes(2, std::to_string(meta_.revision));
  meta.bytes(3, meta_.continue_token);
  if (meta_.remaining) meta.number(4, static_cast<uint64_t>(*meta_.remaining));
  list.bytes(1, meta.text());
  std::string item;
  for (const auto& object : items_) {
    item.clear();
    if (shape_.form == Form::kPartial) {
      ProtoWriter partial;
      partial.bytes(1, model::metadata_to_protobuf(object));
      item = partial.take();
    } else {
      model::to_protobuf(object, item);
    }
    list.bytes(2, item);
  }
  return shape_.form == Form::kPartial
             ? model::seal_protobuf("meta.k8s.io/v1", "PartialObjectMetadataList", list.text())
             : model::seal_protobuf(kind_.api_version(), kind_.kind + "List", list.text());
}

}  // namespace gantry::apigw
