#include "tools/gantry/client/manifests.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>

#include "libs/yaml/yaml.h"
#include "tools/gantry/dev/files.h"

namespace gantry::client {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

Error bad(std::string message) { return {.code = Code::kBadRequest, .message = std::move(message)}; }

Result<std::vector<std::string>> expand(const std::string& path) {
  if (!fs::is_directory(path)) return std::vector<std::string>{path};
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(path)) {
    const auto extension = entry.path().extension();
    if (extension == ".yaml" || extension == ".yml" || extension == ".json") out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  if (out.empty())
    return bad(fmt::format("error reading [{}]: recognized file extensions are [.json .yaml .yml]", path));
  return out;
}

Result<std::string> text_of(const std::string& file) {
  if (file == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  if (!fs::exists(file)) return bad(fmt::format("the path \"{}\" does not exist", file));
  return dev::read_file(file);
}

Status take(const json& object, const std::string& file, const std::string& default_namespace,
            std::vector<Manifest>& out) {
  const auto invalid = [&](const std::string& why) {
    return bad(fmt::format("error validating \"{}\": {}", file, why));
  };
  if (!object.is_object()) return invalid("an object is expected");
  const auto field = [&](const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const std::string api_version = field("apiVersion"), kind_name = field("kind");
  if (api_version.empty()) return invalid("apiVersion not set");
  if (kind_name.empty()) return invalid("kind not set");
  if (kind_name.ends_with("List") && object.contains("items") && object["items"].is_array()) {
    for (const auto& item : object["items"]) {
      if (auto taken = take(item, file, default_namespace, out); !taken) return taken;
    }
    return Done{};
  }
  const auto* kind = model::Schema::get().by_api_version(api_version, kind_name);
  if (kind == nullptr || kind->resource.empty()) {
    return bad(fmt::format("resource mapping not found for \"{}\": no matches for kind \"{}\" in version \"{}\"", file,
                           kind_name, api_version));
  }
  Manifest manifest{.kind = kind, .ns = {}, .name = {}, .object = object, .source = file};
  auto& metadata = manifest.object["metadata"];
  if (!metadata.is_object()) return invalid("metadata not set");
  manifest.name = metadata.value("name", "");
  if (manifest.name.empty() && metadata.value("generateName", "").empty())
    return invalid("resource name may not be empty");
  if (kind->namespaced) {
    if (!metadata.contains("namespace")) metadata["namespace"] = default_namespace;
    manifest.ns = metadata["namespace"].get<std::string>();
  }
  out.push_back(std::move(manifest));
  return Done{};
}

}  // namespace

Result<std::vector<Manifest>> read_manifests(const std::vector<std::string>& files,
                                             const std::string& default_namespace) {
  std::vector<Manifest> out;
  if (files.empty()) return bad("must specify one of -f and -k");
  try {
    for (const auto& path : files) {
      auto list = expand(path);
      if (!list) return list.error();
      for (const auto& file : *list) {
        auto text = text_of(file);
        if (!text) return text.error();
        auto documents = yaml::parse(*text);
        if (!documents) return bad(fmt::format("error parsing {}: {}", file, documents.error().message));
        for (const auto& document : *documents) {
          if (auto taken = take(document, file, default_namespace, out); !taken) return taken.error();
        }
      }
    }
  } catch (const std::exception& e) {  // a field of a type that nobody expects, a folder that may not be read
    return bad(e.what());
  }
  if (out.empty()) return bad("no objects passed to apply");
  return out;
}

}  // namespace gantry::client
