// What every Store must do, as one parameterised suite: include it in a test binary and instantiate StoreContract with
// harnesses.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "libs/state/store.h"
#include "libs/state/testing/commits.h"
#include "schemas/bus_generated.h"

namespace gantry::state::testing {

/// One empty store and what makes its loop turn.
class StoreHarness {
 public:
  virtual ~StoreHarness() = default;
  virtual Store& store() = 0;
  /// Turns the loop until `done`; false after a generous deadline.
  virtual bool run_until(const std::function<bool()>& done) = 0;
  /// Restarts the server, or does what counts as that.
  virtual void restart() = 0;
};

class StoreContract : public ::testing::TestWithParam<std::function<std::unique_ptr<StoreHarness>()>> {
 protected:
  Store& store() { return harness_->store(); }
  template <typename T>
  Result<T> await(const std::function<void(Callback<T>)>& call) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    call([answer](Result<T> result) { answer->emplace(std::move(result)); });
    EXPECT_FALSE(answer->has_value()) << "answered inside the call";
    if (!harness_->run_until([&] { return answer->has_value(); })) return Error{.message = "test: no answer"};
    return std::move(**answer);
  }
  Result<Committed> commit(std::vector<Operation> operations, std::vector<Guard> guards = {}, std::string id = {}) {
    return await<Committed>([&](auto done) {
      store().commit({std::move(id), std::move(guards), std::move(operations)}, std::move(done));
    });
  }
  Revision must(Result<Committed> result) {
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    return result.ok() && !result->revisions.empty() ? result->revisions.back() : 0;
  }
  static std::string field(const Result<Committed>& result) {
    return result.ok() || result.error().causes.empty() ? "" : result.error().causes[0].field;
  }
  std::optional<Stored> get(Key key) {
    auto out = await<std::optional<Stored>>([&](auto done) { store().get(key, std::move(done)); });
    EXPECT_TRUE(out.ok());
    return out.ok() ? *out : std::nullopt;
  }
  Result<std::vector<LogEntry>> log(std::string resource, Revision after, size_t limit = 10'000) {
    return await<std::vector<LogEntry>>([&](auto done) { store().read_log(resource, after, limit, std::move(done)); });
  }
  Snapshot snapshot(std::string resource) {
    auto out = await<Snapshot>([&](auto done) { store().snapshot(resource, std::move(done)); });
    EXPECT_TRUE(out.ok());
    return out.ok() ? *out : Snapshot{};
  }
  Revision head(std::string resource) {
    auto out = await<Revision>([&](auto done) { store().head(resource, std::move(done)); });
    EXPECT_TRUE(out.ok());
    return out.ok() ? *out : 0;
  }
  std::map<std::string, Revision> heads(std::string resource) {
    using Heads = std::vector<std::pair<std::string, Revision>>;
    auto out = await<Heads>([&](auto done) { store().heads(resource, std::move(done)); });
    EXPECT_TRUE(out.ok());
    return out.ok() ? std::map<std::string, Revision>(out->begin(), out->end()) : std::map<std::string, Revision>();
  }
  Result<uint64_t> hold(std::string name, std::string holder, uint32_t ttl = 60'000) {
    return await<uint64_t>([&](auto done) { store().hold(name, holder, ttl, std::move(done)); });
  }
  static const bus::Event& event(const std::string& bytes) { return *flatbuffers::GetRoot<bus::Event>(bytes.data()); }

  std::unique_ptr<StoreHarness> harness_ = GetParam()();
  const Key pod_{"pods", "default", "web-1"};
};

TEST_P(StoreContract, PutGetDelete) {
  auto first = must(commit({put(pod_, "one")}));
  EXPECT_EQ(first >> kEpochShift, 1u);
  auto stored = get(pod_);
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->revision, first);
  EXPECT_EQ(stored->object, "one");
  auto second = must(commit({put(pod_, std::string("t\0o", 3))}));
  EXPECT_EQ(second, first + 1);
  EXPECT_EQ(get(pod_)->object, std::string("t\0o", 3));
  EXPECT_EQ(must(commit({erase(pod_)})), second + 1);
  EXPECT_FALSE(get(pod_));
  EXPECT_EQ(head("pods"), second + 1);
  EXPECT_EQ(head("services"), 0u);
  EXPECT_EQ(commit({erase(pod_)}).code(), Code::kNotFound);
}

TEST_P(StoreContract, RevisionGuards) {
  auto missing = commit({put(pod_, "x")}, {at_revision(pod_, 7)});
  EXPECT_EQ(missing.code(), Code::kNotFound);
  auto first = must(commit({put(pod_, "x")}, {at_revision(pod_, 0)}));
  auto exists = commit({put(pod_, "y")}, {at_revision(pod_, 0)});
  EXPECT_EQ(exists.code(), Code::kAlreadyExists);
  EXPECT_EQ(exists.error().current_revision, first);
  auto second = must(commit({put(pod_, "y")}, {at_revision(pod_, first)}));
  auto conflict = commit({put(pod_, "z")}, {at_revision(pod_, first)});
  EXPECT_EQ(conflict.code(), Code::kConflict);
  EXPECT_EQ(conflict.error().current_revision, second);
  EXPECT_NE(conflict.error().message.find("pods/default/web-1"), std::string::npos);
  EXPECT_EQ(get(pod_)->object, "y");
}

TEST_P(StoreContract, UidGuards) {
  EXPECT_EQ(commit({put(pod_, "x")}, {has_uid(pod_, "u1")}).code(), Code::kNotFound);
  EXPECT_EQ(field(commit({put(pod_, "x")}, {uid_present("u1")})), "owner");
  auto first = must(commit({put(pod_, "x", "", "u1")}, {uid_absent("u1")}));
  must(commit({put(pod_, "y", "", "u1")}, {has_uid(pod_, "u1"), uid_present("u1")}));
  auto conflict = commit({put(pod_, "z", "", "u1")}, {has_uid(pod_, "u2")});
  EXPECT_EQ(conflict.code(), Code::kConflict);
  EXPECT_EQ(conflict.error().current_revision, first + 1);
  auto present = commit({put(pod_, "z", "", "u1")}, {uid_absent("u1")});
  EXPECT_EQ(present.code(), Code::kForbidden);
  EXPECT_EQ(field(present), "owner");
  must(commit({erase(pod_, "", "", "u1")}));
  EXPECT_EQ(commit({put(pod_, "z", "", "u2")}, {uid_present("u1")}).code(), Code::kForbidden);
}

TEST_P(StoreContract, NothingIsWrittenWhenTheLastCheckFails) {
  must(commit({claim("ip/10.96.0.1", "other")}));
  Key service{"services", "default", "web"};
  auto refused =
      commit({put(service, "x"), put(pod_, "y"), count("quota", 1), claim("free", "me"), claim("ip/10.96.0.1", "me")},
             {sequence("s", 1, 1)}, "cmd-1");
  EXPECT_EQ(refused.code(), Code::kAlreadyExists);
  EXPECT_EQ(field(refused), "claim");
  EXPECT_FALSE(get(service));
  EXPECT_EQ(head("pods"), 0u);
  must(commit({claim("free", "you")}, {sequence("s", 1, 1), within("quota", 0, 0)}, "cmd-1"));
}

TEST_P(StoreContract, Claims) {
  must(commit({claim("c", "a")}));
  must(commit({claim("c", "a")}));
  EXPECT_EQ(commit({claim("c", "b")}).code(), Code::kAlreadyExists);
  EXPECT_EQ(commit({claim("d", "b")}, {unclaimed("c")}).code(), Code::kAlreadyExists);
  must(commit({release("c", "b")}));  // not the holder: no effect
  EXPECT_EQ(commit({claim("c", "b")}).code(), Code::kAlreadyExists);
  must(commit({release("c", "a"), claim("c", "b")}));  // moves within one commit
  EXPECT_EQ(commit({claim("e", "a"), claim("e", "b")}).code(), Code::kAlreadyExists);
  must(commit({release("c", "b")}));
  must(commit({}, {unclaimed("c"), unclaimed("e")}));
}

TEST_P(StoreContract, Counters) {
  must(commit({count("q", 3)}, {within("q", 3, 5)}));
  auto over = commit({count("q", 3)}, {within("q", 3, 5)});
  EXPECT_EQ(over.code(), Code::kForbidden);
  EXPECT_EQ(field(over), "counter");
  EXPECT_EQ(commit({count("q", -4)}, {within("q", -4, 5)}).code(), Code::kForbidden);
  must(commit({count("q", 2)}, {within("q", 2, 5)}));
  must(commit({count("q", -5)}, {within("q", -5, 5)}));
  must(commit({}, {within("q", 0, 0)}));
}

TEST_P(StoreContract, Leases) {
  must(commit({put(pod_, "a")}, {lease("controllers", 3)}));
  must(commit({raise_lease("controllers", 4)}));
  auto old = commit({put(pod_, "b")}, {lease("controllers", 3)});
  EXPECT_EQ(old.code(), Code::kForbidden);
  EXPECT_EQ(field(old), "lease");
  EXPECT_EQ(old.error().current_revision, 4u);
  must(commit({put(pod_, "b"), raise_lease("controllers", 2)}, {lease("controllers", 4)}));
  EXPECT_EQ(commit({put(pod_, "b")}, {lease("controllers", 3)}).code(), Code::kForbidden);
}

TEST_P(StoreContract, Sequences) {
  constexpr uint64_t kBig = (uint64_t{1} << 63) + 5;
  must(commit({put(pod_, "a")}, {sequence("s", 5, 1)}));
  auto stale = commit({put(pod_, "b")}, {sequence("s", 5, 1)});
  EXPECT_EQ(stale.code(), Code::kForbidden);
  EXPECT_EQ(field(stale), "sequence");
  must(commit({}, {sequence("s", 5, 10)}));
  EXPECT_FALSE(commit({}, {sequence("s", 5, 9)}).ok());
  EXPECT_FALSE(commit({}, {sequence("s", 4, 99)}).ok());
  must(commit({}, {sequence("s", 6, 1)}));
  must(commit({}, {sequence("s", kBig, kBig)}));
  EXPECT_FALSE(commit({}, {sequence("s", kBig, kBig)}).ok());
  must(commit({}, {sequence("s", kBig, kBig + 1)}));
  must(commit({erase(pod_, "", "", "s")}));  // keyed by the object's uid: goes with it
  must(commit({}, {sequence("s", 1, 1)}));
}

TEST_P(StoreContract, CommandIdsAreDeduplicated) {
  auto first = commit({put(pod_, "a"), put({"pods", "default", "web-2"}, "b")}, {at_revision(pod_, 0)}, "cmd");
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(first->duplicate);
  auto again = commit({put(pod_, "a"), put({"pods", "default", "web-2"}, "b")}, {at_revision(pod_, 0)}, "cmd");
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(again->revisions, first->revisions);
  EXPECT_EQ(head("pods"), first->revisions.back());
  EXPECT_EQ(commit({put(pod_, "a")}, {at_revision(pod_, 0)}, "other").code(), Code::kAlreadyExists);
}

TEST_P(StoreContract, ChainsNameTheRevisionBefore) {
  Key other{"pods", "team.a", "job"};
  auto one = must(commit({put(pod_, "1")}));
  auto two = must(commit({put(other, "2", "n1")}));
  auto moved = put(pod_, "3", "n1");
  moved.old_node = "";
  auto three = must(commit({moved}));
  auto four = must(commit({erase(other, "4", "n1")}));
  auto entries = log("pods", 0);
  ASSERT_TRUE(entries.ok()) << entries.error().message;
  ASSERT_EQ(entries->size(), 4u);
  auto check = [&](size_t i, Revision revision, Revision previous, Revision in_node, Revision in_namespace) {
    const auto& entry = event((*entries)[i].event);
    EXPECT_EQ((*entries)[i].revision, revision);
    EXPECT_EQ(entry.revision(), revision);
    EXPECT_EQ(entry.previous(), previous) << i;
    EXPECT_EQ(entry.previous_in_node(), in_node) << i;
    EXPECT_EQ(entry.previous_in_namespace(), in_namespace) << i;
  };
  check(0, one, 0, 0, 0);
  check(1, two, one, 0, 0);
  check(2, three, two, two, one);
  check(3, four, three, three, two);
  EXPECT_EQ(event((*entries)[3].event).type(), bus::EventType::Delete);
  EXPECT_EQ(event((*entries)[2].event).object()->size(), 1u);
  EXPECT_TRUE((*entries)[0].node_events.empty()) << "a new object left no partition";
  ASSERT_EQ((*entries)[2].node_events.size(), 1u);
  EXPECT_EQ((*entries)[2].node_events[0].first, "");
  const auto& left = event((*entries)[2].node_events[0].second);
  EXPECT_EQ(left.type(), bus::EventType::Left);
  EXPECT_EQ(left.revision(), three);
  EXPECT_EQ(left.previous_in_node(), one);
  EXPECT_EQ(left.name()->str(), "web-1");
  EXPECT_EQ(left.object(), nullptr);
  auto now = heads("pods");
  EXPECT_EQ(now["all"], four);
  EXPECT_EQ(now["node._"], three);
  EXPECT_EQ(now["node.n1"], four);
  EXPECT_EQ(now["namespace.default"], three);
  EXPECT_EQ(now["namespace.team%2Ea"], four);
}

TEST_P(StoreContract, DependentsAreToldOnTheirChains) {
  Key config{"configmaps", "default", "settings"};
  auto first = put(config, "1");
  first.dependents = {"n1", "node 2", "n1", ""};  // repeated, and the object's own partition: told once
  auto one = must(commit({first}));
  auto second = put(config, "2");
  second.dependents = {"node 2"};
  auto two = must(commit({second}));
  auto entries = log("configmaps", 0);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 2u);
  ASSERT_EQ((*entries)[0].node_events.size(), 2u);
  EXPECT_EQ((*entries)[0].node_events[0].first, "n1");
  EXPECT_EQ((*entries)[0].node_events[1].first, "node 2");
  ASSERT_EQ((*entries)[1].node_events.size(), 1u);
  const auto& told = event((*entries)[1].node_events[0].second);
  EXPECT_EQ(told.type(), bus::EventType::Dependency);
  EXPECT_EQ(told.previous_in_node(), one);
  EXPECT_EQ(told.revision(), two);
  EXPECT_EQ(heads("configmaps")["node.node%202"], two);
  EXPECT_EQ(heads("configmaps")["node.n1"], one);
}

TEST_P(StoreContract, LogIsReadInPiecesAndExpires) {
  std::vector<Revision> revisions;
  for (int i = 0; i < 10; ++i) revisions.push_back(must(commit({put(pod_, std::to_string(i))})));
  auto piece = log("pods", revisions[1], 3);
  ASSERT_TRUE(piece.ok());
  ASSERT_EQ(piece->size(), 3u);
  EXPECT_EQ(piece->front().revision, revisions[2]);
  EXPECT_TRUE(log("pods", revisions[9])->empty());
  EXPECT_EQ(log("pods", revisions[9] + 1).code(), Code::kExpired) << "a revision that was never given";

  auto trimmed = await<Done>([&](auto done) { store().trim("pods", revisions[5], std::move(done)); });
  ASSERT_TRUE(trimmed.ok());
  EXPECT_EQ(log("pods", 0).code(), Code::kExpired);
  EXPECT_EQ(log("pods", revisions[3]).code(), Code::kExpired);
  ASSERT_EQ(log("pods", revisions[4])->size(), 5u) << "the last trimmed one is where a reader may stand";
  EXPECT_EQ(log("pods", revisions[5])->size(), 4u);
  EXPECT_EQ(log("services", 0)->size(), 0u);
}

TEST_P(StoreContract, TrimForgetsChainsButNotThatTheyWere) {
  auto quiet = must(commit({put({"pods", "quiet", "a"}, "1")}));
  auto busy = must(commit({put(pod_, "1")}));
  ASSERT_TRUE(await<Done>([&](auto done) { store().trim("pods", busy, std::move(done)); }).ok());
  EXPECT_FALSE(heads("pods").contains("namespace.quiet"));
  must(commit({put({"pods", "quiet", "a"}, "2")}));
  auto entries = log("pods", busy);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(event(entries->front().event).previous_in_namespace(), quiet) << "who has not seen `quiet` must not accept";
}

TEST_P(StoreContract, SnapshotIsTheStateAtItsRevision) {
  EXPECT_EQ(snapshot("pods").revision, 0u);
  std::vector<Operation> batch;
  for (int i = 0; i < 300; ++i) batch.push_back(put({"pods", "default", "p" + std::to_string(i)}, std::to_string(i)));
  auto last = must(commit(batch));
  must(commit({put({"services", "default", "s"}, "s")}));
  auto all = snapshot("pods");
  EXPECT_EQ(all.revision, last);
  ASSERT_EQ(all.objects.size(), 300u);
  std::map<std::string, Stored> by_name;
  for (auto& object : all.objects) by_name[object.key.name] = object;
  EXPECT_EQ(by_name["p7"].object, "7");
  EXPECT_EQ(by_name["p7"].key.ns, "default");
  EXPECT_EQ(by_name["p7"].revision, last - 292);
}

TEST_P(StoreContract, SnapshotWhileWritersRun) {
  int writes = 0, answered = 0;
  std::mt19937_64 random(7);
  auto write = [&] {
    ++writes;
    Key key{"pods", "default", "p" + std::to_string(random() % 200)};
    std::vector<Operation> operations;
    if (random() % 4 == 0) {
      operations.push_back(erase(key));
    } else {
      operations.push_back(put(key, std::to_string(writes)));
    }
    store().commit({"", {}, std::move(operations)}, [&](Result<Committed>) { ++answered; });
  };
  for (int i = 0; i < 300; ++i) write();
  ASSERT_TRUE(harness_->run_until([&] { return answered == writes; }));
  std::vector<Result<Snapshot>> taken;
  for (int i = 0; i < 5; ++i) {
    for (int k = 0; k < 100; ++k) write();
    store().snapshot("pods", [&](Result<Snapshot> result) { taken.push_back(std::move(result)); });
    for (int k = 0; k < 100; ++k) write();
  }
  ASSERT_TRUE(harness_->run_until([&] { return answered == writes && taken.size() == 5; }));
  auto entries = log("pods", 0);
  ASSERT_TRUE(entries.ok());
  for (auto& result : taken) {
    ASSERT_TRUE(result.ok());
    std::map<std::string, Revision> want, got;
    for (const auto& entry : *entries) {
      if (entry.revision > result->revision) break;
      const auto& change = event(entry.event);
      if (change.type() == bus::EventType::Delete) {
        want.erase(change.name()->str());
      } else {
        want[change.name()->str()] = entry.revision;
      }
    }
    for (const auto& object : result->objects) got[object.key.name] = object.revision;
    EXPECT_EQ(got, want);
  }
}

TEST_P(StoreContract, WatchersLearnOfEveryChange) {
  Revision seen = 0;
  bool reading = false, again = false;
  std::vector<Revision> read;
  std::function<void()> pull = [&] {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    store().read_log("pods", seen, 7, [&](Result<std::vector<LogEntry>> entries) {
      reading = false;
      ASSERT_TRUE(entries.ok());
      for (auto& entry : *entries) read.push_back(seen = entry.revision);
      if (std::exchange(again, false) || !entries->empty()) pull();
    });
  };
  auto watching = store().watch("pods", pull);
  int answered = 0;
  for (int i = 0; i < 100; ++i) {
    store().commit({"", {}, {put(pod_, std::to_string(i))}}, [&](Result<Committed>) { ++answered; });
  }
  ASSERT_TRUE(harness_->run_until([&] { return read.size() == 100 && answered == 100 && !reading; }));
  for (size_t i = 1; i < read.size(); ++i) EXPECT_EQ(read[i], read[i - 1] + 1);
  watching.reset();
  must(commit({put(pod_, "last")}));
  EXPECT_EQ(head("pods"), seen + 1);
}

TEST_P(StoreContract, Cursors) {
  auto get_cursor = [&] {
    return await<std::optional<std::string>>([&](auto done) { store().get_cursor("relay/pods", std::move(done)); });
  };
  EXPECT_FALSE(get_cursor()->has_value());
  ASSERT_TRUE(await<Done>([&](auto done) { store().set_cursor("relay/pods", "12", std::move(done)); }).ok());
  EXPECT_EQ(get_cursor()->value(), "12");
}

TEST_P(StoreContract, AnAccountNeverPassesItsLimit) {
  const auto share = [](const char* uid, uint64_t number, int64_t limit) {
    return Operation{.kind = Operation::Kind::kShare, .uid = uid, .text = "q/pods", .number = number, .delta = limit};
  };
  const auto all = [&] {
    std::map<std::string, uint64_t> out;
    const auto shares = await<std::vector<Share>>([&](auto done) { store().shares("q/pods", std::move(done)); });
    for (const auto& one : *shares) out[one.uid] = one.number;
    return out;
  };
  EXPECT_TRUE(all().empty());
  EXPECT_TRUE(commit({share("a", 3, 5)}).ok());
  EXPECT_TRUE(commit({share("b", 2, 5)}).ok());
  const auto full = commit({share("c", 1, 5), put(pod_, "x")});
  EXPECT_EQ(full.code(), Code::kForbidden);
  EXPECT_EQ(full.error().causes.at(0).field, "share");
  EXPECT_EQ(full.error().current_revision, 5u);
  EXPECT_EQ(head("pods"), 0u);                   // all or nothing
  EXPECT_TRUE(commit({share("a", 3, 1)}).ok());  // what is there may stay beyond a lower limit, and shrink
  EXPECT_TRUE(commit({share("a", 2, 1)}).ok());
  EXPECT_TRUE(commit({share("c", 1, 5)}).ok());
  EXPECT_TRUE(commit({share("b", 0, -1)}).ok());
  EXPECT_TRUE(commit({share("d", 100, -1)}).ok());  // without a limit
  EXPECT_EQ(all(), (std::map<std::string, uint64_t>{{"a", 2}, {"c", 1}, {"d", 100}}));
  EXPECT_TRUE(commit({{.kind = Operation::Kind::kCloseAccount, .text = "q/pods"}}).ok());
  EXPECT_TRUE(all().empty());
  EXPECT_TRUE(commit({share("e", 5, 5)}).ok());
}

TEST_P(StoreContract, HoldIsExclusiveAndItsEpochGrows) {
  auto first = hold("relay", "a", 50);
  ASSERT_TRUE(first.ok());
  EXPECT_GT(*first, 0u);
  // The holder changes once the time to live is over; renewing until then keeps the epoch. No sleep: b asks until it
  // gets it.
  EXPECT_EQ(*hold("relay", "a", 50), *first);
  std::optional<uint64_t> second;
  bool asking = false;
  ASSERT_TRUE(harness_->run_until([&] {
    if (!asking && !second) {
      asking = true;
      store().hold("relay", "b", 60'000, [&](Result<uint64_t> result) {
        asking = false;
        if (result.ok()) second = *result;
        if (!result.ok()) {
          EXPECT_EQ(result.code(), Code::kConflict);
        }
      });
    }
    return second.has_value();
  }));
  EXPECT_GT(*second, *first);
  auto late = hold("relay", "a");
  EXPECT_EQ(late.code(), Code::kConflict);
  EXPECT_EQ(late.error().current_revision, *second);
  must(commit({}, {lease("relay", *second)}));
  EXPECT_EQ(commit({}, {lease("relay", *first)}).code(), Code::kForbidden);
}

TEST_P(StoreContract, ConcurrentClaimersGetOne) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 20; ++round) {
    int won = 0, lost = 0, other = 0;
    const int claimers = 2 + static_cast<int>(random() % 30);
    std::string what = "ip/" + std::to_string(round);
    for (int i = 0; i < claimers; ++i) {
      std::string me = "uid-" + std::to_string(round) + "-" + std::to_string(i);
      Key key{"services", "default", me};
      store().commit({me, {at_revision(key, 0)}, {put(key, "x", "", me), claim(what, me)}},
                     [&](Result<Committed> result) {
                       (result.ok() ? won : result.code() == Code::kAlreadyExists ? lost : other)++;
                     });
    }
    ASSERT_TRUE(harness_->run_until([&] { return won + lost + other == claimers; }));
    EXPECT_EQ(won, 1);
    EXPECT_EQ(other, 0);
  }
  EXPECT_EQ(snapshot("services").objects.size(), 20u);
}

TEST_P(StoreContract, ConcurrentCountersStayWithinTheirLimit) {
  constexpr int kWriters = 200, kLimit = 37;
  int won = 0, lost = 0;
  for (int i = 0; i < kWriters; ++i) {
    store().commit({"c" + std::to_string(i), {within("quota", 1, kLimit)}, {count("quota", 1)}},
                   [&](Result<Committed> result) { (result.ok() ? won : lost)++; });
  }
  ASSERT_TRUE(harness_->run_until([&] { return won + lost == kWriters; }));
  EXPECT_EQ(won, kLimit);
}

TEST_P(StoreContract, RestartStartsAnEpochAndKeepsWhatWasAnswered) {
  auto before = must(commit({put(pod_, "kept"), claim("c", "a"), count("q", 2)}, {}, "cmd"));
  auto held = hold("relay", "a");
  ASSERT_TRUE(held.ok());
  harness_->restart();
  EXPECT_EQ(get(pod_)->revision, before);
  EXPECT_EQ(head("pods"), before);
  EXPECT_TRUE(commit({put(pod_, "kept")}, {}, "cmd")->duplicate);
  EXPECT_EQ(commit({claim("c", "b")}).code(), Code::kAlreadyExists);
  auto after = must(commit({put(pod_, "new")}, {within("q", 0, 2)}));
  EXPECT_GT(after >> kEpochShift, before >> kEpochShift);
  auto entries = log("pods", before);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(event(entries->front().event).previous(), before);
  EXPECT_EQ(hold("relay", "b").code(), Code::kConflict);
  EXPECT_EQ(*hold("relay", "a"), *held);
}

TEST_P(StoreContract, BadArgumentsAreRefused) {
  auto no_event = put(pod_, "x");
  no_event.event = "junk";
  EXPECT_EQ(commit({no_event}).code(), Code::kInvalid);
  EXPECT_EQ(commit({count("c", int64_t{1} << 60)}).code(), Code::kInvalid);
  EXPECT_EQ(commit({put({"pods", "", ""}, "x")}).code(), Code::kInvalid);
}

}  // namespace gantry::state::testing
