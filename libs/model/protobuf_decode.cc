// Kubernetes protobuf -> FlatBuffers. The schema's Wire tree says what stands under a number, so inlined structs need
// no code of their own.
#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>
#include <limits>

#include "libs/model/assembler.h"
#include "libs/model/json_text.h"
#include "libs/model/protobuf.h"
#include "libs/model/quantity.h"

namespace gantry::model {

namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// One field after the other of a message. After the end, or at damage, next() is false; damaged() tells which.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}

  bool next() {
    if (rest_.empty() || damaged_) return false;
    uint64_t tag;
    if (!varint(tag) || tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1) return damage();
    number = static_cast<uint32_t>(tag >> 3);
    type = static_cast<uint32_t>(tag & 7);
    switch (type) {
      case kVarint:
        return varint(value) || damage();
      case kFixed64:
        return fixed(8) || damage();
      case kFixed32:
        return fixed(4) || damage();
      case kBytes: {
        uint64_t size;
        if (!varint(size) || size > rest_.size()) return damage();
        bytes = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return true;
      }
      default:
        return damage();  // groups: nobody writes them
    }
  }
  bool damaged() const { return damaged_; }
  bool varint(uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      out |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool empty() const { return rest_.empty(); }

  uint32_t number = 0, type = 0;
  uint64_t value = 0;      // of kVarint, kFixed64, kFixed32
  std::string_view bytes;  // of kBytes

 private:
  bool fixed(size_t n) {
    if (rest_.size() < n) return false;
    value = 0;
    for (size_t i = n; i > 0; --i) value = value << 8 | static_cast<uint8_t>(rest_[i - 1]);
    rest_.remove_prefix(n);
    return true;
  }
  bool damage() {
    damaged_ = true;
    return false;
  }
  std::string_view rest_;
  bool damaged_ = false;
};

class Decoder {
 public:
  Decoder(const DecodeOptions& options, Assembler& out) : options_(options), out_(out) {}

  bool table(const Type& type, std::string_view message, uint32_t& at) {
    if (depth_ >= options_.max_depth) return fail("exceeded max depth");
    ++depth_;
    auto mark = items_.size();
    if (!collect(type.wire, message)) return false;
    auto slots = out_.mark();
    if (!assemble(mark)) return false;
    at = out_.table(slots);
    --depth_;
    return true;
  }

  std::string error;

 private:
  /// A field as it came: a value, or an element of a list or map.
  struct Item {
    const Field* field;
    uint64_t bits;
    std::string_view key;  // of a map's entry
  };

  bool fail(std::string_view what) {
    std::string path;
    for (const auto* f : path_) path += (path.empty() ? "" : ".") + f->json;
    error = path.empty() ? std::string(what) : fmt::format("{}: {}", path, what);
    return false;
  }

  bool collect(const Wire& wire, std::string_view message) {
    Reader reader(message);
    while (reader.next()) {
      const auto* entry = wire.at(reader.number);
      if (entry == nullptr) continue;
      if (entry->inlined) {
        if (reader.type != kBytes) return fail("wrong wire type of an inlined struct");
        if (++depth_ > options_.max_depth) return fail("exceeded max depth");
        if (!collect(*entry->inlined, reader.bytes)) return false;
        --depth_;
      } else if (entry->field) {
        path_.push_back(entry->field);
        if (!field(*entry->field, reader)) return false;
        path_.pop_back();
      }
    }
    return !reader.damaged() || fail("not a protobuf message");
  }

  bool field(const Field& f, const Reader& r) {
    if (f.map) return map_entry(f, r);
    if (!f.wrapped) return plain_field(f, r);
    if (r.type != kBytes) return fail("wrong wire type");
    Reader inner(r.bytes);
    while (inner.next()) {
      if (inner.number == 1 && !plain_field(f, inner)) return false;
    }
    return !inner.damaged() || fail("not a protobuf message");
  }

  bool plain_field(const Field& f, const Reader& r) {
    bool number = is_number(f) && !is_time(f);
    if (f.list && number && r.type == kBytes) return packed(f, r.bytes);
    uint64_t bits = 0;
    bool present = true;
    if (!value(f, r, bits, present)) return false;
    if (present || f.list) items_.push_back({&f, bits, {}});
    return true;
  }

  bool packed(const Field& f, std::string_view bytes) {
    Reader values(bytes);
    while (!values.empty()) {
      uint64_t v;
      if (f.scalar == Scalar::kDouble || !values.varint(v)) return fail("bad packed list");
      items_.push_back({&f, narrow(f, v), {}});
    }
    return true;
  }

  static uint64_t narrow(const Field& f, uint64_t v) {
    if (f.scalar == Scalar::kBool) return v ? 1 : 0;
    return f.scalar == Scalar::kInt32 ? static_cast<uint32_t>(v) : v;
  }

  /// A value or an element. `present` becomes false for a zero that means absent.
  bool value(const Field& f, const Reader& r, uint64_t& bits, bool& present) {
    bool by_bytes = by_offset(f) || is_time(f);
    uint32_t expected = f.list && is_number(f)        ? (f.scalar == Scalar::kDouble ? kFixed64 : kVarint)
                        : by_bytes                    ? kBytes
                        : f.scalar == Scalar::kDouble ? kFixed64
                                                      : kVarint;
    if (r.type != expected) return fail("wrong wire type");
    if (expected != kBytes) {
      bits = narrow(f, r.value);
      if (f.scalar == Scalar::kDouble && !std::isfinite(std::bit_cast<double>(bits)))
        return fail("not a finite number");
      if (bits == 0 && zero_is_absent(f)) present = false;
      return true;
    }
    switch (f.format) {
      case Format::kTime:
      case Format::kMicroTime:
        return time(f, r.bytes, bits, present);
      case Format::kQuantity:
        return quantity(r.bytes, bits);
      case Format::kIntOrString:
        return int_or_string(f, r.bytes, bits, present);
      case Format::kJson:
        return json(r.bytes, bits, present);
      default:
        break;
    }
    if (f.scalar == Scalar::kTable) {
      uint32_t at = 0;
      if (!table(*f.type, r.bytes, at)) return false;
      bits = at;
      return true;
    }
    if (f.scalar == Scalar::kBytes) {
      bits = out_.bytes(r.bytes);
      return true;
    }
    if (r.bytes.empty() && zero_is_absent(f)) {
      present = false;
      return true;
    }
    return text(r.bytes, bits);
  }

  bool text(std::string_view s, uint64_t& bits) {
    if (!simdjson::validate_utf8(s.data(), s.size())) return fail("string field contains invalid UTF-8");
    bits = out_.string(s);
    return true;
  }

  bool time(const Field& f, std::string_view message, uint64_t& bits, bool& present) {
    Reader r(message);
    int64_t seconds = 0, nanos = 0;
    bool any = false;
    while (r.next()) {
      if (r.type == kVarint && r.number == 1) seconds = static_cast<int64_t>(r.value);
      if (r.type == kVarint && r.number == 2) nanos = static_cast<int32_t>(r.value);
      any = true;
    }
    if (r.damaged()) return fail("not a protobuf message");
    constexpr int64_t kFirst = -62135596800, kLast = 253402300799;  // years 1 to 9999
    if (seconds < kFirst || seconds > kLast || nanos < 0 || nanos > 999'999'999) return fail("time out of range");
    present = any && !(seconds == kFirst && nanos == 0);
    bits = static_cast<uint64_t>(f.format == Format::kTime ? seconds : seconds * 1'000'000 + nanos / 1000);
    return true;
  }

  /// The bytes of field 1, "" when it is missing.
  bool only_field(std::string_view message, std::string_view& out) {
    Reader r(message);
    while (r.next()) {
      if (r.number == 1 && r.type == kBytes) out = r.bytes;
    }
    return !r.damaged() || fail("not a protobuf message");
  }

  bool quantity(std::string_view message, uint64_t& bits) {
    std::string_view s = "0";
    if (!only_field(message, s)) return false;
    auto parsed = Quantity::parse(s);
    if (!parsed.ok()) return fail(parsed.error().message);
    bits = out_.string(parsed->to_string());
    return true;
  }

  bool int_or_string(const Field& f, std::string_view message, uint64_t& bits, bool& present) {
    Reader r(message);
    uint64_t type = 0;
    int32_t number = 0;
    std::string_view s;
    while (r.next()) {
      if (r.number == 1 && r.type == kVarint) type = r.value;
      if (r.number == 2 && r.type == kVarint) number = static_cast<int32_t>(r.value);
      if (r.number == 3 && r.type == kBytes) s = r.bytes;
    }
    if (r.damaged()) return fail("not a protobuf message");
    if (type > 1) return fail("neither an integer nor a string");
    if (!f.list && zero_is_absent(f) && (type == 0 ? number == 0 : s.empty())) {
      present = false;
      return true;
    }
    if (type == 1 && !simdjson::validate_utf8(s.data(), s.size())) return fail("string field contains invalid UTF-8");
    bits = type == 0 ? out_.int_or_string(*f.type, number) : out_.int_or_string(*f.type, s);
    return true;
  }

  bool json(std::string_view message, uint64_t& bits, bool& present) {
    std::string_view raw;
    if (!only_field(message, raw)) return false;
    if (raw.empty() || raw == "null") {
      present = false;
      bits = out_.string("null");  // an element of a list has to be something
      return true;
    }
    thread_local simdjson::dom::parser parser;
    simdjson::dom::element value;
    if (parser.parse(raw.data(), raw.size()).get(value) != simdjson::SUCCESS) return fail("not JSON");
    std::string text;  // as from JSON: one value has one text, whatever it came in
    write_json_value(value, text);
    bits = out_.string(text);
    return true;
  }

  bool map_entry(const Field& f, const Reader& r) {
    if (r.type != kBytes) return fail("wrong wire type");
    const Field& val = f.type->fields[1];
    Reader entry(r.bytes);
    std::string_view key, value;
    while (entry.next()) {
      if (entry.number == 1 && entry.type == kBytes) key = entry.bytes;
      if (entry.number == 2 && entry.type == kBytes) value = entry.bytes;
    }
    if (entry.damaged()) return fail("not a protobuf message");
    if (!simdjson::validate_utf8(key.data(), key.size())) return fail("string field contains invalid UTF-8");
    uint64_t bits = 0;
    if (val.list) {
      if (!strings(val, value, bits)) return false;
    } else if (val.scalar == Scalar::kBytes) {
      bits = out_.bytes(value);
    } else if (f.format == Format::kQuantity) {
      if (!quantity(value, bits)) return false;
    } else if (val.scalar == Scalar::kTable) {
      uint32_t at = 0;
      if (!table(*val.type, value, at)) return false;
      bits = at;
    } else if (is_time(val)) {
      bool present = true;
      if (!time(val, value, bits, present)) return false;
    } else if (!text(value, bits)) {
      return false;
    }
    items_.push_back({&f, out_.entry_table(*f.type, key, bits), key});
    return true;
  }

  /// A message with one repeated string: a list inside a map.
  bool strings(const Field& f, std::string_view message, uint64_t& bits) {
    auto mark = out_.list_mark();
    Reader r(message);
    while (r.next()) {
      if (r.number != 1 || r.type != kBytes) continue;
      uint64_t at = 0;
      if (!text(r.bytes, at)) return false;
      out_.element(at);
    }
    if (r.damaged()) return fail("not a protobuf message");
    bits = out_.list(f, mark);
    return true;
  }

  /// Items since `mark` become slots: elements are gathered, of a value that came twice the last one holds.
  bool assemble(size_t mark) {
    auto begin = items_.begin() + static_cast<ptrdiff_t>(mark);
    auto by_slot = [](const Item& a, const Item& b) { return a.field->slot < b.field->slot; };
    if (!std::is_sorted(begin, items_.end(), by_slot)) std::stable_sort(begin, items_.end(), by_slot);
    for (size_t i = mark; i < items_.size();) {
      const Field& f = *items_[i].field;
      size_t end = i;
      while (end < items_.size() && items_[end].field == &f) ++end;
      if (f.map) {
        auto m = out_.map_mark();
        for (; i < end; ++i) out_.entry(items_[i].key, static_cast<uint32_t>(items_[i].bits));
        uint32_t at = out_.map(m);
        out_.put(f, at);
      } else if (f.list) {
        auto m = out_.list_mark();
        for (; i < end; ++i) out_.element(items_[i].bits);
        uint32_t at = out_.list(f, m);
        out_.put(f, at);
      } else {
        out_.put(f, items_[end - 1].bits);
        i = end;
      }
    }
    items_.resize(mark);
    return true;
  }

  const DecodeOptions& options_;
  Assembler& out_;
  size_t depth_ = 0;
  std::vector<Item> items_;
  std::vector<const Field*> path_;
};

}  // namespace

Result<ProtobufEnvelope> open_protobuf(std::string_view body) {
  constexpr std::string_view kMagic("k8s\0", 4);
  if (!body.starts_with(kMagic)) {
    return Error{Code::kBadRequest,
                 "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"};
  }
  ProtobufEnvelope out;
  Reader unknown(body.substr(kMagic.size()));
  while (unknown.next()) {
    if (unknown.type != kBytes) continue;
    if (unknown.number == 2) out.raw = unknown.bytes;
    if (unknown.number == 3 && !unknown.bytes.empty()) {
      return Error{Code::kBadRequest, "encoded contents of a protobuf message are not supported"};
    }
    if (unknown.number != 1) continue;
    Reader type_meta(unknown.bytes);
    while (type_meta.next()) {
      if (type_meta.type != kBytes) continue;
      if (type_meta.number == 1) out.api_version = type_meta.bytes;
      if (type_meta.number == 2) out.kind = type_meta.bytes;
    }
    if (type_meta.damaged()) return Error{Code::kBadRequest, "the protobuf message's type is damaged"};
  }
  if (unknown.damaged()) return Error{Code::kBadRequest, "the protobuf message's envelope is damaged"};
  return out;
}

Result<Bytes> from_protobuf(const Type& type, std::string_view message, const DecodeOptions& options) {
  auto& out = Assembler::local();
  Decoder decoder(options, out);
  uint32_t at = 0;
  if (!decoder.table(type, message, at)) return Error{Code::kBadRequest, "protobuf: " + decoder.error};
  return out.finish(at);
}

}  // namespace gantry::model
