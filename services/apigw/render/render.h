// API objects as clients want to see them: Status, lists, Tables, PartialObjectMetadata. Pure functions that give JSON
// text; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"
#include "libs/model/object.h"

namespace gantry::apigw {

/// A Status of a failure, with details and causes.
std::string status_json(const Error& error);
/// What a client is told to wait before it tries again, in seconds; 0: nothing.
uint32_t retry_after(const Error& error);
/// A Status of success; with an object that is gone, its details.
std::string success_json(const model::Object* gone = nullptr);

/// The form that Accept asks for (`;as=...;g=meta.k8s.io;v=v1`).
enum class Form : uint8_t { kPlain, kTable, kPartial };
/// What the rows of a Table carry beside their cells.
enum class RowObject : uint8_t { kNone, kMetadata, kObject };

enum class Encoding : uint8_t { kJson, kYaml, kProtobuf };
const char* content_type(Encoding encoding);

/// All that Accept and the query say about how an object is to look.
struct Shape {
  Form form = Form::kPlain;
  RowObject rows = RowObject::kMetadata;
  Encoding encoding = Encoding::kJson;
  bool pretty = false;
  bool operator==(const Shape&) const = default;
};

struct ListMeta {
  uint64_t revision = 0;
  std::string continue_token;
  std::optional<int64_t> remaining;
};

std::string object_json(const model::Object& object, Form form, RowObject rows, WallMicros now);
std::string list_json(const model::Kind& kind, const std::vector<model::Object>& items, const ListMeta& meta, Form form,
                      RowObject rows, WallMicros now);
/// One line of a watch: `{"type":"ADDED","object":...}\n`. In a Table only the first event of a watch carries the
/// column definitions.
std::string watch_json(std::string_view type, const model::Object& object, Form form, RowObject rows, bool columns,
                       WallMicros now);
std::string bookmark_json(const model::Kind& kind, uint64_t revision, bool initial_end, Form form);
std::string watch_error_json(const Error& error);

// The same in the encoding of the shape. Tables have no protobuf: JSON.
std::string encode_object(const model::Object& object, const Shape& shape, WallMicros now);
std::string encode_status(const Error& error, const Shape& shape = {});
std::string encode_success(const model::Object* gone, const Shape& shape);
/// JSON text that was made here, as YAML or indented where the shape says so.
std::string restyle(std::string json, const Shape& shape);

/// What a Kubernetes user sees as AGE: 12s, 3m4s, 5h, 2d3h.
std::string human_duration(int64_t seconds);

}  // namespace gantry::apigw
