#include "tests/sim/process.h"

#include <fmt/format.h>

#include "libs/base/ids.h"
#include "libs/bus/command.h"
#include "libs/bus/permissions.h"
#include "libs/projection/recorder.h"
#include "libs/service/election.h"
#include "services/apigw/commands/commands.h"
#include "services/apigw/core/api.h"
#include "services/apigw/relay/relay.h"
#include "services/controllers/team.h"
#include "services/scheduler/scheduler.h"
#include "tests/sim/store_client.h"

namespace gantry::sim {
namespace {

constexpr std::chrono::seconds kLease{15};

std::string instance(std::string_view name) { return fmt::format("{}-{}", name, random_suffix(10)); }

/// A connection and the commands over it: what service::Service gives to all but the gateway.
struct Connection {
  Connection(World& world, const std::string& identity)
      : bus(world.network.connect(identity, bus::permissions_for(identity))),
        commands(bus::make_command_client(world.loop, *bus, identity)) {}
  std::unique_ptr<testing::FakeBus> bus;
  std::unique_ptr<bus::Commands> commands;
};

class Gateway final : public Process {
 public:
  Gateway(World& world, const std::string& address)
      : store_(world.loop, world.store),
        bus_(world.network.connect("apigw", bus::apigw_permissions())),
        api_(apigw::make_api(world.loop, store_, {.advertise_address = address})),
        relay_(world.loop, store_, *bus_, {.holder = instance("apigw"), .stream = ""}),
        commands_(
            bus::make_command_server(world.loop, *bus_, counting(world, apigw::command_handler(world.loop, *api_)))) {}
  testing::FakeBus& bus() override { return *bus_; }
  void set_store_connected(bool connected) override { store_.set_connected(connected); }

 private:
  static bus::CommandHandler counting(World& world, bus::CommandHandler handler) {
    return [&world, handler = std::move(handler)](const std::string& identity, const bus::Command& command,
                                                  bus::Respond respond) {
      if (bus::changes_state(command.verb) && command.resource != "leases") {
        ++world.commands[fmt::format("{} {} {}/{}", identity, bus::EnumNameVerb(command.verb), command.resource,
                                     command.subresource)];
      }
      handler(identity, command, std::move(respond));
    };
  }

  StoreClient store_;
  std::unique_ptr<testing::FakeBus> bus_;
  std::unique_ptr<apigw::Api> api_;
  apigw::Relay relay_;
  std::unique_ptr<bus::CommandServer> commands_;
};

class Controllers final : public Process {
 public:
  explicit Controllers(World& world)
      : connection_(world, "controllers"), team_(world.loop, *connection_.bus, *connection_.commands, config()) {}
  testing::FakeBus& bus() override { return *connection_.bus; }
  void visit_caches(const Visit& visit) const override {
    for (const auto& [resource, cache] : team_.view().caches()) visit(*cache, {resource, "", ""});
  }

 private:
  static controllers::TeamConfig config() {
    controllers::TeamConfig config;
    config.pod_network = *controllers::PodCidrController::parse("10.244.0.0/16");
    config.instance = instance("controllers");
    config.lease_ttl = kLease;
    return config;
  }
  Connection connection_;
  controllers::Team team_;
};

class SchedulerProcess final : public Process {
 public:
  explicit SchedulerProcess(World& world)
      : connection_(world, "scheduler"),
        nodes_(*model::Schema::get().by_resource("nodes")),
        pods_(*model::Schema::get().by_resource("pods")),
        recorder_(world.loop, *connection_.commands, "default-scheduler", "scheduler"),
        scheduler_(world.loop, *connection_.commands, nodes_, pods_, &recorder_),
        node_feed_(projection::attach(world.loop, *connection_.bus, *connection_.commands, nodes_, {"nodes", "", ""})),
        pod_feed_(projection::attach(world.loop, *connection_.bus, *connection_.commands, pods_, {"pods", "", ""})),
        election_(world.loop, *connection_.commands, {"scheduler", instance("scheduler"), kLease},
                  {[this](uint64_t epoch) { scheduler_.lead("scheduler", epoch); }, [this] { scheduler_.resign(); }}) {
    scheduler_.on_deposed([this, &loop = world.loop] {
      again_ = loop.after(kLease, [this] {
        if (election_.leading()) scheduler_.lead("scheduler", election_.epoch());
      });
    });
  }
  testing::FakeBus& bus() override { return *connection_.bus; }
  void visit_caches(const Visit& visit) const override {
    visit(nodes_, {"nodes", "", ""});
    visit(pods_, {"pods", "", ""});
  }

 private:
  Connection connection_;
  projection::Cache nodes_, pods_;
  projection::Recorder recorder_;
  scheduler::Scheduler scheduler_;
  std::unique_ptr<bus::Feed> node_feed_, pod_feed_;
  service::Election election_;
  Timer again_;
};

class Observer final : public Process {
 public:
  Observer(World& world, bus::Chain chain)
      : connection_(world, "admin"),
        chain_(std::move(chain)),
        cache_(*model::Schema::get().by_resource(chain_.resource)),
        feed_(projection::attach(world.loop, *connection_.bus, *connection_.commands, cache_, chain_)) {}
  testing::FakeBus& bus() override { return *connection_.bus; }
  void visit_caches(const Visit& visit) const override { visit(cache_, chain_); }

 private:
  Connection connection_;
  bus::Chain chain_;
  projection::Cache cache_;
  std::unique_ptr<bus::Feed> feed_;
};

}  // namespace

std::unique_ptr<Process> make_gateway(World& world, const std::string& address) {
  return std::make_unique<Gateway>(world, address);
}
std::unique_ptr<Process> make_controllers(World& world) { return std::make_unique<Controllers>(world); }
std::unique_ptr<Process> make_scheduler(World& world) { return std::make_unique<SchedulerProcess>(world); }
std::unique_ptr<Process> make_observer(World& world, bus::Chain chain) {
  return std::make_unique<Observer>(world, std::move(chain));
}

}  // namespace gantry::sim
