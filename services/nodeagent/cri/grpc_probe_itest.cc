// The agent's own gRPC health check against gRPC's own server.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>

#include "cri.grpc.pb.h"
#include "libs/base/uv_loop.h"
#include "services/nodeagent/agent/grpc_probe.h"

namespace gantry::nodeagent {
namespace {

using ::testing::HasSubstr;

class GrpcProbeTest : public ::testing::Test {
 protected:
  void serve(bool health) {
    grpc::EnableDefaultHealthCheckService(health);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&other_);  // gRPC starts no server that has no service of its own
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  std::string probe(const std::string& service, Duration timeout = std::chrono::seconds(20)) {
    std::optional<Status> outcome;
    probe_grpc(loop_, fmt::format("127.0.0.1:{}", port_), service, timeout, [&](Status s) { outcome = std::move(s); });
    while (!outcome) loop_.run_once();
    return outcome->ok() ? "serving" : outcome->error().message;
  }
  UvLoop loop_;
  int port_ = 0;
  ::runtime::v1::ImageService::Service other_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(GrpcProbeTest, AsksTheHealthService) {
  serve(true);
  EXPECT_EQ(probe(""), "serving");
  EXPECT_THAT(probe("nothing"), HasSubstr("health rpc probe failed"));
  server_->GetHealthCheckService()->SetServingStatus("db", true);
  EXPECT_EQ(probe("db"), "serving");
  server_->GetHealthCheckService()->SetServingStatus("db", false);
  EXPECT_EQ(probe("db"), "service unhealthy (responded with \"NOT_SERVING\")");
  port_ = 1;
  EXPECT_THAT(probe(""), HasSubstr("failed to connect"));
}

}  // namespace
}  // namespace gantry::nodeagent
