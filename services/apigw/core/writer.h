// Runs plans against the store: computes, commits with the revision it was computed from, and computes again when
// somebody else was faster. Loop's thread only.
#pragma once

#include <string>
#include <unordered_map>

#include "services/apigw/core/changes.h"
#include "services/apigw/core/planners.h"

namespace gantry::apigw {

class Writer {
 public:
  Writer(Loop& loop, state::Store& store, World& world, Context context);

  /// Makes the object of `plan`; kAlreadyExists when the name is taken.
  void create(RequestPtr request);
  /// Changes or erases the object that the command names.
  void modify(RequestPtr request, Planner planner);

 private:
  struct Attempt;
  void plan_creation(RequestPtr request);
  void create_failed(RequestPtr request, const Plan& plan, Error error);
  void creation_taken(RequestPtr request, const Plan& plan);
  void plan_change(RequestPtr request, const Planner& planner);
  void change_failed(RequestPtr request, const Planner& planner, const model::Object& before, Error error);
  /// True if the refusal of a plan is not final: `again` will be called.
  bool think_again(const RequestPtr& request, const std::function<void()>& again);
  /// True if the commit failed for a quota, and this has seen to it.
  bool quota_failed(const RequestPtr& request, const model::Object& object, const Error& error,
                    const std::function<void()>& again);
  /// Once the mirror is at the head, `next`; the request's error if that cannot be.
  void refresh(RequestPtr request, std::function<void()> next);
  state::Commit commit_for(const Request& request, const Plan& plan, const model::Object& before) const;
  Origin origin_of(const Request& request) const;
  void succeed(const RequestPtr& request, const Plan& plan, const state::Committed& committed);
  void answer_duplicate(const RequestPtr& request, const Plan& plan, const state::Committed& committed);
  /// The request's error, unless an earlier try of the same command was committed after all.
  void refuse(const RequestPtr& request, Error error);
  /// What this gateway has just written and its mirror may not show yet: a plan from before it could only fail.
  void remember(const Mirror& mirror, const model::Object& object, uint64_t revision);
  uint64_t last_write(const Request& request) const;
  Result<model::Object> live_namespace(const Request& request, std::string_view name) const;

  Loop& loop_;
  state::Store& store_;
  World& world_;
  Context context_;
  struct Write {
    const Mirror* mirror;
    uint64_t revision;
  };
  std::unordered_map<std::string, Write> written_;  // by resource, namespace and name; forgotten once mirrored
  size_t sweep_at_ = 0;
  Alive alive_;
};

}  // namespace gantry::apigw
