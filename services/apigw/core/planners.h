// The writes of the API, one file each: create.cc, update.cc (and subresources.cc, apply.cc), remove.cc,
// evict.cc, bind.cc.
#pragma once

#include "services/apigw/core/allocator.h"
#include "services/apigw/core/plan.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {

struct Context {
  const World& world;
  const ApiConfig& config;
  Allocator& allocator;
  const ServiceAccountTokens& tokens;
};

/// A new object from the command's body. `before` is empty. The namespace's guards are added by the writer.
Result<Plan> plan_create(const Context& context, Request& request);
/// A server-side apply.
bool is_apply(const Request& request);
/// True if the request makes the object when it is not there: an apply, and an update of some kinds.
bool may_create(const Request& request);
/// Update and Patch of the object itself or of one of its subresources: status, scale, finalize
/// (namespaces), ephemeralcontainers and resize (pods), approval (certificatesigningrequests).
Result<Plan> plan_update(const Context& context, Request& request, const model::Object& before);
/// Delete: at once, or with a deletionTimestamp when finalizers or a running pod's grace stand before it.
Result<Plan> plan_delete(const Context& context, Request& request, const model::Object& before);
/// Delete of a pod within the budgets that protect it: 429 while one of them does not allow it.
Result<Plan> plan_evict(const Context& context, Request& request, const model::Object& before);
/// A pod onto a node.
Result<Plan> plan_bind(const Context& context, Request& request, const model::Object& before);

/// What goes with an object when it is erased: claims to let go of.
std::vector<state::Operation> releases(const Context& context, const model::Object& last);

/// Claimed by a namespace that is being deleted: nothing is created in it any more.
std::string terminating_claim(std::string_view ns);
bool is_terminating(const model::Object& ns);

}  // namespace gantry::apigw
