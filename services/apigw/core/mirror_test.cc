#include "services/apigw/core/mirror.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/model/draft.h"
#include "libs/state/testing/commits.h"
#include "libs/state/testing/memory_store.h"

namespace gantry::apigw {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(MirrorTest, NoHeadIsAheadOfWhatASnapshotHolds) {
  gantry::testing::ManualLoop loop;
  state::testing::MemoryStore store(loop);
  const model::Kind& kind = *model::Schema::get().by_resource("configmaps");
  const auto make = [&](const char* name) {
    model::Draft draft(kind);
    draft.set("metadata.name", name);
    draft.set("metadata.namespace", "default");
    state::Commit commit;
    commit.operations.push_back(state::testing::put({"configmaps", "default", name}, draft.bytes()));
    store.commit(std::move(commit), [](const Result<state::Committed>&) {});
  };
  make("seen");
  loop.drain();
  const auto seen = store.state().head("configmaps");
  store.set_delay([] { return Duration(seconds(1)); });
  Mirror mirror(loop, store, kind, 100);
  mirror.start();
  uint64_t revision = 0, head = 0;
  mirror.await(seen, [&](const Status& done) {  // who asked before the second commit
    ASSERT_TRUE(done.ok());
    revision = mirror.revision();
    head = mirror.chain_head("namespace.default");
  });
  loop.advance(milliseconds(1500));
  make("between");  // after the snapshot, before the heads
  loop.run_until([&] { return revision != 0; }, seconds(10));
  EXPECT_EQ(revision, seen);
  EXPECT_EQ(head, seen);
  loop.advance(seconds(10));
  EXPECT_GT(mirror.chain_head("namespace.default"), seen);
  EXPECT_NE(mirror.find("default", "between"), nullptr);
}

}  // namespace
}  // namespace gantry::apigw
