#include <fmt/format.h>

#include <set>

#include "libs/model/names.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;
using flatbuffers::uoffset_t;

// Every source of a volume is a struct but for its name: what is there is counted by the schema, so that none is
// forgotten.
int sources(const core::Volume& volume) {
  static const model::Type& type = *model::Schema::get().type("gantry.api.core_v1.Volume");
  int n = 0;
  for (const auto& field : type.fields) {
    if (field.scalar == model::Scalar::kTable &&
        reinterpret_cast<const flatbuffers::Table&>(volume).CheckField(field.slot))
      ++n;
  }
  return n;
}

void validate_source(const core::Volume& v, const std::string& at, Problems& problems) {
  const int n = sources(v);
  if (n == 0) problems.required(at, "must specify a volume type");
  if (n > 1) problems.forbidden(at, "may not specify more than 1 volume type");
}

}  // namespace

void validate_volumes(const core::PodSpec& spec, const std::string& at, Problems& problems) {
  std::set<std::string_view> names;
  for (uoffset_t i = 0; spec.volumes() != nullptr && i < spec.volumes()->size(); ++i) {
    const auto& volume = *spec.volumes()->Get(i);
    const std::string path = fmt::format("{}.volumes[{}]", at, i);
    const std::string_view name = str(volume.name());
    if (name.empty()) {
      problems.required(path + ".name");
    } else {
      problems.check(path + ".name", name, model::check_dns_label(name));
      if (!names.insert(name).second) problems.duplicate(path + ".name", name);
    }
    validate_source(volume, path, problems);
  }
}

}  // namespace gantry::apigw
