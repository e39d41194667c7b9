#include "libs/base/ids.h"
#include "libs/base/uv_loop.h"
#include "libs/state/redis_store.h"
#include "libs/state/testing/redis_server.h"
#include "libs/state/testing/store_contract.h"

namespace gantry::state::testing {
namespace {

using std::chrono::milliseconds;

bool turn_until(UvLoop& loop, const std::function<bool()>& done) {
  auto deadline = loop.now() + std::chrono::seconds(60);
  Timer tick = loop.every(milliseconds(20), [] {});
  while (!done()) {
    if (loop.now() > deadline) return false;
    loop.run_once();
  }
  return true;
}

class RedisHarness final : public StoreHarness {
 public:
  explicit RedisHarness(size_t connections) {
    RedisOptions options{.address = server_.address()};
    options.connections = connections;
    store_ = std::make_unique<RedisStore>(loop_, options);
    EXPECT_TRUE(turn_until(loop_, [this] { return store_->ready(); }));
  }
  Store& store() override { return *store_; }
  bool run_until(const std::function<bool()>& done) override { return turn_until(loop_, done); }
  void restart() override {
    server_.kill();
    EXPECT_TRUE(turn_until(loop_, [this] { return !store_->ready(); }));
    server_.start();
    EXPECT_TRUE(turn_until(loop_, [this] { return store_->ready(); }));
  }

 private:
  RedisServer server_;
  UvLoop loop_;
  std::unique_ptr<RedisStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Redis, StoreContract, ::testing::Values([] { return std::make_unique<RedisHarness>(8); }));

class RedisStoreTest : public ::testing::Test {
 protected:
  void open(RedisOptions options) {
    store_ = std::make_unique<RedisStore>(loop_, std::move(options));
    ASSERT_TRUE(until([this] { return store_->ready(); })) << store_->last_error();
  }
  bool until(const std::function<bool()>& done) { return turn_until(loop_, done); }
  template <typename T>
  Result<T> await(const std::function<void(Callback<T>)>& call) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    call([answer](Result<T> result) { answer->emplace(std::move(result)); });
    if (!until([&] { return answer->has_value(); })) return Error{.message = "test: no answer"};
    return std::move(**answer);
  }
  Result<Committed> commit(std::vector<Operation> operations, std::vector<Guard> guards = {}, std::string id = {}) {
    return await<Committed>([&](auto done) { store_->commit({id, guards, operations}, done); });
  }
  Result<std::vector<LogEntry>> log(Revision after) {
    return await<std::vector<LogEntry>>([&](auto done) { store_->read_log("pods", after, 1'000'000, done); });
  }
  Snapshot snapshot() {
    auto out = await<Snapshot>([&](auto done) { store_->snapshot("pods", done); });
    EXPECT_TRUE(out.ok());
    return out.ok() ? *out : Snapshot{};
  }

  UvLoop loop_;
  RedisServer server_;
  std::unique_ptr<RedisStore> store_;
  const Key pod_{"pods", "default", "web-1"};
};

// A stream of commits while redis-server dies again and again. Each commit makes an object of its own, once: whatever
// the answers say must be what is there.
TEST_F(RedisStoreTest, KillingRedisLosesNothingAnsweredAndDoublesNothing) {
  open({.address = server_.address()});
  enum class Outcome { kNone, kDone, kNotDone, kUnknown };
  std::vector<Outcome> outcomes;
  std::vector<Revision> revisions;
  size_t open_commits = 0;
  bool more = true;
  std::function<void()> next = [&] {
    size_t i = outcomes.size();
    outcomes.push_back(Outcome::kNone);
    revisions.push_back(0);
    ++open_commits;
    Key key{"pods", "default", "p" + std::to_string(i)};
    store_->commit({"cmd-" + std::to_string(i), {}, {put(key, std::string(200, 'x')), count("made", 1)}},
                   [&, i](Result<Committed> result) {
                     --open_commits;
                     EXPECT_EQ(outcomes[i], Outcome::kNone) << "answered twice";
                     if (result.ok()) {
                       outcomes[i] = Outcome::kDone;
                       revisions[i] = result->revisions.at(0);
                     } else {
                       EXPECT_TRUE(result.code() == Code::kUnavailable || result.code() == Code::kUnknownOutcome)
                           << result.error().message;
                       outcomes[i] = result.code() == Code::kUnavailable ? Outcome::kNotDone : Outcome::kUnknown;
                     }
                   });
  };
  // 64 in flight while connected; a failing commit is not replaced until the store is ready again.
  Timer pump = loop_.every(milliseconds(1), [&] {
    while (more && store_->ready() && open_commits < 64) next();
  });
  for (int kill = 0; kill < 5; ++kill) {
    size_t before = outcomes.size();
    ASSERT_TRUE(until([&] { return outcomes.size() > before + 500 && open_commits > 30; }));
    server_.kill();
    ASSERT_TRUE(until([&] { return !store_->ready(); }));
    server_.start();
    ASSERT_TRUE(until([&] { return store_->ready(); }));
  }
  more = false;
  ASSERT_TRUE(until([&] { return open_commits == 0; }));

  auto stats = store_->stats();
  EXPECT_GT(stats.lost, 0u) << "the kills hit nothing in flight";
  EXPECT_EQ(stats.unknown, 0u) << "the server came back in time: everything can be resolved";
  std::map<std::string, Revision> there;
  for (auto& object : snapshot().objects) there[object.key.name] = object.revision;
  size_t done = 0;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    auto found = there.find("p" + std::to_string(i));
    if (outcomes[i] == Outcome::kDone) {
      ++done;
      ASSERT_TRUE(found != there.end()) << "p" << i << " was acknowledged and lost";
      EXPECT_EQ(found->second, revisions[i]);
    } else {
      EXPECT_TRUE(found == there.end()) << "p" << i << " was said not to be done";
    }
  }
  EXPECT_EQ(server_.command({"HGET", "{g0}:counters", "made"}), std::to_string(done)) << "something was done twice";
  auto entries = log(0);
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ(entries->size(), done);
  Revision previous = 0;
  for (const auto& entry : *entries) {
    EXPECT_EQ(flatbuffers::GetRoot<bus::Event>(entry.event.data())->previous(), previous);
    EXPECT_GT(entry.revision, previous);
    previous = entry.revision;
  }
  RecordProperty("resolved_done", static_cast<int>(stats.resolved_done));
  RecordProperty("resolved_not_done", static_cast<int>(stats.resolved_not_done));
}

// A commit that was torn while it was written neither comes back at a later restart, nor takes with it what was
// answered since: see redis_start.h.
TEST_F(RedisStoreTest, ATornTransactionStaysAway) {
  open({.address = server_.address()});
  auto restart = [&](size_t tear) {
    server_.kill();
    ASSERT_TRUE(until([&] { return !store_->ready(); }));
    if (tear > 0) server_.tear(tear);
    server_.start();
    ASSERT_TRUE(until([&] { return store_->ready(); }));
  };
  auto first = commit({put(pod_, "first")});
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(commit({put(pod_, "torn"), count("made", 1)}, {}, "torn").ok());
  restart(25);
  EXPECT_EQ(snapshot().objects.at(0).object, "first");
  auto second = commit({put({"pods", "default", "web-2"}, "second")});
  ASSERT_TRUE(second.ok());
  restart(0);
  auto now = snapshot();
  ASSERT_EQ(now.objects.size(), 2u) << "what was answered after the first restart is gone";
  EXPECT_EQ(now.revision, second->revisions[0]);
  auto entries = log(0);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 2u) << "the torn commit came back";
  EXPECT_EQ(flatbuffers::GetRoot<bus::Event>(entries->back().event.data())->previous(), first->revisions[0]);
  EXPECT_EQ(server_.command({"HGET", "{g0}:counters", "made"}), "");
}

// The server is stopped with commits in its socket: the client gives the connections up and asks what became of them.
// Those commits are still in the server's buffers, and must not happen once their clients have been told that they did
// not.
TEST_F(RedisStoreTest, AFencedCommitDoesNotArriveLate) {
  constexpr int kCommits = 400;  // a group for each connection at least
  RedisOptions options{.address = server_.address()};
  options.command_timeout = milliseconds(200);
  open(options);
  server_.pause();
  int answered = 0, done = 0;
  for (int i = 0; i < kCommits; ++i) {
    Key key{"pods", "default", "p" + std::to_string(i)};
    store_->commit({"cmd-" + std::to_string(i), {}, {put(key, "x")}}, [&](Result<Committed> result) {
      ++answered;
      done += result.ok();
    });
  }
  ASSERT_TRUE(until([&] { return !store_->ready(); }));
  server_.resume();
  ASSERT_TRUE(until([&] { return answered == kCommits; }));
  EXPECT_GT(store_->stats().lost, 0u);  // the others were never sent: not every connection was up yet
  EXPECT_EQ(store_->stats().unknown, 0u);
  EXPECT_EQ(snapshot().objects.size(), static_cast<size_t>(done));
}

TEST_F(RedisStoreTest, WithoutACommandIdOrAServerTheOutcomeIsUnknown) {
  RedisOptions options{.address = server_.address()};
  options.command_timeout = milliseconds(200);
  options.resolve_timeout = milliseconds(300);
  open(options);
  server_.pause();
  std::vector<Code> codes;
  store_->commit({"", {}, {put(pod_, "x")}}, [&](Result<Committed> result) { codes.push_back(result.code()); });
  store_->commit({"id", {}, {put(pod_, "x")}}, [&](Result<Committed> result) { codes.push_back(result.code()); });
  ASSERT_TRUE(until([&] { return codes.size() == 2; }));
  EXPECT_EQ(codes[0], Code::kUnknownOutcome);
  EXPECT_EQ(codes[1], Code::kUnknownOutcome);
  EXPECT_EQ(commit({put(pod_, "x")}).code(), Code::kUnavailable);
}

TEST_F(RedisStoreTest, APromotedReplicaWithAMissingTailStartsAnEpoch) {
  // A stable address, as a proxy or Sentinel gives one: a link that is turned from the master to the replica.
  RedisServer replica;
  std::string link = server_.directory() + "/link.sock";
  ASSERT_EQ(symlink(server_.socket().c_str(), link.c_str()), 0);
  open({.address = "unix:" + link});
  replica.replicate(server_);
  std::vector<Revision> given;
  auto write = [&](int n) {
    for (int i = 0; i < n; ++i) {
      auto result = commit({put(pod_, "v" + std::to_string(given.size()))});
      ASSERT_TRUE(result.ok());
      given.push_back(result->revisions[0]);
    }
  };
  write(20);
  auto held = await<uint64_t>([&](auto done) { store_->hold("relay", "a", 60'000, done); });
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE(until([&] {
    return replica.command({"GET", "{g0}:pods:rev"}) == std::to_string(given.back()) &&
           !replica.command({"HGET", "{g0}:leases", "relay"}).empty();
  }));
  replica.command({"REPLICAOF", "NO", "ONE"});  // promoted; what its old master still accepts never reaches it
  write(5);
  auto lost_tail = given.back();
  server_.kill();
  unlink(link.c_str());
  ASSERT_EQ(symlink(replica.socket().c_str(), link.c_str()), 0);
  ASSERT_TRUE(until([&] { return !store_->ready(); }));
  ASSERT_TRUE(until([&] { return store_->ready(); }));

  auto next = commit({put(pod_, "after")});
  ASSERT_TRUE(next.ok()) << next.error().message;
  EXPECT_GT(next->revisions[0] >> kEpochShift, lost_tail >> kEpochShift);
  EXPECT_EQ(log(lost_tail).code(), Code::kExpired) << "who saw the lost tail must start from a snapshot";
  auto entries = log(given[19]);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(entries->front().revision, next->revisions[0]);
  EXPECT_EQ(flatbuffers::GetRoot<bus::Event>(entries->front().event.data())->previous(), given[19]);
  EXPECT_EQ(snapshot().objects.at(0).object, "after");
  auto kept = await<uint64_t>([&](auto done) { store_->hold("relay", "a", 60'000, done); });
  EXPECT_EQ(*kept, *held) << "the replica has this lease";
}

TEST_F(RedisStoreTest, AReplicaIsNotWrittenTo) {
  RedisServer replica;
  replica.replicate(server_);
  RedisOptions options{.address = replica.address()};
  RedisStore store(loop_, options);
  ASSERT_TRUE(until([&] { return store.last_error() == "the server is a replica"; }));
  EXPECT_FALSE(store.ready());
}

TEST_F(RedisStoreTest, CommitsWaitForReplicas) {
  RedisServer replica;
  RedisOptions options{.address = server_.address()};
  options.wait_replicas = 1;
  options.wait_timeout = milliseconds(100);
  open(options);
  EXPECT_EQ(commit({put(pod_, "x")}).code(), Code::kUnknownOutcome) << "no replica yet";
  replica.replicate(server_);
  // On a busy machine the replica may miss the short time-out once.
  auto result = commit({put(pod_, "y")});
  ASSERT_TRUE(until([&] { return result.ok() || (result = commit({put(pod_, "y")})).ok(); })) << result.error().message;
  EXPECT_EQ(replica.command({"GET", "{g0}:pods:rev"}), std::to_string(result->revisions[0]));
  auto entries = log(0);
  ASSERT_TRUE(until([&] { return entries.ok() || (entries = log(0)).ok(); }));
  EXPECT_EQ(entries->back().revision, result->revisions[0]);
}

TEST_F(RedisStoreTest, AnotherStoreRaisesTheEpochAndCommitsGoOn) {
  open({.address = server_.address()});
  RedisStore other(loop_, {.address = server_.address()});
  ASSERT_TRUE(until([&] { return other.ready(); }));
  auto first = commit({put(pod_, "1")});
  auto raised = await<uint64_t>([&](auto done) { other.raise_epoch(done); });
  ASSERT_TRUE(raised.ok());
  int answered = 0;
  for (int i = 0; i < 50; ++i) {
    store_->commit({"", {}, {put(pod_, "2")}}, [&](Result<Committed> result) {
      ++answered;
      ASSERT_TRUE(result.ok()) << result.error().message;
      EXPECT_EQ(result->revisions[0] >> kEpochShift, *raised);
    });
  }
  ASSERT_TRUE(until([&] { return answered == 50; }));
  EXPECT_EQ(store_->epoch(), *raised);
}

TEST_F(RedisStoreTest, ForgottenScriptsAreLoadedAgain) {
  open({.address = server_.address()});
  server_.command({"SCRIPT", "FLUSH"});
  ASSERT_TRUE(until([&] { return commit({put(pod_, "1")}).ok(); }));
}

TEST_F(RedisStoreTest, ManyDependentsFitInOneCommit) {
  open({.address = server_.address()});
  auto operation = put({"configmaps", "default", "root-ca"}, "x");
  for (int i = 0; i < 9'000; ++i) operation.dependents.push_back("node-" + std::to_string(i));
  ASSERT_TRUE(commit({operation}).ok());
  auto entries = await<std::vector<LogEntry>>([&](auto done) { store_->read_log("configmaps", 0, 10, done); });
  ASSERT_TRUE(entries.ok());
  EXPECT_EQ(entries->at(0).node_events.size(), 9'000u);
}

TEST_F(RedisStoreTest, UsersWithPasswords) {
  server_.command(
      {"ACL", "SETUSER", "apigw", "on", ">secret", "~{g0}*", "&{g0}:wake:*", "+@all", "-@dangerous", "+info"});
  server_.command({"ACL", "SETUSER", "default", "off"});
  RedisOptions wrong{.address = server_.address(), .user = "apigw", .password = "guess"};
  {
    RedisStore refused(loop_, wrong);
    ASSERT_TRUE(until([&] { return refused.last_error().find("WRONGPASS") != std::string::npos; }));
  }
  open({.address = server_.address(), .user = "apigw", .password = "secret"});
  EXPECT_TRUE(commit({put(pod_, "1")}, {}, "id").ok());
  EXPECT_EQ(snapshot().objects.size(), 1u);
}

TEST_F(RedisStoreTest, OverTcpARefusedConnectionIsNoticed) {
  RedisOptions options{.address = "127.0.0.1:" + std::to_string(server_.port())};
  open(options);
  EXPECT_TRUE(commit({put(pod_, "1")}).ok());
  server_.kill();
  ASSERT_TRUE(until([&] { return !store_->ready() && store_->last_error().find("refused") != std::string::npos; }))
      << store_->last_error();
  server_.start();
  ASSERT_TRUE(until([&] { return store_->ready(); }));
}

}  // namespace
}  // namespace gantry::state::testing
