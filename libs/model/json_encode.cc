// FlatBuffers -> JSON text.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <nlohmann/json.hpp>

#include "libs/model/assembler.h"
#include "libs/model/base64.h"
#include "libs/model/json.h"
#include "libs/model/json_text.h"

namespace gantry::model {

namespace {

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  void object(const Object& object, const EncodeOptions& options) {
    out_.push_back('{');
    if (options.type_meta) type_meta(object.kind());
    revision_ = object.revision();
    fields(*object.kind().type, object.root(), true);
    close('}');
  }

  void table(const Type& type, const flatbuffers::Table* t, bool inside = false) {
    out_.push_back('{');
    if (inside && type.is_kind) template_meta(type);
    fields(type, t, false);
    close('}');
  }

 private:
  void fields(const Type& type, const flatbuffers::Table* t, bool root) {
    for (const Field& f : type.fields) {
      if (!has_value(t, f)) {
        if (f.mandatory) zero(f);
        continue;
      }
      out_ += f.json_key;
      if (root && revision_ != 0 && f.json == "metadata" && f.type) {
        metadata(*f.type, table_of(t, f));
      } else {
        value(f, t);
      }
      out_.push_back(',');
    }
  }

  /// As table(), with the revision in place of the field.
  void metadata(const Type& type, const flatbuffers::Table* t) {
    out_.push_back('{');
    for (const Field& f : type.fields) {
      bool is_revision = f.json == "resourceVersion";
      if (!is_revision && !has_value(t, f)) continue;
      out_ += f.json_key;
      if (is_revision) {
        out_.push_back('"');
        integer(static_cast<int64_t>(revision_));
        out_.push_back('"');
      } else {
        value(f, t);
      }
      out_.push_back(',');
    }
    close('}');
  }

  /// What a mandatory field says when it is absent. Structs, lists and times are left out.
  void zero(const Field& f) {
    if (!zero_is_absent(f) && !(f.nullable && !f.list && f.scalar != Scalar::kTable)) return;
    out_ += f.json_key;
    if (f.scalar == Scalar::kString) {
      out_ += "\"\",";
    } else if (f.scalar == Scalar::kBool) {
      out_ += "false,";
    } else {
      out_ += "0,";
    }
  }

  void value(const Field& f, const flatbuffers::Table* t) {
    if (f.map) return map(f, t);
    if (f.list) return list(f, t);
    switch (f.scalar) {
      case Scalar::kString:
        return text(f, str(string_of(t, f)));
      case Scalar::kBytes:
        return bytes(bytes_of(t, f));
      case Scalar::kTable:
        return one_table(f, table_of(t, f));
      default:
        return number(f, scalar_of(t, f));
    }
  }

  void one_table(const Field& f, const flatbuffers::Table* t) {
    if (f.format == kUnion) return one_of(*f.type, t);
    if (f.format != Format::kIntOrString) return table(*f.type, t, true);
    if (const auto* s = string_of(t, f.type->fields[1])) {
      write_json_string(str(s), out_);
    } else {
      integer(scalar_of(t, f.type->fields[0]));
    }
  }

  void type_meta(const Kind& kind) {
    out_ += "\"apiVersion\":\"";
    if (!kind.group.empty()) out_.append(kind.group).push_back('/');
    out_.append(kind.version).append("\",\"kind\":\"").append(kind.kind).append("\",");
  }

  /// Of a template that is an object of its own (volumeClaimTemplates); options within a kind stay without.
  void template_meta(const Type& type) {
    const auto& kinds = Schema::get().kinds();
    const auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& k) { return k.type == &type; });
    if (!kind->resource.empty()) type_meta(*kind);
  }

  void one_of(const Type& type, const flatbuffers::Table* t) {
    for (const Field& u : type.fields) {
      if (has_value(t, u)) return value(u, t);
    }
    out_ += type.fields[0].scalar == Scalar::kBool ? "false" : "null";
  }

  void list(const Field& f, const flatbuffers::Table* t) {
    out_.push_back('[');
    auto each = [&](const auto* vector, auto&& write) {
      for (uint32_t i = 0; i < vector->size(); ++i) {
        write(vector->Get(i));
        out_.push_back(',');
      }
    };
    switch (f.scalar) {
      case Scalar::kString:
        each(strings_of(t, f), [&](const auto* s) { text(f, str(s)); });
        break;
      case Scalar::kTable:
        each(tables_of(t, f), [&](const auto* e) { one_table(f, e); });
        break;
      case Scalar::kBool:
        each(vector_of<uint8_t>(t, f), [&](auto v) { number(f, v); });
        break;
      case Scalar::kInt32:
        each(vector_of<int32_t>(t, f), [&](auto v) { number(f, v); });
        break;
      default:
        each(vector_of<int64_t>(t, f), [&](auto v) { number(f, v); });
        break;
    }
    close(']');
  }

  void map(const Field& f, const flatbuffers::Table* t) {
    out_.push_back('{');
    const Field& key = f.type->fields[0];
    const Field& val = f.type->fields[1];
    for (const auto* entry : *tables_of(t, f)) {
      write_json_string(str(string_of(entry, key)), out_);
      out_.push_back(':');
      if (val.list) {
        if (present(entry, val)) {
          list(val, entry);
        } else {
          out_ += "[]";
        }
      } else if (val.scalar == Scalar::kBytes) {
        bytes(bytes_of(entry, val));
      } else if (val.scalar == Scalar::kTable) {
        present(entry, val) ? one_table(val, table_of(entry, val)) : void(out_ += "{}");
      } else if (is_time(val)) {
        number(val, scalar_of(entry, val));
      } else {
        text(f, str(string_of(entry, val)));
      }
      out_.push_back(',');
    }
    close('}');
  }

  void text(const Field& f, std::string_view s) {
    if (f.format == Format::kJson) {
      out_ += s.empty() ? std::string_view("null") : s;
    } else {
      write_json_string(s, out_);
    }
  }

  void bytes(std::string_view s) {
    out_.push_back('"');
    base64_encode(s, out_);
    out_.push_back('"');
  }

  void number(const Field& f, int64_t v) {
    if (f.format == Format::kTime) {
      out_.append("\"").append(format_time(v)).push_back('"');
    } else if (f.format == Format::kMicroTime) {
      out_.append("\"").append(format_micro_time(v)).push_back('"');
    } else if (f.scalar == Scalar::kBool) {
      out_ += v ? "true" : "false";
    } else if (f.scalar == Scalar::kDouble) {
      write_json_double(std::bit_cast<double>(v), out_);
    } else {
      integer(v);
    }
  }

  void integer(int64_t v) {
    fmt::format_int text(v);
    out_.append(text.data(), text.size());
  }

  /// In place of the last comma, if there is one.
  void close(char c) {
    if (out_.back() == ',') {
      out_.back() = c;
    } else {
      out_.push_back(c);
    }
  }

  std::string& out_;
  uint64_t revision_ = 0;
};

}  // namespace

void to_json(const Object& object, std::string& out, const EncodeOptions& options) {
  out.reserve(out.size() + object.bytes().size() + 256);
  Encoder(out).object(object, options);
}

std::string to_json(const Object& object, const EncodeOptions& options) {
  std::string out;
  to_json(object, out, options);
  return out;
}

std::string to_json(const Type& type, const flatbuffers::Table* table) {
  std::string out;
  if (table == nullptr) return "null";
  Encoder(out).table(type, table);
  return out;
}

nlohmann::json to_tree(const Object& object) {
  return nlohmann::json::parse(to_json(object), nullptr, /*allow_exceptions=*/false);
}

Result<Bytes> from_tree(const Kind& kind, const nlohmann::json& tree, const DecodeOptions& options) {
  return from_json(kind, tree.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), options);
}

}  // namespace gantry::model
