#include "libs/state/failures.h"

#include <fmt/format.h>

#include "libs/state/event_log.h"

namespace gantry::state {
namespace {

constexpr uint64_t kExact = uint64_t{1} << 53;  // Redis scripts compute in doubles

std::string print(const Key& key) {
  return key.ns.empty() ? fmt::format("{}/{}", key.resource, key.name)
                        : fmt::format("{}/{}/{}", key.resource, key.ns, key.name);
}

bool exact(int64_t delta) { return delta > -static_cast<int64_t>(kExact) && delta < static_cast<int64_t>(kExact); }

}  // namespace

Error failure(std::string_view why, const Key& key, std::string_view text, uint64_t current, std::string_view holder) {
  auto make = [&](Code code, std::string message, std::string_view field) {
    return Error{.code = code,
                 .message = std::move(message),
                 .causes = {{.reason = "", .message = "", .field = std::string(field)}},
                 .name = key.name};
  };
  Error error;
  if (why == kFailExists) {
    error = make(Code::kAlreadyExists, fmt::format("{} already exists", print(key)), kFailRevision);
  } else if (why == kFailMissing) {
    error = make(Code::kNotFound, fmt::format("{} not found", print(key)), kFailRevision);
  } else if (why == kFailRevision) {
    error = make(Code::kConflict, fmt::format("{} has been modified: it is at revision {}", print(key), current),
                 kFailRevision);
  } else if (why == kFailUid) {
    error = make(Code::kConflict, fmt::format("{} has another uid than {}", print(key), text), kFailUid);
  } else if (why == kFailOwner) {
    error = make(Code::kForbidden,
                 holder.empty() ? fmt::format("no object with uid {} exists", text)
                                : fmt::format("an object with uid {} exists: {}", text, holder),
                 kFailOwner);
  } else if (why == kFailClaim) {
    error = make(Code::kAlreadyExists, fmt::format("{} is already taken by {}", text, holder), kFailClaim);
  } else if (why == kFailCounter) {
    error = make(Code::kForbidden, fmt::format("{} would leave its limits: it is {} now", text, holder), kFailCounter);
  } else if (why == kFailShare) {
    error = make(Code::kForbidden, fmt::format("account {} is full: it has {} now", text, current), kFailShare);
  } else if (why == kFailLease) {
    error = make(Code::kForbidden, fmt::format("lease {} was taken with epoch {}", text, current), kFailLease);
  } else if (why == kFailSequence) {
    error = make(Code::kForbidden, fmt::format("{} has already reported {}", text, holder), kFailSequence);
  } else {
    error = make(Code::kInternal, fmt::format("commit refused for an unknown reason: {}", why), why);
  }
  error.current_revision = current;
  return error;
}

Status check_commit(const Commit& commit) {
  auto invalid = [](std::string message) { return Error{.code = Code::kInvalid, .message = std::move(message)}; };
  for (const auto& guard : commit.guards) {
    if (guard.kind == Guard::Kind::kSequence) continue;  // compared as text
    if (guard.number >= kExact || !exact(guard.delta)) return invalid("commit: a guard's number is not below 2^53");
  }
  for (const auto& operation : commit.operations) {
    if (operation.number >= kExact || !exact(operation.delta)) {
      return invalid("commit: an operation's number is not below 2^53");
    }
    if (operation.kind != Operation::Kind::kPut && operation.kind != Operation::Kind::kDelete) continue;
    if (operation.key.resource.empty() || operation.key.name.empty()) {
      return invalid("commit: an operation names no object");
    }
    if (auto checked = check_event(operation.event); !checked) return checked;
  }
  return Done{};
}

}  // namespace gantry::state
