// What a pod's start needs of kinds that a node does not subscribe to: the Services of its namespace, for its
// environment, and its runtime class. Asked for when needed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/model/object.h"

namespace gantry::nodeagent {

/// Loop's thread only; `commands` outlives it.
class ServiceLinks {
 public:
  explicit ServiceLinks(bus::Commands& commands) : commands_(commands) {}

  /// Has the namespace's Services as they are now or later when it calls back: those who ask while an answer is under
  /// way share the next one.
  void ensure(const std::string& ns, std::function<void(Status)> done);
  void for_each(std::string_view ns, const std::function<void(const model::Object& service)>& visit) const;

  /// Of the RuntimeClass of that name; "" (the runtime's own default) for no name. kNotFound names the class.
  void runtime_handler(const std::string& name, std::function<void(Result<std::string>)> done);

 private:
  struct Namespace {
    std::vector<model::Object> services;
    bool asking = false;
    std::vector<std::function<void(Status)>> now, next;
  };
  void ask(const std::string& ns, const std::string& continue_token, std::vector<model::Object> so_far);
  void answer(const std::string& ns, const Status& status);

  bus::Commands& commands_;
  std::map<std::string, Namespace, std::less<>> namespaces_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
