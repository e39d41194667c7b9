// Internal to libs/model: writes tables whose type is known only by reflection. Children first, as FlatBuffers wants
// it: the fields of a table are collected on a stack (mark() .. table()), so that any number of tables may be under
// construction at once. One per thread (local()), reused, so that nothing is allocated for an object of usual size.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <bit>
#include <string_view>
#include <vector>

#include "libs/model/object.h"

namespace gantry::model {

/// A format beside those of schema.h: a table of which one field is set; in JSON that field's value stands alone
/// (JSONSchemaPropsOrBool is `true` or a schema).
inline constexpr Format kUnion{uint8_t{64}};

class Assembler {
 public:
  /// The thread's own, emptied. Not for nested use.
  static Assembler& local();

  size_t mark() const { return slots_.size(); }
  /// A scalar's bits (doubles by std::bit_cast), or the offset of what was written before.
  void put(const Field& field, uint64_t bits) { slots_.push_back({&field, bits}); }
  /// Takes back what was put for the field since `mark`.
  void take_back(const Field& field, size_t mark);
  /// Writes the table of what was put since `mark`.
  uint32_t table(size_t mark);

  uint32_t string(std::string_view s) { return builder_.CreateString(s.data(), s.size()).o; }
  uint32_t bytes(std::string_view s) {
    return builder_.CreateVector(reinterpret_cast<const uint8_t*>(s.data()), s.size()).o;
  }

  /// Elements of a list: collected likewise.
  size_t list_mark() const { return elements_.size(); }
  void element(uint64_t bits) { elements_.push_back(bits); }
  /// Writes the vector of the elements since `mark`. `field` says of what.
  uint32_t list(const Field& field, size_t mark);

  /// A map's entry; collected like an element, sorted by map().
  void entry(std::string_view key, uint32_t table) { entries_.push_back({key, table}); }
  size_t map_mark() const { return entries_.size(); }
  /// Writes the entries since `mark`, sorted; of entries with the same key the last wins. Keys must live until here.
  uint32_t map(size_t mark, std::vector<std::string_view>* duplicates = nullptr);
  /// The table of an entry {key, value}.
  uint32_t entry_table(const Type& type, std::string_view key, uint64_t value);

  /// An IntOrString.
  uint32_t int_or_string(const Type& type, int32_t value);
  uint32_t int_or_string(const Type& type, std::string_view value);

  /// Deep copies.
  uint32_t copy_table(const Type& type, const flatbuffers::Table* table);
  /// The field's value in `parent`, where it is present: what put() takes.
  uint64_t copy_value(const Field& field, const flatbuffers::Table* parent);
  /// The i-th element of a list.
  uint64_t copy_element(const Field& field, const flatbuffers::Table* parent, uint32_t index);

  /// Ends the buffer with this root and takes its bytes.
  Bytes finish(uint32_t root);

 private:
  struct Slot {
    const Field* field;
    uint64_t bits;
  };
  struct Entry {
    std::string_view key;
    uint32_t table;
  };
  void add(const Slot& slot);
  void reset();

  flatbuffers::FlatBufferBuilder builder_{4096};
  std::vector<Slot> slots_;
  std::vector<uint64_t> elements_;
  std::vector<Entry> entries_;
  std::vector<flatbuffers::Offset<void>> offsets_;
};

/// Reads a list by reflection.
template <typename T>
const flatbuffers::Vector<T>* vector_of(const flatbuffers::Table* parent, const Field& field) {
  return parent->GetPointer<const flatbuffers::Vector<T>*>(field.slot);
}
inline const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::Table>>* tables_of(const flatbuffers::Table* parent,
                                                                                     const Field& field) {
  return vector_of<flatbuffers::Offset<flatbuffers::Table>>(parent, field);
}
inline const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* strings_of(const flatbuffers::Table* parent,
                                                                                       const Field& field) {
  return vector_of<flatbuffers::Offset<flatbuffers::String>>(parent, field);
}
inline const flatbuffers::String* string_of(const flatbuffers::Table* parent, const Field& field) {
  return parent->GetPointer<const flatbuffers::String*>(field.slot);
}
inline std::string_view bytes_of(const flatbuffers::Table* parent, const Field& field) {
  const auto* v = parent->GetPointer<const flatbuffers::Vector<uint8_t>*>(field.slot);
  return v ? std::string_view(reinterpret_cast<const char*>(v->data()), v->size()) : std::string_view();
}
inline const flatbuffers::Table* table_of(const flatbuffers::Table* parent, const Field& field) {
  return parent->GetPointer<const flatbuffers::Table*>(field.slot);
}
inline bool present(const flatbuffers::Table* parent, const Field& field) {
  return parent->GetOptionalFieldOffset(field.slot) != 0;
}
/// A number or bool as 64 bits (doubles: their bits); 0 when absent.
inline int64_t scalar_of(const flatbuffers::Table* parent, const Field& field) {
  switch (field.size) {
    case 1:
      return parent->GetField<uint8_t>(field.slot, 0);
    case 2:
      return parent->GetField<int16_t>(field.slot, 0);
    case 4:
      return parent->GetField<int32_t>(field.slot, 0);
    case 8:
      return parent->GetField<int64_t>(field.slot, 0);
    default:
      return 0;
  }
}
inline bool is_number(const Field& field) {
  return field.scalar == Scalar::kBool || field.scalar == Scalar::kInt32 || field.scalar == Scalar::kInt64 ||
         field.scalar == Scalar::kDouble || field.scalar == Scalar::kOther;
}
/// By offset: anything but a single number.
inline bool by_offset(const Field& field) { return field.list || !is_number(field); }
inline bool is_time(const Field& field) { return field.format == Format::kTime || field.format == Format::kMicroTime; }

/// Go has no absent number or string unless it is a pointer: zero and "" mean absent, in JSON and in protobuf. True for
/// such fields.
inline bool zero_is_absent(const Field& field) {
  if (field.nullable || field.list || is_time(field)) return false;
  if (field.format == Format::kIntOrString) return true;
  return is_number(field) || (field.scalar == Scalar::kString && field.format == Format::kNone);
}
/// Present, and not a zero that means absent.
bool has_value(const flatbuffers::Table* parent, const Field& field);

}  // namespace gantry::model
