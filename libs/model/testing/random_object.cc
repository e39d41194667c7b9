#include "libs/model/testing/random_object.h"

#include <algorithm>

#include "libs/model/assembler.h"
#include "libs/model/base64.h"
#include "libs/model/json.h"
#include "libs/model/quantity.h"

namespace gantry::model::testing {

namespace {

using nlohmann::json;

class Generator {
 public:
  Generator(std::mt19937_64& random, const RandomOptions& options) : random_(random), options_(options) {}

  json table(const Type& type, int depth) {
    json out = json::object();
    for (const Kind& k : Schema::get().kinds()) {
      if (k.type == &type && depth > 0 && !k.resource.empty())
        out = {{"apiVersion", k.api_version()}, {"kind", k.kind}};
    }
    auto above = std::count(types_.begin(), types_.end(), &type);
    types_.push_back(&type);
    for (const Field& f : type.fields) {
      if (above > 0 && f.scalar == Scalar::kTable && f.format != Format::kIntOrString)
        continue;  // a type within itself, once
      bool scalar = f.scalar != Scalar::kTable && !f.list;
      bool needed = f.mandatory && scalar && f.format == Format::kNone;  // printed in any case
      needed |= f.mandatory && f.format == Format::kIntOrString;
      if (!needed && (depth > 12 || pick(1000) >= static_cast<uint64_t>(options_.presence * 1000))) continue;
      out[f.json] = field(f, depth);
    }
    types_.pop_back();
    return out;
  }

 private:
  uint64_t pick(uint64_t n) { return random_() % n; }

  json field(const Field& f, int depth) {
    if (f.map) {
      json out = json::object();
      for (uint64_t n = 1 + pick(options_.list_size + 1); n > 0; --n) out[string()] = entry(f);
      return out;
    }
    if (!f.list) return value(f, depth);
    json out = json::array();
    for (uint64_t n = 1 + pick(options_.list_size); n > 0; --n) out.push_back(value(f, depth));
    return out;
  }

  json entry(const Field& f) {
    const Field& v = f.type->fields[1];
    if (v.list) return json::array({string(), string()});
    if (v.scalar == Scalar::kBytes) return bytes();
    if (v.scalar == Scalar::kTable || v.format == Format::kTime) return value(v, 1);
    return json(f.format == Format::kQuantity ? quantity() : string());
  }

  json value(const Field& f, int depth) {
    if (f.format == kUnion) {
      const Field& u = f.type->fields[pick(f.type->fields.size())];
      return u.list ? field(u, depth) : value(u, depth);
    }
    switch (f.format) {
      case Format::kTime:
        return format_time(static_cast<int64_t>(pick(4'000'000'000)));
      case Format::kMicroTime:
        return format_micro_time(static_cast<int64_t>(pick(4'000'000'000'000'000)));
      case Format::kQuantity:
        return quantity();
      case Format::kIntOrString:
        return pick(2) ? json(1 + static_cast<int>(pick(60000))) : json(string());
      case Format::kJson:
        return json{{"a", {1, "x", nullptr, true}}, {string(), {{"n", 9007199254740993}}}};
      default:
        break;
    }
    bool zero = f.nullable && pick(4) == 0;
    switch (f.scalar) {
      case Scalar::kBool:
        return !zero;
      case Scalar::kInt32:
        return zero ? 0 : static_cast<int32_t>(random_() | 1);
      case Scalar::kInt64:
        return zero ? 0 : static_cast<int64_t>(random_() | 1);
      case Scalar::kDouble:
        return zero ? 0.0 : 1.0 / static_cast<double>(1 + pick(1000));
      case Scalar::kString:
        return zero ? "" : string();
      case Scalar::kBytes:
        return bytes();
      default:
        return table(*f.type, depth + 1);
    }
  }

  std::string string() {
    static const char* const kWords[] = {"web",  "größe", "\"quoted\"", "a/b", "line\nbreak",
                                         "日本", "tab\t", "\\",         "x",   "\x01"};
    std::string out = kWords[pick(std::size(kWords))];
    return out + std::to_string(pick(1'000'000));
  }

  std::string bytes() {
    std::string raw, out;
    for (uint64_t n = pick(12); n > 0; --n) raw.push_back(static_cast<char>(random_()));
    base64_encode(raw, out);
    return out;
  }

  std::string quantity() {
    auto v = static_cast<int64_t>(pick(5'000'000'000));
    auto text = (pick(2) ? Quantity::from_milli(v) : Quantity::from_bytes(v)).to_string();
    return Quantity::parse(text)->to_string();  // as it prints once it has been read
  }

  std::vector<const Type*> types_;  // from the root to here
  std::mt19937_64& random_;
  const RandomOptions& options_;
};

}  // namespace

json random_object(const Type& type, std::mt19937_64& random, const RandomOptions& options) {
  return Generator(random, options).table(type, 0);
}

json random_object(const Kind& kind, std::mt19937_64& random, const RandomOptions& options) {
  json out = random_object(*kind.type, random, options);
  out["apiVersion"] = kind.api_version();
  out["kind"] = kind.kind;
  return out;
}

const char* const kPodJson =
    R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-7d4b9c6f5-x2x9z","generateName":"web-7d4b9c6f5-",
"namespace":"default","uid":"0c4b4a1e-6f6e-4a52-9f0e-6a0f6f2b8c11","creationTimestamp":"2025-06-01T10:11:12Z","labels":{"app":"web",
"pod-template-hash":"7d4b9c6f5"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d4b9c6f5",
"uid":"6d0c6bb1-3d19-43f5-a0cf-9a40c1de3f0a","controller":true,"blockOwnerDeletion":true}]},"spec":{"volumes":[{"name":"config",
"configMap":{"name":"web-config","defaultMode":420}},{"name":"cache","emptyDir":{"sizeLimit":"64Mi"}}],"containers":[{"name":"web",
"image":"registry.local/demo/web:1.4.2","args":["--listen=:8080","--verbose"],"ports":[{"name":"http","containerPort":8080,
"protocol":"TCP"}],"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"MODE",
"value":"production"}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},
"volumeMounts":[{"name":"config","mountPath":"/etc/web","readOnly":true},{"name":"cache","mountPath":"/var/cache"}],
"readinessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,
"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",
"imagePullPolicy":"IfNotPresent","securityContext":{"allowPrivilegeEscalation":false,"runAsUser":0}}],"restartPolicy":"Always",
"terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","securityContext":{},
"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute",
"tolerationSeconds":300}],"enableServiceLinks":true},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True",
"lastTransitionTime":"2025-06-01T10:11:14Z"}],"hostIP":"10.0.0.7","podIP":"10.244.1.19","podIPs":[{"ip":"10.244.1.19"}],
"startTime":"2025-06-01T10:11:12Z","containerStatuses":[{"name":"web","state":{"running":{"startedAt":"2025-06-01T10:11:13Z"}},
"lastState":{},"ready":true,"restartCount":0,"image":"registry.local/demo/web:1.4.2","imageID":"sha256:3f1c0d0d",
"containerID":"containerd://5b0b7a7b0f6d","started":true}],"qosClass":"Burstable"}})";

}  // namespace gantry::model::testing
