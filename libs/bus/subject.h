// NATS subjects as patterns: `*` stands for one token, `>` for one or more at the end. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::bus {

/// True if a message on `subject` (no wildcards) reaches a subscription to `pattern`.
bool subject_matches(std::string_view pattern, std::string_view subject);
/// True if every subject that matches `inner` also matches `outer`.
bool pattern_covers(std::string_view outer, std::string_view inner);
/// True if some subject matches both.
bool patterns_overlap(std::string_view a, std::string_view b);

/// The tokens between dots; they point into `subject`.
std::vector<std::string_view> subject_tokens(std::string_view subject);

/// `_INBOX.<identity as token>`: where the replies to an identity travel.
std::string inbox_prefix(std::string_view identity);

}  // namespace gantry::bus
