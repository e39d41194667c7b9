// FlatBuffers -> Kubernetes protobuf.
#include <bit>

#include "libs/model/assembler.h"
#include "libs/model/protobuf.h"

namespace gantry::model {

namespace {

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  void table(const Wire& wire, const flatbuffers::Table* t, const Field* skipped = nullptr) {
    for (uint32_t number = 1; number < wire.entries.size(); ++number) {
      const auto& entry = wire.entries[number];
      if (entry.field && entry.field == skipped) continue;
      if (entry.field && has_value(t, *entry.field)) {
        field(number, *entry.field, t);
      } else if (entry.inlined) {
        auto before = out_.size();
        bool any = false;
        message(number, [&] {
          auto start = out_.size();
          table(*entry.inlined, t);
          any = out_.size() > start;
        });
        if (!any) out_.resize(before);
      }
    }
  }

  /// A kind's root, with the object's revision in its metadata.
  void object(const Object& object) {
    const Type& type = *object.kind().type;
    const Field* meta = type.by_json("metadata");
    const bool own = meta != nullptr && meta->type != nullptr && meta->proto.size() == 1 && object.revision() != 0 &&
                     present(object.root(), *meta);
    if (own) message(meta->proto[0], [&] { metadata(*meta->type, table_of(object.root(), *meta), object.revision()); });
    table(type.wire, object.root(), own ? meta : nullptr);
  }

  void metadata(const Type& type, const flatbuffers::Table* t, uint64_t revision) {
    const Field* field = revision == 0 ? nullptr : type.by_json("resourceVersion");
    table(type.wire, t, field);
    if (field != nullptr) bytes(field->proto[0], std::to_string(revision));
  }

  void bytes(uint32_t number, std::string_view s) {
    tag(number, 2);
    varint(s.size());
    out_ += s;
  }

  /// A message of what `body` writes, its size before it.
  template <typename Body>
  void message(uint32_t number, Body body) {
    tag(number, 2);
    auto at = out_.size();
    body();
    auto size = out_.size() - at;
    char prefix[10];
    size_t n = 0;
    for (uint64_t v = size; n == 0 || v != 0; v >>= 7)
      prefix[n++] = static_cast<char>((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    out_.insert(at, prefix, n);
  }

 private:
  void varint(uint64_t v) {
    for (; v > 0x7f; v >>= 7) out_.push_back(static_cast<char>(v | 0x80));
    out_.push_back(static_cast<char>(v));
  }
  void tag(uint32_t number, uint32_t type) { varint(static_cast<uint64_t>(number) << 3 | type); }
  void integer(uint32_t number, int64_t v) {
    tag(number, 0);
    varint(static_cast<uint64_t>(v));
  }

  void field(uint32_t number, const Field& f, const flatbuffers::Table* t) {
    if (f.map) return map(number, f, t);
    if (f.list && f.wrapped) return message(number, [&] { list(1, f, t); });
    if (f.list) return list(number, f, t);
    switch (f.scalar) {
      case Scalar::kString:
        return text(number, f, str(string_of(t, f)));
      case Scalar::kBytes:
        return bytes(number, bytes_of(t, f));
      case Scalar::kTable:
        return one_table(number, f, table_of(t, f));
      default:
        return scalar(number, f, scalar_of(t, f));
    }
  }

  void list(uint32_t number, const Field& f, const flatbuffers::Table* t) {
    auto each = [&](const auto* vector, auto&& write) {
      for (uint32_t i = 0; i < vector->size(); ++i) write(vector->Get(i));
    };
    switch (f.scalar) {
      case Scalar::kString:
        return each(strings_of(t, f), [&](const auto* s) { text(number, f, str(s)); });
      case Scalar::kTable:
        return each(tables_of(t, f), [&](const auto* e) { one_table(number, f, e); });
      case Scalar::kBool:
        return each(vector_of<uint8_t>(t, f), [&](auto v) { scalar(number, f, v); });
      case Scalar::kInt32:
        return each(vector_of<int32_t>(t, f), [&](auto v) { scalar(number, f, v); });
      default:
        return each(vector_of<int64_t>(t, f), [&](auto v) { scalar(number, f, v); });
    }
  }

  void map(uint32_t number, const Field& f, const flatbuffers::Table* t) {
    const Field& key = f.type->fields[0];
    const Field& val = f.type->fields[1];
    for (const auto* entry : *tables_of(t, f)) {
      message(number, [&] {
        bytes(1, str(string_of(entry, key)));
        if (val.list) {
          message(2, [&] {
            if (present(entry, val)) list(1, val, entry);
          });
        } else if (val.scalar == Scalar::kBytes) {
          bytes(2, bytes_of(entry, val));
        } else if (val.scalar == Scalar::kTable) {
          message(2, [&] {
            if (present(entry, val)) table(val.type->wire, table_of(entry, val));
          });
        } else if (is_time(val)) {
          scalar(2, val, scalar_of(entry, val));
        } else {
          text(2, f, str(string_of(entry, val)));
        }
      });
    }
  }

  void text(uint32_t number, const Field& f, std::string_view s) {
    if (f.format == Format::kQuantity || f.format == Format::kJson) {
      message(number, [&] { bytes(1, s); });
    } else {
      bytes(number, s);
    }
  }

  void one_table(uint32_t number, const Field& f, const flatbuffers::Table* t) {
    if (f.format != Format::kIntOrString) return message(number, [&] { table(f.type->wire, t); });
    const auto* s = string_of(t, f.type->fields[1]);
    message(number, [&] {
      integer(1, s ? 1 : 0);
      integer(2, s ? 0 : scalar_of(t, f.type->fields[0]));
      bytes(3, str(s));
    });
  }

  void scalar(uint32_t number, const Field& f, int64_t v) {
    if (is_time(f)) {
      int64_t unit = f.format == Format::kTime ? 1 : 1'000'000;
      int64_t seconds = v / unit - (v % unit < 0 ? 1 : 0);
      message(number, [&] {
        integer(1, seconds);
        integer(2, (v - seconds * unit) * 1000);
      });
    } else if (f.scalar == Scalar::kDouble) {
      tag(number, 1);
      auto bits = static_cast<uint64_t>(v);
      for (int i = 0; i < 8; ++i, bits >>= 8) out_.push_back(static_cast<char>(bits));
    } else {
      integer(number, v);
    }
  }

  std::string& out_;
};

}  // namespace

std::string to_protobuf(const Type& type, const flatbuffers::Table* table) {
  std::string out;
  if (table) Encoder(out).table(type.wire, table);
  return out;
}

void to_protobuf(const Object& object, std::string& out) { Encoder(out).object(object); }

std::string metadata_to_protobuf(const Object& object) {
  std::string out;
  const Field* meta = object.kind().type->by_json("metadata");
  if (meta != nullptr && meta->type != nullptr && present(object.root(), *meta))
    Encoder(out).metadata(*meta->type, table_of(object.root(), *meta), object.revision());
  return out;
}

std::string seal_protobuf(std::string_view api_version, std::string_view kind, std::string_view message) {
  std::string out("k8s\0", 4);
  out.reserve(message.size() + api_version.size() + kind.size() + 32);
  Encoder encoder(out);
  encoder.message(1, [&] {
    encoder.bytes(1, api_version);
    encoder.bytes(2, kind);
  });
  encoder.bytes(2, message);
  encoder.bytes(3, "");
  encoder.bytes(4, "");
  return out;
}

std::string to_protobuf(const Object& object) {
  std::string message;
  to_protobuf(object, message);
  return seal_protobuf(object.kind().api_version(), object.kind().kind, message);
}

}  // namespace gantry::model
