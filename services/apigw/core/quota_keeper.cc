#include "services/apigw/core/quota_keeper.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "libs/model/json.h"
#include "libs/model/served.h"
#include "services/apigw/admission/quota.h"

namespace gantry::apigw {
namespace {

using model::Object;
using nlohmann::json;

constexpr auto kSoon = std::chrono::milliseconds(100);
constexpr auto kPeriod = std::chrono::seconds(60);
constexpr uint32_t kLeaseMillis = 5'000;
constexpr int kMaxRounds = 50;

bool counts(const model::Kind& kind) { return kind.namespaced && model::stored(kind) && kind.resource != "events"; }

json as_json(const Amounts& amounts) {
  json out = json::object();
  for (const auto& [name, value] : amounts) out[name] = value.to_string();
  return out;
}

}  // namespace

QuotaKeeper::QuotaKeeper(Loop& loop, state::Store& store, Api& api, World& world)
    : loop_(loop), store_(store), api_(api), world_(world), holder_(new_uid()) {
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!counts(kind)) continue;
    world_.find(kind.resource)->cache().on_change([this](const projection::Change& change) {
      changed(change.after ? change.after.ns() : change.before.ns());
    });
  }
  // Whatever went wrong is put right in the end.
  every_ = loop_.every(kPeriod, [this] {
    world_.find("resourcequotas")->cache().for_each([this](const Object& quota) {
      dirty_.insert(std::string(quota.ns()));
    });
    if (!dirty_.empty()) tick();
  });
}

void QuotaKeeper::changed(std::string_view ns) {
  bool limited = false;
  world_.find("resourcequotas")->cache().for_each_in(ns, [&](const Object&) { limited = true; });
  if (!limited || !dirty_.insert(std::string(ns)).second || soon_) return;
  soon_ = loop_.after(kSoon, [this] { tick(); });
}

void QuotaKeeper::tick() {
  soon_.reset();
  store_.hold("apigw/quota-keeper", holder_, kLeaseMillis, alive_.guard([this](Result<uint64_t> epoch) {
    // While another does it, this one stays ready to go on.
    if (!epoch.ok()) {
      if (!soon_) soon_ = loop_.after(std::chrono::seconds(1), [this] { tick(); });
      return;
    }
    for (const auto& ns : std::exchange(dirty_, {})) look(ns);
  }));
}

void QuotaKeeper::look(const std::string& ns) {
  std::vector<Object> quotas;
  world_.visit_objects("resourcequotas", ns, [&](const Object& quota) { quotas.push_back(quota); });
  for (const auto& quota : quotas) {
    const Amounts tracked = quota_tracked(quota);
    std::vector<std::string> missing;
    for (const auto& [resource, hard] : quota_hard(quota)) {
      if (!tracked.contains(resource)) missing.push_back(resource);
    }
    missing.empty() ? tell(quota, {}) : audit(quota, std::move(missing), kMaxRounds);
  }
}

std::vector<const Object*> QuotaKeeper::covered(const Object& quota) const {
  std::vector<const Object*> out;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!counts(kind)) continue;
    world_.visit_objects(kind.resource, quota.ns(), [&](const Object& object) { out.push_back(&object); });
  }
  return out;
}

void QuotaKeeper::audit(const Object& quota, std::vector<std::string> resources, int rounds) {
  if (rounds == 0 || (rounds == kMaxRounds && !auditing_.insert(std::string(quota.uid())).second)) return;
  std::vector<std::string> kinds;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (counts(kind)) kinds.push_back(kind.resource);
  }
  // Whoever commits after this knows of the quota: its namespace's counter tells.
  world_.at_heads_of(std::move(kinds), alive_.guard([this, quota, resources, rounds](Status status) {
    if (status.ok()) return compare(quota, resources, rounds);
    auditing_.erase(std::string(quota.uid()));
    changed(quota.ns());
  }));
}

void QuotaKeeper::compare(const Object& quota, const std::vector<std::string>& resources, int rounds) {
  struct Progress {
    size_t left = 1, fixed = 0;
    bool failed = false;
  };
  auto progress = std::make_shared<Progress>();
  const auto finish = [this, progress, quota, resources, rounds] {
    if (--progress->left > 0) return;
    if (progress->fixed > 0 && !progress->failed && rounds > 1) return audit(quota, resources, rounds - 1);
    auditing_.erase(std::string(quota.uid()));
    if (progress->failed || progress->fixed > 0) return changed(quota.ns());
    tell(quota, resources);
  };
  const auto fix = [this, progress, finish](const std::string& account, const std::string& uid, uint64_t number,
                                            state::Guard guard) {
    ++progress->left;
    ++progress->fixed;
    state::Commit commit;
    commit.command_id = new_uid();
    commit.guards.push_back(std::move(guard));
    commit.operations.push_back(
        {.kind = state::Operation::Kind::kShare, .uid = uid, .text = account, .number = number, .delta = -1});
    store_.commit(std::move(commit), alive_.guard([progress, finish](Result<state::Committed> done) {
      // The object has changed: the next round sees it.
      if (!done.ok() && (done.code() == Code::kUnavailable || done.code() == Code::kUnknownOutcome))
        progress->failed = true;
      finish();
    }));
  };
  for (const auto& resource : resources) {
    ++progress->left;
    const std::string account = quota_account(quota, resource);
    store_.shares(account, alive_.guard([this, progress, finish, fix, quota, resource,
                                         account](Result<std::vector<state::Share>> shares) {
      if (!shares.ok()) {
        progress->failed = true;
        return finish();
      }
      std::map<std::string, uint64_t> has;
      for (const auto& share : *shares) has[share.uid] = share.number;
      for (const Object* object : covered(quota)) {
        const Amounts wanted = shares_of(quota, *object);
        const auto found = wanted.find(resource);
        const uint64_t number =
            found == wanted.end() ? 0 : static_cast<uint64_t>(share_number(resource, found->second));
        const std::string uid(object->uid());
        const auto there = has.find(uid);
        const uint64_t is = there == has.end() ? 0 : there->second;
        if (there != has.end()) has.erase(there);
        if (is == number) continue;
        fix(account, uid, number,
            {.kind = state::Guard::Kind::kRevision,
             .key = {object->kind().resource, std::string(object->ns()), std::string(object->name())},
             .number = object->revision()});
      }
      for (const auto& [uid, number] : has) fix(account, uid, 0, {.kind = state::Guard::Kind::kUidAbsent, .text = uid});
      finish();
    }));
  }
  finish();
}

void QuotaKeeper::tell(const Object& quota, const std::vector<std::string>& newly_tracked) {
  const Object* now = world_.find_object("resourcequotas", quota.ns(), quota.name());
  if (now == nullptr || now->uid() != quota.uid()) return;
  Amounts hard = quota_hard(*now), tracked = quota_tracked(*now), used;
  // What is not on its account yet is not told.
  for (const auto& resource : newly_tracked) tracked.try_emplace(resource);
  std::erase_if(hard, [&](const auto& one) { return !tracked.contains(one.first); });
  for (const auto& [resource, limit] : hard) used[resource] = model::Quantity::from_value(0);
  for (const Object* object : covered(*now)) {
    for (const auto& [resource, amount] : shares_of(*now, *object)) {
      if (used.contains(resource)) used[resource] = used[resource] + amount;
    }
  }
  const json status{{"hard", as_json(hard)}, {"used", as_json(used)}};
  json tree = model::to_tree(*now);
  if (tree.value("status", json::object()) == status) return;
  tree["status"] = status;
  bus::Command command;
  command.verb = bus::Verb::Update;
  command.resource = "resourcequotas";
  command.subresource = "status";
  command.ns = now->ns();
  command.name = now->name();
  command.revision = now->revision();
  command.json = tree.dump();
  api_.handle(gateway(), std::move(command), alive_.guard([this, ns = std::string(now->ns())](Result<Answer> answer) {
    if (answer.ok() || answer.code() == Code::kNotFound) return;
    changed(ns);  // somebody was faster
  }));
}

}  // namespace gantry::apigw
