#include "tests/schemas/shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

extern "C" const uint8_t gantry_schema_begin[];

namespace gantry::schemas {
namespace {

std::string type_name(const reflection::Schema& schema, const reflection::Type& type) {
  const auto named = [&](reflection::BaseType base) -> std::string {
    const auto index = type.index();
    if (base == reflection::Obj && index >= 0)
      return schema.objects()->Get(static_cast<flatbuffers::uoffset_t>(index))->name()->str();
    std::string name = reflection::EnumNameBaseType(base);
    if (index >= 0) name += " " + schema.enums()->Get(static_cast<flatbuffers::uoffset_t>(index))->name()->str();
    return name;
  };
  switch (type.base_type()) {
    case reflection::Vector:
      return "[" + named(type.element()) + "]";
    case reflection::Array:
      return fmt::format("[{}:{}]", named(type.element()), type.fixed_length());
    default:
      return named(type.base_type());
  }
}

std::string describe(const reflection::Schema& schema, const reflection::Object& object,
                     const reflection::Field& field) {
  auto line = fmt::format("id {} {}", field.id(), type_name(schema, *field.type()));
  if (object.is_struct()) line += fmt::format(" at {}", field.offset());
  if (field.default_integer() != 0) line += fmt::format(" = {}", field.default_integer());
  if (field.default_real() != 0) line += fmt::format(" = {}", field.default_real());
  if (field.optional()) line += " optional";
  if (field.required()) line += " required";
  if (field.key()) line += " key";
  return line;
}

}  // namespace

Shape shape_of(const reflection::Schema& schema) {
  Shape shape;
  for (const auto* object : *schema.objects()) {
    shape[object->name()->str()] =
        object->is_struct() ? fmt::format("struct of {} bytes", object->bytesize()) : "table";
    for (const auto* field : *object->fields())
      shape[object->name()->str() + "." + field->name()->str()] = describe(schema, *object, *field);
  }
  for (const auto* type : *schema.enums()) {
    shape[type->name()->str()] = fmt::format("{} of {}", type->is_union() ? "union" : "enum",
                                             reflection::EnumNameBaseType(type->underlying_type()->base_type()));
    for (const auto* value : *type->values()) {
      auto line = fmt::format("value {}", value->value());
      if (type->is_union() && value->value() != 0) line += " " + type_name(schema, *value->union_type());
      shape[type->name()->str() + "." + value->name()->str()] = line;
    }
  }
  return shape;
}

Shape current_shape() { return shape_of(*reflection::GetSchema(gantry_schema_begin)); }

Shape read_shape(std::string_view text) {
  Shape shape;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const auto colon = line.find(": ");
    if (colon == std::string_view::npos) {
      shape.emplace(line, "");
    } else {
      shape.emplace(line.substr(0, colon), line.substr(colon + 2));
    }
  }
  return shape;
}

std::string write_shape(const Shape& shape) {
  std::string text;
  for (const auto& [name, what] : shape) text += fmt::format("{}: {}\n", name, what);
  return text;
}

std::vector<std::string> breaks(const Shape& released, const Shape& now) {
  std::vector<std::string> found;
  for (const auto& [name, what] : released) {
    const auto entry = now.find(name);
    if (entry == now.end()) {
      found.push_back(fmt::format("{} is gone (it was {}); mark it (deprecated) instead", name, what));
    } else if (entry->second != what) {
      found.push_back(fmt::format("{} was {} and is now {}", name, what, entry->second));
    }
  }
  return found;
}

}  // namespace gantry::schemas
