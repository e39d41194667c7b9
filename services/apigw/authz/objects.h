// What authentication and admission ask of the cluster's state. Loop's thread only.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libs/model/object.h"

namespace gantry::apigw {

class Objects {
 public:
  virtual ~Objects() = default;
  /// As the projection has it now: it may be behind.
  virtual const model::Object* find_object(std::string_view resource, std::string_view ns,
                                           std::string_view name) const = 0;
  /// Every object of the namespace ("" = of the cluster), in the order of their names.
  virtual void visit_objects(std::string_view resource, std::string_view ns,
                             const std::function<void(const model::Object&)>& visit) const = 0;
  /// Calls back once the projection covers everything that was committed before the call. May call back at once.
  virtual void at_head_of(std::string_view resource, std::function<void(Status)> done) = 0;
};

}  // namespace gantry::apigw
