// One API object: its kind, its FlatBuffer and the revision at which it was read. Immutable and shared; cheap to copy;
// thread-safe.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <memory>
#include <string>
#include <string_view>

#include "libs/base/result.h"
#include "libs/model/schema.h"
#include "schemas/api/meta_v1_generated.h"

namespace gantry::model {

/// A serialized FlatBuffer (a root table without file identifier).
using Bytes = std::string;

/// True if `bytes` is a well-formed table of this type: offsets, vectors, strings, depth and table count within limits.
/// Everything from outside the process is verified before it is read.
bool verify(const Type& type, std::string_view bytes);

class Object {
 public:
  Object() = default;
  /// `bytes` must be verified or made by this process.
  Object(const Kind& kind, Bytes bytes, uint64_t revision = 0)
      : kind_(&kind), bytes_(std::make_shared<const Bytes>(std::move(bytes))), revision_(revision) {}

  explicit operator bool() const { return bytes_ != nullptr; }
  const Kind& kind() const { return *kind_; }
  const Bytes& bytes() const { return *bytes_; }
  uint64_t revision() const { return revision_; }
  Object at(uint64_t revision) const {
    Object o = *this;
    o.revision_ = revision;
    return o;
  }

  const flatbuffers::Table* root() const { return flatbuffers::GetRoot<flatbuffers::Table>(bytes_->data()); }
  /// T must be the generated table of the kind, e.g. as<api::core_v1::Pod>().
  template <typename T>
  const T* as() const {
    return flatbuffers::GetRoot<T>(bytes_->data());
  }
  /// Null only for an object without metadata.
  const api::meta_v1::ObjectMeta* meta() const;
  std::string_view name() const;
  std::string_view ns() const;
  std::string_view uid() const;

 private:
  const Kind* kind_ = nullptr;
  std::shared_ptr<const Bytes> bytes_;
  uint64_t revision_ = 0;
};

/// "" for a null string; the usual way to read an optional string.
inline std::string_view str(const flatbuffers::String* s) {
  return s ? std::string_view(s->data(), s->size()) : std::string_view();
}

/// The value of `key` in a map field (vector sorted by key), or nullptr.
const flatbuffers::String* lookup(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* map,
                                  std::string_view key);

}  // namespace gantry::model
