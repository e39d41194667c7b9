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

void validate_items(const flatbuffers::Vector<flatbuffers::Offset<core::KeyToPath>>* items, const std::string& at,
                    Problems& problems) {
  for (uoffset_t i = 0; items != nullptr && i < items->size(); ++i) {
    const std::string path = fmt::format("{}.items[{}]", at, i);
    if (str(items->Get(i)->key()).empty()) problems.required(path + ".key");
    const std::string_view file = str(items->Get(i)->path());
    if (file.empty()) {
      problems.required(path + ".path");
    } else if (file.starts_with("/")) {
      problems.invalid(path + ".path", file, "must be a relative path");
    } else if (file == ".." || file.starts_with("../") || file.find("/../") != std::string_view::npos ||
               file.ends_with("/..")) {
      problems.invalid(path + ".path", file, "must not contain '..'");
    }
  }
}

void validate_source(const core::Volume& v, const std::string& at, Problems& problems) {
  const int n = sources(v);
  if (n == 0) problems.required(at, "must specify a volume type");
  if (n > 1) problems.forbidden(at, "may not specify more than 1 volume type");
  if (v.config_map() != nullptr) {
    if (str(v.config_map()->name()).empty()) problems.required(at + ".configMap.name");
    validate_items(v.config_map()->items(), at + ".configMap", problems);
  }
  if (v.secret() != nullptr) {
    if (str(v.secret()->secret_name()).empty()) problems.required(at + ".secret.secretName");
    validate_items(v.secret()->items(), at + ".secret", problems);
  }
  if (v.host_path() != nullptr) {
    const std::string_view path = str(v.host_path()->path());
    if (path.empty()) problems.required(at + ".hostPath.path");
    if (path.find("..") != std::string_view::npos)
      problems.invalid(at + ".hostPath.path", path, "must not contain '..'");
  }
  if (v.persistent_volume_claim() != nullptr && str(v.persistent_volume_claim()->claim_name()).empty()) {
    problems.required(at + ".persistentVolumeClaim.claimName");
  }
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
