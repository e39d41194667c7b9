// Any bytes either fail or decode to a buffer that verifies and survives encoding and decoding.
#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/protobuf.h"

using namespace gantry::model;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view body(reinterpret_cast<const char*>(data), size);
  auto envelope = open_protobuf(body);
  auto message = envelope.ok() ? envelope->raw : body;
  for (const char* resource : {"pods", "services", "secrets", "nodes", "deployments"}) {
    const Kind& kind = *Schema::get().by_resource(resource);
    auto bytes = from_protobuf(*kind.type, message);
    if (!bytes.ok()) continue;
    CHECK(verify(*kind.type, *bytes));
    Object object(kind, *bytes);
    auto again = from_protobuf(*kind.type, to_protobuf(*kind.type, object.root()));
    CHECK(again.ok()) << again.error().message;
    CHECK(equal(*kind.type, object.root(), Object(kind, *again).root())) << to_json(object);
    auto json = from_json(kind, to_json(object), {.strict = true});
    CHECK(json.ok()) << json.error().message;
    CHECK(equal(*kind.type, object.root(), Object(kind, *json).root())) << to_json(object);
  }
  return 0;
}
