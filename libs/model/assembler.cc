#include "libs/model/assembler.h"

#include <algorithm>

namespace gantry::model {

Assembler& Assembler::local() {
  thread_local Assembler assembler;
  assembler.reset();
  return assembler;
}

void Assembler::reset() {
  slots_.clear();
  elements_.clear();
  entries_.clear();
  builder_.Clear();
}

void Assembler::take_back(const Field& field, size_t mark) {
  for (size_t i = mark; i < slots_.size(); ++i) {
    if (slots_[i].field == &field) {
      slots_.erase(slots_.begin() + static_cast<ptrdiff_t>(i));
      return;
    }
  }
}

void Assembler::add(const Slot& slot) {
  const Field& f = *slot.field;
  if (by_offset(f)) {
    builder_.AddOffset(f.slot, flatbuffers::Offset<void>(static_cast<uint32_t>(slot.bits)));
    return;
  }
  switch (f.size) {
    case 1:
      builder_.AddElement(f.slot, static_cast<uint8_t>(slot.bits));
      break;
    case 2:
      builder_.AddElement(f.slot, static_cast<uint16_t>(slot.bits));
      break;
    case 4:
      builder_.AddElement(f.slot, static_cast<uint32_t>(slot.bits));
      break;
    default:
      builder_.AddElement(f.slot, slot.bits);
      break;
  }
}

uint32_t Assembler::table(size_t mark) {
  auto start = builder_.StartTable();
  // Widest first: least padding.
  for (int width : {8, 4, 1}) {
    for (size_t i = mark; i < slots_.size(); ++i) {
      int size = slots_[i].field->size;
      if (size == width || (width == 1 && size == 2)) add(slots_[i]);
    }
  }
  slots_.resize(mark);
  return builder_.EndTable(start);
}

uint32_t Assembler::list(const Field& field, size_t mark) {
  const uint64_t* e = elements_.data() + mark;
  size_t n = elements_.size() - mark;
  auto write = [&](auto type) {
    using T = decltype(type);
    builder_.StartVector(n, sizeof(T));
    for (size_t i = n; i > 0; --i) builder_.PushElement(static_cast<T>(e[i - 1]));
    return builder_.EndVector(n);
  };
  uint32_t at = 0;
  switch (field.scalar) {
    case Scalar::kBool:
      at = write(uint8_t());
      break;
    case Scalar::kInt32:
      at = write(uint32_t());
      break;
    case Scalar::kInt64:
    case Scalar::kDouble:
      at = write(uint64_t());
      break;
    default:
      builder_.StartVector(n, sizeof(flatbuffers::uoffset_t));
      for (size_t i = n; i > 0; --i) builder_.PushElement(flatbuffers::Offset<void>(static_cast<uint32_t>(e[i - 1])));
      at = builder_.EndVector(n);
  }
  elements_.resize(mark);
  return at;
}

uint32_t Assembler::map(size_t mark, std::vector<std::string_view>* duplicates) {
  auto begin = entries_.begin() + static_cast<ptrdiff_t>(mark), end = entries_.end();
  auto by_key = [](const Entry& a, const Entry& b) { return a.key < b.key; };
  if (!std::is_sorted(begin, end, by_key)) std::stable_sort(begin, end, by_key);
  size_t n = mark;
  for (size_t i = mark; i < entries_.size(); ++i) {
    if (n > mark && entries_[n - 1].key == entries_[i].key) {
      if (duplicates) duplicates->push_back(entries_[i].key);
      entries_[n - 1] = entries_[i];
    } else {
      entries_[n++] = entries_[i];
    }
  }
  builder_.StartVector(n - mark, sizeof(flatbuffers::uoffset_t));
  for (size_t i = n; i > mark; --i) builder_.PushElement(flatbuffers::Offset<void>(entries_[i - 1].table));
  auto at = builder_.EndVector(n - mark);
  entries_.resize(mark);
  return at;
}

uint32_t Assembler::entry_table(const Type& type, std::string_view key, uint64_t value) {
  auto key_at = string(key);
  auto m = mark();
  put(type.fields[0], key_at);
  put(type.fields[1], value);
  return table(m);
}

uint32_t Assembler::int_or_string(const Type& type, int32_t value) {
  auto m = mark();
  put(type.fields[0], static_cast<uint32_t>(value));
  return table(m);
}

uint32_t Assembler::int_or_string(const Type& type, std::string_view value) {
  auto at = string(value);
  auto m = mark();
  put(type.fields[1], at);
  return table(m);
}

uint32_t Assembler::copy_table(const Type& type, const flatbuffers::Table* t) {
  const uint8_t* vtable = t->GetVTable();
  size_t n = (flatbuffers::ReadScalar<flatbuffers::voffset_t>(vtable) - 4u) / 2;
  n = std::min(n, type.fields.size());
  auto m = mark();
  for (size_t i = 0; i < n; ++i) {
    if (flatbuffers::ReadScalar<flatbuffers::voffset_t>(vtable + 4 + 2 * i) == 0) continue;
    const Field& field = type.fields[i];
    uint64_t bits = copy_value(field, t);
    put(field, bits);
  }
  return table(m);
}

uint64_t Assembler::copy_value(const Field& f, const flatbuffers::Table* parent) {
  if (!by_offset(f)) return static_cast<uint64_t>(scalar_of(parent, f));
  if (f.list) {
    const auto* any = parent->GetPointer<const flatbuffers::VectorOfAny*>(f.slot);
    auto m = list_mark();
    for (uint32_t i = 0; i < any->size(); ++i) {
      uint64_t bits = copy_element(f, parent, i);
      element(bits);
    }
    return list(f, m);
  }
  switch (f.scalar) {
    case Scalar::kString:
      return string(str(string_of(parent, f)));
    case Scalar::kBytes:
      return bytes(bytes_of(parent, f));
    default:
      return copy_table(*f.type, table_of(parent, f));
  }
}

uint64_t Assembler::copy_element(const Field& f, const flatbuffers::Table* parent, uint32_t i) {
  switch (f.scalar) {
    case Scalar::kBool:
      return vector_of<uint8_t>(parent, f)->Get(i);
    case Scalar::kInt32:
      return static_cast<uint32_t>(vector_of<int32_t>(parent, f)->Get(i));
    case Scalar::kInt64:
    case Scalar::kDouble:
      return static_cast<uint64_t>(vector_of<int64_t>(parent, f)->Get(i));
    case Scalar::kString:
      return string(str(strings_of(parent, f)->Get(i)));
    default:
      return copy_table(*f.type, tables_of(parent, f)->Get(i));
  }
}

Bytes Assembler::finish(uint32_t root) {
  builder_.Finish(flatbuffers::Offset<flatbuffers::Table>(root));
  Bytes out(reinterpret_cast<const char*>(builder_.GetBufferPointer()), builder_.GetSize());
  constexpr size_t kKeep = 1 << 20;
  if (out.size() > kKeep) {
    builder_.Reset();  // one huge object should not cost memory for ever
  } else {
    builder_.Clear();
  }
  return out;
}

bool has_value(const flatbuffers::Table* parent, const Field& f) {
  if (!present(parent, f)) return false;
  if (!zero_is_absent(f)) return true;
  if (f.scalar == Scalar::kString) return string_of(parent, f)->size() != 0;
  if (f.format == Format::kIntOrString) {
    const auto* t = table_of(parent, f);
    return !str(string_of(t, f.type->fields[1])).empty() || scalar_of(t, f.type->fields[0]) != 0;
  }
  return scalar_of(parent, f) != 0;
}

}  // namespace gantry::model
