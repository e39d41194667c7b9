// The errors of a commit, worded once for every Store. Pure, thread-safe.
#pragma once

#include <string_view>

#include "libs/base/result.h"
#include "libs/state/store.h"

namespace gantry::state {

/// Why the check of a guard or an operation failed; the words are those of commit.lua.
inline constexpr std::string_view kFailExists = "exists";      // kRevision 0, but the object is there
inline constexpr std::string_view kFailMissing = "missing";    // the object is not there
inline constexpr std::string_view kFailRevision = "revision";  // another revision
inline constexpr std::string_view kFailUid = "uid";            // another uid
inline constexpr std::string_view kFailOwner = "owner";        // kUidAbsent, kUidPresent
inline constexpr std::string_view kFailClaim = "claim";
inline constexpr std::string_view kFailCounter = "counter";
inline constexpr std::string_view kFailShare = "share";  // the account is full
inline constexpr std::string_view kFailLease = "lease";
inline constexpr std::string_view kFailSequence = "sequence";

/// `key` and `text` are those of the guard or operation at fault; `current` what is there now (a revision, an epoch),
/// `holder` who has it.
Error failure(std::string_view why, const Key& key, std::string_view text, uint64_t current, std::string_view holder);

/// Arguments that no store can take: a number past 2^53 where exactness matters, an event that readers could not
/// complete. kInvalid.
Status check_commit(const Commit& commit);

}  // namespace gantry::state
