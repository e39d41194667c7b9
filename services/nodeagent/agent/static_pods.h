// Static pods: manifests in a directory of the node that run without being asked for by the API.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"
#include "libs/model/object.h"
#include "services/nodeagent/agent/executor.h"

namespace gantry::nodeagent {

inline constexpr char kConfigSource[] = "kubernetes.io/config.source";
inline constexpr char kConfigHash[] = "kubernetes.io/config.hash";
inline constexpr char kConfigMirror[] = "kubernetes.io/config.mirror";

/// The pod of a manifest (YAML or JSON) as it runs on `node`: named <name>-<node>, its uid made of what it says, so
/// that a changed manifest is another pod. kInvalid when it is no pod.
Result<model::Object> parse_static_pod(const std::string& text, const std::string& file, const std::string& node);
/// True for what stands in the API for a static pod.
bool is_mirror(const model::Object& pod);
/// Value of an annotation, "" without.
std::string_view annotation(const model::Object& pod, std::string_view name);

/// Reads the directory when it is told to and every 20 s besides. Hidden files are not read; one that cannot be
/// understood keeps the pod that it last was. Loop's thread only; what is passed by reference outlives it.
class StaticPods {
 public:
  /// `changed` gets all of them, after the first look and whenever they differ.
  using Changed = std::function<void(std::vector<model::Object> pods)>;
  StaticPods(Loop& loop, Executor& executor, std::string directory, std::string node, Changed changed)
      : loop_(loop),
        executor_(executor),
        directory_(std::move(directory)),
        node_(std::move(node)),
        changed_(std::move(changed)) {}

  void start();
  void look();

 private:
  using Files = std::map<std::string, std::string>;  // name -> content
  void on_read(const Files& files);

  Loop& loop_;
  Executor& executor_;
  std::string directory_, node_;
  Changed changed_;
  struct Known {
    std::string text;
    model::Object pod;
  };
  std::map<std::string, Known> known_;  // by file
  bool told_ = false, looking_ = false, again_ = false;
  Timer period_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
