// The event check: README.md.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "libs/base/uv_loop.h"
#include "libs/bus/command.h"
#include "libs/bus/testing/nats_server.h"
#include "libs/state/redis_store.h"
#include "libs/state/testing/redis_server.h"
#include "tests/integration/gateway.h"
#include "tests/integration/load.h"
#include "tests/integration/lossy_bus.h"
#include "tests/integration/subscriber.h"

namespace gantry::testing {
namespace {

using bus::Chain;
using std::chrono::milliseconds;
using std::chrono::seconds;

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

double seconds_of(Duration d) { return std::chrono::duration<double>(d).count(); }

/// One identity on the bus, with faults between the server and its subscriptions.
struct Client {
  Client(UvLoop& loop, NatsServer& nats, const std::string& identity, uint64_t seed, double drop, double duplicate)
      : bus(loop, nats.options(identity)),
        lossy(loop, bus, seed, drop, duplicate),
        commands(bus::make_command_client(loop, bus, identity)) {}
  bus::NatsBus bus;
  LossyBus lossy;
  std::unique_ptr<bus::Commands> commands;
};

class EventCheck : public ::testing::Test {
 protected:
  EventCheck() {
    fmt::print("event check: commits={} seed={}\n", commits_, seed_);
    EXPECT_EQ(symlink(redis_.socket().c_str(), link_.c_str()), 0);
    relay_ = std::make_unique<Gateway>(nats_.options("apigw"), "unix:" + link_);
    store_ = std::make_unique<state::RedisStore>(loop_, state::RedisOptions{.address = "unix:" + link_});
    operator_ = client("admin", 0, 0);
    EXPECT_TRUE(until([&] { return store_->ready(); }));
    std::vector<std::string> namespaces;
    for (int i = 0; i < Load::kNamespaces; ++i) namespaces.push_back(Load::ns(i));
    for (const auto& name : namespaces) EXPECT_TRUE(make_namespace(name)) << name;
    // The first gateway relays by now: the second one takes over when it dies.
    other_ = std::make_unique<Gateway>(nats_.options("apigw"), "unix:" + link_);
  }
  ~EventCheck() override { unlink(link_.c_str()); }

  bool until(const std::function<bool()>& done, Duration limit = seconds(120)) {
    const Duration end = loop_.now() + limit;
    auto tick = loop_.every(milliseconds(10), [] {});
    while (!done() && loop_.now() < end) loop_.run_once();
    return done();
  }
  template <typename T>
  Result<T> await(const std::function<void(std::function<void(Result<T>)>)>& call) {
    auto answer = std::make_shared<std::optional<Result<T>>>();
    call([answer](Result<T> result) { answer->emplace(std::move(result)); });
    if (!until([&] { return answer->has_value(); })) return Error{Code::kTimeout, "test: no answer"};
    return std::move(**answer);
  }
  bool make_namespace(const std::string& name) {
    bus::Command create{.verb = bus::Verb::Create,
                        .resource = "namespaces",
                        .json = fmt::format(R"({{"metadata":{{"name":"{}"}}}})", name)};
    return await<bus::CommandOutcome>([&](auto done) { operator_->commands->send(create, seconds(60), done); }).ok();
  }
  std::unique_ptr<Client> client(const std::string& identity, double drop, double duplicate) {
    return std::make_unique<Client>(loop_, nats_, identity, ++seeds_ + seed_, drop, duplicate);
  }
  std::unique_ptr<Subscriber> subscribe(Client& client, Chain chain) {
    return std::make_unique<Subscriber>(loop_, client.lossy, *client.commands, std::move(chain), meanings_);
  }
  bool synced() {
    return until([&] {
      return std::all_of(subscribers_.begin(), subscribers_.end(), [](auto& s) { return s->feed().synced(); });
    });
  }

  ChangeLog read_log(const std::string& resource) {
    ChangeLog log;
    for (uint64_t after = 0;;) {
      auto entries =
          await<std::vector<state::LogEntry>>([&](auto done) { store_->read_log(resource, after, 2000, done); });
      EXPECT_TRUE(entries.ok()) << entries.error().message;
      if (!entries.ok() || entries->empty()) return log;
      for (const auto& entry : *entries) {
        log.add(entry);
        meanings_.hear(*flatbuffers::GetRoot<bus::Event>(entry.event.data()));
      }
      after = entries->back().revision;
    }
  }
  View stored(const std::string& resource) {
    auto snapshot = await<state::Snapshot>([&](auto done) { store_->snapshot(resource, done); });
    EXPECT_TRUE(snapshot.ok());
    View view;
    if (!snapshot.ok()) return view;
    for (const auto& object : snapshot->objects) view[object.key.ns + "/" + object.key.name] = object.revision;
    return view;
  }
  void read_truth() {
    for (const char* resource : {"pods", "configmaps"}) {
      logs_[resource] = read_log(resource);
      views_[resource] = stored(resource);
    }
  }

  /// Every subscriber has the last change of its chain.
  bool arrived() {
    const auto up_to_date = [&](auto& s) {
      const auto& changes = truth(s->chain());
      return s->feed().synced() && !changes.empty() && s->feed().revision() == changes.back().revision;
    };
    return until([&] { return std::all_of(subscribers_.begin(), subscribers_.end(), up_to_date); }, seconds(45));
  }
  std::string lagging() {
    std::string out;
    for (const auto& s : subscribers_) {
      const auto& changes = truth(s->chain());
      const auto& c = s->feed().counters();
      out += fmt::format("{}: at {:x} of {:x}, synced={} gaps={} replays={} snapshots={}\n", s->chain().subject(),
                         s->feed().revision(), changes.empty() ? 0 : changes.back().revision, s->feed().synced(),
                         c.gaps, c.replays, c.snapshots);
    }
    return out;
  }
  const std::vector<Change>& truth(const Chain& chain) {
    auto [it, fresh] = truths_.try_emplace(chain.subject());
    if (fresh) it->second = logs_.at(chain.resource).of(chain);
    return it->second;
  }

  /// Between a snapshot and the last event: every commit of the chain, once and in order.
  void expect_complete(const Subscriber& subscriber) {
    const auto& changes = truth(subscriber.chain());
    const std::string name = subscriber.chain().subject();
    for (const auto& lap : subscriber.laps()) {
      std::vector<uint64_t> want;
      View before;
      for (const auto& change : changes) {
        if (change.revision <= lap.head) apply(change, before);
        if (change.revision > lap.head && change.revision <= lap.last()) want.push_back(change.revision);
      }
      EXPECT_EQ(lap.events.size(), want.size()) << name;
      EXPECT_TRUE(lap.events == want) << name << ": events missing, doubled or out of order";
      if (!by_reference(subscriber.chain())) {
        EXPECT_TRUE(lap.start == before) << name << ": the snapshot is not the state at its head";
      }
    }
  }
  /// What the subscriber ends with is what Redis holds.
  void expect_truth(const Subscriber& subscriber) {
    const Chain& chain = subscriber.chain();
    if (by_reference(chain)) return;
    const auto& log = logs_.at(chain.resource);
    View want;
    for (const auto& [key, revision] : views_.at(chain.resource)) {
      if (!chain.ns.empty() && !key.starts_with(chain.ns + "/")) continue;
      if (!chain.node.empty() && log.node_of(key) != (chain.node == "_" ? "" : chain.node)) continue;
      want[key] = revision;
    }
    EXPECT_TRUE(subscriber.view() == want)
        << chain.subject() << ": " << subscriber.view().size() << " objects, stored " << want.size();
  }
  /// On a node's chain a ConfigMap is only announced: the node fetches what its pods refer to.
  static bool by_reference(const Chain& chain) { return chain.resource == "configmaps" && !chain.node.empty(); }

  void report(const Load& load, Duration took) {
    bus::Feed::Counters sum;
    for (const auto& s : subscribers_) {
      const auto& c = s->feed().counters();
      sum.events += c.events, sum.duplicates += c.duplicates, sum.gaps += c.gaps;
      sum.replays += c.replays, sum.snapshots += c.snapshots;
    }
    LossyBus::Counters faults;
    for (const auto& c : clients_) {
      faults.dropped += c->lossy.counters().dropped;
      faults.duplicated += c->lossy.counters().duplicated;
    }
    std::string failed;
    for (const auto& [why, count] : load.failed()) failed += fmt::format(" {}={}", why, count);
    fmt::print(
        "event check: {} acknowledged commits ({} in the change logs), {:.0f} commits/s through all faults; "
        "{} subscribers, {} events, {:.0f} events/s; {} dropped and {} doubled on the way, {} doubles refused, {} "
        "gaps, "
        "{} replays, {} snapshots; {} revisions with one meaning each; commands not done:{}\n",
        load.committed(), logs_["pods"].size() + logs_["configmaps"].size(),
        static_cast<double>(load.committed()) / seconds_of(took), subscribers_.size(), sum.events,
        static_cast<double>(sum.events) / seconds_of(took), faults.dropped, faults.duplicated, sum.duplicates, sum.gaps,
        sum.replays, sum.snapshots, meanings_.size(), failed.empty() ? " none" : failed);
  }

  const uint64_t commits_ = number_from("GANTRY_COMMITS", 10'000);
  const uint64_t seed_ = number_from("GANTRY_SEED", static_cast<uint64_t>(::getpid()));
  uint64_t seeds_ = 0;
  UvLoop loop_;
  state::testing::RedisServer redis_;
  NatsServer nats_;
  const std::string link_ = redis_.directory() + "/link.sock";
  Meanings meanings_;
  std::unique_ptr<Gateway> relay_, other_;
  std::unique_ptr<state::RedisStore> store_;
  std::unique_ptr<Client> operator_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Subscriber>> subscribers_;
  std::map<std::string, ChangeLog> logs_;
  std::map<std::string, View> views_;
  std::map<std::string, std::vector<Change>> truths_;
};

TEST_F(EventCheck, EachSeesEveryCommitOfItsFilterOnceAndInOrder) {
  clients_.push_back(client("controllers", 0, 0));
  clients_.push_back(client("admin", 0.01, 0.01));
  clients_.push_back(client("node-n1", 0.02, 0.05));
  Client &clean = *clients_[0], &lossy = *clients_[1], &node = *clients_[2];
  subscribers_.push_back(subscribe(clean, {"pods", "", ""}));
  subscribers_.push_back(subscribe(clean, {"configmaps", "", "team-1"}));
  subscribers_.push_back(subscribe(lossy, {"pods", "", ""}));
  subscribers_.push_back(subscribe(lossy, {"configmaps", "", ""}));
  subscribers_.push_back(subscribe(lossy, {"pods", "", "team-2"}));
  subscribers_.push_back(subscribe(lossy, {"pods", "_", ""}));
  subscribers_.push_back(subscribe(node, {"pods", "n1", ""}));
  subscribers_.push_back(subscribe(node, {"configmaps", "n1", ""}));
  auto mortal_client = client("admin", 0.01, 0.01);
  auto mortal = subscribe(*mortal_client, {"pods", "", "team-3"});
  ASSERT_TRUE(until([&] { return mortal->feed().synced(); }) && synced());

  const Duration begin = loop_.now();
  // Each fault strikes in the middle of a stage; the next stage begins when events flow again.
  Load load(*operator_->commands, 0, seed_);
  const auto stage = [&](const std::function<void()>& fault) {
    const uint64_t before = load.committed();
    load.more(commits_ / 7 + 1);
    ASSERT_TRUE(until([&] { return load.committed() >= before + commits_ / 14; }));
    fault();
    ASSERT_TRUE(until([&] { return load.done(); }));
    auto head = await<state::Revision>([&](auto done) { store_->head("pods", done); });
    ASSERT_TRUE(head.ok());
    ASSERT_TRUE(until([&] { return subscribers_[0]->feed().revision() >= *head; })) << "events do not flow";
  };
  std::vector<Subscriber::Lap> first_life;
  ASSERT_NO_FATAL_FAILURE(stage([] {}));                    // until the first one relays
  ASSERT_NO_FATAL_FAILURE(stage([&] { relay_->kill(); }));  // the other one takes over
  ASSERT_NO_FATAL_FAILURE(stage([&] {
    first_life = mortal->laps();
    mortal.reset();
    mortal_client.reset();
  }));
  ASSERT_NO_FATAL_FAILURE(stage([&] {
    nats_.kill(SIGKILL);
    nats_.start();
  }));
  relay_->start();
  ASSERT_NO_FATAL_FAILURE(stage([&] {
    clients_.push_back(client("admin", 0.01, 0.01));
    subscribers_.push_back(subscribe(*clients_.back(), {"pods", "", "team-3"}));  // it rejoins
  }));
  ASSERT_NO_FATAL_FAILURE(stage([&] { other_->kill(); }));
  ASSERT_NO_FATAL_FAILURE(stage([&] {
    for (auto& c : {&lossy, &node}) c->lossy.mute(true);  // the tail is lost on its way
  }));
  read_truth();
  ASSERT_TRUE(
      until([&] { return subscribers_[0]->feed().revision() == truth(subscribers_[0]->chain()).back().revision; }));
  EXPECT_LT(subscribers_[2]->feed().revision(), truth(subscribers_[2]->chain()).back().revision);
  for (auto& c : {&lossy, &node}) c->lossy.mute(false);
  ASSERT_TRUE(arrived()) << lagging();
  const Duration took = loop_.now() - begin;

  for (const auto& subscriber : subscribers_) {
    EXPECT_EQ(subscriber->laps().size(), 1u) << subscriber->chain().subject() << ": a snapshot hides single commits";
    expect_complete(*subscriber);
    expect_truth(*subscriber);
  }
  ASSERT_EQ(first_life.size(), 1u);
  std::vector<uint64_t> want;
  for (const auto& change : truth(subscribers_.back()->chain())) {
    if (change.revision > first_life[0].head && change.revision <= first_life[0].last())
      want.push_back(change.revision);
  }
  EXPECT_TRUE(first_life[0].events == want) << "before it died";
  EXPECT_GT(subscribers_.back()->laps()[0].head, first_life[0].last()) << "it missed nothing while it was dead";
  EXPECT_THAT(meanings_.contradictions(), ::testing::IsEmpty());
  EXPECT_GE(logs_["pods"].size() + logs_["configmaps"].size(), commits_);
  report(load, took);
}

TEST_F(EventCheck, APromotedReplicaWithoutItsTailGivesNoRevisionTwoMeanings) {
  clients_.push_back(client("controllers", 0, 0));
  clients_.push_back(client("admin", 0.01, 0.01));
  clients_.push_back(client("node-n1", 0.02, 0.05));
  for (size_t i = 0; i < 2; ++i) {
    subscribers_.push_back(subscribe(*clients_[i], {"pods", "", ""}));
    subscribers_.push_back(subscribe(*clients_[i], {"configmaps", "", ""}));
    subscribers_.push_back(subscribe(*clients_[i], {"pods", "", "team-2"}));
  }
  subscribers_.push_back(subscribe(*clients_[2], {"pods", "n1", ""}));
  ASSERT_TRUE(synced());
  state::testing::RedisServer replica;
  replica.replicate(redis_);

  const Duration begin = loop_.now();
  const uint64_t part = commits_ / 8;
  Load load(*operator_->commands, 2 * part, seed_);
  ASSERT_TRUE(until([&] { return load.committed() >= part; }));
  // A replica far behind is fine, one without anything is not: it would not know that there was a past.
  ASSERT_TRUE(until([&] { return !replica.command({"GET", "{g0}:pods:rev"}).empty(); }));
  replica.command({"REPLICAOF", "NO", "ONE"});  // promoted while its master still answers: that tail never gets to it
  const uint64_t known = std::stoull(replica.command({"GET", "{g0}:pods:rev"}));
  ASSERT_TRUE(until([&] { return subscribers_[0]->feed().revision() > known + part / 8; }));
  // Like Sentinel or a proxy: the address stays, the server behind it is another.
  redis_.kill();
  unlink(link_.c_str());
  ASSERT_EQ(symlink(replica.socket().c_str(), link_.c_str()), 0);
  load.more(3 * part);
  ASSERT_TRUE(until([&] { return !store_->ready(); }));
  ASSERT_TRUE(until([&] { return store_->ready() && load.done(); }));
  read_truth();
  ASSERT_TRUE(arrived()) << lagging();
  const Duration took = loop_.now() - begin;

  for (const auto& subscriber : subscribers_) {
    expect_truth(*subscriber);
    for (const auto& lap : subscriber->laps()) {
      uint64_t last = lap.head;
      for (const uint64_t revision : lap.events) {
        ASSERT_GT(revision, last) << subscriber->chain().subject();
        last = revision;
      }
    }
  }
  EXPECT_GT(truth({"pods", "", ""}).back().revision >> state::kEpochShift, known >> state::kEpochShift);
  EXPECT_GE(subscribers_[0]->laps().size(), 2u) << "a new epoch has to force a snapshot";
  EXPECT_THAT(meanings_.contradictions(), ::testing::IsEmpty());
  const size_t logged = logs_["pods"].size() + logs_["configmaps"].size();
  EXPECT_LT(logged, meanings_.size()) << "no event of the lost tail got out: this run proves little";
  fmt::print("event check: the replica knew pods up to {}, {} revisions of the lost tail had been told\n", known,
             meanings_.size() - logged);
  report(load, took);
}

}  // namespace
}  // namespace gantry::testing
