#include <cstring>

#include "libs/model/assembler.h"
#include "libs/model/draft.h"
#include "libs/model/equal_field.h"

namespace gantry::model {

namespace {

bool equal_lists(const Field& f, const flatbuffers::Table* a, const flatbuffers::Table* b) {
  const auto* va = a->GetPointer<const flatbuffers::VectorOfAny*>(f.slot);
  const auto* vb = b->GetPointer<const flatbuffers::VectorOfAny*>(f.slot);
  if (va->size() != vb->size()) return false;
  switch (f.scalar) {
    case Scalar::kBool:
      return std::memcmp(va->Data(), vb->Data(), va->size()) == 0;
    case Scalar::kInt32:
      return std::memcmp(va->Data(), vb->Data(), va->size() * 4ul) == 0;
    case Scalar::kInt64:
    case Scalar::kDouble:
      return std::memcmp(va->Data(), vb->Data(), va->size() * 8ul) == 0;
    case Scalar::kString:
      for (uint32_t i = 0; i < va->size(); ++i) {
        if (str(strings_of(a, f)->Get(i)) != str(strings_of(b, f)->Get(i))) return false;
      }
      return true;
    case Scalar::kTable:
      for (uint32_t i = 0; i < va->size(); ++i) {
        if (!equal(*f.type, tables_of(a, f)->Get(i), tables_of(b, f)->Get(i))) return false;
      }
      return true;
    default:
      return false;
  }
}

}  // namespace

bool equal_field(const Field& f, const flatbuffers::Table* a, const flatbuffers::Table* b) {
  if (f.list) return equal_lists(f, a, b);
  switch (f.scalar) {
    case Scalar::kString:
      return str(string_of(a, f)) == str(string_of(b, f));
    case Scalar::kBytes:
      return bytes_of(a, f) == bytes_of(b, f);
    case Scalar::kTable:
      return equal(*f.type, table_of(a, f), table_of(b, f));
    default:
      return scalar_of(a, f) == scalar_of(b, f);
  }
}

bool equal(const Type& type, const flatbuffers::Table* a, const flatbuffers::Table* b) {
  if (a == b) return true;
  if (a == nullptr || b == nullptr) return false;
  for (const Field& f : type.fields) {
    const bool there = has_value(a, f);
    if (there != has_value(b, f) || (there && !equal_field(f, a, b))) return false;
  }
  return true;
}

}  // namespace gantry::model
