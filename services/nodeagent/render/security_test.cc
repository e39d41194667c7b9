// What a pod may do and be, its names and its environment, as the runtime is told.
#include "services/nodeagent/render/security.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/nodeagent/render/configs.h"
#include "services/nodeagent/render/hosts.h"

namespace gantry::nodeagent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

class SecurityTest : public ::testing::Test {
 protected:
  SecurityTest() {
    node_.node = "n1";
    node_.host_ips = {"10.0.0.1"};
    node_.cluster_dns = "10.96.0.10";
    node_.seccomp_root = "/seccomp";
    node_.paths.root = "/root";
    node_.cpu_milli = 2000;
    node_.memory_bytes = 4LL << 30;
    node_.ephemeral_bytes = 10LL << 30;
    runtime_.name = "containerd";
  }
  model::Object object(const std::string& resource, const std::string& json) {
    const auto& kind = *model::Schema::get().by_resource(resource);
    auto bytes = model::from_json(kind, json);
    EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message);
    return model::Object(kind, bytes.ok() ? *bytes : std::string());
  }
  const core::Pod& pod(const std::string& spec) {
    pod_ = object("pods", R"({"metadata":{"name":"web","namespace":"ns","uid":"u1"},"spec":)" + spec + "}");
    return *pod_.as<core::Pod>();
  }
  Result<ContainerConfig> container(const std::string& pod_more, const std::string& more,
                                    const Image* image = nullptr) {
    const auto& p = pod("{" + pod_more + R"("containers":[{"name":"c","image":"i:1")" + more + "}]}");
    return render_container(
        p, *p.spec()->containers()->Get(0), 0, node_, {"10.244.0.7"}, {},
        [](auto, auto, auto) { return model::Object(); }, image);
  }
  std::string refused(const std::string& spec) {
    auto no = reject(pod(spec), node_, runtime_);
    return no ? no->reason + ": " + no->message : "";
  }

  NodeContext node_;
  RuntimeStatus runtime_;
  model::Object pod_;
};

constexpr char kNonRoot[] = R"("securityContext":{"runAsNonRoot":true},)";

TEST_F(SecurityTest, WhoMustNotBeRootIsNot) {
  Image root, named, numbered;
  root.uid = 0;
  named.username = "www";
  numbered.uid = 33;
  EXPECT_EQ(container(kNonRoot, "", &root).error().message,
            R"x(container has runAsNonRoot and image will run as root (pod: "web_ns(u1)", container: c))x");
  EXPECT_EQ(container(kNonRoot, "", &named).error().message,
            "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root "
            R"x((pod: "web_ns(u1)", container: c))x");
  EXPECT_EQ(container(kNonRoot, R"(,"securityContext":{"runAsUser":0})", &numbered).error().message,
            R"x(container's runAsUser breaks non-root policy (pod: "web_ns(u1)", container: c))x");
  auto fine = container(kNonRoot, "", &numbered);
  ASSERT_TRUE(fine.ok());
  EXPECT_EQ(fine->run_as_user, 33);
  EXPECT_TRUE(container(kNonRoot, R"(,"securityContext":{"runAsUser":5})", &named).ok());
  EXPECT_TRUE(container(kNonRoot, R"(,"securityContext":{"runAsNonRoot":false})", &root).ok())
      << "the container's word counts more";
  EXPECT_EQ(container("", "", &named)->run_as_username, "www");
}

TEST_F(SecurityTest, EverythingSaidIsPassedOn) {
  auto c = container(
      R"("securityContext":{"supplementalGroups":[7,8],"fsGroup":9,"seLinuxOptions":{"level":"s0:c1"},"appArmorProfile":{"type":"RuntimeDefault"}},)",
      R"(,"securityContext":{"privileged":true,"allowPrivilegeEscalation":false,"procMount":"Unmasked","capabilities":{"add":["SYS_TIME"]},
         "seccompProfile":{"type":"Localhost","localhostProfile":"a.json"},"appArmorProfile":{"type":"Localhost","localhostProfile":"mine"}})");
  ASSERT_TRUE(c.ok());
  EXPECT_THAT(c->supplemental_groups, ElementsAre(7, 8, 9));
  EXPECT_TRUE(c->privileged && c->unmasked_proc);
  EXPECT_FALSE(c->no_new_privs) << "who is privileged can escalate anyway";
  EXPECT_EQ(c->seccomp.localhost, "/seccomp/a.json");
  EXPECT_EQ(c->apparmor, "localhost/mine");
  EXPECT_EQ(c->selinux.level, "s0:c1");
}

TEST_F(SecurityTest, WhatThisNodeDoesNotGrantIsRefused) {
  const auto sysctl = [](const std::string& name, const std::string& more = "") {
    return "{" + more + R"("securityContext":{"sysctls":[{"name":")" + name + R"(","value":"1"}]},"containers":[]})";
  };
  EXPECT_EQ(refused(sysctl("net.ipv4.tcp_syncookies")), "");
  EXPECT_EQ(refused(sysctl("net.ipv4.tcp_syncookies", R"("hostNetwork":true,)")),
            R"(SysctlForbidden: forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled)");
  EXPECT_EQ(refused(sysctl("net/core/somaxconn")),
            R"(SysctlForbidden: forbidden sysctl: "net.core.somaxconn" not allowlisted)");
  EXPECT_THAT(refused(sysctl("vm.swappiness")), HasSubstr("not allowlisted"));
  node_.unsafe_sysctls = {"net.core.*", "kernel.msgmax", "vm.*"};
  EXPECT_EQ(refused(sysctl("net.core.somaxconn")), "");
  EXPECT_EQ(refused(sysctl("kernel.msgmax")), "");
  EXPECT_THAT(refused(sysctl("kernel.msgmax", R"("hostIPC":true,)")), HasSubstr("host ipc enabled"));
  EXPECT_THAT(refused(sysctl("vm.swappiness")), HasSubstr("not allowlisted")) << "it is the whole machine's";
  EXPECT_EQ(refused(R"({"securityContext":{"supplementalGroupsPolicy":"Strict"},"containers":[]})"),
            "SupplementalGroupsPolicyNotSupported: SupplementalGroupsPolicy=Strict is not supported in this node");
  runtime_.supplemental_groups_policy = true;
  EXPECT_EQ(refused(R"({"securityContext":{"supplementalGroupsPolicy":"Strict"},"containers":[]})"), "");
  const std::string apparmor = R"({"securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}},"containers":[]})";
  EXPECT_EQ(refused(apparmor), "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host");
  node_.apparmor = true;
  EXPECT_EQ(refused(apparmor), "");
}

TEST_F(SecurityTest, Names) {
  const auto name = [&](const std::string& spec) { return *kernel_hostname(pod(spec), node_); };
  EXPECT_EQ(name(R"({"containers":[]})"), "web");
  EXPECT_EQ(name(R"({"hostNetwork":true,"containers":[]})"), "");
  EXPECT_EQ(name(R"({"hostname":"h","subdomain":"s","containers":[]})"), "h");
  EXPECT_EQ(name(R"({"hostname":"h","subdomain":"s","setHostnameAsFQDN":true,"containers":[]})"),
            "h.s.ns.svc.cluster.local");
  EXPECT_THAT(kernel_hostname(pod(R"({"hostname":")" + std::string(60, 'h') +
                                  R"(","subdomain":"s","setHostnameAsFQDN":true,"containers":[]})"),
                              node_)
                  .error()
                  .message,
              HasSubstr("is too long (64 characters is the max, 83 characters requested)"));
  const auto hosts =
      render_hosts(pod(R"({"hostNetwork":true,"hostAliases":[{"ip":"1.2.3.4","hostnames":["a"]}],"containers":[]})"),
                   node_, {}, "127.0.0.1 me\n");
  EXPECT_THAT(hosts, HasSubstr("(host network).\n127.0.0.1 me\n"));
  EXPECT_THAT(hosts, HasSubstr("1.2.3.4\ta\n"));
}

TEST_F(SecurityTest, NamespacesAndTheCgroupOfThePod) {
  node_.cgroup_parent = "/gantry";
  node_.pod_cgroups = true;
  auto s = render_sandbox(
      pod(R"({"hostPID":true,"hostIPC":true,"shareProcessNamespace":true,"hostUsers":false,"overhead":{"cpu":"250m","memory":"16Mi"},
      "securityContext":{"sysctls":[{"name":"net/ipv4/tcp_fin_timeout","value":"9"}]},
      "containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}]})"),
      node_, 0);
  EXPECT_TRUE(s.host_pid && s.host_ipc && s.share_pid);
  EXPECT_FALSE(s.host_users);
  EXPECT_EQ(s.cgroup_parent, "/gantry/burstable/podu1");
  EXPECT_EQ(s.overhead.memory_limit, 16 << 20);
  EXPECT_EQ(s.resources.cpu_shares, 1280);
  EXPECT_EQ(s.sysctls["net.ipv4.tcp_fin_timeout"], "9");
  EXPECT_EQ(render_sandbox(pod(R"({"containers":[{"name":"c","image":"i"}]})"), node_, 0).cgroup_parent,
            "/gantry/besteffort/podu1");
}

TEST_F(SecurityTest, ServicesOfTheNamespaceAreInTheEnvironment) {
  const auto web = object("services", R"({"metadata":{"name":"my-db","namespace":"ns"},"spec":{"clusterIP":"10.96.3.4",
      "ports":[{"name":"sql","port":5432,"protocol":"TCP"},{"name":"dns-x","port":53,"protocol":"UDP"}]}})");
  const auto headless = object(
      "services", R"({"metadata":{"name":"none","namespace":"ns"},"spec":{"clusterIP":"None","ports":[{"port":1}]}})");
  node_.services = [&](std::string_view ns, const auto& visit) {
    EXPECT_EQ(ns, "ns");
    visit(web);
    visit(headless);
  };
  const std::string own = R"(,"env":[{"name":"URL","value":"$)"
                          "(MY_DB_PORT)\"}]";
  auto env = container("", own)->env;
  EXPECT_THAT(env, Contains(Pair("MY_DB_SERVICE_HOST", "10.96.3.4")));
  EXPECT_THAT(env, Contains(Pair("MY_DB_SERVICE_PORT", "5432")));
  EXPECT_THAT(env, Contains(Pair("MY_DB_SERVICE_PORT_DNS_X", "53")));
  EXPECT_THAT(env, Contains(Pair("MY_DB_PORT_5432_TCP_ADDR", "10.96.3.4")));
  EXPECT_THAT(env, Contains(Pair("MY_DB_PORT_53_UDP", "udp://10.96.3.4:53")));
  EXPECT_THAT(env, Contains(Pair("URL", "tcp://10.96.3.4:5432")));
  EXPECT_THAT(env, Not(Contains(Key(HasSubstr("NONE")))));
  EXPECT_THAT(container(R"("enableServiceLinks":false,)", "")->env, Not(Contains(Key("MY_DB_SERVICE_HOST"))));
}

TEST_F(SecurityTest, ResourcesAsVariables) {
  const auto value = [&](const std::string& resource, const std::string& divisor, const std::string& own,
                         const std::string& of_pod = "") {
    auto c = container(of_pod, R"(,"resources":)" + own +
                                   R"(,"env":[{"name":"X","valueFrom":{"resourceFieldRef":{"resource":")" + resource +
                                   R"(","divisor":")" + divisor + R"("}}}])");
    return c.ok() ? c->env.back().second : c.error().message;
  };
  EXPECT_EQ(value("limits.cpu", "1m", R"({"limits":{"cpu":"1500m"}})"), "1500");
  EXPECT_EQ(value("limits.cpu", "1", R"({"limits":{"cpu":"1500m"}})"), "2");
  EXPECT_EQ(value("limits.memory", "1Mi", "{}"), "4096");
  EXPECT_EQ(value("limits.ephemeral-storage", "1Gi", "{}"), "10");
  EXPECT_EQ(value("requests.cpu", "1m", "{}"), "0");
  EXPECT_EQ(value("limits.memory", "1Mi", "{}", R"("resources":{"limits":{"memory":"128Mi"}},)"), "128");
  EXPECT_EQ(value("limits.gpu", "1", "{}"), "unsupported container resource: limits.gpu");
}

}  // namespace
}  // namespace gantry::nodeagent
