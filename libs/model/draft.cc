#include "libs/model/draft.h"

#include <glog/logging.h>

#include <charconv>
#include <limits>
#include <map>
#include <variant>

#include "libs/model/assembler.h"
#include "libs/model/json.h"
#include "libs/model/json_text.h"
#include "libs/model/path.h"
#include "libs/model/quantity.h"

namespace gantry::model {

/// What a field, an element or an entry becomes.
struct Draft::Value {
  struct Absent {};
  struct Empty {};  // of a list, a map or a struct
  struct Bits {
    uint64_t bits;
  };
  struct Text {
    std::string text;
  };
  struct Source {  // a table as it is
    const flatbuffers::Table* table;
  };
  struct FieldOf {  // the same field of another table
    const flatbuffers::Table* parent;
  };
  struct ElementOf {  // an element of the same field of another table
    const flatbuffers::Table* parent;
    uint32_t index;
  };
  using List = std::vector<Value>;
  using Map = std::map<std::string, Value, std::less<>>;
  std::variant<Absent, Empty, Bits, Text, Source, FieldOf, ElementOf, std::unique_ptr<Node>, List, Map> what;

  // Defined below, where the type that contains itself is complete.
  Value();
  template <typename T>
  explicit Value(T w) : what(std::move(w)) {}
  Value(Value&&) noexcept;
  Value& operator=(Value&&) noexcept;
  ~Value();
};

/// A table that is changed: its base, if it has one, and the fields that differ.
struct Draft::Node {
  const Type* type;
  const flatbuffers::Table* base;
  std::vector<std::pair<const Field*, Value>> changes;

  Node(const Type* t, const flatbuffers::Table* b) : type(t), base(b) {}

  const Value* find(const Field* field) const {
    for (const auto& [f, value] : changes) {
      if (f == field) return &value;
    }
    return nullptr;
  }
  /// The change of the field; a copy of the base's when there is none yet.
  Value& at(const Field* field) {
    for (auto& [f, value] : changes) {
      if (f == field) return value;
    }
    changes.emplace_back(field, Value{});
    if (base && present(base, *field)) changes.back().second.what = Value::FieldOf{base};
    return changes.back().second;
  }

  static bool absent(const Value& value) { return std::holds_alternative<Value::Absent>(value.what); }

  /// Makes the value, of a field or an element of it that is a table, a Node. Null when it is absent and not to be
  /// created.
  static Node* open_table(const Field& field, Value& value, bool create) {
    if (auto* node = std::get_if<std::unique_ptr<Node>>(&value.what)) return node->get();
    const flatbuffers::Table* from = nullptr;
    if (auto* source = std::get_if<Value::Source>(&value.what)) from = source->table;
    if (auto* source = std::get_if<Value::FieldOf>(&value.what)) from = table_of(source->parent, field);
    if (auto* source = std::get_if<Value::ElementOf>(&value.what)) {
      from = tables_of(source->parent, field)->Get(source->index);
    }
    if (absent(value) && !create) return nullptr;
    value.what = std::make_unique<Node>(field.type, from);
    return std::get<std::unique_ptr<Node>>(value.what).get();
  }

  /// Makes the value of a list field a List.
  static Value::List& open_list(const Field& field, Value& value) {
    if (auto* list = std::get_if<Value::List>(&value.what)) return *list;
    Value::List list;
    if (auto* source = std::get_if<Value::FieldOf>(&value.what)) {
      auto n = source->parent->GetPointer<const flatbuffers::VectorOfAny*>(field.slot)->size();
      for (uint32_t i = 0; i < n; ++i) list.push_back(Value{Value::ElementOf{source->parent, i}});
    }
    value.what = std::move(list);
    return std::get<Value::List>(value.what);
  }

  /// Makes the value of a map field a Map.
  static Value::Map& open_map(const Field& field, Value& value) {
    if (auto* map = std::get_if<Value::Map>(&value.what)) return *map;
    Value::Map map;
    if (auto* source = std::get_if<Value::FieldOf>(&value.what)) {
      for (const auto* entry : *tables_of(source->parent, field)) {
        map.emplace(str(string_of(entry, field.type->fields[0])), Value{Value::Source{entry}});
      }
    }
    value.what = std::move(map);
    return std::get<Value::Map>(value.what);
  }

  uint32_t write(Assembler& out) const {
    if (base && changes.empty()) return out.copy_table(*type, base);
    auto mark = out.mark();
    for (const Field& field : type->fields) {
      if (const Value* change = find(&field)) {
        if (absent(*change)) continue;
        uint64_t bits = write_field(out, field, *change);
        out.put(field, bits);
      } else if (base && present(base, field)) {
        uint64_t bits = out.copy_value(field, base);
        out.put(field, bits);
      }
    }
    return out.table(mark);
  }

  static uint64_t write_field(Assembler& out, const Field& field, const Value& value) {
    if (auto* list = std::get_if<Value::List>(&value.what)) {
      auto mark = out.list_mark();
      for (const auto& item : *list) {
        uint64_t bits = write_one(out, field, item);
        out.element(bits);
      }
      return out.list(field, mark);
    }
    if (auto* map = std::get_if<Value::Map>(&value.what)) {
      auto mark = out.map_mark();
      for (const auto& [key, item] : *map) {
        uint32_t table = write_entry(out, field, key, item);
        out.entry(key, table);
      }
      return out.map(mark);
    }
    if (auto* source = std::get_if<Value::FieldOf>(&value.what)) return out.copy_value(field, source->parent);
    if (std::holds_alternative<Value::Empty>(value.what) && field.list) return out.list(field, out.list_mark());
    return write_one(out, field, value);
  }

  static uint64_t write_one(Assembler& out, const Field& field, const Value& value) {
    if (auto* node = std::get_if<std::unique_ptr<Node>>(&value.what)) return (*node)->write(out);
    if (auto* source = std::get_if<Value::Source>(&value.what)) return out.copy_table(*field.type, source->table);
    if (auto* source = std::get_if<Value::ElementOf>(&value.what)) {
      return out.copy_element(field, source->parent, source->index);
    }
    if (auto* number = std::get_if<Value::Bits>(&value.what)) {
      if (field.format != Format::kIntOrString) return number->bits;
      return out.int_or_string(*field.type, static_cast<int32_t>(number->bits));
    }
    if (auto* text = std::get_if<Value::Text>(&value.what)) {
      if (field.format == Format::kIntOrString) return out.int_or_string(*field.type, text->text);
      return field.scalar == Scalar::kBytes ? out.bytes(text->text) : out.string(text->text);
    }
    return out.table(out.mark());  // an empty struct
  }

  static uint32_t write_entry(Assembler& out, const Field& field, std::string_view key, const Value& value) {
    if (auto* source = std::get_if<Value::Source>(&value.what)) return out.copy_table(*field.type, source->table);
    if (auto* number = std::get_if<Value::Bits>(&value.what)) return out.entry_table(*field.type, key, number->bits);
    const auto& text = std::get<Value::Text>(value.what).text;
    bool is_bytes = field.type->fields[1].scalar == Scalar::kBytes;
    return out.entry_table(*field.type, key, is_bytes ? out.bytes(text) : out.string(text));
  }
};

/// Where a path ends: a field of a node, perhaps a bracket behind it. No node: a parent is absent and was not to be
/// created.
struct Draft::Target {
  Node* node = nullptr;
  const Field* field = nullptr;
  bool bracket = false;
  std::string_view key;
};

Draft::Value::Value() = default;
Draft::Value::Value(Value&&) noexcept = default;
Draft::Value& Draft::Value::operator=(Value&&) noexcept = default;
Draft::Value::~Value() = default;

Draft::Draft(const Kind& kind) : kind_(&kind), root_(std::make_unique<Node>(kind.type, nullptr)) {}
Draft::Draft(Object base)
    : kind_(&base.kind()), base_(std::move(base)), root_(std::make_unique<Node>(kind_->type, base_.root())) {}
Draft::Draft(Draft&&) noexcept = default;
Draft& Draft::operator=(Draft&&) noexcept = default;
Draft::~Draft() = default;

namespace {

/// The element's index; the list's size for "+".
size_t index_of(std::string_view key, size_t size, std::string_view path) {
  if (key == "+") return size;
  size_t index = 0;
  auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  CHECK(error == std::errc() && end == key.data() + key.size()) << "Draft: no index in " << path;
  CHECK_LT(index, size) << "Draft: index out of range in " << path;
  return index;
}

}  // namespace

Draft::Target Draft::find(std::string_view path, bool create) {
  PathReader reader(path);
  PathStep step;
  Node* node = root_.get();
  Target target;
  while (reader.next(step)) {
    CHECK(!step.bracket) << "Draft: bracket without a field in " << path;
    const Field* field = node->type->by_json(step.text);
    CHECK(field != nullptr) << "Draft: " << node->type->name << " has no field " << step.text << " (" << path << ")";
    target = {node, field, false, {}};
    if (reader.at_bracket()) {
      CHECK(reader.next(step)) << "Draft: bad path " << path;
      CHECK(field->list) << "Draft: " << field->json << " is no list or map in " << path;
      target.bracket = true;
      target.key = step.text;
    }
    if (reader.at_end()) break;
    CHECK(field->scalar == Scalar::kTable && !field->map && field->list == target.bracket &&
          field->format != Format::kIntOrString)
        << "Draft: " << field->json << " has no fields in " << path;
    if (!create && Node::absent(node->at(field))) return {};
    Value* value = &node->at(field);
    if (target.bracket) {
      auto& list = Node::open_list(*field, *value);
      size_t index = index_of(target.key, list.size(), path);
      if (index == list.size()) list.push_back(Value{Value::Empty{}});
      value = &list[index];
    }
    node = Node::open_table(*field, *value, create);
    if (node == nullptr) return {};
  }
  CHECK(reader.ok() && target.node) << "Draft: bad path " << path;
  return target;
}

Draft::Value& Draft::value(const Target& t, std::string_view path) {
  Value& value = t.node->at(t.field);
  if (!t.bracket) {
    CHECK(!t.field->list) << "Draft: " << path
                          << " is a list or map; name an element, or use set_empty, copy_field or set_json";
    return value;
  }
  if (t.field->map) return Node::open_map(*t.field, value)[std::string(t.key)];
  auto& list = Node::open_list(*t.field, value);
  size_t index = index_of(t.key, list.size(), path);
  if (index == list.size()) list.emplace_back();
  return list[index];
}

void Draft::set(std::string_view path, std::string_view text) {
  Target t = find(path, true);
  const Field& f = t.field->map ? t.field->type->fields[1] : *t.field;
  Value& out = value(t, path);
  if (is_time(f)) {
    auto time = parse_time(text);
    CHECK(time.ok()) << "Draft: " << path << ": no time: " << text;
    int64_t micros = *time;
    int64_t seconds = micros / 1'000'000 - (micros % 1'000'000 < 0 ? 1 : 0);
    out.what = Value::Bits{static_cast<uint64_t>(f.format == Format::kTime ? seconds : micros)};
    return;
  }
  CHECK(f.scalar == Scalar::kString || f.scalar == Scalar::kBytes || f.format == Format::kIntOrString)
      << "Draft: " << path << " takes no string";
  if (t.field->format == Format::kQuantity) {
    auto quantity = Quantity::parse(text);
    CHECK(quantity.ok()) << "Draft: " << path << ": no quantity: " << text;
    out.what = Value::Text{quantity->to_string()};
    return;
  }
  // What a container wrote may be anything; an object's text is UTF-8.
  out.what = Value::Text{f.scalar == Scalar::kBytes ? std::string(text) : valid_utf8(text)};
}

void Draft::set(std::string_view path, bool value_) {
  Target t = find(path, true);
  CHECK(t.field->scalar == Scalar::kBool) << "Draft: " << path << " takes no bool";
  value(t, path).what = Value::Bits{value_ ? 1u : 0u};
}

void Draft::set(std::string_view path, int64_t value_) {
  Target t = find(path, true);
  const Field& f = t.field->map ? t.field->type->fields[1] : *t.field;
  if (f.scalar == Scalar::kDouble) {
    value(t, path).what = Value::Bits{std::bit_cast<uint64_t>(static_cast<double>(value_))};
    return;
  }
  CHECK(f.scalar == Scalar::kInt32 || f.scalar == Scalar::kInt64 || f.format == Format::kIntOrString)
      << "Draft: " << path << " takes no integer";
  CHECK(f.scalar == Scalar::kInt64 ||
        (value_ >= std::numeric_limits<int32_t>::min() && value_ <= std::numeric_limits<int32_t>::max()))
      << "Draft: " << path << ": " << value_ << " has no room in 32 bits";
  value(t, path).what = Value::Bits{static_cast<uint64_t>(value_)};
}

void Draft::set(std::string_view path, double value_) {
  Target t = find(path, true);
  CHECK(t.field->scalar == Scalar::kDouble) << "Draft: " << path << " takes no floating point number";
  value(t, path).what = Value::Bits{std::bit_cast<uint64_t>(value_)};
}

void Draft::set_empty(std::string_view path) {
  Target t = find(path, true);
  bool element = t.bracket && !t.field->map;
  CHECK(t.field->scalar == Scalar::kTable || (t.field->list && !element)) << "Draft: " << path << " cannot be empty";
  if (element) {
    value(t, path).what = Value::Empty{};
  } else {
    t.node->at(t.field).what = Value::Empty{};
  }
}

void Draft::clear(std::string_view path) {
  Target t = find(path, false);
  if (t.node == nullptr) return;
  Value& value = t.node->at(t.field);
  if (!t.bracket) {
    value.what = Value::Absent{};
  } else if (Node::absent(value)) {
    return;
  } else if (t.field->map) {
    auto& map = Node::open_map(*t.field, value);
    if (auto it = map.find(t.key); it != map.end()) map.erase(it);
  } else {
    auto& list = Node::open_list(*t.field, value);
    size_t index = index_of(t.key, list.size(), path);
    CHECK_LT(index, list.size()) << "Draft: nothing to clear at " << path;
    list.erase(list.begin() + static_cast<ptrdiff_t>(index));
  }
}

void Draft::copy(std::string_view path, const flatbuffers::Table* source) {
  if (source == nullptr) return clear(path);
  Target t = find(path, true);
  CHECK(t.field->scalar == Scalar::kTable && !t.field->map) << "Draft: " << path << " takes no struct";
  value(t, path).what = Value::Source{source};
}

void Draft::copy_field(std::string_view path_of_parent, std::string_view json_field, const flatbuffers::Table* source) {
  std::string path(path_of_parent);
  if (!path.empty()) path += '.';
  path += json_field;
  bool there = source != nullptr;
  Target t = find(path, there);
  if (t.node == nullptr) return;
  Value& value = t.node->at(t.field);
  if (there && present(source, *t.field)) {
    value.what = Value::FieldOf{source};
  } else {
    value.what = Value::Absent{};
  }
}

Status Draft::set_json(std::string_view path, std::string_view json) {
  Target t = find(path, true);
  // Decoded as the only field of its parent: all rules of that field hold.
  std::string text = "{" + t.field->json_key;
  bool element = t.bracket && !t.field->map;
  if (element) text += "[";
  if (t.bracket && t.field->map) text += "{\"\":";
  text += json;
  if (t.bracket && t.field->map) text += "}";
  if (element) text += "]";
  text += "}";
  auto decoded = from_json(*t.node->type, text);
  if (!decoded.ok()) return decoded.error();
  decoded_.push_back(std::move(*decoded));
  const auto* parent = flatbuffers::GetRoot<flatbuffers::Table>(decoded_.back().data());
  if (!t.bracket) {
    if (present(parent, *t.field)) {
      t.node->at(t.field).what = Value::FieldOf{parent};
    } else {
      t.node->at(t.field).what = Value::Absent{};
    }
    return Done{};
  }
  if (!present(parent, *t.field)) return Error{Code::kBadRequest, "no value for " + std::string(path)};
  if (element) {
    value(t, path).what = Value::ElementOf{parent, 0};
  } else {
    const auto* entry = tables_of(parent, *t.field)->Get(0);
    const Field& f = t.field->type->fields[1];
    value(t, path).what =
        Value::Text{std::string(f.scalar == Scalar::kBytes ? bytes_of(entry, f) : str(string_of(entry, f)))};
  }
  return Done{};
}

Bytes Draft::bytes() const {
  auto& out = Assembler::local();
  return out.finish(root_->write(out));
}

Object Draft::build(uint64_t revision) const { return Object(*kind_, bytes(), revision); }

}  // namespace gantry::model
