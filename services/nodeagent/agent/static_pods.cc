#include "services/nodeagent/agent/static_pods.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "libs/model/json.h"
#include "libs/yaml/yaml.h"

namespace gantry::nodeagent {

using model::str;

namespace {

constexpr Duration kPeriod = std::chrono::seconds(20);
constexpr uintmax_t kMostBytes = 1 << 20;

// Not for secrecy: different text, different pod.
uint64_t fnv(std::string_view text, uint64_t hash) {
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

}  // namespace

Result<model::Object> parse_static_pod(const std::string& text, const std::string& file, const std::string& node) {
  auto documents = yaml::parse(text);
  if (!documents.ok()) return documents.error();
  if (documents->size() != 1 || !documents->front().is_object())
    return Error{Code::kInvalid, fmt::format("{} holds {} objects, not one pod", file, documents->size())};
  auto pod = std::move(documents->front());
  if (pod.value("kind", "") != "Pod" || !pod.contains("spec") || !pod["spec"].is_object() ||
      !pod.contains("metadata") || !pod["metadata"].is_object() || pod["metadata"].value("name", "").empty())
    return Error{Code::kInvalid, fmt::format("{} is not a Pod with a name and a spec", file)};
  auto seed = fmt::format("{}\n{}\n{}", node, file, text);
  auto hash = fmt::format("{:016x}{:016x}", fnv(seed, 0xcbf29ce484222325), fnv(seed, 0x9ae16a3b2f90404f));
  auto& meta = pod["metadata"];
  meta["name"] = fmt::format("{}-{}", meta["name"].get<std::string>(), node);
  if (meta.value("namespace", "").empty()) meta["namespace"] = "default";
  meta["uid"] = hash;
  meta["annotations"][kConfigSource] = "file";
  meta["annotations"][kConfigHash] = hash;
  auto& spec = pod["spec"];
  spec["nodeName"] = node;
  spec["tolerations"].push_back({{"operator", "Exists"}, {"effect", "NoExecute"}});
  pod.erase("status");
  const auto& kind = *model::Schema::get().by_resource("pods");
  auto bytes = model::from_json(kind, pod.dump());
  if (!bytes.ok()) return Error{Code::kInvalid, fmt::format("{}: {}", file, bytes.error().message)};
  return model::Object(kind, std::move(*bytes));
}

std::string_view annotation(const model::Object& pod, std::string_view name) {
  const auto* annotations = pod.meta() ? pod.meta()->annotations() : nullptr;
  const auto* value = annotations ? model::lookup(annotations, name) : nullptr;
  return value ? str(value) : std::string_view();
}

bool is_mirror(const model::Object& pod) { return !annotation(pod, kConfigMirror).empty(); }

void StaticPods::start() {
  period_ = loop_.every(kPeriod, [this] { look(); });
  look();
}

void StaticPods::look() {
  again_ = looking_;
  if (looking_) return;
  looking_ = true;
  auto files = std::make_shared<Files>();
  executor_.run(
      [files, directory = directory_] {
        std::error_code error;
        for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
          std::error_code ignored;
          auto name = it->path().filename().string();
          if (name.starts_with(".") || !it->is_regular_file(ignored) || it->file_size(ignored) > kMostBytes) continue;
          std::ifstream in(it->path(), std::ios::binary);
          std::ostringstream text;
          text << in.rdbuf();
          (*files)[name] = text.str();
        }
      },
      [this, files, weak = std::weak_ptr<bool>(alive_)] {
        if (weak.expired()) return;
        looking_ = false;
        on_read(*files);
        if (again_) look();
      });
}

void StaticPods::on_read(const Files& files) {
  bool differs = std::erase_if(known_, [&](const auto& entry) { return files.count(entry.first) == 0; }) > 0;
  for (const auto& [name, text] : files) {
    auto found = known_.find(name);
    if (found != known_.end() && found->second.text == text) continue;
    auto pod = parse_static_pod(text, name, node_);
    if (!pod.ok()) {
      LOG(WARNING) << "static pod " << directory_ << "/" << name << ": " << pod.error().message;
      if (found != known_.end()) found->second.text = text;
      continue;
    }
    known_[name] = {text, std::move(*pod)};
    differs = true;
  }
  if (told_ && !differs) return;
  told_ = true;
  std::vector<model::Object> pods;
  for (const auto& [_, known] : known_) pods.push_back(known.pod);
  changed_(std::move(pods));
}

}  // namespace gantry::nodeagent
