// Short forms for tests: operations with sound events.
#pragma once

#include <string>

#include "libs/state/store.h"

namespace gantry::state::testing {

/// A serialized gantry.bus.Event with its place holders.
std::string make_event(const Key& key, std::string_view object, std::string_view node = {}, bool deleted = false);
/// Put of `object` at `key`; its uid is "uid-<name>" unless given.
Operation put(Key key, std::string object, std::string node = {}, std::string uid = {});
Operation erase(Key key, std::string last_state = {}, std::string node = {}, std::string uid = {});
Operation claim(std::string text, std::string uid);
Operation release(std::string text, std::string uid);
Operation count(std::string text, int64_t delta);
Operation raise_lease(std::string text, uint64_t epoch);

Guard at_revision(Key key, Revision revision);
Guard has_uid(Key key, std::string uid);
Guard uid_absent(std::string uid);
Guard uid_present(std::string uid);
Guard unclaimed(std::string text);
Guard within(std::string text, int64_t delta, uint64_t limit);
Guard lease(std::string text, uint64_t epoch);
Guard sequence(std::string text, uint64_t epoch, uint64_t number);

}  // namespace gantry::state::testing
