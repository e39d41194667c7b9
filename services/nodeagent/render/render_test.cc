#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "libs/model/json.h"
#include "services/nodeagent/render/configs.h"
#include "services/nodeagent/render/hosts.h"

namespace gantry::nodeagent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

class RenderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-render-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    node_.paths.root = name;
    node_.node = "n1";
    node_.host_ips = {"10.0.0.1"};
    node_.cluster_dns = "10.96.0.10";
    node_.host_dns = {{"1.1.1.1"}, {"corp"}, {}};
    node_.cpu_milli = 4000;
    node_.memory_bytes = 8LL << 30;
    add("configmaps", R"({"metadata":{"name":"cfg","namespace":"ns"},"data":{"a":"1","b.txt":"two"}})");
    add("secrets", R"({"metadata":{"name":"sec","namespace":"ns"},"data":{"key":"c2VjcmV0"}})");
  }
  void TearDown() override { std::filesystem::remove_all(node_.paths.root); }

  void add(const std::string& resource, const std::string& json) {
    const auto& kind = *model::Schema::get().by_resource(resource);
    auto bytes = model::from_json(kind, json);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    model::Object object(kind, *bytes);
    objects_[resource + "/" + std::string(object.name())] = object;
  }
  const core::Pod& pod(const std::string& spec) {
    const auto& kind = *model::Schema::get().by_resource("pods");
    auto bytes = model::from_json(
        kind,
        R"J({"metadata":{"name":"web","namespace":"ns","uid":"u1","labels":{"app":"web"},"annotations":{"note":"x\"y"}},"spec":)J" +
            spec + "}");
    EXPECT_TRUE(bytes.ok()) << bytes.error().message;
    pod_ = model::Object(kind, *bytes);
    return *pod_.as<core::Pod>();
  }
  static std::string container(const std::string& more) {
    return R"({"containers":[{"name":"c","image":"i:1")" + more + "}]}";
  }
  FindReference find() {
    return [this](std::string_view resource, std::string_view, std::string_view name) {
      auto found = objects_.find(std::string(resource) + "/" + std::string(name));
      return found == objects_.end() ? model::Object() : found->second;
    };
  }
  Result<Env> env(const std::string& more) {
    const auto& p = pod(container(more));
    return render_env(p, *p.spec()->containers()->Get(0), node_, {"10.244.0.7"}, find());
  }
  static std::string read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  NodeContext node_;
  std::map<std::string, model::Object> objects_;
  model::Object pod_;
};

TEST(Expand, ReplacesWhatIsKnownAndLeavesTheRest) {
  Env env = {{"A", "1"}, {"B", "$(A)"}};
  EXPECT_EQ(expand("x$(A)y", env), "x1y");
  EXPECT_EQ(expand("$$(A) $(NOPE) $ $(", env), "$(A) $(NOPE) $ $(");
  EXPECT_EQ(expand("$(B)", env), "$(A)") << "once only";
}

TEST_F(RenderTest, EnvironmentFromEverySource) {
  node_.service_host = "10.96.0.1";
  node_.service_port = "443";
  auto e = env(R"(,"resources":{"limits":{"memory":"64Mi"}},
      "envFrom":[{"prefix":"P_","configMapRef":{"name":"cfg"}},{"secretRef":{"name":"none","optional":true}}],
      "env":[{"name":"K","valueFrom":{"secretKeyRef":{"name":"sec","key":"key"}}},{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
        {"name":"APP","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
        {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
        {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
        {"name":"GONE","valueFrom":{"configMapKeyRef":{"name":"cfg","key":"zz","optional":true}}},
        {"name":"SUM","value":"$)"
               "(P_a)-$(K)"
               R"("}])");
  ASSERT_TRUE(e.ok()) << e.error().message;
  EXPECT_THAT(*e, Contains(Pair("KUBERNETES_SERVICE_HOST", "10.96.0.1")));
  EXPECT_THAT(*e, Contains(Pair("P_a", "1")));
  EXPECT_THAT(*e, Contains(Pair("K", "secret")));
  EXPECT_THAT(*e, Contains(Pair("IP", "10.244.0.7")));
  EXPECT_THAT(*e, Contains(Pair("APP", "web")));
  EXPECT_THAT(*e, Contains(Pair("MEM", "64")));
  EXPECT_THAT(*e, Contains(Pair("CPU", "4"))) << "what the node has";
  EXPECT_THAT(*e, Contains(Pair("SUM", "1-secret")));
  EXPECT_THAT(*e, Not(Contains(Pair("GONE", ::testing::_))));
}

TEST_F(RenderTest, WhatIsMissingIsNamed) {
  EXPECT_EQ(env(R"(,"env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"nope","key":"a"}}}])").error().message,
            "configmap \"nope\" not found");
  EXPECT_EQ(env(R"(,"env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"sec","key":"zz"}}}])").error().message,
            "couldn't find key zz in Secret ns/sec");
  EXPECT_EQ(env(R"(,"envFrom":[{"secretRef":{"name":"nope"}}])").error().message, "secret \"nope\" not found");
}

TEST_F(RenderTest, SandboxNames) {
  auto s =
      render_sandbox(pod(R"({"dnsConfig":{"options":[{"name":"ndots","value":"2"}],"searches":["extra"]},"containers":[
      {"name":"c","image":"i","ports":[{"containerPort":80,"hostPort":8080,"protocol":"TCP"},{"containerPort":81}]}]})"),
                     node_, 2);
  EXPECT_THAT(s.dns_servers, ElementsAre("10.96.0.10"));
  EXPECT_THAT(s.dns_searches,
              ElementsAre("ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp", "extra"));
  EXPECT_THAT(s.dns_options, ElementsAre("ndots:2"));
  EXPECT_EQ(s.ports.size(), 1u);
  EXPECT_EQ(s.attempt, 2u);
  EXPECT_EQ(s.labels[kPodUidLabel], "u1");
  EXPECT_EQ(s.labels["app"], "web");
  auto host = render_sandbox(pod(R"({"hostNetwork":true,"containers":[{"name":"c","image":"i"}]})"), node_, 0);
  EXPECT_THAT(host.dns_servers, ElementsAre("1.1.1.1"));
  EXPECT_EQ(host.hostname, "");  // the node's own; the runtime refuses one that is said
}

TEST_F(RenderTest, ResourcesAndSecurity) {
  const auto& p = pod(
      R"({"securityContext":{"runAsUser":1000,"fsGroup":7,"runAsNonRoot":true},"containers":[{"name":"c","image":"i:1",
      "resources":{"limits":{"cpu":"1500m","memory":"1Gi"},"requests":{"cpu":"500m"}},
      "securityContext":{"runAsGroup":5,"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},
                         "seccompProfile":{"type":"RuntimeDefault"}}}]})");
  auto c = render_container(p, *p.spec()->containers()->Get(0), 3, node_, {}, {}, find());
  ASSERT_TRUE(c.ok()) << c.error().message;
  EXPECT_EQ(c->resources.cpu_shares, 512);
  EXPECT_EQ(c->resources.cpu_quota, 150'000);
  EXPECT_EQ(c->resources.memory_limit, 1LL << 30);
  EXPECT_EQ(c->run_as_user, 1000);
  EXPECT_EQ(c->run_as_group, 5);
  EXPECT_THAT(c->supplemental_groups, ElementsAre(7));
  EXPECT_TRUE(c->no_new_privs && c->readonly_rootfs);
  EXPECT_THAT(c->drop_capabilities, ElementsAre("ALL"));
  EXPECT_EQ(c->seccomp.type, Seccomp::kDefault);
  EXPECT_EQ(c->log_path, "c/3.log");
  const auto& root =
      pod(R"({"securityContext":{"runAsUser":0,"runAsNonRoot":true},"containers":[{"name":"c","image":"i:1"}]})");
  EXPECT_THAT(render_container(root, *root.spec()->containers()->Get(0), 0, node_, {}, {}, find()).error().message,
              HasSubstr("breaks non-root policy"));
}

TEST_F(RenderTest, PullPolicyByTag) {
  auto policy = [&](const char* image) {
    return pull_policy(
        *pod(R"({"containers":[{"name":"c","image":")" + std::string(image) + "\"}]}").spec()->containers()->Get(0));
  };
  EXPECT_EQ(policy("demo:1"), "IfNotPresent");
  EXPECT_EQ(policy("demo"), "Always");
  EXPECT_EQ(policy("demo:latest"), "Always");
  EXPECT_EQ(policy("host:5000/demo"), "Always");
  EXPECT_EQ(policy("demo@sha256:00"), "IfNotPresent");
}

TEST_F(RenderTest, PartsOfVolumes) {
  const auto& p = pod(
      R"J({"volumes":[{"name":"e","emptyDir":{}},{"name":"cfg","configMap":{"name":"cfg"}}],"containers":[{"name":"c","image":"i:1",
      "env":[{"name":"WHO","value":"me"}],"volumeMounts":[{"name":"e","mountPath":"/a","subPath":"x/y"},{"name":"e","mountPath":"/b","subPathExpr":"$(WHO)/z"},
      {"name":"cfg","mountPath":"/c"},{"name":"e","mountPath":"/d","readOnly":true,"recursiveReadOnly":"IfPossible"}]}]})J");
  auto plans = plan_volumes(p, node_, {}, find());
  ASSERT_TRUE(plans.ok()) << plans.error().message;
  auto c = render_container(p, *p.spec()->containers()->Get(0), 0, node_, {}, *plans, find());
  ASSERT_TRUE(c.ok()) << c.error().message;
  EXPECT_EQ(c->mounts[0].sub_path, "x/y");
  EXPECT_EQ(c->mounts[0].staged_path, node_.paths.part("u1", "c", 0));
  EXPECT_EQ(c->mounts[1].sub_path, "me/z");
  EXPECT_TRUE(c->mounts[2].readonly) << "what the agent writes is not for containers to change";
  EXPECT_TRUE(c->mounts[2].staged_path.empty());
  EXPECT_TRUE(c->mounts[3].recursive_readonly && !c->mounts[3].staged_path.empty());
  const auto& unknown = pod(
      R"J({"volumes":[{"name":"e","emptyDir":{}}],"containers":[{"name":"c","image":"i:1","volumeMounts":[{"name":"e","mountPath":"/a","subPathExpr":"$(NOPE)"}]}]})J");
  EXPECT_THAT(
      render_container(unknown, *unknown.spec()->containers()->Get(0), 0, node_, {}, *plans, find()).error().message,
      HasSubstr("missing value for \"NOPE\""));
}

TEST_F(RenderTest, NoFileLeavesAVolume) {
  const auto& p = pod(
      R"({"volumes":[{"name":"v","configMap":{"name":"cfg","items":[{"key":"a","path":"x/../../a"}]}}],"containers":[{"name":"c","image":"i:1"}]})");
  EXPECT_THAT(plan_volumes(p, node_, {}, find()).error().message, HasSubstr("leaves the volume"));
}

TEST_F(RenderTest, VolumesThatCannotBe) {
  auto why = [&](const std::string& volume) {
    auto plans =
        plan_volumes(pod(R"({"volumes":[{"name":"v",)" + volume + R"(}],"containers":[{"name":"c","image":"i:1"}]})"),
                     node_, {}, find());
    return plans.ok() ? std::string("planned") : plans.error().message;
  };
  EXPECT_EQ(why(R"("configMap":{"name":"nope"})"),
            "MountVolume.SetUp failed for volume \"v\" : configmap \"nope\" not found");
  EXPECT_EQ(why(R"("configMap":{"name":"nope","optional":true})"), "planned");
  EXPECT_EQ(why(R"("secret":{"secretName":"sec","items":[{"key":"zz","path":"p"}]})"),
            "MountVolume.SetUp failed for volume \"v\" : references non-existent secret key: zz");
  EXPECT_EQ(
      why(R"("projected":{"sources":[{"clusterTrustBundle":{"path":"p","name":"b"}}]})"),
      "MountVolume.SetUp failed for volume \"v\" : clusterTrustBundle projections are not supported by this node");
  EXPECT_EQ(why(R"("image":{"reference":"i:1"})"), "planned") << "it is pulled with the containers";
  EXPECT_THAT(why(R"("persistentVolumeClaim":{"claimName":"c"})"),
              HasSubstr("error processing PVC ns/c: persistentvolumeclaim \"c\" not found"));
}

TEST_F(RenderTest, VolumesOfClaims) {
  add("persistentvolumeclaims",
      R"({"metadata":{"name":"c","namespace":"ns","uid":"claim-1"},"spec":{"volumeName":"pv"},"status":{"phase":"Bound","capacity":{"storage":"1Gi"}}})");
  auto plan = [&](const std::string& source) {
    add("persistentvolumes",
        R"({"metadata":{"name":"pv"},"spec":{"capacity":{"storage":"2Gi"},"accessModes":["ReadWriteOnce"],"claimRef":{"uid":"claim-1"},)" +
            source + "}}");
    return plan_volumes(
        pod(R"({"securityContext":{"fsGroup":7,"fsGroupChangePolicy":"OnRootMismatch"},"serviceAccountName":"robot",
        "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"c","readOnly":true}}],"containers":[{"name":"c","image":"i:1"}]})"),
        node_, {}, find());
  };
  auto local = plan(R"("local":{"path":"/mnt/disk"})");
  ASSERT_TRUE(local.ok()) << local.error().message;
  EXPECT_EQ((*local)[0].kind, VolumePlan::Kind::kLocal);
  EXPECT_EQ((*local)[0].path, "/mnt/disk");
  EXPECT_TRUE((*local)[0].read_only && (*local)[0].group_on_mismatch);
  auto attached = plan(R"("csi":{"driver":"d","volumeHandle":"h"})");
  ASSERT_TRUE(attached.ok()) << "no CSIDriver object: nothing to attach";
  add("csidrivers", R"({"metadata":{"name":"d"},"spec":{"attachRequired":true}})");
  EXPECT_THAT(plan(R"("csi":{"driver":"d","volumeHandle":"h"})").error().message,
              HasSubstr("wants its volumes attached"));
  add("csidrivers",
      R"({"metadata":{"name":"d"},"spec":{"attachRequired":false,"podInfoOnMount":true,"fsGroupPolicy":"File"}})");
  auto csi = plan(
      R"("csi":{"driver":"d","volumeHandle":"h","fsType":"ext4","volumeAttributes":{"a":"b"}},"mountOptions":["noatime"])");
  ASSERT_TRUE(csi.ok()) << csi.error().message;
  const auto& v = (*csi)[0];
  EXPECT_EQ(v.path, node_.paths.volume("u1", "v"));
  EXPECT_EQ(v.spec_name, "pv");
  EXPECT_EQ(v.csi.handle, "h");
  EXPECT_EQ(v.csi.attributes.at("csi.storage.k8s.io/pod.name"), "web");
  EXPECT_EQ(v.csi.attributes.at("a"), "b");
  EXPECT_THAT(v.csi.mount_options, ElementsAre("noatime"));
  EXPECT_TRUE(v.csi.group_always);
  EXPECT_EQ(v.csi.capacity, 2LL << 30);
  EXPECT_EQ(v.csi.known_capacity, 1LL << 30);
  add("persistentvolumeclaims",
      R"({"metadata":{"name":"c","namespace":"ns","uid":"claim-1"},"spec":{},"status":{"phase":"Pending"}})");
  EXPECT_THAT(plan(R"("local":{"path":"/mnt/disk"})").error().message,
              HasSubstr("error processing PVC ns/c: PVC is not bound"));
}

TEST_F(RenderTest, ReferencesEachOnce) {
  const auto& p = pod(
      R"({"volumes":[{"name":"v","secret":{"secretName":"sec"}},{"name":"w","configMap":{"name":"cfg"}}],"containers":[{"name":"c","image":"i",
      "envFrom":[{"configMapRef":{"name":"cfg"}}],"env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"sec","key":"k"}}}]}]})");
  EXPECT_THAT(references(*p.spec()), ElementsAre(Reference{"configmaps", "cfg"}, Reference{"secrets", "sec"}));
}

TEST_F(RenderTest, HostsFile) {
  auto hosts = render_hosts(
      pod(R"({"hostname":"h","subdomain":"s","hostAliases":[{"ip":"1.2.3.4","hostnames":["a","b"]}],"containers":[]})"),
      node_, {"10.244.0.7"});
  EXPECT_THAT(hosts, HasSubstr("10.244.0.7\th.s.ns.svc.cluster.local\th\n"));
  EXPECT_THAT(hosts, HasSubstr("1.2.3.4\ta\tb\n"));
}

}  // namespace
}  // namespace gantry::nodeagent
