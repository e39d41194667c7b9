// JSON text -> FlatBuffers: simdjson's tree on one side, the Assembler on the other, nothing in between.
#include <fmt/format.h>
#include <simdjson.h>

#include <bit>
#include <bitset>
#include <limits>

#include "libs/model/assembler.h"
#include "libs/model/base64.h"
#include "libs/model/json.h"
#include "libs/model/json_text.h"
#include "libs/model/quantity.h"

namespace gantry::model {

namespace {

namespace dom = simdjson::dom;
using Kinds = dom::element_type;

constexpr size_t kMaxFields = 256;
constexpr size_t kMaxFindings = 100;

// By value: value_unsafe() of a temporary must not be kept as a reference.
dom::array array_of(const dom::element& value) { return value.get_array().value_unsafe(); }
dom::object object_of(const dom::element& value) { return value.get_object().value_unsafe(); }

const char* json_word(const dom::element& value) {
  switch (value.type()) {
    case Kinds::ARRAY:
      return "array";
    case Kinds::OBJECT:
      return "object";
    case Kinds::STRING:
      return "string";
    case Kinds::BOOL:
      return "bool";
    case Kinds::NULL_VALUE:
      return "null";
    default:
      return "number";
  }
}

/// The type's name in the API server's errors, e.g. []v1.Container.
std::string go_type(const Field& f, bool element) {
  std::string prefix = f.list && !element && !f.map ? "[]" : "";
  if (f.map) {
    if (f.type->fields[1].list) return element ? "[]string" : "map[string][]string";
    const char* of = f.format == Format::kQuantity ? "resource.Quantity"
                     : f.format == Format::kBytes  ? "[]uint8"
                                                   : "string";
    return element ? of : std::string("map[string]") + of;
  }
  if (is_time(f)) return prefix + "string";
  switch (f.scalar) {
    case Scalar::kBool:
      return prefix + "bool";
    case Scalar::kInt32:
      return prefix + "int32";
    case Scalar::kInt64:
      return prefix + "int64";
    case Scalar::kDouble:
      return prefix + "float64";
    case Scalar::kBytes:
      return prefix + "[]uint8";
    case Scalar::kTable:
      if (f.format == Format::kIntOrString) return prefix + "intstr.IntOrString";
      return prefix + f.type->full_name.substr(f.type->full_name.rfind('_') + 1);  // v1.PodSpec
    default:
      return prefix + "string";
  }
}

class Decoder {
 public:
  Decoder(const DecodeOptions& options, Assembler& out)
      : options_(options), out_(out), collect_(options.strict || options.warnings) {}

  /// False with `error` set.
  bool table(const Type& type, const dom::object& object, uint32_t& at) {
    if (depth_ >= options_.max_depth) return fail("exceeded max depth");
    ++depth_;
    std::bitset<kMaxFields> seen;
    auto mark = out_.mark();
    owners_.push_back(&type);
    for (auto [key, value] : object) {
      const Field* field = type.by_json(key);
      if (field == nullptr) {
        bool type_meta = type.is_kind && (key == "apiVersion" || key == "kind");
        if (!type_meta && collect_) find("unknown", key);
        continue;
      }
      auto index = static_cast<size_t>(field - type.fields.data());
      if (seen[index]) {
        if (collect_) find("duplicate", key);
        if (!value.is_null()) out_.take_back(*field, mark);  // the last one wins
      }
      seen[index] = true;
      if (value.is_null()) continue;
      path_.push_back({key, 0, false});
      uint64_t bits = 0;
      bool present = true;
      bool ok = field->map    ? map(*field, value, bits)
                : field->list ? list(*field, value, bits)
                              : one(*field, value, bits, present);
      if (!ok) return false;
      path_.pop_back();
      if (present) out_.put(*field, bits);
    }
    owners_.pop_back();
    at = out_.table(mark);
    --depth_;
    return true;
  }

  bool not_an_object(const Type& type, const dom::element& value) {
    error = fmt::format("json: cannot unmarshal {} into Go value of type v1.{}", json_word(value), type.name);
    return false;
  }

  std::string error;
  std::vector<std::string> findings;

 private:
  struct Segment {
    std::string_view name;
    size_t index;
    bool is_index;
  };

  bool fail(std::string message) {
    error = std::move(message);
    return false;
  }

  std::string path(bool with_indexes) const {
    std::string out;
    for (const auto& s : path_) {
      if (s.is_index) {
        if (with_indexes) out += fmt::format("[{}]", s.index);
        continue;
      }
      if (!out.empty()) out.push_back('.');
      out += s.name;
    }
    return out;
  }

  void find(const char* what, std::string_view key) {
    if (findings.size() >= kMaxFindings) return;
    path_.push_back({key, 0, false});
    findings.push_back(fmt::format("{} field \"{}\"", what, path(true)));
    path_.pop_back();
  }

  bool mismatch(const Field& field, const dom::element& value, bool element) {
    std::string word = json_word(value);
    if (word == "number") {
      word += ' ';
      write_json_value(value, word);
      if (!is_number(field) || is_time(field)) word = "number";
    }
    return fail(fmt::format("json: cannot unmarshal {} into Go struct field {}.{} of type {}", word,
                            owners_.back()->name, path(false), go_type(field, element)));
  }

  /// One value: of a field that is no list, or of an element. `present` becomes false for a zero that means absent.
  bool one(const Field& f, const dom::element& value, uint64_t& bits, bool& present, bool element = false) {
    switch (f.scalar) {
      case Scalar::kString:
        return text(f, value, bits, present, element);
      case Scalar::kBool: {
        if (value.type() != Kinds::BOOL) return mismatch(f, value, element);
        bits = value.get_bool().value_unsafe() ? 1 : 0;
        break;
      }
      case Scalar::kInt32:
      case Scalar::kInt64: {
        if (is_time(f)) return time(f, value, bits, present);
        if (value.type() != Kinds::INT64) return mismatch(f, value, element);
        int64_t v = value.get_int64().value_unsafe();
        if (f.scalar == Scalar::kInt32 &&
            (v < std::numeric_limits<int32_t>::min() || v > std::numeric_limits<int32_t>::max())) {
          return mismatch(f, value, element);
        }
        bits = static_cast<uint64_t>(v);
        break;
      }
      case Scalar::kDouble: {
        double v;
        if (value.get_double().get(v) != simdjson::SUCCESS) return mismatch(f, value, element);
        bits = std::bit_cast<uint64_t>(v);
        break;
      }
      case Scalar::kBytes:
        return bytes(f, value, bits, element);
      case Scalar::kTable: {
        if (f.format == Format::kIntOrString) return int_or_string(f, value, bits, present, element);
        if (f.format == kUnion) return one_of(f, value, bits, element);
        if (value.type() != Kinds::OBJECT) return mismatch(f, value, element);
        uint32_t at = 0;
        if (!table(*f.type, object_of(value), at)) return false;
        bits = at;
        return true;
      }
      default:
        return fail(fmt::format("field {} is not part of the API", path(true)));
    }
    if (bits == 0 && !element && zero_is_absent(f)) present = false;
    return true;
  }

  bool text(const Field& f, const dom::element& value, uint64_t& bits, bool& present, bool element) {
    if (f.format == Format::kJson) {
      scratch_.clear();
      write_json_value(value, scratch_);
      bits = out_.string(scratch_);
      return true;
    }
    if (f.format == Format::kQuantity) return quantity(f, value, bits, element);
    if (value.type() != Kinds::STRING) return mismatch(f, value, element);
    auto s = value.get_string().value_unsafe();
    if (s.empty() && !element && zero_is_absent(f)) {
      present = false;
      return true;
    }
    bits = out_.string(s);
    return true;
  }

  bool quantity(const Field& f, const dom::element& value, uint64_t& bits, bool element) {
    std::string_view s;
    if (value.type() == Kinds::STRING) {
      s = value.get_string().value_unsafe();
      while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
      while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
    } else if (value.is_number()) {
      scratch_.clear();
      write_json_value(value, scratch_);
      s = scratch_;
    } else if (!value.is_null()) {
      return mismatch(f, value, element);
    } else {
      s = "0";
    }
    auto parsed = Quantity::parse(s);
    if (!parsed.ok()) return fail(parsed.error().message);
    bits = out_.string(parsed->to_string());
    return true;
  }

  bool time(const Field& f, const dom::element& value, uint64_t& bits, bool& present) {
    if (value.type() != Kinds::STRING) return mismatch(f, value, false);
    auto micros = parse_time(value.get_string().value_unsafe());
    if (!micros.ok()) return fail(micros.error().message);
    constexpr int64_t kMillion = 1'000'000, kGoZero = -62135596800;
    int64_t seconds = *micros / kMillion - (*micros % kMillion < 0 ? 1 : 0);
    if (*micros == kGoZero * kMillion) present = false;  // 0001-01-01T00:00:00Z, which prints as null
    bits = static_cast<uint64_t>(f.format == Format::kTime ? seconds : *micros);
    return true;
  }

  bool bytes(const Field& f, const dom::element& value, uint64_t& bits, bool element) {
    if (value.is_null()) {
      bits = out_.bytes({});
      return true;
    }
    if (value.type() != Kinds::STRING) return mismatch(f, value, element);
    size_t bad;
    if (!base64_decode(value.get_string().value_unsafe(), scratch_, bad)) {
      return fail(fmt::format("illegal base64 data at input byte {}", bad));
    }
    bits = out_.bytes(scratch_);
    return true;
  }

  bool int_or_string(const Field& f, const dom::element& value, uint64_t& bits, bool& present, bool element) {
    if (value.type() == Kinds::STRING) {
      auto s = value.get_string().value_unsafe();
      if (s.empty() && zero_is_absent(f)) present = false;
      if (present) bits = out_.int_or_string(*f.type, s);
      return true;
    }
    int64_t v;
    if (value.type() != Kinds::INT64 || value.get_int64().get(v) || v < std::numeric_limits<int32_t>::min() ||
        v > std::numeric_limits<int32_t>::max()) {
      return mismatch(f, value, element);
    }
    if (v == 0 && zero_is_absent(f)) present = false;
    if (present) bits = out_.int_or_string(*f.type, static_cast<int32_t>(v));
    return true;
  }

  /// The value of whichever of the union's fields can take it.
  bool one_of(const Field& f, const dom::element& value, uint64_t& bits, bool element) {
    for (const Field& u : f.type->fields) {
      const bool fits = u.list                       ? value.type() == Kinds::ARRAY
                        : u.scalar == Scalar::kTable ? value.type() == Kinds::OBJECT
                                                     : value.type() == Kinds::BOOL;
      if (!fits) continue;
      auto mark = out_.mark();
      uint64_t inner = 0;
      bool present = true;
      if (!(u.list ? list(u, value, inner) : one(u, value, inner, present))) return false;
      if (present) out_.put(u, inner);
      bits = out_.table(mark);
      return true;
    }
    return mismatch(f, value, element);
  }

  bool list(const Field& f, const dom::element& value, uint64_t& bits) {
    if (value.type() != Kinds::ARRAY) return mismatch(f, value, false);
    auto mark = out_.list_mark();
    size_t index = 0;
    for (auto item : array_of(value)) {
      path_.push_back({{}, index++, true});
      uint64_t element = 0;
      if (item.is_null()) {
        element = null_element(f);
      } else {
        bool present = true;
        if (!one(f, item, element, present, true)) return false;
      }
      path_.pop_back();
      out_.element(element);
    }
    bits = out_.list(f, mark);
    return true;
  }

  /// null in a list is Go's zero value.
  uint64_t null_element(const Field& f) {
    if (f.scalar == Scalar::kTable) {
      return f.format == Format::kIntOrString ? out_.int_or_string(*f.type, 0) : out_.table(out_.mark());
    }
    if (f.scalar == Scalar::kString)
      return out_.string(f.format == Format::kJson ? "null" : f.format == Format::kQuantity ? "0" : "");
    return 0;
  }

  bool map(const Field& f, const dom::element& value, uint64_t& bits) {
    if (value.type() != Kinds::OBJECT) return mismatch(f, value, false);
    const Field& val = f.type->fields[1];
    auto mark = out_.map_mark();
    for (auto [key, item] : object_of(value)) {
      path_.push_back({key, 0, false});
      uint64_t at = 0;
      if (val.list) {
        if (item.is_null() ? (at = out_.list(val, out_.list_mark()), false) : !list(val, item, at)) return false;
      } else if (val.scalar == Scalar::kBytes) {
        if (!bytes(f, item, at, true)) return false;
      } else if (f.format == Format::kQuantity) {
        if (!quantity(f, item, at, true)) return false;
      } else if (val.scalar == Scalar::kTable) {
        bool present = true;
        if (item.is_null() ? (at = out_.table(out_.mark()), false) : !one(val, item, at, present, true)) return false;
      } else if (is_time(val)) {
        bool present = true;
        if (!item.is_null() && !time(val, item, at, present)) return false;
      } else if (item.is_null()) {
        at = out_.string("");
      } else {
        if (item.type() != Kinds::STRING) return mismatch(f, item, true);
        at = out_.string(item.get_string().value_unsafe());
      }
      path_.pop_back();
      uint32_t entry = out_.entry_table(*f.type, key, at);
      out_.entry(key, entry);
    }
    if (!collect_) {
      bits = out_.map(mark);
      return true;
    }
    std::vector<std::string_view> duplicates;
    bits = out_.map(mark, &duplicates);
    for (auto key : duplicates) find("duplicate", key);
    return true;
  }

  const DecodeOptions& options_;
  Assembler& out_;
  bool collect_;
  size_t depth_ = 0;
  std::vector<Segment> path_;
  std::vector<const Type*> owners_;
  std::string scratch_;
};

/// The thread's parser with room for its input's padding.
struct Input {
  dom::parser parser;
  std::string text;

  simdjson::simdjson_result<dom::element> parse(std::string_view json) {
    text.reserve(json.size() + simdjson::SIMDJSON_PADDING);
    text.assign(json);
    return parser.parse(text.data(), text.size(), /*realloc_if_needed=*/false);
  }
  static Input& local() {
    thread_local Input input;
    constexpr size_t kKeep = 1 << 20;
    if (input.text.capacity() > kKeep) input = Input();  // one huge object should not cost memory for ever
    return input;
  }
};

Error malformed(simdjson::error_code code) {
  return {Code::kBadRequest,
          fmt::format("couldn't get version/kind; json parse error: {}", simdjson::error_message(code))};
}

/// `where` names the kind in errors.
Result<Bytes> decode(const Type& type, const dom::element& root, const DecodeOptions& options,
                     const std::string& where) {
  auto& out = Assembler::local();
  Decoder decoder(options, out);
  uint32_t at = 0;
  bool ok = root.type() == Kinds::OBJECT ? decoder.table(type, object_of(root), at) : decoder.not_an_object(type, root);
  if (!ok) return Error{Code::kBadRequest, where + decoder.error};
  if (!decoder.findings.empty()) {
    if (options.strict) {
      return Error{Code::kBadRequest,
                   fmt::format("{}strict decoding error: {}", where, fmt::join(decoder.findings, ", "))};
    }
    if (options.warnings) {
      options.warnings->insert(options.warnings->end(), decoder.findings.begin(), decoder.findings.end());
    }
  }
  return out.finish(at);
}

/// The string under `key`, "" when there is none.
std::string_view type_meta(const dom::element& root, std::string_view key) {
  std::string_view s;
  if (root.type() != Kinds::OBJECT || root[key].get_string().get(s) != simdjson::SUCCESS) return {};
  return s;
}

}  // namespace

Result<Bytes> from_json(const Type& type, std::string_view json, const DecodeOptions& options) {
  auto parsed = Input::local().parse(json);
  if (parsed.error()) return malformed(parsed.error());
  return decode(type, parsed.value_unsafe(), options, "");
}

Result<Bytes> from_json(const Kind& kind, std::string_view json, const DecodeOptions& options) {
  auto parsed = Input::local().parse(json);
  if (parsed.error()) return malformed(parsed.error());
  const auto& root = parsed.value_unsafe();
  auto expected = kind.api_version();
  auto version = type_meta(root, "apiVersion"), name = type_meta(root, "kind");
  if (!name.empty() && name != kind.kind) {
    return Error{Code::kBadRequest, fmt::format("{} in version \"{}\" cannot be handled as a {}", name,
                                                version.empty() ? expected : std::string(version), kind.kind)};
  }
  // Every group has its own name for DeleteOptions, and clients use that of the object they delete.
  if (!version.empty() && version != expected && kind.kind != "DeleteOptions") {
    return Error{Code::kBadRequest,
                 fmt::format("the API version in the data ({}) does not match the expected API version ({})", version,
                             expected)};
  }
  return decode(*kind.type, root, options,
                fmt::format("{} in version \"{}\" cannot be handled as a {}: ", kind.kind, kind.version, kind.kind));
}

}  // namespace gantry::model
