// Any text either fails or prints as a quantity of the same value and form; times likewise.
#include <glog/logging.h>

#include "libs/model/json.h"
#include "libs/model/quantity.h"

using namespace gantry::model;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto q = Quantity::parse(text); q.ok()) {
    auto printed = q->to_string();
    auto again = Quantity::parse(printed);
    CHECK(again.ok()) << text << " -> " << printed;
    CHECK(*again == *q) << text << " -> " << printed;
    // Bytes below a whole Ki print as a number, whose own form is decimal: 62.5Ki, 64000, 64k.
    CHECK(again->to_string() == printed || printed.find_first_not_of("-0123456789") == printed.npos)
        << text << " -> " << printed;
    CHECK((*q - *q) == Quantity());
    CHECK((*q + *q) >= *q || *q < Quantity());
    q->value();
    q->milli();
  }
  if (auto t = parse_time(text); t.ok()) {
    auto printed = format_micro_time(*t);
    auto again = parse_time(printed);
    CHECK(again.ok()) << printed;
    // Offsets reach past the years that can be printed.
    if (*t >= -62135596800'000'000 && *t < 253402300799'000'000) CHECK(*again == *t) << text << " -> " << printed;
  }
  return 0;
}
