// Verification by reflection: offsets, vectors and strings as flatbuffers::Verifier checks them, and what our readers
// rely on beyond that: map keys are there and sorted, strings are UTF-8, embedded JSON is JSON.
#include <flatbuffers/verifier.h>
#include <simdjson.h>

#include <cstring>

#include "libs/model/object.h"

namespace gantry::model {

namespace {

constexpr flatbuffers::uoffset_t kMaxDepth = 64;

class Checker {
 public:
  // Our writers share no subtrees. Offsets that do would let a small buffer stand for a huge object: a table is at
  // least 4 bytes, and all contents together are no more than the buffer.
  Checker(const uint8_t* data, size_t size)
      : verifier_(data, size, kMaxDepth, static_cast<flatbuffers::uoffset_t>(size / 4 + 1)),
        data_(data),
        size_(size),
        budget_(size) {}

  bool root(const Type& type) {
    if (size_ < sizeof(flatbuffers::uoffset_t) || size_ >= FLATBUFFERS_MAX_BUFFER_SIZE) return false;
    auto offset = flatbuffers::ReadScalar<flatbuffers::uoffset_t>(data_);
    if (offset == 0 || offset >= size_ || !verifier_.VerifyOffset(0)) return false;
    return table(type, flatbuffers::GetRoot<flatbuffers::Table>(data_));
  }

 private:
  bool table(const Type& type, const flatbuffers::Table* t) {
    const auto* base = reinterpret_cast<const uint8_t*>(t);
    if (!verifier_.VerifyTableStart(base)) return false;
    for (const auto& f : type.fields) {
      auto offset = t->GetOptionalFieldOffset(f.slot);
      if (offset == 0 ? f.required : !field(f, t, base, offset)) return false;
    }
    return verifier_.EndTable();
  }

  bool field(const Field& f, const flatbuffers::Table* t, const uint8_t* base, uint16_t offset) {
    bool by_offset = f.list || f.scalar == Scalar::kString || f.scalar == Scalar::kBytes || f.scalar == Scalar::kTable;
    if (!by_offset) {
      switch (f.size) {
        case 1:
          return verifier_.VerifyField<uint8_t>(base, offset, 1);
        case 2:
          return verifier_.VerifyField<uint16_t>(base, offset, 2);
        case 4:
          return verifier_.VerifyField<uint32_t>(base, offset, 4);
        case 8:
          return verifier_.VerifyField<uint64_t>(base, offset, 8);
        default:
          return false;
      }
    }
    if (!verifier_.VerifyOffset(base, offset)) return false;
    if (f.list) return list(f, t);
    switch (f.scalar) {
      case Scalar::kString:
        return string(f, t->GetPointer<const flatbuffers::String*>(f.slot));
      case Scalar::kBytes: {
        const auto* v = t->GetPointer<const flatbuffers::Vector<uint8_t>*>(f.slot);
        return verifier_.VerifyVector(v) && spend(v->size());
      }
      default:
        return table(*f.type, t->GetPointer<const flatbuffers::Table*>(f.slot));
    }
  }

  bool list(const Field& f, const flatbuffers::Table* t) {
    using flatbuffers::Offset;
    using flatbuffers::Vector;
    switch (f.scalar) {
      case Scalar::kBool:
        return verifier_.VerifyVector(t->GetPointer<const Vector<uint8_t>*>(f.slot));
      case Scalar::kInt32:
        return verifier_.VerifyVector(t->GetPointer<const Vector<int32_t>*>(f.slot));
      case Scalar::kInt64:
        return verifier_.VerifyVector(t->GetPointer<const Vector<int64_t>*>(f.slot));
      case Scalar::kDouble:
        return verifier_.VerifyVector(t->GetPointer<const Vector<double>*>(f.slot));
      case Scalar::kString: {
        const auto* v = t->GetPointer<const Vector<Offset<flatbuffers::String>>*>(f.slot);
        if (!verifier_.VerifyVector(v) || !spend(v->size() * sizeof(flatbuffers::uoffset_t))) return false;
        for (flatbuffers::uoffset_t i = 0; i < v->size(); ++i) {
          if (!element(v, i) || !string(f, v->Get(i))) return false;
        }
        return true;
      }
      case Scalar::kTable: {
        const auto* v = t->GetPointer<const Vector<Offset<flatbuffers::Table>>*>(f.slot);
        if (!verifier_.VerifyVector(v) || !spend(v->size() * sizeof(flatbuffers::uoffset_t))) return false;
        std::string_view previous;
        for (flatbuffers::uoffset_t i = 0; i < v->size(); ++i) {
          if (!element(v, i) || !table(*f.type, v->Get(i))) return false;
          if (!f.map) continue;
          auto key = str(v->Get(i)->GetPointer<const flatbuffers::String*>(f.type->fields[0].slot));
          if (i > 0 && key <= previous) return false;
          previous = key;
        }
        return true;
      }
      default:
        return false;  // no reader of ours follows it
    }
  }

  /// The i-th offset of a vector points into the buffer.
  template <typename T>
  bool element(const flatbuffers::Vector<flatbuffers::Offset<T>>* v, flatbuffers::uoffset_t i) {
    auto at = static_cast<size_t>(v->Data() - data_) + i * sizeof(flatbuffers::uoffset_t);
    return verifier_.VerifyOffset(at) != 0;
  }

  bool string(const Field& f, const flatbuffers::String* s) {
    if (!verifier_.VerifyString(s) || !spend(s->size())) return false;
    if (!simdjson::validate_utf8(s->c_str(), s->size())) return false;
    if (f.format != Format::kJson) return true;
    thread_local simdjson::dom::parser parser;
    return parser.parse(s->c_str(), s->size()).error() == simdjson::SUCCESS;
  }

  bool spend(size_t bytes) {
    if (bytes > budget_) return false;
    budget_ -= bytes;
    return true;
  }

  flatbuffers::Verifier verifier_;
  const uint8_t* data_;
  size_t size_, budget_;
};

}  // namespace

bool verify(const Type& type, std::string_view bytes) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(uint64_t) != 0) {
    // Part of something larger: alignment counts from the start of the buffer, so look at an aligned copy.
    Bytes copy(bytes);
    return Checker(reinterpret_cast<const uint8_t*>(copy.data()), copy.size()).root(type);
  }
  return Checker(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()).root(type);
}

}  // namespace gantry::model
