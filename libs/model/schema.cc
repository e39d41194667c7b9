#include "libs/model/schema.h"

#include <flatbuffers/reflection.h>
#include <glog/logging.h>

#include <cstring>

#include "libs/model/assembler.h"

extern "C" const uint8_t gantry_schema_begin[];
extern "C" const uint8_t gantry_schema_end[];

namespace gantry::model {

namespace {

using Attributes = flatbuffers::Vector<flatbuffers::Offset<reflection::KeyValue>>;

const reflection::KeyValue* find(const Attributes* attributes, const char* key) {
  if (attributes == nullptr) return nullptr;
  for (const auto* a : *attributes) {
    if (a->key()->string_view() == key) return a;
  }
  return nullptr;
}

std::string text(const Attributes* attributes, const char* key) {
  const auto* a = find(attributes, key);
  return a && a->value() ? a->value()->str() : std::string();
}

std::string trim(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return std::string(s);
}

std::vector<std::string> split(std::string_view s, char separator) {
  std::vector<std::string> out;
  while (!s.empty()) {
    size_t end = s.find(separator);
    out.push_back(trim(s.substr(0, end)));
    if (end == std::string_view::npos) break;
    s.remove_prefix(end + 1);
  }
  return out;
}

std::string camel(std::string_view snake) {
  std::string out;
  bool up = false;
  for (char c : snake) {
    if (c == '_') {
      up = true;
      continue;
    }
    out.push_back(up ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c);
    up = false;
  }
  return out;
}

Format parse_format(const std::string& s, const std::string& where) {
  if (s.empty()) return Format::kNone;
  if (s == "time") return Format::kTime;
  if (s == "microtime") return Format::kMicroTime;
  if (s == "quantity") return Format::kQuantity;
  if (s == "int-or-string") return Format::kIntOrString;
  if (s == "bytes") return Format::kBytes;
  if (s == "json") return Format::kJson;
  if (s == "union") return kUnion;
  LOG(FATAL) << "schema: unknown format " << s << " of " << where;
}

Scalar scalar_of(reflection::BaseType type) {
  switch (type) {
    case reflection::Bool:
      return Scalar::kBool;
    case reflection::Int:
      return Scalar::kInt32;
    case reflection::Long:
      return Scalar::kInt64;
    case reflection::Double:
      return Scalar::kDouble;
    case reflection::String:
      return Scalar::kString;
    case reflection::Obj:
      return Scalar::kTable;
    default:
      return Scalar::kOther;
  }
}

Field read_field(const reflection::Field& f, const std::string& owner) {
  Field out;
  const auto* attributes = f.attributes();
  auto has = [&](const char* key) { return find(attributes, key) != nullptr; };
  out.name = f.name()->str();
  out.json = text(attributes, "json");
  if (out.json.empty()) out.json = camel(out.name);
  out.json_key = "\"" + out.json + "\":";
  out.slot = f.offset();
  out.required = f.required();
  auto base = f.type()->base_type();
  out.size = static_cast<uint8_t>(flatbuffers::GetTypeSize(base));
  if (base == reflection::Vector) {
    if (f.type()->element() == reflection::UByte) {
      out.scalar = Scalar::kBytes;
    } else {
      out.list = true;
      out.scalar = scalar_of(f.type()->element());
    }
  } else {
    // An enum is read by its own header, not by reflection.
    out.scalar = scalar_of(base);
  }
  out.map = has("map");
  out.format = parse_format(text(attributes, "format"), owner + "." + out.name);
  for (const auto& number : split(text(attributes, "proto"), '.')) {
    out.proto.push_back(static_cast<uint32_t>(std::stoul(number)));
  }
  out.wrapped = has("wrapped");
  out.mandatory = has("mandatory");
  out.nullable = has("nullable");
  for (const auto& strategy : split(text(attributes, "patch_strategy"), ',')) {
    if (strategy == "merge") out.patch_merge = true;
    if (strategy == "retainKeys") out.patch_retain_keys = true;
    if (strategy == "replace") out.patch_replace = true;
  }
  out.patch_key = text(attributes, "patch_key");
  out.list_type = text(attributes, "list_type");
  out.list_keys = split(text(attributes, "list_keys"), ',');
  out.default_value = text(attributes, "default_value");
  out.enum_values = split(text(attributes, "enum_values"), ',');
  return out;
}

void add_wire(Wire& wire, const Field& field, size_t depth) {
  uint32_t number = field.proto[depth];
  if (wire.entries.size() <= number) wire.entries.resize(number + 1);
  auto& entry = wire.entries[number];
  if (depth + 1 == field.proto.size()) {
    entry.field = &field;
    return;
  }
  if (!entry.inlined) entry.inlined = std::make_unique<Wire>();
  add_wire(const_cast<Wire&>(*entry.inlined), field, depth + 1);
}

Kind read_kind(const reflection::Object& object, const Type& type) {
  Kind kind;
  const auto* a = object.attributes();
  kind.type = &type;
  kind.kind = text(a, "kind");
  kind.group = text(a, "group");
  kind.version = text(a, "version");
  kind.resource = text(a, "resource");
  kind.singular = text(a, "singular");
  kind.short_names = split(text(a, "short_names"), ',');
  kind.categories = split(text(a, "categories"), ',');
  kind.subresources = split(text(a, "subresources"), ',');
  kind.select = split(text(a, "select"), ',');
  kind.namespaced = find(a, "namespaced") != nullptr;
  for (const auto& column : split(text(a, "columns"), ';')) {
    auto parts = split(column, '|');
    CHECK_GE(parts.size(), 3u) << "schema: column of " << kind.kind << ": " << column;
    kind.columns.push_back({parts[0], parts[1], parts[2], parts.size() > 3 && parts[3] == "wide"});
  }
  return kind;
}

/// Cheap and good enough for the few dozen names of a type: length, both ends.
uint32_t hash_name(std::string_view s) {
  uint64_t head = 0, tail = 0;
  size_t n = s.size() < 8 ? s.size() : 8;
  std::memcpy(&head, s.data(), n);
  std::memcpy(&tail, s.data() + s.size() - n, n);
  uint64_t h = (head ^ (tail * 0x9E3779B97F4A7C15ull) ^ s.size()) * 0xff51afd7ed558ccdull;
  return static_cast<uint32_t>(h >> 32);
}

}  // namespace

const Field* Type::by_json(std::string_view json) const {
  if (json.empty()) return nullptr;
  uint32_t mask = static_cast<uint32_t>(buckets_.size()) - 1;
  for (uint32_t i = hash_name(json) & mask;; i = (i + 1) & mask) {
    uint16_t bucket = buckets_[i];
    if (bucket == 0) return nullptr;
    const Field& field = fields[bucket - 1];
    if (field.json == json) return &field;
  }
}

const Field* Type::by_name(std::string_view name) const {
  auto it = name_index.find(name);
  return it == name_index.end() ? nullptr : it->second;
}

bool Kind::has_subresource(std::string_view name) const {
  return std::find(subresources.begin(), subresources.end(), name) != subresources.end();
}

const Schema& Schema::get() {
  static const Schema* schema = new Schema();
  return *schema;
}

Schema::Schema() {
  flatbuffers::Verifier verifier(gantry_schema_begin, static_cast<size_t>(gantry_schema_end - gantry_schema_begin));
  CHECK(reflection::VerifySchemaBuffer(verifier)) << "the embedded schema is damaged";
  const auto& schema = *reflection::GetSchema(gantry_schema_begin);
  std::vector<const reflection::Object*> tables;
  for (const auto* object : *schema.objects()) {
    if (!object->is_struct()) tables.push_back(object);
  }
  std::vector<bool> is_stored;  // of kinds_; see served.h
  for (const auto* table : tables) {
    auto type = std::make_unique<Type>();
    type->full_name = table->name()->str();
    type->name = type->full_name.substr(type->full_name.rfind('.') + 1);
    types_.emplace(type->full_name, std::move(type));
  }
  for (const auto* table : tables) {
    Type& type = *types_.at(table->name()->str());
    std::vector<const reflection::Field*> by_id(table->fields()->size());
    for (const auto* f : *table->fields()) by_id[f->id()] = f;
    type.fields.reserve(by_id.size());
    for (const auto* f : by_id) {
      Field field = read_field(*f, type.full_name);
      if (field.scalar == Scalar::kTable) {
        const auto* target = schema.objects()->Get(static_cast<flatbuffers::uoffset_t>(f->type()->index()));
        if (target->is_struct()) {
          field.scalar = Scalar::kOther;
        } else {
          field.type = types_.at(target->name()->str()).get();
        }
      }
      type.fields.push_back(std::move(field));
    }
    size_t buckets = 4;
    while (buckets < type.fields.size() * 2) buckets *= 2;
    type.buckets_.assign(buckets, 0);
    for (size_t i = 0; i < type.fields.size(); ++i) {
      const Field& field = type.fields[i];
      type.json_index.emplace(field.json, &field);
      type.name_index.emplace(field.name, &field);
      if (!field.proto.empty()) add_wire(type.wire, field, 0);
      size_t at = hash_name(field.json) & (buckets - 1);
      while (type.buckets_[at] != 0) at = (at + 1) & (buckets - 1);
      type.buckets_[at] = static_cast<uint16_t>(i + 1);
    }
    if (find(table->attributes(), "kind")) {
      type.is_kind = true;
      kinds_.push_back(read_kind(*table, type));
      is_stored.push_back(!find(table->attributes(), "storage") && !find(table->attributes(), "virtual"));
    }
  }
  for (size_t i = 0; i < kinds_.size(); ++i) {
    if (is_stored[i] && !kinds_[i].resource.empty()) resources_.emplace(kinds_[i].resource, &kinds_[i]);
  }
}

const Kind* Schema::by_resource(std::string_view resource) const {
  auto it = resources_.find(resource);
  return it == resources_.end() ? nullptr : it->second;
}

const Kind* Schema::by_kind(std::string_view group, std::string_view version, std::string_view kind) const {
  for (const auto& k : kinds_) {
    if (k.kind == kind && k.group == group && k.version == version) return &k;
  }
  return nullptr;
}

const Kind* Schema::by_api_version(std::string_view api_version, std::string_view kind) const {
  size_t slash = api_version.find('/');
  if (slash == std::string_view::npos) return by_kind("", api_version, kind);
  return by_kind(api_version.substr(0, slash), api_version.substr(slash + 1), kind);
}

const Type* Schema::type(std::string_view full_name) const {
  auto it = types_.find(std::string(full_name));
  return it == types_.end() ? nullptr : it->second.get();
}

}  // namespace gantry::model
