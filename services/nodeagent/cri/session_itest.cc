// Sessions with real containers when something goes: the bus, the container, the client. Each ends, with an error that
// the other side sees, and leaves nothing in the container or the agent.
#include "services/nodeagent/cri/testing/agent_story.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

class SessionEndTest : public NodeAgentTest {
 protected:
  bus::SessionRequest exec_of(const std::string& command) {
    bus::SessionRequest request;
    request.kind = node::SessionKind::Exec;
    request.command = {"sh", "-c", command};
    request.in = true;
    return request;
  }
  /// Whether a process of the container has this in its command line; written so that the search is not found.
  bool runs(const std::string& pod, const std::string& what) {
    return exec(pod, fmt::format("grep -l '{}[{}]' /proc/[0-9]*/cmdline 2>/dev/null | wc -l",
                                 what.substr(0, what.size() - 1), what.back())) != "0\n";
  }
};

TEST_F(SessionEndTest, TheBusTheContainerOrTheClientGoes) {
  put("web", script("sleep 100000"));
  ASSERT_TRUE(ready("web")) << status("web");

  // Cut in the middle of a stream: once it is back each side knows what was lost.
  auto cut = open(exec_of("while :; do echo tick; usleep 20000; done"), "web");
  ASSERT_TRUE(cut->session) << cut->refused.message;
  ASSERT_TRUE(until([&] { return cut->out.size() > 20; }));
  gateway_->set_connected(false);
  auto before = loop_.now();
  until([&] { return loop_.now() - before > std::chrono::milliseconds(300); });
  gateway_->set_connected(true);
  ASSERT_TRUE(until([&] { return cut->end.has_value(); }, seconds(20)));
  EXPECT_THAT(cut->end->error, HasSubstr("lost"));
  EXPECT_TRUE(until([&] { return sessions_->open() == 0; }, seconds(20))) << "the agent let go, too";

  // A client that goes without a word.
  auto gone = open(exec_of("exec sleep 4321"), "web");
  ASSERT_TRUE(gone->session);
  EXPECT_TRUE(until([&] { return runs("web", "4321"); }, seconds(20)));
  gone->session.reset();
  EXPECT_TRUE(until([&] { return sessions_->open() == 0; }, seconds(20)));
  EXPECT_TRUE(until(
      [&] { return containerd_->ctr("-n k8s.io tasks ps " + container("web")->id).find('\n') != std::string::npos; }));
  EXPECT_TRUE(until([&] { return !runs("web", "4321"); }, seconds(20))) << "its process went with it";

  // The container's end ends what was open to it: exec, attach and a connection to a port.
  auto shell = open(exec_of("exec sleep 100000"), "web");
  bus::SessionRequest attach;
  attach.kind = node::SessionKind::Attach;
  auto attached = open(attach, "web");
  ASSERT_TRUE(shell->session && attached->session) << attached->refused.message;
  api_.delete_pod("default", "web", 1);
  EXPECT_TRUE(until([&] { return shell->end && attached->end && sessions_->open() == 0; }, seconds(40)))
      << shell->end.has_value() << attached->end.has_value() << sessions_->open();
}

TEST_F(SessionEndTest, ManyForwardedConnectionsEachWithItsHalves) {
  // The first answers only once its client has said all: the half close must come through.
  put("web", script("nc -ll -p 7000 -e wc -c & exec nc -ll -p 7001 -e cat"));
  ASSERT_TRUE(ready("web")) << status("web");
  bus::SessionRequest request;
  request.kind = node::SessionKind::PortForward;
  request.port = 7000;
  std::unique_ptr<Stream> half;
  for (uint16_t port : {7001, 7000}) {  // until they listen
    request.port = port;
    ASSERT_TRUE(until([&] {
      half = open(request, "web");
      return half->session != nullptr;
    }));
  }
  half->session->write(node::Channel::Stdin, std::string(1000, 'x'));
  half->session->end(node::Channel::Stdin);
  EXPECT_TRUE(until([&] { return half->end.has_value(); }, seconds(20))) << half->out;
  EXPECT_EQ(std::atoi(half->out.c_str()), 1000) << half->out;

  request.port = 7001;
  std::vector<std::unique_ptr<Stream>> many;
  for (int i = 0; i < 20; ++i) {
    many.push_back(open(request, "web"));
    if (many.back()->session) many.back()->session->write(node::Channel::Stdin, fmt::format("hello {}\n", i));
  }
  for (int i = 0; i < 20; ++i) {
    auto& one = *many[static_cast<size_t>(i)];
    ASSERT_TRUE(one.session) << one.refused.message;
    EXPECT_TRUE(until([&] { return one.out == fmt::format("hello {}\n", i); }, seconds(20))) << i << ": " << one.out;
  }
  many.clear();
  EXPECT_TRUE(until([&] { return sessions_->open() == 0; }, seconds(20))) << sessions_->open();
}

}  // namespace
}  // namespace gantry::nodeagent
