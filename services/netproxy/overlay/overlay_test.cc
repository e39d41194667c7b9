#include "services/netproxy/overlay/overlay.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "libs/model/json.h"

namespace gantry::netproxy {
namespace {

std::string run(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  while (size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
  pclose(pipe);
  return out;
}

TEST(OverlayState, FromNodes) {
  projection::Cache nodes(*model::Schema::get().by_resource("nodes"));
  auto put = [&](const std::string& json) {
    auto bytes = model::from_json(nodes.kind(), json);
    ASSERT_TRUE(bytes.ok());
    nodes.put(model::Object(nodes.kind(), *bytes, nodes.revision() + 1), nodes.revision() + 1);
  };
  put(R"({"metadata":{"name":"n1"},"spec":{"podCIDR":"10.244.0.0/24"},"status":{"addresses":[{"type":"InternalIP","address":"172.30.0.11"}]}})");
  put(R"({"metadata":{"name":"n2"},"spec":{"podCIDR":"10.244.1.0/24"},"status":{"addresses":[{"type":"Hostname","address":"n2"},{"type":"InternalIP","address":"172.30.0.12"}]}})");
  put(R"({"metadata":{"name":"n3"},"status":{"addresses":[{"type":"InternalIP","address":"172.30.0.13"}]}})");
  auto state = overlay_state(nodes, "n1");
  ASSERT_TRUE(state.self);
  EXPECT_EQ(state.self->pod_cidr, "10.244.0.0/24");
  ASSERT_EQ(state.peers.size(), 1u);
  EXPECT_EQ(state.peers["n2"].node_ip, "172.30.0.12");
  EXPECT_EQ(vxlan_mac("172.30.0.12"), "02:67:ac:1e:00:0c");
}

class InKernel : public ::testing::TestWithParam<OverlayMode> {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs a network namespace";
    run("ip link set lo up; ip link add eth0 type veth peer name peer0; ip addr add 172.30.0.11/24 dev eth0; ip link "
        "set eth0 up; ip link set peer0 up");
  }
};

TEST_P(InKernel, PeersComeAndGo) {
  Overlay overlay(GetParam());
  OverlayState state;
  EXPECT_TRUE(overlay.sync(state).ok());
  state.self = Peer{"172.30.0.11", "10.244.0.0/24"};
  state.peers["n2"] = {"172.30.0.12", "10.244.1.0/24"};
  state.peers["n3"] = {"172.30.0.13", "10.244.2.0/24"};
  auto status = overlay.sync(state);
  ASSERT_TRUE(status.ok()) << status.error().message;
  auto routes = run("ip route");
  EXPECT_NE(routes.find("10.244.1.0/24 via"), std::string::npos) << routes;
  if (GetParam() == OverlayMode::kVxlan) {
    EXPECT_NE(run("bridge fdb show dev gantry.vx").find("02:67:ac:1e:00:0c dst 172.30.0.12"), std::string::npos);
    EXPECT_NE(run("ip neigh show dev gantry.vx").find("10.244.1.0 lladdr 02:67:ac:1e:00:0c PERMANENT"),
              std::string::npos);
  }
  state.peers.erase("n2");
  state.peers["n3"].node_ip = "172.30.0.23";  // the node came back with another address
  status = overlay.sync(state);
  ASSERT_TRUE(status.ok()) << status.error().message;
  routes = run("ip route");
  EXPECT_EQ(routes.find("10.244.1.0/24"), std::string::npos) << routes;
  EXPECT_NE(routes.find("10.244.2.0/24"), std::string::npos) << routes;

  std::swap(state.self->pod_cidr, state.peers["n3"].pod_cidr);  // the pod networks were given out anew
  status = overlay.sync(state);
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_NE(run("ip route").find("10.244.0.0/24 via"), std::string::npos);

  Overlay restarted(GetParam());  // a restart finds its own work
  status = restarted.sync(state);
  ASSERT_TRUE(status.ok()) << status.error().message;
}

TEST_P(InKernel, LocalAddress) {
  Overlay overlay(GetParam());
  for (int i = 0; i < 2; ++i) {
    auto status = overlay.add_local_address("10.96.0.10");
    ASSERT_TRUE(status.ok()) << status.error().message;
  }
  EXPECT_NE(run("ip addr").find("10.96.0.10/32"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Modes, InKernel, ::testing::Values(OverlayMode::kVxlan, OverlayMode::kRoutes));

}  // namespace
}  // namespace gantry::netproxy
