#include "libs/model/walk.h"

#include <charconv>

#include "libs/model/assembler.h"
#include "libs/model/json.h"
#include "libs/model/json_text.h"
#include "libs/model/path.h"

namespace gantry::model {

namespace {

const flatbuffers::Table* entry_of(const flatbuffers::Table* parent, const Field& map, std::string_view key) {
  if (!present(parent, map)) return nullptr;
  for (const auto* entry : *tables_of(parent, map)) {
    if (str(string_of(entry, map.type->fields[0])) == key) return entry;
  }
  return nullptr;
}

uint32_t size_of(const flatbuffers::Table* parent, const Field& list) {
  const auto* v = parent->GetPointer<const flatbuffers::VectorOfAny*>(list.slot);
  return v ? v->size() : 0;
}

std::string number_text(const Field& f, int64_t v) {
  if (f.format == Format::kTime) return format_time(v);
  if (f.format == Format::kMicroTime) return format_micro_time(v);
  if (f.scalar == Scalar::kBool) return v ? "true" : "false";
  if (f.scalar != Scalar::kDouble) return std::to_string(v);
  std::string out;
  write_json_double(std::bit_cast<double>(v), out);
  return out;
}

std::string table_text(const Field& f, const flatbuffers::Table* t) {
  if (f.format != Format::kIntOrString) return to_json(*f.type, t);
  if (const auto* s = string_of(t, f.type->fields[1])) return s->str();
  return std::to_string(scalar_of(t, f.type->fields[0]));
}

/// A list or map as JSON: taken out of its parent's.
std::string list_text(const Field& f, const flatbuffers::Table* parent) {
  Type alone;
  alone.fields.push_back(f);
  auto json = to_json(alone, parent);
  return json.substr(1 + f.json_key.size(), json.size() - f.json_key.size() - 2);
}

}  // namespace

bool Found::present() const {
  if (parent == nullptr || field == nullptr) return false;
  return index >= 0 ? index < size_of(parent, *field) : has_value(parent, *field);
}

const flatbuffers::Table* Found::table() const {
  if (!present() || field->scalar != Scalar::kTable || field->map) return nullptr;
  if (index >= 0) return tables_of(parent, *field)->Get(static_cast<uint32_t>(index));
  return field->list ? nullptr : table_of(parent, *field);
}

std::string Found::text() const {
  if (!present()) return "";
  const Field& f = *field;
  auto i = static_cast<uint32_t>(index);
  if (f.list && index < 0) return list_text(f, parent);
  switch (f.scalar) {
    case Scalar::kString:
      return std::string(str(f.list ? strings_of(parent, f)->Get(i) : string_of(parent, f)));
    case Scalar::kBytes:
      return std::string(bytes_of(parent, f));
    case Scalar::kTable:
      return table_text(f, f.list ? tables_of(parent, f)->Get(i) : table_of(parent, f));
    case Scalar::kBool:
      return number_text(f, f.list ? vector_of<uint8_t>(parent, f)->Get(i) : scalar_of(parent, f));
    case Scalar::kInt32:
      return number_text(f, f.list ? vector_of<int32_t>(parent, f)->Get(i) : scalar_of(parent, f));
    default:
      return number_text(f, f.list ? vector_of<int64_t>(parent, f)->Get(i) : scalar_of(parent, f));
  }
}

Found find(const Type& type, const flatbuffers::Table* root, std::string_view path) {
  PathReader reader(path);
  PathStep step;
  const Type* at = &type;
  Found found{nullptr, root, -1};
  bool first = true;
  while (reader.next(step)) {
    if (!first) found.parent = found.table();
    first = false;
    if (step.bracket || at == nullptr) return {};
    const Field* field = at->by_json(step.text);
    if (field == nullptr) return {};
    found = {field, found.parent, -1};
    at = field->list || field->format == Format::kIntOrString ? nullptr : field->type;
    if (!reader.at_bracket()) continue;
    if (!field->list || !reader.next(step)) return {};
    if (field->map) {
      found = {&field->type->fields[1], found.parent ? entry_of(found.parent, *field, step.text) : nullptr, -1};
      continue;
    }
    auto [end, error] = std::from_chars(step.text.data(), step.text.data() + step.text.size(), found.index);
    if (error != std::errc() || end != step.text.data() + step.text.size() || found.index < 0) return {};
    at = field->type;
  }
  if (!reader.ok()) return {};
  return found;
}

}  // namespace gantry::model
