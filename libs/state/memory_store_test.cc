#include "libs/state/testing/memory_store.h"

#include "libs/base/testing/manual_loop.h"
#include "libs/state/testing/store_contract.h"

namespace gantry::state::testing {
namespace {

using gantry::testing::ManualLoop;
using Fault = MemoryStore::Fault;

class MemoryHarness final : public StoreHarness {
 public:
  explicit MemoryHarness(bool slow) {
    if (slow) store_.set_delay([this] { return Duration(random_() % 5000); });
  }
  Store& store() override { return store_; }
  bool run_until(const std::function<bool()>& done) override {
    for (int i = 0; i < 100'000 && !done(); ++i) loop_.advance(std::chrono::milliseconds(1));
    return done();
  }
  void restart() override { store_.crash(); }

 private:
  ManualLoop loop_;
  std::mt19937_64 random_{3};
  MemoryStore store_{loop_};
};

INSTANTIATE_TEST_SUITE_P(Memory, StoreContract,
                         ::testing::Values([] { return std::make_unique<MemoryHarness>(false); },
                                           [] { return std::make_unique<MemoryHarness>(true); }));

class MemoryStoreTest : public ::testing::Test {
 protected:
  Result<Committed> commit(Commit what) {
    std::optional<Result<Committed>> answer;
    store_.commit(std::move(what), [&](Result<Committed> result) { answer = std::move(result); });
    loop_.drain();
    return *answer;
  }
  ManualLoop loop_;
  MemoryStore store_{loop_};
  const Key pod_{"pods", "default", "a"};
};

TEST_F(MemoryStoreTest, FaultsBeforeAndAfterTheEffect) {
  Fault next = Fault::kLostBefore;
  store_.set_commit_fault([&](const Commit&) { return next; });
  EXPECT_EQ(commit({"c1", {}, {put(pod_, "1")}}).code(), Code::kUnknownOutcome);
  EXPECT_FALSE(store_.state().get(pod_));
  next = Fault::kLostAfter;
  EXPECT_EQ(commit({"c1", {}, {put(pod_, "1")}}).code(), Code::kUnknownOutcome);
  EXPECT_TRUE(store_.state().get(pod_));
  next = Fault::kNone;
  EXPECT_TRUE(commit({"c1", {}, {put(pod_, "1")}})->duplicate) << "a retry with the same id finds the outcome";
  next = Fault::kUnavailable;
  EXPECT_EQ(commit({"c2", {}, {put(pod_, "2")}}).code(), Code::kUnavailable);
}

TEST_F(MemoryStoreTest, ACrashResolvesWhatIsInFlight) {
  store_.set_delay([] { return Duration(1000); });
  int unknown = 0;
  for (int i = 0; i < 40; ++i) {
    store_.commit({"c" + std::to_string(i), {}, {put({"pods", "default", std::to_string(i)}, "x")}},
                  [&](Result<Committed> result) { unknown += result.code() == Code::kUnknownOutcome; });
  }
  store_.crash(5);
  loop_.advance(std::chrono::seconds(1));
  EXPECT_EQ(unknown, 40);
  EXPECT_GT(store_.state().object_count(), 0u);
  EXPECT_LT(store_.state().object_count(), 40u);
  EXPECT_EQ(store_.state().epoch(), 2u);
}

TEST_F(MemoryStoreTest, APromotedReplicaLosesItsTailAndNoRevisionIsReused) {
  store_.set_replica_lag(3);
  std::vector<Revision> revisions;
  for (int i = 0; i < 10; ++i) revisions.push_back(commit({"", {}, {put(pod_, std::to_string(i))}})->revisions[0]);
  store_.promote_replica();
  loop_.drain();
  EXPECT_EQ(store_.state().head("pods"), revisions[6]);
  EXPECT_EQ(store_.state().read_log("pods", revisions[9], 1).code(), Code::kExpired);
  auto next = commit({"", {}, {put(pod_, "new")}})->revisions[0];
  EXPECT_GT(next, revisions[9]);
  EXPECT_EQ(store_.state().read_log("pods", revisions[9], 1).code(), Code::kExpired);
  EXPECT_EQ(store_.state().read_log("pods", revisions[6], 1)->front().revision, next);
}

TEST_F(MemoryStoreTest, CommandIdsAreForgottenAfterTheWindow) {
  ASSERT_TRUE(commit({"c", {}, {put(pod_, "1")}}).ok());
  loop_.advance(std::chrono::duration_cast<Duration>(kCommandWindow));
  EXPECT_FALSE(commit({"c", {}, {put(pod_, "1")}})->duplicate);
}

TEST(EventLog, ChainsRoundTrip) {
  Chains chains{.previous = 1, .in_node = 2, .in_namespace = 3};
  EXPECT_EQ(*decode_chains(encode_chains(chains)), chains);
  chains.node_events = {{true, 4, ""}, {false, 0, "n 1.x"}, {false, 1ull << 52, "n2"}};
  EXPECT_EQ(*decode_chains(encode_chains(chains)), chains);
  for (std::string bad : {"", "1 2", "1 2 3 X4:a", "1 2 3 L4", "1 2 x", "1 2 3 L4:%zz"}) {
    EXPECT_FALSE(decode_chains(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace gantry::state::testing
