#include "services/apigw/core/writer.h"

#include <fmt/format.h>

#include "services/apigw/admission/quota.h"
#include "services/apigw/core/admitting.h"

namespace gantry::apigw {
namespace {

using state::Guard;

constexpr int kMaxAttempts = 12;
constexpr int kMaxNames = 8;
constexpr size_t kSweep = 2'000;  // writes remembered before those that are mirrored are forgotten
constexpr auto kPause = std::chrono::milliseconds(50);
constexpr int kMaxPauses = 100;

state::Key key_of(const model::Object& object) {
  return {object.kind().resource, std::string(object.ns()), std::string(object.name())};
}

std::string_view at_fault(const Error& error) {
  return error.causes.empty() ? std::string_view() : std::string_view(error.causes[0].field);
}

bool based_on_a_revision(const Request& request) { return request.command.revision != 0; }

// The store has not answered what became of the command's id.
bool unseen(Code code) { return code == Code::kUnavailable || code == Code::kTimeout || code == Code::kUnknownOutcome; }

Error unresolved(const Error& why) {
  return {Code::kUnknownOutcome,
          fmt::format("an earlier try of this command may have been committed: {}", why.message)};
}

Error terminating(const Request& request, std::string_view name) {
  const std::string& ns = request.command.ns;
  Error error =
      forbidden(*request.kind, name,
                fmt::format("unable to create new content in namespace {} because it is being terminated", ns));
  error.causes.push_back(
      {"NamespaceTerminating", fmt::format("namespace {} is being terminated", ns), "metadata.namespace"});
  return error;
}

}  // namespace

Writer::Writer(Loop& loop, state::Store& store, World& world, Context context)
    : loop_(loop), store_(store), world_(world), context_(context) {}

Origin Writer::origin_of(const Request& request) const {
  return {request.identity.user, request.verb, request.command.because, request.command.id, loop_.wall()};
}

state::Commit Writer::commit_for(const Request& request, const Plan& plan, const model::Object& before) const {
  state::Commit commit;
  const auto& command = request.command;
  commit.command_id = command.id;
  const model::Object& object = before ? before : plan.after;
  commit.guards.push_back(
      {.kind = Guard::Kind::kRevision, .key = key_of(object), .number = before ? before.revision() : 0});
  commit.guards.insert(commit.guards.end(), plan.guards.begin(), plan.guards.end());
  if (!command.lease.empty())
    commit.guards.push_back({.kind = Guard::Kind::kLease, .text = command.lease, .number = command.lease_epoch});
  if (!command.absent_owner_uid.empty())
    commit.guards.push_back({.kind = Guard::Kind::kUidAbsent, .text = command.absent_owner_uid});
  const Origin origin = origin_of(request);
  if (plan.kind == Plan::Kind::kPut) commit.operations.push_back(put(world_, before, plan.after, origin));
  if (plan.kind == Plan::Kind::kErase) commit.operations.push_back(erase(world_, plan.after, origin));
  for (const auto& also : plan.also) {
    commit.guards.push_back({.kind = Guard::Kind::kRevision, .key = key_of(also)});
    commit.operations.push_back(put(world_, {}, also, origin));
  }
  commit.operations.insert(commit.operations.end(), plan.operations.begin(), plan.operations.end());
  return commit;
}

void Writer::remember(const Mirror& mirror, const model::Object& object, uint64_t revision) {
  if (mirror.revision() >= revision) return;
  if (written_.size() >= std::max(sweep_at_, kSweep)) {
    std::erase_if(written_, [](const auto& entry) { return entry.second.mirror->revision() >= entry.second.revision; });
    sweep_at_ = written_.size() * 2;
  }
  Write& write = written_[fmt::format("{} {}/{}", object.kind().resource, object.ns(), object.name())];
  write = {&mirror, std::max(write.revision, revision)};
}

uint64_t Writer::last_write(const Request& request) const {
  if (written_.empty()) return 0;
  const auto& command = request.command;
  const auto it = written_.find(fmt::format("{} {}/{}", command.resource, command.ns, command.name));
  return it == written_.end() ? 0 : it->second.revision;
}

void Writer::refresh(RequestPtr request, std::function<void()> next) {
  request->fresh = true;
  struct Progress {
    size_t left;
    bool failed = false;
  };
  auto progress = std::make_shared<Progress>(Progress{1 + request->beside.size()});
  const auto reached = alive_.guard([request, progress, next = std::move(next)](Status status) {
    --progress->left;
    if (!status.ok() && !std::exchange(progress->failed, true)) return request->done(status.error());
    if (progress->left == 0 && !progress->failed) next();
  });
  for (Mirror* mirror : request->beside) mirror->at_head(reached);
  request->mirror->at_head(reached);
}

void Writer::succeed(const RequestPtr& request, const Plan& plan, const state::Committed& committed) {
  if (committed.duplicate) return answer_duplicate(request, plan, committed);
  Answer answer;
  answer.outcome = plan.kind == Plan::Kind::kErase && plan.outcome == Answer::Outcome::kObject
                       ? Answer::Outcome::kDeleted
                       : plan.outcome;
  answer.kind = request->kind;
  answer.warnings = std::move(request->warnings);
  answer.revision = committed.revisions.empty() ? plan.after.revision() : committed.revisions[0];
  answer.object = plan.after.at(answer.revision);
  if (!committed.revisions.empty()) remember(*request->mirror, answer.object, answer.revision);
  if (plan.present) plan.present(answer);
  request->done(std::move(answer));
}

// What an earlier try made is in the store, not in this plan (a new uid, another generated name).
void Writer::answer_duplicate(const RequestPtr& request, const Plan& plan, const state::Committed& committed) {
  const uint64_t revision = committed.revisions.empty() ? 0 : committed.revisions[0];
  request->mirror->await(revision, alive_.guard([request, plan, revision](Status status) {
    if (!status.ok()) return request->done(unresolved(status.error()));
    Answer answer;
    answer.outcome = plan.outcome;
    answer.kind = request->kind;
    answer.duplicate = true;
    answer.revision = revision;
    const model::Object* now = nullptr;
    if (const auto first = request->mirror->after(revision == 0 ? 0 : revision - 1);
        first && *first < request->mirror->end()) {
      const auto& entry = request->mirror->entry(*first);
      if (entry.revision == revision) now = entry.after ? &entry.after : &entry.before;
      if (entry.revision == revision && !entry.after) answer.outcome = Answer::Outcome::kDeleted;
    }
    if (now == nullptr) now = request->mirror->find(request->command.ns, request->command.name);
    if (now != nullptr) {
      answer.object = *now;
    } else if (plan.after) {
      answer.object = plan.after.at(revision);
    }
    if (plan.present && answer.object) plan.present(answer);
    request->done(std::move(answer));
  }));
}

void Writer::refuse(const RequestPtr& request, Error error) {
  if (!request->may_repeat) return request->done(std::move(error));
  // A commit that cannot be: only the memory of the command's id can make it succeed.
  state::Commit probe;
  probe.command_id = request->command.id;
  probe.guards.push_back({.kind = Guard::Kind::kUidPresent, .text = "none"});
  store_.commit(std::move(probe),
                alive_.guard([this, request, error = std::move(error)](Result<state::Committed> committed) {
                  if (!committed.ok()) {
                    return request->done(unseen(committed.code()) ? unresolved(committed.error()) : error);
                  }
                  Plan plan;
                  if (request->command.verb == bus::Verb::Create) plan.outcome = Answer::Outcome::kCreated;
                  if (request->command.verb == bus::Verb::Bind) plan.outcome = Answer::Outcome::kNothing;
                  answer_duplicate(request, plan, *committed);
                }));
}

Result<model::Object> Writer::live_namespace(const Request& request, std::string_view name) const {
  const model::Object* ns = world_.namespaces().find("", request.command.ns);
  if (ns == nullptr) return not_found(world_.namespaces().kind(), request.command.ns);
  if (is_terminating(*ns)) return terminating(request, name);
  return *ns;
}

// A refusal that was read from a view counts only at its head; one that will pass is given time.
bool Writer::think_again(const RequestPtr& request, const std::function<void()>& again) {
  if (!request->unsure.empty() && !request->looked) {
    request->looked = true;
    world_.at_heads_of(request->unsure, alive_.guard([request, again](Status status) {
      if (!status.ok()) return request->done(status.error());
      again();
    }));
    return true;
  }
  if (!request->pending || ++request->pauses > kMaxPauses) return false;
  request->pause = std::make_shared<Timer>(loop_.after(kPause, again));
  return true;
}

bool Writer::quota_failed(const RequestPtr& request, const model::Object& object, const Error& error,
                          const std::function<void()>& again) {
  const std::string_view fault = at_fault(error);
  if (error.code != Code::kForbidden || (fault != "share" && fault != "counter")) return false;
  // The quotas may have changed since: their limits, or that there are any.
  if (!request->looked || (fault == "counter" && ++request->attempts < kMaxAttempts)) {
    request->looked = true;
    world_.at_heads_of({"resourcequotas"}, alive_.guard([request, again](Status status) {
      if (!status.ok()) return request->done(status.error());
      again();
    }));
    return true;
  }
  constexpr std::string_view kAccount = "account ";
  const std::string account =
      error.message.substr(kAccount.size(), error.message.find(' ', kAccount.size()) - kAccount.size());
  auto exceeded = exceeded_quota(admission_for(context_, *request, {}), object, account,
                                 static_cast<int64_t>(error.current_revision));
  refuse(request, exceeded ? std::move(*exceeded) : error);
  return true;
}

void Writer::create(RequestPtr request) { plan_creation(std::move(request)); }

void Writer::plan_creation(RequestPtr request) {
  auto plan = plan_create(context_, *request);
  if (!plan.ok()) {
    if (think_again(request, [this, request] { plan_creation(request); })) return;
    return refuse(request, std::move(plan.error()));
  }
  if (request->kind->namespaced) {
    auto ns = live_namespace(*request, plan->after.name());
    if (!ns.ok()) {
      if (request->fresh) return refuse(request, std::move(ns.error()));
      request->fresh = true;
      return world_.namespaces().at_head(alive_.guard([this, request](Status status) {
        if (!status.ok()) return request->done(status.error());
        plan_creation(request);
      }));
    }
    plan->guards.push_back({.kind = Guard::Kind::kUid, .key = key_of(*ns), .text = std::string(ns->uid())});
    plan->guards.push_back({.kind = Guard::Kind::kClaimAbsent, .text = terminating_claim(request->command.ns)});
  }
  if (request->command.dry_run) {
    // Nothing is committed, so only the mirror can tell that the name is taken.
    if (!request->fresh) return refresh(request, [this, request] { plan_creation(request); });
    if (request->mirror->find(request->command.ns, plan->after.name()) != nullptr)
      return creation_taken(request, *plan);
    return succeed(request, *plan, {});
  }
  store_.commit(commit_for(*request, *plan, {}),
                alive_.guard([this, request, plan = *plan](Result<state::Committed> committed) {
                  if (committed.ok()) return succeed(request, plan, *committed);
                  create_failed(request, plan, std::move(committed.error()));
                }));
}

void Writer::create_failed(RequestPtr request, const Plan& plan, Error error) {
  const bool retry = ++request->attempts < kMaxAttempts;
  const std::string_view fault = at_fault(error);
  const std::string name(plan.after.name());
  if (retry && quota_failed(request, plan.after, error, [this, request] { plan_creation(request); })) return;
  // Perhaps only what was to come with it exists.
  if (error.code == Code::kAlreadyExists && !plan.also.empty() && fault != "claim") {
    request->alone = true;
    return plan_creation(request);
  }
  if (error.code == Code::kAlreadyExists && fault == "claim") {
    const std::string taken = error.message.substr(0, error.message.find(' '));
    if (taken.starts_with("terminating/")) return request->done(terminating(*request, name));
    // Another Service was faster. A wish cannot be granted any more; anything else is drawn again.
    auto wish = context_.allocator.wished(*request, plan.after, taken);
    if (wish) return request->done(std::move(*wish));
    if (retry) return refresh(request, [this, request] { plan_creation(request); });
    return request->done(context_.allocator.exhausted(plan.after));
  }
  if (error.code == Code::kAlreadyExists) return creation_taken(request, plan);
  // The namespace has gone or was made anew since it was looked up.
  if ((error.code == Code::kNotFound || error.code == Code::kConflict) && retry) {
    return world_.namespaces().at_head(alive_.guard([this, request](Status status) {
      if (!status.ok()) return request->done(status.error());
      plan_creation(request);
    }));
  }
  request->done(std::move(error));
}

// The name is in use: another one is drawn, an upsert becomes an update.
void Writer::creation_taken(RequestPtr request, const Plan& plan) {
  const std::string name(plan.after.name());
  if (request->update) {
    if (request->attempts >= kMaxAttempts) return request->done(modified(*request->kind, name, 0));
    const Planner planner = request->update;
    return refresh(request, [this, request, planner] { plan_change(request, planner); });
  }
  Error error = already_exists(*request->kind, name);
  const bool drawn = request->command.name.empty() && plan.after.meta()->generate_name() != nullptr &&
                     !model::str(plan.after.meta()->generate_name()).empty();
  if (drawn && request->attempts < kMaxNames) return plan_creation(request);
  if (drawn) {
    error.message += ", the server was not able to generate a unique name for the object";
    error.retry_after_seconds = 1;
  }
  request->done(std::move(error));
}

void Writer::modify(RequestPtr request, Planner planner) {
  if (may_create(*request)) request->update = planner;
  if (request->beside.empty()) return plan_change(std::move(request), planner);
  refresh(request, [this, request, planner] { plan_change(request, planner); });
}

void Writer::plan_change(RequestPtr request, const Planner& planner) {
  const auto& command = request->command;
  const auto again = [this, request, planner] { plan_change(request, planner); };
  if (const uint64_t written = last_write(*request); written > request->mirror->revision()) {
    return request->mirror->await(written, alive_.guard([request, again](Status status) {
      if (!status.ok()) return request->done(status.error());
      again();
    }));
  }
  const model::Object* found = request->mirror->find(command.ns, command.name);
  if (found == nullptr) {
    if (!request->fresh) return refresh(request, again);
    if (request->update && command.uid.empty() && command.revision == 0) return plan_creation(request);
    return refuse(request, not_found(*request->kind, command.name));
  }
  const model::Object before = *found;
  auto plan = planner(*request, before);
  const bool changes = plan.ok() && (plan->kind != Plan::Kind::kNothing || plan->commit_nothing);
  // An error or "nothing to do" may come from an old view: it counts only at the head.
  if (!changes && !request->fresh) return refresh(request, again);
  if (!plan.ok()) {
    if (think_again(request, again)) return;
    return refuse(request, std::move(plan.error()));
  }
  if (command.dry_run && changes) plan->after = plan->after.at(before.revision());
  if (!changes || command.dry_run) return succeed(request, *plan, {});
  store_.commit(commit_for(*request, *plan, before),
                alive_.guard([this, request, planner, before, plan = *plan](Result<state::Committed> committed) {
                  if (committed.ok()) return succeed(request, plan, *committed);
                  if (quota_failed(request, plan.after, committed.error(),
                                   [this, request, planner] { plan_change(request, planner); }))
                    return;
                  change_failed(request, planner, before, std::move(committed.error()));
                }));
}

void Writer::change_failed(RequestPtr request, const Planner& planner, const model::Object& before, Error error) {
  const std::string_view fault = at_fault(error);
  const bool stale = error.code == Code::kNotFound || (error.code == Code::kConflict && fault != "uid") ||
                     (error.code == Code::kAlreadyExists && fault == "claim");
  if (!stale) return request->done(std::move(error));
  if (error.code == Code::kConflict && based_on_a_revision(*request)) {
    return refuse(request, modified(*request->kind, before.name(), error.current_revision));
  }
  if (++request->attempts >= kMaxAttempts) {
    return request->done(modified(*request->kind, before.name(), error.current_revision));
  }
  refresh(request, [this, request, planner] { plan_change(request, planner); });
}

}  // namespace gantry::apigw
