#include "tools/gantry/client/session_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "libs/bus/testing/fake_bus.h"
#include "tools/gantry/client/streams.h"
#include "tools/gantry/client/terminal.h"

namespace gantry::client {
namespace {

using gantry::testing::FakeBus;
using node::Channel;

/// A temporary file as a stream.
struct File {
  File() : file(tmpfile()) {}
  ~File() { fclose(file); }
  int fd() const { return fileno(file); }
  void fill(const std::string& text) {
    EXPECT_EQ(pwrite(fd(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  std::string text() const {
    std::string all(static_cast<size_t>(lseek(fd(), 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(fd(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
    return all;
  }
  FILE* file;
};

struct SessionRunTest : ::testing::Test {
  UvLoop loop;
  gantry::testing::FakeNetwork network{loop};
  std::unique_ptr<FakeBus> gateway = network.connect("apigw", bus::apigw_permissions()),
                           ann = network.connect("ann", bus::operator_permissions("ann"));
  std::unique_ptr<bus::Session> session;
  std::unique_ptr<bus::Subscription> acceptor;
  bus::SessionRequest request;
};

TEST_F(SessionRunTest, InputGoesInOutputComesOutAndTheExitCodeIsTheCommands) {
  // `tee /dev/stderr`, then exit 3: more than all windows together.
  std::string all;
  for (int i = 0; all.size() < 6'000'000; ++i) all += std::to_string(i) + "\n";
  size_t owed = 0;
  acceptor = bus::accept_client_sessions(loop, *gateway, [&](const std::string& identity, auto offer) {
    EXPECT_EQ(identity, "ann");
    session = offer.accept({.data =
                                [&](Channel, std::string_view data, bool end) {
                                  owed += data.size();
                                  const bool more = session->write(Channel::Stderr, data);
                                  if (session->write(Channel::Stdout, data) && more) {
                                    session->consume(std::exchange(owed, 0));
                                  }
                                  if (end) session->close({.exit_code = 3});
                                },
                            .writable = [&] { session->consume(std::exchange(owed, 0)); }});
  });
  File in, out, err;
  in.fill(all);
  request.in = true;
  auto code = run_session(loop, *ann, "ann", request, {in.fd(), out.fd(), err.fd()});
  ASSERT_TRUE(code.ok()) << code.error().message;
  EXPECT_EQ(*code, 3);
  EXPECT_TRUE(out.text() == all);
  EXPECT_TRUE(err.text() == all);
}

TEST_F(SessionRunTest, AnInputThatNeverEndsDoesNotHoldTheEnd) {
  acceptor = bus::accept_client_sessions(loop, *gateway, [&](const std::string&, auto offer) {
    session = offer.accept({});
    session->write(Channel::Stdout, "bye");
    session->close({.exit_code = 0});
  });
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  File out;
  request.in = request.tty = true;  // a pipe is no terminal: nothing is made raw
  auto code = run_session(loop, *ann, "ann", request, {pipe_ends[0], out.fd(), out.fd()});
  ASSERT_TRUE(code.ok()) << code.error().message;
  EXPECT_EQ(*code, 0);
  EXPECT_EQ(out.text(), "bye");
  EXPECT_EQ(terminal_size(pipe_ends[0]), "");
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST_F(SessionRunTest, ARefusalAndABreakAreErrors) {
  acceptor = bus::accept_client_sessions(loop, *gateway, [&](const std::string&, auto offer) {
    offer.refuse({Code::kForbidden, "pods is forbidden"});
  });
  auto refused = run_session(loop, *ann, "ann", request);
  EXPECT_EQ(refused.code(), Code::kForbidden);
  acceptor = bus::accept_client_sessions(loop, *gateway, [&](const std::string&, auto offer) {
    session = offer.accept({});
    session->close({.error = "the node is gone"});
  });
  File out;
  auto broken = run_session(loop, *ann, "ann", request, {out.fd(), out.fd(), out.fd()});
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().message, "the node is gone");
}

}  // namespace
}  // namespace gantry::client
