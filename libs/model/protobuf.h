// Kubernetes protobuf (application/vnd.kubernetes.protobuf) -> FlatBuffers and back: the 4 bytes k8s\0, an Unknown
// envelope, the object. Zero scalars that are not nullable are absent, as in JSON. Pure functions, thread-safe.
#pragma once

#include "libs/model/json.h"
#include "libs/model/object.h"

namespace gantry::model {

struct ProtobufEnvelope {
  std::string api_version, kind;
  std::string_view raw;  // into the input
};
Result<ProtobufEnvelope> open_protobuf(std::string_view body);
/// The message alone, without the envelope. kBadRequest with the field's path.
Result<Bytes> from_protobuf(const Type& type, std::string_view message, const DecodeOptions& options = {});
/// The message alone.
std::string to_protobuf(const Type& type, const flatbuffers::Table* table);
/// metadata.resourceVersion is the object's revision if that is not 0.
std::string to_protobuf(const Object& object);             // with the envelope
void to_protobuf(const Object& object, std::string& out);  // appends the message alone
/// Its ObjectMeta alone.
std::string metadata_to_protobuf(const Object& object);
/// Puts the envelope around a message.
std::string seal_protobuf(std::string_view api_version, std::string_view kind, std::string_view message);

}  // namespace gantry::model
