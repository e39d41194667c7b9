#include "services/apigw/render/render.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/selector.h"
#include "services/apigw/convert/convert.h"
#include "services/apigw/render/columns.h"
#include "services/apigw/render/list_writer.h"
#include "services/apigw/render/parts.h"

namespace gantry::apigw {
namespace {

using model::Kind;
using model::Object;
using nlohmann::json;

std::string json_string(std::string_view text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// metadata with the resourceVersion that is stored beside the object.
std::string metadata_json(const Object& object) {
  static const model::Type* const kMeta = model::Schema::get().type("gantry.api.meta_v1.ObjectMeta");
  if (!object.meta()) return "{}";
  std::string out = model::to_json(*kMeta, reinterpret_cast<const flatbuffers::Table*>(object.meta()));
  if (object.revision() != 0 && !object.meta()->resource_version()) {
    out.pop_back();
    if (out.size() > 1) out += ',';
    out += fmt::format("\"resourceVersion\":\"{}\"}}", object.revision());
  }
  return out;
}

json cell(const model::Column& column, const Object& object, WallMicros now) {
  if (column.source.starts_with("@")) {
    auto function = find_column(std::string_view(column.source).substr(1));
    return function ? function(object, now) : json("<unknown>");
  }
  auto value = model::field_value(object, std::string_view(column.source).substr(1));
  return typed_cell(column, std::move(value));
}

}  // namespace

std::string list_meta_json(const ListMeta& meta) {
  std::string out = "{";
  if (meta.revision != 0) out += fmt::format("\"resourceVersion\":\"{}\"", meta.revision);
  if (!meta.continue_token.empty())
    out += fmt::format("{}\"continue\":{}", out.size() > 1 ? "," : "", json_string(meta.continue_token));
  if (meta.remaining) out += fmt::format("{}\"remainingItemCount\":{}", out.size() > 1 ? "," : "", *meta.remaining);
  return out + "}";
}

std::string column_definitions(const Kind& kind) {
  json out = json::array();
  for (const auto& column : table_kind(kind).columns) {
    out.push_back({{"name", column.name},
                   {"type", column.type},
                   {"format", column.name == "Name" ? "name" : ""},
                   {"description", ""},
                   {"priority", column.wide ? 1 : 0}});
  }
  return out.dump();
}

void append_partial(std::string& out, const Object& object) {
  out.append(R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":)")
      .append(metadata_json(object))
      .append("}");
}

void append_row(std::string& out, const Object& object, RowObject rows, WallMicros now) {
  json cells = json::array();
  const Object stored = convert(object, table_kind(object.kind()));
  for (const auto& column : stored.kind().columns) cells.push_back(cell(column, stored, now));
  out += "{\"cells\":" + cells.dump(-1, ' ', false, json::error_handler_t::replace);
  if (rows == RowObject::kMetadata) {
    out += ",\"object\":";
    append_partial(out, object);
  }
  if (rows == RowObject::kObject) out += ",\"object\":" + model::to_json(object);
  out += "}";
}

namespace {

std::string partial_json(const Object& object) {
  std::string out;
  append_partial(out, object);
  return out;
}

/// A Table of one row.
std::string table_json(const Object& object, RowObject rows, bool columns, WallMicros now) {
  std::string out = R"({"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":)" +
                    list_meta_json({object.revision(), "", {}}) + ",\"columnDefinitions\":";
  out += columns ? column_definitions(object.kind()) : "null";
  out += ",\"rows\":[";
  append_row(out, object, rows, now);
  return out + "]}";
}

}  // namespace

uint32_t retry_after(const Error& error) {
  if (error.retry_after_seconds != 0) return error.retry_after_seconds;
  // An eviction waits for pods, not for the gateway: client libraries must not repeat it by themselves.
  if (!error.causes.empty() && error.causes[0].reason == "DisruptionBudget") return 0;
  const bool passes =
      error.code == Code::kTooLargeRevision || error.code == Code::kUnavailable || error.code == Code::kTooManyRequests;
  return passes ? 1 : 0;
}

std::string status_json(const Error& error) {
  json details = json::object();
  if (!error.name.empty()) details["name"] = error.name;
  if (!error.group.empty()) details["group"] = error.group;
  if (!error.kind.empty()) details["kind"] = error.kind;
  if (!error.uid.empty()) details["uid"] = error.uid;
  json causes = json::array(), metadata = json::object();
  for (const auto& cause : error.causes) {
    if (cause.reason == "ContinueToken") {  // see core/reads.h
      metadata["continue"] = cause.message;
      continue;
    }
    json c = {{"reason", cause.reason}, {"message", cause.message}};
    if (!cause.field.empty()) c["field"] = cause.field;
    causes.push_back(c);
  }
  if (error.code == Code::kTooLargeRevision && causes.empty()) {
    causes.push_back({{"reason", "ResourceVersionTooLarge"}, {"message", "Too large resource version"}});
  }
  if (!causes.empty()) details["causes"] = causes;
  const uint32_t retry = retry_after(error);
  if (retry != 0) details["retryAfterSeconds"] = retry;
  json status = {{"kind", "Status"},
                 {"apiVersion", "v1"},
                 {"metadata", metadata},
                 {"status", "Failure"},
                 {"message", error.message},
                 {"reason", reason(error.code)},
                 {"code", http_status(error.code)}};
  if (!details.empty()) status["details"] = details;
  return status.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string success_json(const Object* gone) {
  json status = {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}, {"status", "Success"}};
  if (gone != nullptr && *gone) {
    json details = {{"name", gone->name()}, {"kind", gone->kind().resource}, {"uid", gone->uid()}};
    if (!gone->kind().group.empty()) details["group"] = gone->kind().group;
    status["details"] = details;
  }
  return status.dump() + "\n";
}

std::string object_json(const Object& object, Form form, RowObject rows, WallMicros now) {
  switch (form) {
    case Form::kTable:
      return table_json(object, rows, true, now);
    case Form::kPartial:
      return partial_json(object);
    case Form::kPlain:
      break;
  }
  return model::to_json(object);
}

std::string list_json(const Kind& kind, const std::vector<Object>& items, const ListMeta& meta, Form form,
                      RowObject rows, WallMicros now) {
  std::string out;
  ListWriter(kind, items, meta, {.form = form, .rows = rows}, now).more(out, SIZE_MAX / 2);
  return out;
}

std::string watch_json(std::string_view type, const Object& object, Form form, RowObject rows, bool columns,
                       WallMicros now) {
  std::string out = fmt::format("{{\"type\":\"{}\",\"object\":", type);
  if (form == Form::kTable) {
    out += table_json(object, rows, columns, now);
  } else if (form == Form::kPartial) {
    out += partial_json(object);
  } else {
    model::to_json(object, out);
  }
  return out + "}\n";
}

std::string bookmark_json(const Kind& kind, uint64_t revision, bool initial_end, Form form) {
  std::string meta = fmt::format(R"({{"resourceVersion":"{}","creationTimestamp":null)", revision);
  if (initial_end) meta += R"(,"annotations":{"k8s.io/initial-events-end":"true"})";
  meta += "}";
  if (form == Form::kTable) {
    return fmt::format(
               R"({{"type":"BOOKMARK","object":{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{}"}},"columnDefinitions":null,"rows":[{{"cells":[],"object":{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{}}}}}]}}}})",
               revision, meta) +
           "\n";
  }
  std::string name = form == Form::kPartial ? "PartialObjectMetadata" : kind.kind;
  std::string version = form == Form::kPartial ? "meta.k8s.io/v1" : kind.api_version();
  return fmt::format(R"({{"type":"BOOKMARK","object":{{"kind":"{}","apiVersion":"{}","metadata":{}}}}})", name, version,
                     meta) +
         "\n";
}

std::string watch_error_json(const Error& error) {
  std::string status = status_json(error);
  status.pop_back();
  return R"({"type":"ERROR","object":)" + status + "}\n";
}

}  // namespace gantry::apigw
