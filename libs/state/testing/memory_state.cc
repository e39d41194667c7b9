#include "libs/state/testing/memory_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "libs/state/failures.h"

namespace gantry::state::testing {

const MemoryState::Object* MemoryState::find(const Key& key) const {
  auto resource = resources_.find(key.resource);
  if (resource == resources_.end()) return nullptr;
  auto object = resource->second.objects.find({key.ns, key.name});
  return object == resource->second.objects.end() ? nullptr : &object->second;
}

std::optional<Error> MemoryState::check(const Guard& guard) const {
  auto fail = [&](std::string_view why, uint64_t current = 0, std::string_view holder = {}) {
    return failure(why, guard.key, guard.text, current, holder);
  };
  switch (guard.kind) {
    case Guard::Kind::kRevision: {
      const auto* object = find(guard.key);
      if (guard.number == 0)
        return object == nullptr ? std::nullopt : std::optional(fail(kFailExists, object->revision));
      if (object == nullptr) return fail(kFailMissing);
      if (object->revision != guard.number) return fail(kFailRevision, object->revision);
      return std::nullopt;
    }
    case Guard::Kind::kUid: {
      const auto* object = find(guard.key);
      if (object == nullptr) return fail(kFailMissing);
      auto uid = uids_.find(guard.text);
      if (uid == uids_.end() || uid->second != guard.key) return fail(kFailUid, object->revision);
      return std::nullopt;
    }
    case Guard::Kind::kUidAbsent:
    case Guard::Kind::kUidPresent: {
      auto uid = uids_.find(guard.text);
      bool present = uid != uids_.end();
      if (present == (guard.kind == Guard::Kind::kUidPresent)) return std::nullopt;
      return fail(kFailOwner, 0,
                  present ? fmt::format("{} {}/{}", uid->second.resource, uid->second.ns, uid->second.name) : "");
    }
    case Guard::Kind::kClaimAbsent: {
      auto claim = claims_.find(guard.text);
      return claim == claims_.end() ? std::nullopt : std::optional(fail(kFailClaim, 0, claim->second));
    }
    case Guard::Kind::kCounter: {
      auto counter = counters_.find(guard.text);
      int64_t now = counter == counters_.end() ? 0 : counter->second;
      int64_t then = now + guard.delta;
      if (then >= 0 && then <= static_cast<int64_t>(guard.number)) return std::nullopt;
      return fail(kFailCounter, 0, std::to_string(now));
    }
    case Guard::Kind::kLease: {
      auto lease = leases_.find(guard.text);
      if (lease == leases_.end() || lease->second.epoch <= guard.number) return std::nullopt;
      return fail(kFailLease, lease->second.epoch);
    }
    case Guard::Kind::kSequence: {
      auto sequence = sequences_.find(guard.text);
      if (sequence == sequences_.end() || sequence->second < std::pair(guard.number, guard.number2))
        return std::nullopt;
      return fail(kFailSequence, 0, fmt::format("{}.{}", sequence->second.first, sequence->second.second));
    }
  }
  return Error{.message = "unknown guard"};
}

std::optional<Error> MemoryState::check_operations(const std::vector<Operation>& operations) const {
  std::map<std::string, std::string> claims;  // as earlier operations of this commit leave them; "" = free
  std::map<Key, bool> exists;
  for (const auto& operation : operations) {
    switch (operation.kind) {
      case Operation::Kind::kPut:
        exists[operation.key] = true;
        break;
      case Operation::Kind::kDelete: {
        auto known = exists.find(operation.key);
        if (known == exists.end() ? find(operation.key) == nullptr : !known->second) {
          return failure(kFailMissing, operation.key, {}, 0, {});
        }
        exists[operation.key] = false;
        break;
      }
      case Operation::Kind::kClaim:
      case Operation::Kind::kRelease: {
        auto known = claims.find(operation.text);
        if (known == claims.end()) {
          auto stored = claims_.find(operation.text);
          known = claims.emplace(operation.text, stored == claims_.end() ? "" : stored->second).first;
        }
        if (operation.kind == Operation::Kind::kRelease) {
          if (known->second == operation.uid) known->second.clear();
        } else if (known->second.empty()) {
          known->second = operation.uid;
        } else if (known->second != operation.uid) {
          return failure(kFailClaim, operation.key, operation.text, 0, known->second);
        }
        break;
      }
      case Operation::Kind::kShare: {
        const auto [old, sum] = share(operation.text, operation.uid);
        if (operation.delta < 0 || operation.number <= old) break;
        if (sum - old + operation.number > static_cast<uint64_t>(operation.delta))
          return failure(kFailShare, operation.key, operation.text, sum, {});
        break;
      }
      case Operation::Kind::kCloseAccount:
      case Operation::Kind::kCount:
      case Operation::Kind::kLease:
        break;
    }
  }
  return std::nullopt;
}

std::pair<uint64_t, uint64_t> MemoryState::share(const std::string& account, const std::string& uid) const {
  const auto found = accounts_.find(account);
  if (found == accounts_.end()) return {0, 0};
  uint64_t sum = 0;
  for (const auto& [holder, number] : found->second) sum += number;
  const auto own = found->second.find(uid);
  return {own == found->second.end() ? 0 : own->second, sum};
}

std::vector<Share> MemoryState::shares(const std::string& account) const {
  std::vector<Share> out;
  if (const auto found = accounts_.find(account); found != accounts_.end()) {
    for (const auto& [uid, number] : found->second) out.push_back({uid, number});
  }
  return out;
}

Revision MemoryState::next_head(Resource& resource, const std::string& chain, Revision revision) {
  auto [it, fresh] = resource.heads.try_emplace(chain, revision);
  // A chain without a head may have had one that was trimmed: whoever has not seen that far must not accept.
  return fresh ? resource.trimmed : std::exchange(it->second, revision);
}

Revision MemoryState::append(const Operation& operation, bool existed) {
  auto& resource = resources_[operation.key.resource];
  Revision revision = std::max(resource.head, epoch_ << kEpochShift) + 1;
  resource.head = revision;
  Entry entry{.event = operation.event};
  entry.chains.previous = next_head(resource, std::string(kAllChain), revision);
  entry.chains.in_node = next_head(resource, node_chain(operation.node), revision);
  entry.chains.in_namespace = next_head(resource, namespace_chain(operation.key.ns), revision);
  std::set<std::string> told{operation.node};
  auto tell = [&](bool left, const std::string& node) {
    if (!told.insert(node).second) return;
    entry.chains.node_events.push_back(
        {.left = left, .previous = next_head(resource, node_chain(node), revision), .node = node});
  };
  if (operation.kind == Operation::Kind::kPut && existed) tell(true, operation.old_node);
  for (const auto& node : operation.dependents) tell(false, node);
  resource.log.emplace(revision, std::move(entry));
  return revision;
}

Result<Committed> MemoryState::commit(const Commit& commit, WallMicros now) {
  forget_commands(now);
  if (!commit.command_id.empty()) {
    if (auto known = commands_.find(commit.command_id); known != commands_.end()) {
      return Committed{.revisions = known->second.revisions, .duplicate = true};
    }
  }
  for (const auto& guard : commit.guards) {
    if (auto error = check(guard)) return *error;
  }
  if (auto error = check_operations(commit.operations)) return *error;

  Committed out;
  for (const auto& guard : commit.guards) {
    if (guard.kind == Guard::Kind::kSequence) sequences_[guard.text] = {guard.number, guard.number2};
  }
  for (const auto& operation : commit.operations) {
    switch (operation.kind) {
      case Operation::Kind::kPut: {
        bool existed = find(operation.key) != nullptr;
        auto revision = append(operation, existed);
        resources_[operation.key.resource].objects[{operation.key.ns, operation.key.name}] = {revision,
                                                                                              operation.object};
        if (!operation.uid.empty()) uids_[operation.uid] = operation.key;
        out.revisions.push_back(revision);
        break;
      }
      case Operation::Kind::kDelete:
        out.revisions.push_back(append(operation, true));
        resources_[operation.key.resource].objects.erase({operation.key.ns, operation.key.name});
        if (!operation.uid.empty()) {
          uids_.erase(operation.uid);
          sequences_.erase(operation.uid);
        }
        break;
      case Operation::Kind::kClaim:
        claims_[operation.text] = operation.uid;
        break;
      case Operation::Kind::kRelease: {
        auto claim = claims_.find(operation.text);
        if (claim != claims_.end() && claim->second == operation.uid) claims_.erase(claim);
        break;
      }
      case Operation::Kind::kCount: {
        auto& counter = counters_[operation.text];
        counter += operation.delta;
        if (counter == 0) counters_.erase(operation.text);
        break;
      }
      case Operation::Kind::kLease: {
        auto& lease = leases_[operation.text];
        if (operation.number > lease.epoch) lease = {.epoch = operation.number, .holder = "", .expires = 0};
        break;
      }
      case Operation::Kind::kShare:
        if (operation.number == 0) {
          if (auto account = accounts_.find(operation.text); account != accounts_.end()) {
            account->second.erase(operation.uid);
            if (account->second.empty()) accounts_.erase(account);
          }
        } else {
          accounts_[operation.text][operation.uid] = operation.number;
        }
        break;
      case Operation::Kind::kCloseAccount:
        accounts_.erase(operation.text);
        break;
    }
  }
  if (!commit.command_id.empty()) {
    auto expires = now + std::chrono::duration_cast<Duration>(kCommandWindow).count();
    commands_[commit.command_id] = {out.revisions, expires};
    command_order_.emplace_back(expires, commit.command_id);
  }
  return out;
}

void MemoryState::forget_commands(WallMicros now) {
  size_t gone = 0;
  for (; gone < command_order_.size() && command_order_[gone].first <= now; ++gone) {
    commands_.erase(command_order_[gone].second);
  }
  if (gone > 0) command_order_.erase(command_order_.begin(), command_order_.begin() + static_cast<ptrdiff_t>(gone));
}

std::optional<Stored> MemoryState::get(const Key& key) const {
  const auto* object = find(key);
  if (object == nullptr) return std::nullopt;
  return Stored{key, object->revision, object->bytes};
}

Snapshot MemoryState::snapshot(const std::string& resource) const {
  Snapshot out;
  auto it = resources_.find(resource);
  if (it == resources_.end()) return out;
  out.revision = it->second.head;
  for (const auto& [name, object] : it->second.objects) {
    out.objects.push_back({{resource, name.first, name.second}, object.revision, object.bytes});
  }
  return out;
}

Result<std::vector<LogEntry>> MemoryState::read_log(const std::string& name, Revision after, size_t limit) const {
  std::vector<LogEntry> out;
  auto found = resources_.find(name);
  static const Resource kNone;
  const auto& resource = found == resources_.end() ? kNone : found->second;
  // Within an epoch revisions are dense, so an unknown one was trimmed or lost in a failover: either way start from a
  // snapshot.
  if (after != resource.head && after != resource.trimmed && !resource.log.contains(after)) {
    return Error{.code = Code::kExpired,
                 .message = fmt::format("the change log of {} does not hold revision {}", name, after)};
  }
  for (auto it = resource.log.upper_bound(after); it != resource.log.end() && out.size() < limit; ++it) {
    auto entry = make_log_entry(it->first, it->second.event, it->second.chains);
    if (!entry) return entry.error();
    out.push_back(std::move(*entry));
  }
  return out;
}

Revision MemoryState::head(const std::string& resource) const {
  auto it = resources_.find(resource);
  return it == resources_.end() ? 0 : it->second.head;
}

std::vector<std::pair<std::string, Revision>> MemoryState::heads(const std::string& resource) const {
  auto it = resources_.find(resource);
  if (it == resources_.end()) return {};
  return {it->second.heads.begin(), it->second.heads.end()};
}

void MemoryState::trim(const std::string& name, Revision keep) {
  auto& resource = resources_[name];
  auto end = resource.log.lower_bound(keep);
  if (end == resource.log.begin()) return;
  resource.trimmed = std::prev(end)->first;
  resource.log.erase(resource.log.begin(), end);
  std::erase_if(resource.heads,
                [&](const auto& head) { return head.first != kAllChain && head.second <= resource.trimmed; });
}

Result<uint64_t> MemoryState::hold(const std::string& name, const std::string& holder, uint32_t ttl_millis,
                                   WallMicros now) {
  auto& lease = leases_[name];
  if (lease.holder != holder) {
    if (!lease.holder.empty() && lease.expires > now) {
      return Error{.code = Code::kConflict,
                   .message = fmt::format("lease {} is held by {}", name, lease.holder),
                   .current_revision = lease.epoch};
    }
    lease.epoch = std::max(lease.epoch, epoch_ << kEpochShift) + 1;
    lease.holder = holder;
  }
  lease.expires = now + static_cast<WallMicros>(ttl_millis) * 1000;
  return lease.epoch;
}

size_t MemoryState::object_count() const {
  size_t out = 0;
  for (const auto& [name, resource] : resources_) out += resource.objects.size();
  return out;
}

}  // namespace gantry::state::testing
