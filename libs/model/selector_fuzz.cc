// Any text either fails or prints as a selector that parses to the same.
#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"

using namespace gantry::model;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  static const Kind& pods = *Schema::get().by_resource("pods");
  static const Object pod = [] {
    Draft draft(pods);
    draft.set("metadata.name", "a");
    draft.set("metadata.labels[app]", "web");
    draft.set("metadata.labels[n]", "5");
    draft.set("spec.containers[+].name", "c");
    return draft.build();
  }();
  if (auto labels = LabelSelector::parse(text); labels.ok()) {
    auto printed = labels->to_string();
    auto again = LabelSelector::parse(printed);
    CHECK(again.ok()) << text << " -> " << printed << ": " << again.error().message;
    CHECK(again->to_string() == printed) << printed;
    CHECK(again->matches(pod.meta()->labels()) == labels->matches(pod.meta()->labels())) << printed;
  }
  if (auto fields = FieldSelector::parse(pods, text); fields.ok()) fields->matches(pod);
  Found found = find(pod, text);
  if (found.known()) found.text();
  return 0;
}
