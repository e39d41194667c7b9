#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/events.h"
#include "libs/bus/feed_rules.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/bus/testing/fake_source.h"

namespace gantry::bus {
namespace {

using gantry::testing::FakeBus;
using gantry::testing::FakeNetwork;
using gantry::testing::FakeSource;
using gantry::testing::ManualLoop;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST(Events, SubjectsOfChains) {
  EXPECT_EQ((Chain{"pods", "", ""}.subject()), "gantry.events.pods.>");
  EXPECT_EQ((Chain{"pods", "n.1", ""}.subject()), "gantry.events.pods.n%2E1.>");
  EXPECT_EQ((Chain{"pods", "_", ""}.subject()), "gantry.events.pods._.>");
  EXPECT_EQ((Chain{"pods", "", "ns"}.subject()), "gantry.events.pods.*.ns.>");
  EXPECT_EQ((Chain{"pods", "", ""}.head_subject()), "gantry.heads.pods.all");
  EXPECT_EQ((Chain{"pods", "n1", ""}.head_subject()), "gantry.heads.pods.node.n1");
  EXPECT_EQ((Chain{"pods", "", "ns"}.head_subject()), "gantry.heads.pods.namespace.ns");
  EXPECT_EQ(event_subject("events.events.k8s.io", "", "", "a.b"), "gantry.events.events%2Eevents%2Ek8s%2Eio._._.a%2Eb");
}

/// A feed with what its owner knows, checking on the way that no event is missed, doubled or out of order.
class Subscriber {
 public:
  Subscriber(Loop& loop, FakeBus& bus, Commands& commands, FakeSource& source, Chain chain) : chain_(chain) {
    FeedCallbacks callbacks;
    callbacks.reset = [this](uint64_t head, const std::vector<CommandOutcome::Item>& items) {
      view.clear();
      for (const auto& item : items) view[item.object] = item.revision;
      last_ = head;
    };
    callbacks.event = [this, &source](const Event& e) {
      EXPECT_GT(e.revision(), last_) << chain_.subject();
      EXPECT_LE(previous_in(chain_, e), last_) << chain_.subject();
      EXPECT_FALSE(source.between(chain_, last_, e.revision())) << chain_.subject();
      last_ = e.revision();
      ++events;
      if (e.type() == EventType::Dependency) return;
      auto key = e.namespace_()->str() + "/" + e.name()->str();
      if (e.type() == EventType::Put) {
        view[key] = e.revision();
      } else {
        view.erase(key);
      }
    };
    callbacks.synced = [this] { ++synced; };
    feed = make_feed(loop, bus, commands, chain, std::move(callbacks));
  }

  /// Names with revisions; in these tests an object's bytes are its key.
  std::map<std::string, uint64_t> view;
  int events = 0, synced = 0;
  std::unique_ptr<Feed> feed;
  Chain chain_;

 private:
  uint64_t last_ = 0;
};

struct FeedTest : ::testing::Test {
  explicit FeedTest(uint64_t seed = 1) : network(loop, seed) {}
  ManualLoop loop;
  FakeNetwork network;
  std::unique_ptr<FakeBus> apigw = network.connect("apigw");
  std::unique_ptr<FakeBus> bus = network.connect("controllers");
  FakeSource source{loop, *apigw};
  std::unique_ptr<Commands> commands = make_command_client(loop, *bus, "controllers");

  uint64_t put(const std::string& name, const std::string& node = "", const std::string& ns = "default") {
    return source.put("pods", ns, name, node, ns + "/" + name);
  }
  std::unique_ptr<Subscriber> follow(Chain chain) {
    return std::make_unique<Subscriber>(loop, *bus, *commands, source, chain);
  }
  std::map<std::string, uint64_t> truth(const Chain& chain) {
    std::map<std::string, uint64_t> view;
    for (auto& [key, object] : source.view(chain)) view[key] = object.revision;
    return view;
  }
  void expect_equal(const Subscriber& s) {
    EXPECT_EQ(s.view, truth(s.chain_)) << s.chain_.subject();
    EXPECT_EQ(s.feed->revision(), source.head(s.chain_)) << s.chain_.subject();
    EXPECT_TRUE(s.feed->synced()) << s.chain_.subject();
  }
};

TEST_F(FeedTest, SnapshotThenEventsOnEachKindOfChain) {
  put("old", "n1");
  auto all = follow({"pods", "", ""}), n1 = follow({"pods", "n1", ""}), none = follow({"pods", "_", ""}),
       ns = follow({"pods", "", "default"});
  loop.drain();
  EXPECT_EQ(all->synced, 1);
  put("a");
  put("b", "", "other");
  put("a", "n1");  // bound
  source.dependency("pods", "default", "config", "n1");
  source.remove("pods", "default", "old");
  loop.drain();
  for (auto* s : {all.get(), n1.get(), none.get(), ns.get()}) {
    expect_equal(*s);
    EXPECT_EQ(s->feed->counters().gaps, 0u);
    EXPECT_EQ(s->feed->counters().snapshots, 1u);
  }
  EXPECT_EQ(all->events, 4);
  EXPECT_EQ(n1->events, 3);    // the bound pod, the dependency, the removal
  EXPECT_EQ(none->events, 3);  // a, b, and that a left
  EXPECT_EQ(ns->events, 3);
}

TEST_F(FeedTest, AGapIsReplayed) {
  auto all = follow({"pods", "", ""});
  loop.drain();
  put("a");
  loop.drain();
  source.set_muted(true);
  put("b");
  source.set_muted(false);
  put("c");
  loop.drain();
  expect_equal(*all);
  EXPECT_EQ(all->events, 3);
  EXPECT_EQ(all->feed->counters().gaps, 1u);
  EXPECT_EQ(all->feed->counters().replays, 1u);
  EXPECT_EQ(all->feed->counters().snapshots, 1u);
}

TEST_F(FeedTest, ALostTailIsFoundByItsHead) {
  auto all = follow({"pods", "", ""});
  loop.drain();
  source.set_muted(true);
  put("a");
  loop.advance(milliseconds(900));
  EXPECT_EQ(all->events, 0);
  loop.advance(milliseconds(400));
  expect_equal(*all);
  EXPECT_EQ(all->events, 1);
}

TEST_F(FeedTest, DuplicatesAreDropped) {
  network.set_faults({.duplicate = 1, .only = [](std::string_view s) { return s.starts_with("gantry.events"); }});
  auto all = follow({"pods", "", ""});
  loop.drain();
  for (int i = 0; i < 10; ++i) put("a");
  loop.drain();
  EXPECT_EQ(all->events, 10);
  EXPECT_EQ(all->feed->counters().duplicates, 10u);
  EXPECT_EQ(all->feed->counters().gaps, 0u);
}

TEST_F(FeedTest, LongReplaysAndSnapshotsComeInPages) {
  source.set_page(3);
  for (int i = 0; i < 10; ++i) put("p" + std::to_string(i));
  auto all = follow({"pods", "", ""});
  loop.advance(milliseconds(10));
  expect_equal(*all);
  EXPECT_EQ(all->view.size(), 10u);
  source.set_muted(true);
  for (int i = 0; i < 20; ++i) put("q" + std::to_string(i));
  source.set_muted(false);
  put("last");
  loop.advance(milliseconds(10));
  expect_equal(*all);
  EXPECT_EQ(all->events, 21);
  EXPECT_EQ(all->feed->counters().snapshots, 1u);
}

TEST_F(FeedTest, ATrimmedLogMeansASnapshot) {
  auto all = follow({"pods", "", ""});
  loop.drain();
  put("gone");
  loop.drain();
  source.set_muted(true);
  source.remove("pods", "default", "gone");
  put("a");
  source.trim("pods");
  source.set_muted(false);
  put("b");
  loop.drain();
  expect_equal(*all);
  EXPECT_EQ(all->feed->counters().snapshots, 2u);
  EXPECT_EQ(all->synced, 2);
}

TEST_F(FeedTest, ANewEpochMeansASnapshotEvenIfTheChainFits) {
  auto all = follow({"pods", "", ""});
  loop.drain();
  put("kept");
  put("lost");
  loop.drain();
  EXPECT_EQ(all->view.size(), 2u);
  source.fail_over("pods", 1);
  put("new");  // its previous is below what we have seen
  loop.drain();
  expect_equal(*all);
  EXPECT_FALSE(all->view.contains("default/lost"));
  EXPECT_EQ(all->feed->counters().snapshots, 2u);
}

TEST_F(FeedTest, ALostTailOfTheStoreIsNoticedWithoutAnyNewCommit) {
  auto all = follow({"pods", "", ""});
  loop.drain();
  put("kept");
  put("lost");
  loop.drain();
  source.fail_over("pods", 1);
  loop.advance(seconds(4));
  expect_equal(*all);
}

// An event of a tail that the store lost, still on its way when it was: nothing will ever lead to it.
TEST_F(FeedTest, AnEventOfALostTailDoesNotKeepItFromGettingLive) {
  put("a");
  Subscriber subscriber(loop, *bus, *commands, source, {"pods", "", ""});
  loop.run_until([&] { return subscriber.feed->synced(); }, seconds(5));
  const uint64_t head = subscriber.feed->revision();
  flatbuffers::FlatBufferBuilder b;
  const auto resource = b.CreateString("pods"), ns = b.CreateString("default"), name = b.CreateString("lost");
  EventBuilder event(b);
  event.add_resource(resource);
  event.add_namespace_(ns);
  event.add_name(name);
  event.add_revision(head + 9);
  event.add_previous(head + 8);
  b.Finish(event.Finish());
  ASSERT_TRUE(apigw->publish(event_subject("pods", "", "default", "lost"),
                             {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()}));
  loop.run_until([&] { return subscriber.feed->counters().gaps > 0; }, seconds(5));
  EXPECT_TRUE(loop.run_until([&] { return subscriber.feed->synced(); }, seconds(5)));
  EXPECT_EQ(subscriber.feed->revision(), head);
  EXPECT_EQ(subscriber.feed->counters().snapshots, 2u);
}

TEST_F(FeedTest, AReconnectAsksForWhatWasMissed) {
  auto all = follow({"pods", "", ""});
  loop.drain();
  bus->set_connected(false);
  put("a");
  loop.drain();
  EXPECT_EQ(all->events, 0);
  bus->set_connected(true);
  loop.drain();
  EXPECT_EQ(all->events, 1);
  EXPECT_EQ(all->synced, 2);
}

TEST_F(FeedTest, WithoutAnyHeadItAsksAfterMinutes) {
  network.set_faults({.drop = 1, .only = [](std::string_view s) { return s.starts_with("gantry.heads"); }});
  auto all = follow({"pods", "", ""});
  loop.drain();
  source.set_muted(true);
  put("a");
  loop.advance(minutes(16));
  EXPECT_EQ(all->events, 1);
}

TEST_F(FeedTest, ItStartsWhenAGatewayComes) {
  FakeNetwork other(loop);
  auto lonely = other.connect("controllers"), gateway = other.connect("apigw");
  auto client = make_command_client(loop, *lonely, "controllers");
  FakeSource empty(loop, *gateway);
  gateway->set_connected(false);
  bool synced = false;
  auto feed = make_feed(loop, *lonely, *client, {"pods", "", ""}, {.synced = [&] { synced = true; }});
  loop.advance(minutes(1));
  EXPECT_FALSE(synced);
  gateway->set_connected(true);
  loop.advance(seconds(10));
  EXPECT_TRUE(synced);
}

TEST_F(FeedTest, TheOwnerMayDestroyItInACallback) {
  put("a");
  std::unique_ptr<Feed> feed;
  int calls = 0;
  FeedCallbacks callbacks;
  callbacks.reset = [&](uint64_t, const auto&) { ++calls; };
  callbacks.event = [&](const Event&) {
    ++calls;
    feed.reset();
  };
  feed = make_feed(loop, *bus, *commands, {"pods", "", ""}, callbacks);
  loop.drain();
  put("b");
  put("c");
  loop.advance(seconds(5));
  EXPECT_EQ(calls, 2);
}

TEST_F(FeedTest, GarbageIsIgnored) {
  auto all = follow({"pods", "", ""});
  loop.drain();
  ASSERT_TRUE(apigw->publish("gantry.events.pods._.default.x", "garbage"));
  ASSERT_TRUE(apigw->publish("gantry.heads.pods.all", "garbage"));
  put("a");
  loop.drain();
  expect_equal(*all);
}

/// Whatever is lost, doubled, delayed, cut off, trimmed or failed over: once faults stop, each view equals the source,
/// and every event between two snapshots came once and in order (Subscriber checks that as they come).
struct FeedProperty : FeedTest, ::testing::WithParamInterface<uint64_t> {
  FeedProperty() : FeedTest(GetParam()) {}
};

TEST_P(FeedProperty, TheViewEndsEqual) {
  SCOPED_TRACE(fmt::format("seed {}", GetParam()));
  std::mt19937_64 random(GetParam());
  source.set_page(1 + random() % 40);
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  auto subscribe_all = [&] {
    for (const Chain& chain :
         {Chain{"pods", "", ""}, Chain{"pods", "n1", ""}, Chain{"pods", "_", ""}, Chain{"pods", "", "ns0"}}) {
      subscribers.push_back(follow(chain));
    }
  };
  subscribe_all();
  auto pick = [&](const char* prefix, uint64_t n) { return prefix + std::to_string(random() % n); };
  for (int step = 0; step < 400; ++step) {
    switch (random() % 24) {
      case 0:
        network.set_faults({.drop = static_cast<double>(random() % 5) / 10,
                            .duplicate = static_cast<double>(random() % 5) / 10,
                            .max_delay = milliseconds(random() % 300)});
        break;
      case 1:
        network.set_faults({});
        break;
      case 2:
        bus->set_connected(false);
        break;
      case 3:
      case 4:
        bus->set_connected(true);
        break;
      case 5:
        if (random() % 4 == 0) source.trim("pods");
        break;
      case 6:
        if (random() % 4 == 0) source.fail_over("pods", random() % 3);
        break;
      case 7:
        loop.advance(milliseconds(random() % 3000));
        break;
      case 8:
        source.remove("pods", pick("ns", 2), pick("p", 8));
        break;
      case 9:
        source.dependency("pods", "ns0", "d", "n1");
        break;
      case 10:
        if (step % 100 == 99) subscribe_all();
        break;
      default:
        put(pick("p", 8), random() % 2 == 0 ? pick("n", 3) : "", pick("ns", 2));
    }
    if (random() % 3 == 0) loop.advance(milliseconds(random() % 20));
  }
  network.set_faults({});
  bus->set_connected(true);
  loop.advance(minutes(1));
  for (auto& s : subscribers) expect_equal(*s);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FeedProperty, ::testing::Range<uint64_t>(1, 201));

}  // namespace
}  // namespace gantry::bus
