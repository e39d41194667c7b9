// A v2 document in gnostic's messages: what kubectl reads of it, which is the definitions and, of the paths, kinds and
// parameters.
#include "services/apigw/rest/openapi.h"

namespace gantry::apigw::openapi {
namespace {

/// Appends fields of one message.
class Message {
 public:
  void text(uint32_t number, std::string_view s) {
    varint(number << 3 | 2);
    varint(s.size());
    out_ += s;
  }
  void flag(uint32_t number, bool value) {
    if (!value) return;
    varint(number << 3);
    varint(1);
  }
  void message(uint32_t number, const Message& inner) { text(number, inner.out_); }
  std::string take() { return std::move(out_); }

 private:
  void varint(uint64_t v) {
    for (; v > 0x7f; v >>= 7) out_.push_back(static_cast<char>(v | 0x80));
    out_.push_back(static_cast<char>(v));
  }
  std::string out_;
};

/// Any: JSON is YAML.
Message any(const json& value) {
  Message out;
  out.text(2, value.dump() + "\n");
  return out;
}

Message named(const std::string& name, const Message& value) {
  Message out;
  out.text(1, name);
  out.message(2, value);
  return out;
}

void extensions(Message& out, uint32_t number, const json& of) {
  for (const auto& [key, value] : of.items()) {
    if (key.starts_with("x-")) out.message(number, named(key, any(value)));
  }
}

void text(Message& out, uint32_t number, const json& of, const char* key) {
  auto it = of.find(key);
  if (it != of.end() && it->is_string()) out.text(number, it->get_ref<const std::string&>());
}

Message schema(const json& of) {
  Message out;
  text(out, 1, of, "$ref");
  text(out, 2, of, "format");
  text(out, 4, of, "description");
  if (auto it = of.find("default"); it != of.end()) out.message(5, any(*it));
  if (auto it = of.find("required"); it != of.end()) {
    for (const auto& name : *it) out.text(19, name.get_ref<const std::string&>());
  }
  if (auto it = of.find("enum"); it != of.end()) {
    for (const auto& value : *it) out.message(20, any(value));
  }
  if (auto it = of.find("additionalProperties"); it != of.end()) {
    Message item;
    item.message(1, schema(*it));
    out.message(21, item);
  }
  if (auto it = of.find("type"); it != of.end()) {
    Message item;
    item.text(1, it->get_ref<const std::string&>());
    out.message(22, item);
  }
  if (auto it = of.find("items"); it != of.end()) {
    Message item;
    item.message(1, schema(*it));
    out.message(23, item);
  }
  if (auto it = of.find("properties"); it != of.end()) {
    Message properties;
    for (const auto& [name, property] : it->items()) properties.message(1, named(name, schema(property)));
    out.message(25, properties);
  }
  extensions(out, 31, of);
  return out;
}

/// ParametersItem
Message parameter(const json& of) {
  Message parameter;
  const std::string in = of.at("in");
  if (in == "body") {
    Message body;
    text(body, 2, of, "name");
    text(body, 3, of, "in");
    body.flag(4, true);
    body.message(5, schema(of.at("schema")));
    parameter.message(1, body);
  } else {
    Message inner;
    inner.flag(1, in == "path");
    text(inner, 2, of, "in");
    text(inner, 4, of, "name");
    text(inner, in == "query" ? 6 : 5, of, "type");
    Message other;
    other.message(in == "query" ? 3 : 4, inner);
    parameter.message(2, other);
  }
  Message item;
  item.message(1, parameter);
  return item;
}

Message responses(const json& of) {
  Message out;
  for (const auto& [code, response] : of.items()) {
    Message inner;
    text(inner, 1, response, "description");
    if (auto it = response.find("schema"); it != response.end()) {
      Message item;
      item.message(1, schema(*it));
      inner.message(2, item);
    }
    Message value;
    value.message(1, inner);
    out.message(1, named(code, value));
  }
  return out;
}

Message operation(const json& of) {
  Message out;
  text(out, 5, of, "operationId");
  for (const auto& type : of.value("produces", json::array())) out.text(6, type.get_ref<const std::string&>());
  for (const auto& p : of.value("parameters", json::array())) out.message(8, parameter(p));
  out.message(9, responses(of.at("responses")));
  extensions(out, 13, of);
  return out;
}

Message path_item(const json& of) {
  Message out;
  const std::pair<const char*, uint32_t> methods[] = {{"get", 2}, {"put", 3}, {"post", 4}, {"delete", 5}, {"patch", 8}};
  for (const auto& [method, number] : methods) {
    if (auto it = of.find(method); it != of.end()) out.message(number, operation(*it));
  }
  for (const auto& p : of.value("parameters", json::array())) out.message(9, parameter(p));
  return out;
}

}  // namespace

std::string to_gnostic(const json& document) {
  Message out, info, paths, definitions;
  out.text(1, "2.0");
  text(info, 1, document.at("info"), "title");
  text(info, 2, document.at("info"), "version");
  out.message(2, info);
  for (const auto& [path, item] : document.at("paths").items()) paths.message(2, named(path, path_item(item)));
  out.message(8, paths);
  for (const auto& [name, definition] : document.at("definitions").items()) {
    definitions.message(1, named(name, schema(definition)));
  }
  out.message(9, definitions);
  return out.take();
}

}  // namespace gantry::apigw::openapi
