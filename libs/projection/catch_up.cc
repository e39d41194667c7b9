#include "libs/projection/catch_up.h"

#include <glog/logging.h>

namespace gantry::projection {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(5);
constexpr Duration kRetry = std::chrono::milliseconds(200);

class CatchUpImpl final : public CatchUp {
 public:
  CatchUpImpl(Loop& loop, bus::Commands& commands, std::vector<const Cache*> caches, std::function<void()> done)
      : loop_(loop), commands_(commands), done_(std::move(done)) {
    for (const Cache* cache : caches) targets_.push_back({cache});
    for (size_t i = 0; i < targets_.size(); ++i) ask(i);
    loop_.post([this, alive = alive_] {
      if (*alive) check();
    });
    timer_ = loop_.every(kPoll, [this] { check(); });
  }
  ~CatchUpImpl() override { *alive_ = false; }

 private:
  struct Target {
    const Cache* cache;
    std::optional<uint64_t> head = {};
    Timer retry = {};
  };

  // A Replay after what is known already is the cheapest way to ask for a head: it carries at most one event.
  void ask(size_t i) {
    Target& target = targets_[i];
    bus::Command command;
    command.verb = bus::Verb::Replay;
    command.resource = target.cache->kind().resource;
    command.revision = target.cache->revision();
    command.limit = 1;
    commands_.send(std::move(command), [this, i, alive = alive_](const Result<bus::CommandOutcome>& result) {
      if (!*alive) return;
      Target& target = targets_[i];
      if (result.ok()) {
        target.head = result->head != 0 ? result->head : result->revision;
        check();
        return;
      }
      // kExpired: the feed takes a new snapshot, from which we ask again.
      VLOG(1) << "resource=" << target.cache->kind().resource << " head not read: " << result.error().message;
      target.retry = loop_.after(kRetry, [this, i] { ask(i); });
    });
  }

  void check() {
    for (const Target& target : targets_) {
      if (!target.head || !target.cache->synced() || target.cache->revision() < *target.head) return;
    }
    timer_.reset();
    auto done = std::exchange(done_, nullptr);
    if (done) done();  // may destroy this
  }

  Loop& loop_;
  bus::Commands& commands_;
  std::function<void()> done_;
  std::vector<Target> targets_;
  Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<CatchUp> catch_up(Loop& loop, bus::Commands& commands, std::vector<const Cache*> caches,
                                  std::function<void()> done) {
  return std::make_unique<CatchUpImpl>(loop, commands, std::move(caches), std::move(done));
}

}  // namespace gantry::projection
