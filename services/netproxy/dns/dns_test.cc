#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <ldns/ldns.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "libs/model/json.h"
#include "services/netproxy/dns/server.h"
#include "services/netproxy/rules/frontends.h"

namespace gantry::netproxy {
namespace {

using Type = Record::Type;
using Outcome = Lookup::Outcome;

class Dns : public ::testing::Test {
 protected:
  projection::Cache services_{*model::Schema::get().by_resource("services")};
  projection::Cache slices_{*model::Schema::get().by_resource("endpointslices")};
  Zone zone_{services_, slices_, "cluster.local"};
  uint64_t revision_ = 0;

  void SetUp() override {
    add_service_index(slices_);
    Zone::add_address_index(services_);
    put(services_,
        R"({"metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.96.0.7","ports":[{"name":"http","port":80,"protocol":"TCP"}]}})");
    put(services_,
        R"({"metadata":{"name":"db","namespace":"shop"},"spec":{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}})");
    put(services_,
        R"({"metadata":{"name":"far","namespace":"shop"},"spec":{"type":"ExternalName","externalName":"Example.org"}})");
    put(slices_,
        R"({"metadata":{"name":"db-1","namespace":"shop","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4",
        "endpoints":[{"addresses":["10.244.1.2"],"hostname":"db-0"},{"addresses":["10.244.2.3"]},{"addresses":["10.244.2.4"],"conditions":{"ready":false}}],
        "ports":[{"name":"sql","protocol":"TCP","port":5432}]})");
  }
  void put(projection::Cache& cache, const std::string& json) {
    auto bytes = model::from_json(cache.kind(), json);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    ++revision_;
    cache.put(model::Object(cache.kind(), *bytes, revision_), revision_);
  }
};

std::string query(const std::string& name, ldns_rr_type type, uint16_t id = 77) {
  ldns_pkt* packet = nullptr;
  ldns_pkt_query_new_frm_str(&packet, name.c_str(), type, LDNS_RR_CLASS_IN, LDNS_RD);
  ldns_pkt_set_id(packet, id);
  uint8_t* wire = nullptr;
  size_t size = 0;
  ldns_pkt2wire(&wire, packet, &size);
  std::string out(reinterpret_cast<char*>(wire), size);
  free(wire);  // NOLINT
  ldns_pkt_free(packet);
  return out;
}

struct Answer {
  int rcode = -1;
  bool truncated = false;
  std::string text;
};
Answer read(const std::string& wire) {
  ldns_pkt* packet = nullptr;
  if (ldns_wire2pkt(&packet, reinterpret_cast<const uint8_t*>(wire.data()), wire.size()) != LDNS_STATUS_OK) return {};
  char* text = ldns_rr_list2str(ldns_pkt_answer(packet));
  Answer answer{ldns_pkt_get_rcode(packet), ldns_pkt_tc(packet), text};
  free(text);  // NOLINT
  ldns_pkt_free(packet);
  return answer;
}

TEST_F(Dns, Names) {
  auto web = zone_.find("WEB.shop.svc.cluster.local.", Type::kA);
  ASSERT_EQ(web.outcome, Outcome::kFound);
  EXPECT_EQ(web.answers[0].target, "10.96.0.7");
  EXPECT_EQ(zone_.find("web.shop.svc.cluster.local", Type::kAaaa).outcome, Outcome::kNoData);
  EXPECT_EQ(zone_.find("nope.shop.svc.cluster.local", Type::kA).outcome, Outcome::kNoName);
  EXPECT_EQ(zone_.find("shop.svc.cluster.local", Type::kA).outcome, Outcome::kNoData);
  EXPECT_EQ(zone_.find("example.org", Type::kA).outcome, Outcome::kNotOurs);
  EXPECT_EQ(zone_.find("far.shop.svc.cluster.local", Type::kA).answers[0].target, "example.org.");
  EXPECT_EQ(zone_.find("db.shop.svc.cluster.local", Type::kA).answers.size(), 2u);
  EXPECT_EQ(zone_.find("db-0.db.shop.svc.cluster.local", Type::kA).answers[0].target, "10.244.1.2");
  EXPECT_EQ(zone_.find("10-244-2-3.db.shop.svc.cluster.local", Type::kA).answers[0].target, "10.244.2.3");
  EXPECT_EQ(zone_.find("10-244-2-3.shop.pod.cluster.local", Type::kA).answers[0].target, "10.244.2.3");
  EXPECT_EQ(zone_.find("7.0.96.10.in-addr.arpa", Type::kPtr).answers[0].target, "web.shop.svc.cluster.local.");
  auto srv = zone_.find("_http._tcp.web.shop.svc.cluster.local", Type::kSrv);
  ASSERT_EQ(srv.answers.size(), 1u);
  EXPECT_EQ(srv.answers[0].port, 80);
  EXPECT_EQ(zone_.find("_sql._tcp.db.shop.svc.cluster.local", Type::kSrv).answers.size(), 2u);
}

TEST_F(Dns, Wire) {
  auto answer = read(*answer_query(zone_, query("web.shop.svc.cluster.local", LDNS_RR_TYPE_A), 512));
  EXPECT_EQ(answer.rcode, LDNS_RCODE_NOERROR);
  EXPECT_NE(answer.text.find("10.96.0.7"), std::string::npos);
  EXPECT_EQ(read(*answer_query(zone_, query("x.shop.svc.cluster.local", LDNS_RR_TYPE_A), 512)).rcode,
            LDNS_RCODE_NXDOMAIN);
  EXPECT_EQ(answer_query(zone_, query("example.org", LDNS_RR_TYPE_A), 512), std::nullopt);
  EXPECT_EQ(answer_query(zone_, "short", 512), "");
  EXPECT_EQ(static_cast<uint8_t>((*answer_query(zone_, std::string(14, '\xff'), 512))[3]) & 15, LDNS_RCODE_FORMERR);
  EXPECT_EQ(read(failure_reply(query("a.b", LDNS_RR_TYPE_A), LDNS_RCODE_SERVFAIL)).rcode, LDNS_RCODE_SERVFAIL);
}

TEST_F(Dns, LargeAnswersAreTruncatedOnUdpOnly) {
  std::string endpoints;
  for (int i = 0; i < 60; ++i) endpoints += fmt::format(R"({}{{"addresses":["10.244.3.{}"]}})", i ? "," : "", i + 1);
  put(slices_,
      R"({"metadata":{"name":"db-2","namespace":"shop","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4","endpoints":[)" +
          endpoints + R"(],"ports":[{"name":"sql","port":5432}]})");
  auto q = query("db.shop.svc.cluster.local", LDNS_RR_TYPE_A);
  EXPECT_TRUE(read(*answer_query(zone_, q, 512)).truncated);
  EXPECT_FALSE(read(*answer_query(zone_, q, 65535)).truncated);
}

std::string exchange(int type, uint16_t port, const std::string& q) {
  int fd = socket(AF_INET, type, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  timeval timeout{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  std::string out;
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
    std::string framed = q;
    if (type == SOCK_STREAM)
      framed = std::string{static_cast<char>(q.size() >> 8), static_cast<char>(q.size() & 255)} + q;
    (void)!write(fd, framed.data(), framed.size());
    char buffer[65536];
    ssize_t n = 0;
    do {
      n = ::read(fd, buffer, sizeof buffer);
      if (n > 0) out.append(buffer, static_cast<size_t>(n));
    } while (type == SOCK_STREAM && n > 0 && out.size() < 2);
    if (type == SOCK_STREAM && out.size() > 2) out = out.substr(2);
  }
  close(fd);
  return out;
}

TEST_F(Dns, ServerAnswersForwardsAndFails) {
  UvLoop loop;
  Zone other(services_, slices_, "other.zone");  // an upstream that knows another domain
  bool ready = true;
  auto upstream = DnsServer::start(loop, other, {"127.0.0.1:0", {}}, [] { return true; });
  ASSERT_TRUE(upstream.ok()) << upstream.error().message;
  DnsOptions options{"127.0.0.1:0", {"127.0.0.1:" + std::to_string((*upstream)->port())}};
  auto server = DnsServer::start(loop, zone_, options, [&] { return ready; });
  ASSERT_TRUE(server.ok()) << server.error().message;
  uint16_t port = (*server)->port();
  std::string udp, tcp, forwarded, refused, unready;
  std::thread client([&] {
    udp = exchange(SOCK_DGRAM, port, query("web.shop.svc.cluster.local", LDNS_RR_TYPE_A));
    tcp = exchange(SOCK_STREAM, port, query("web.shop.svc.cluster.local", LDNS_RR_TYPE_A));
    forwarded = exchange(SOCK_DGRAM, port, query("web.shop.svc.other.zone", LDNS_RR_TYPE_A, 4242));
    refused = exchange(SOCK_DGRAM, port, query("example.org", LDNS_RR_TYPE_A));
    loop.post([&] { ready = false; });
    unready = exchange(SOCK_DGRAM, port, query("web.shop.svc.cluster.local", LDNS_RR_TYPE_A));
    loop.stop();
  });
  loop.run();
  client.join();
  EXPECT_NE(read(udp).text.find("10.96.0.7"), std::string::npos);
  EXPECT_NE(read(tcp).text.find("10.96.0.7"), std::string::npos);
  EXPECT_NE(read(forwarded).text.find("10.96.0.7"), std::string::npos);
  EXPECT_EQ(static_cast<uint8_t>(forwarded[0]) * 256 + static_cast<uint8_t>(forwarded[1]), 4242);
  EXPECT_EQ(read(refused).rcode, LDNS_RCODE_REFUSED);
  EXPECT_EQ(read(unready).rcode, LDNS_RCODE_SERVFAIL);
}

}  // namespace
}  // namespace gantry::netproxy
