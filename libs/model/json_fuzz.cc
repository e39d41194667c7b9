// Any text either fails or decodes to a buffer that verifies and prints as something that decodes to the same.
#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/json.h"

using namespace gantry::model;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* resource : {"pods", "services", "secrets", "nodes", "deployments"}) {
    const Kind& kind = *Schema::get().by_resource(resource);
    std::vector<std::string> warnings;
    // Decoded as a type: corpus files say what they are, and all of them serve every kind.
    auto bytes = from_json(*kind.type, text, {.warnings = &warnings});
    if (!bytes.ok()) continue;
    CHECK(verify(*kind.type, *bytes));
    Object object(kind, *bytes);
    auto printed = to_json(object);
    auto again = from_json(kind, printed, {.strict = true});
    CHECK(again.ok()) << again.error().message << "\n" << printed;
    CHECK(equal(*kind.type, object.root(), Object(kind, *again).root())) << printed;
    CHECK(to_json(Object(kind, *again)) == printed);
    CHECK(equal(*kind.type, object.root(), Draft(object).build().root()));
  }
  return 0;
}
