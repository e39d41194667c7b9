#include "services/apigw/render/columns.h"

#include <fmt/format.h>

#include <unordered_map>

#include "libs/model/served.h"
#include "schemas/all.h"
#include "services/apigw/render/paths.h"
#include "services/apigw/render/render.h"

namespace gantry::apigw {

std::string human_duration(int64_t s) {
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  auto two = [](int64_t a, char x, int64_t b, char y) {
    return b == 0 ? fmt::format("{}{}", a, x) : fmt::format("{}{}{}{}", a, x, b, y);
  };
  int64_t minutes = s / 60, hours = s / 3600, days = hours / 24;
  if (s < 120) return fmt::format("{}s", s);
  if (minutes < 10) return two(minutes, 'm', s % 60, 's');
  if (minutes < 180) return fmt::format("{}m", minutes);
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return fmt::format("{}h", hours);
  if (hours < 24 * 8) return two(days, 'd', hours % 24, 'h');
  if (days < 365 * 2) return fmt::format("{}d", days);
  if (days < 365 * 8) return two(days / 365, 'y', days % 365, 'd');
  return fmt::format("{}y", days / 365);
}

std::string join_labels(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* labels) {
  if (!labels || labels->size() == 0) return "<none>";
  std::string out;
  for (const auto* entry : *labels)
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", model::str(entry->key()), model::str(entry->value()));
  return out;
}

std::string since(flatbuffers::Optional<int64_t> seconds, WallMicros now) {
  return seconds ? human_duration(now / 1'000'000 - *seconds) : "<unknown>";
}

namespace columns {
namespace {

using api::core_v1::Node;
using api::core_v1::Service;
using model::Object;
using model::str;

json none_if_empty(std::string text) { return text.empty() ? "<none>" : text; }

json age(const Object& o, WallMicros now) {
  return o.meta() ? since(o.meta()->creation_timestamp(), now) : "<unknown>";
}

json node_status(const Object& o, WallMicros) {
  const auto* node = o.as<Node>();
  std::string out = "Unknown";
  if (node->status() && node->status()->conditions()) {
    for (const auto* c : *node->status()->conditions()) {
      if (str(c->type()) == "Ready") out = str(c->status()) == "True" ? "Ready" : "NotReady";
    }
  }
  if (node->spec() && node->spec()->unschedulable().value_or(false)) out += ",SchedulingDisabled";
  return out;
}

json node_roles(const Object& o, WallMicros) {
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  std::string out;
  if (o.meta() && o.meta()->labels()) {
    for (const auto* label : *o.meta()->labels()) {
      auto key = str(label->key());
      if (key.starts_with(kPrefix) && key.size() > kPrefix.size()) {
        out += fmt::format("{}{}", out.empty() ? "" : ",", key.substr(kPrefix.size()));
      }
    }
  }
  return none_if_empty(out);
}

std::string node_address(const Object& o, std::string_view type) {
  const auto* node = o.as<Node>();
  if (node->status() && node->status()->addresses()) {
    for (const auto* a : *node->status()->addresses()) {
      if (str(a->type()) == type) return std::string(str(a->address()));
    }
  }
  return "<none>";
}
json node_internal_ip(const Object& o, WallMicros) { return node_address(o, "InternalIP"); }
json node_external_ip(const Object& o, WallMicros) { return node_address(o, "ExternalIP"); }

json service_cluster_ip(const Object& o, WallMicros) {
  const auto* spec = o.as<Service>()->spec();
  return none_if_empty(spec ? std::string(str(spec->cluster_ip())) : "");
}

json service_external_ip(const Object& o, WallMicros) {
  const auto* service = o.as<Service>();
  const auto* spec = service->spec();
  if (!spec) return "<none>";
  if (str(spec->type()) == "ExternalName") return std::string(str(spec->external_name()));
  std::string out;
  if (str(spec->type()) == "LoadBalancer") {
    const auto* status = service->status();
    if (status && status->load_balancer() && status->load_balancer()->ingress()) {
      for (const auto* i : *status->load_balancer()->ingress()) {
        out += fmt::format("{}{}", out.empty() ? "" : ",", str(i->ip()).empty() ? str(i->hostname()) : str(i->ip()));
      }
    }
  }
  if (spec->external_ips()) {
    for (const auto* ip : *spec->external_ips()) out += fmt::format("{}{}", out.empty() ? "" : ",", str(ip));
  }
  if (out.empty() && str(spec->type()) == "LoadBalancer") return "<pending>";
  return none_if_empty(out);
}

json service_ports(const Object& o, WallMicros) {
  const auto* spec = o.as<Service>()->spec();
  std::string out;
  if (spec && spec->ports()) {
    for (const auto* p : *spec->ports()) {
      auto protocol = str(p->protocol()).empty() ? "TCP" : str(p->protocol());
      out += out.empty() ? "" : ",";
      out += p->node_port().value_or(0) > 0 ? fmt::format("{}:{}/{}", p->port().value_or(0), *p->node_port(), protocol)
                                            : fmt::format("{}/{}", p->port().value_or(0), protocol);
    }
  }
  return none_if_empty(out);
}

json service_selector(const Object& o, WallMicros) {
  const auto* spec = o.as<Service>()->spec();
  return join_labels(spec ? spec->selector() : nullptr);
}

/// At most three, then "+ N more...".
class Shortened {
 public:
  explicit Shortened(size_t most) : most_(most) {}
  void add(const std::string& text) {
    if (++count_ <= most_) out_ += (out_.empty() ? "" : ",") + text;
  }
  json take(std::string_view empty = "<none>") const {
    if (count_ == 0) return std::string(empty);
    return count_ > most_ ? fmt::format("{} + {} more...", out_, count_ - most_) : out_;
  }

 private:
  size_t most_, count_ = 0;
  std::string out_;
};

json endpoints(const Object& o, WallMicros) {
  const auto* e = o.as<api::core_v1::Endpoints>();
  Shortened out(3);
  if (e->subsets()) {
    for (const auto* subset : *e->subsets()) {
      if (!subset->addresses()) continue;
      for (const auto* address : *subset->addresses()) {
        if (!subset->ports() || subset->ports()->size() == 0) out.add(std::string(str(address->ip())));
        if (!subset->ports()) continue;
        for (const auto* port : *subset->ports())
          out.add(fmt::format("{}:{}", str(address->ip()), port->port().value_or(0)));
      }
    }
  }
  return out.take();
}

json slice_ports(const Object& o, WallMicros) {
  const auto* s = o.as<api::discovery_v1::EndpointSlice>();
  Shortened out(3);
  if (s->ports()) {
    for (const auto* p : *s->ports()) out.add(p->port() ? std::to_string(*p->port()) : "*");
  }
  return out.take("<unset>");
}

json slice_endpoints(const Object& o, WallMicros) {
  const auto* s = o.as<api::discovery_v1::EndpointSlice>();
  Shortened out(3);
  if (s->endpoints()) {
    for (const auto* e : *s->endpoints()) {
      if (!e->addresses()) continue;
      for (const auto* a : *e->addresses()) out.add(a->str());
    }
  }
  return out.take("<unset>");
}

json data_count(const Object& o, WallMicros) {
  if (o.kind().kind == "Secret") {
    const auto* data = o.as<api::core_v1::Secret>()->data();
    return std::to_string(data ? data->size() : 0);
  }
  const auto* map = o.as<api::core_v1::ConfigMap>();
  return std::to_string((map->data() ? map->data()->size() : 0) +
                        (map->binary_data() ? map->binary_data()->size() : 0));
}

json secret_count(const Object& o, WallMicros) {
  const auto* secrets = o.as<api::core_v1::ServiceAccount>()->secrets();
  return std::to_string(secrets ? secrets->size() : 0);
}

// Events: a series overrides the fields of old.
json event_last_seen(const Object& o, WallMicros now) {
  const auto* e = o.as<api::core_v1::Event>();
  if (e->series() && e->series()->last_observed_time())
    return since(*e->series()->last_observed_time() / 1'000'000, now);
  if (e->last_timestamp()) return since(e->last_timestamp(), now);
  if (e->event_time()) return since(*e->event_time() / 1'000'000, now);
  return age(o, now);
}
json event_first_seen(const Object& o, WallMicros now) {
  const auto* e = o.as<api::core_v1::Event>();
  if (e->first_timestamp()) return since(e->first_timestamp(), now);
  if (e->event_time()) return since(*e->event_time() / 1'000'000, now);
  return age(o, now);
}
json event_object(const Object& o, WallMicros) {
  const auto* ref = o.as<api::core_v1::Event>()->involved_object();
  if (!ref) return "";
  std::string kind(str(ref->kind()));
  for (char& c : kind) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return kind + "/" + std::string(str(ref->name()));
}
json event_source(const Object& o, WallMicros) {
  const auto* e = o.as<api::core_v1::Event>();
  std::string component(e->source() ? str(e->source()->component()) : std::string_view());
  std::string host(e->source() ? str(e->source()->host()) : std::string_view());
  if (component.empty()) component = str(e->reporting_component());
  if (host.empty()) host = str(e->reporting_instance());
  return host.empty() ? component : component + ", " + host;
}
json event_count(const Object& o, WallMicros) {
  const auto* e = o.as<api::core_v1::Event>();
  if (e->series()) return std::to_string(e->series()->count().value_or(1));
  return std::to_string(std::max(1, e->count().value_or(1)));
}

using api::apps_v1::Deployment;

json deployment_ready(const Object& o, WallMicros) {
  const auto* d = o.as<Deployment>();
  int ready = d->status() ? d->status()->ready_replicas().value_or(0) : 0;
  int desired = d->spec() ? d->spec()->replicas().value_or(1) : 1;
  return fmt::format("{}/{}", ready, desired);
}
json updated_replicas(const Object& o, WallMicros) {
  const auto* s = o.as<Deployment>()->status();
  return std::to_string(s ? s->updated_replicas().value_or(0) : 0);
}
json available_replicas(const Object& o, WallMicros) {
  const auto* s = o.as<Deployment>()->status();
  return std::to_string(s ? s->available_replicas().value_or(0) : 0);
}
json spec_replicas(const Object& o, WallMicros) { return paths::number(o, "spec.replicas", 1); }
json status_replicas(const Object& o, WallMicros) { return paths::number(o, "status.replicas"); }
json ready_replicas(const Object& o, WallMicros) { return paths::number(o, "status.readyReplicas"); }

}  // namespace
}  // namespace columns

using nlohmann::json;

ColumnFunction find_column(std::string_view name) {
  using namespace columns;  // NOLINT(google-build-using-namespace)
#define COLUMN(f) \
  { #f, f }
  // clang-format off
  static const std::unordered_map<std::string_view, ColumnFunction> kColumns = {
      COLUMN(age), COLUMN(pod_ready), COLUMN(pod_status), COLUMN(pod_restarts), COLUMN(pod_readiness_gates),
      COLUMN(node_status), COLUMN(node_roles), COLUMN(node_internal_ip), COLUMN(node_external_ip),
      COLUMN(service_cluster_ip), COLUMN(service_external_ip), COLUMN(service_ports), COLUMN(service_selector),
      COLUMN(endpoints), COLUMN(slice_ports), COLUMN(slice_endpoints), COLUMN(data_count), COLUMN(secret_count),
      COLUMN(event_last_seen), COLUMN(event_first_seen), COLUMN(event_object), COLUMN(event_source), COLUMN(event_count),
      COLUMN(deployment_ready), COLUMN(updated_replicas), COLUMN(available_replicas), COLUMN(spec_replicas),
      COLUMN(status_replicas), COLUMN(ready_replicas)};
  // clang-format on
#undef COLUMN
  auto it = kColumns.find(name);
  if (it != kColumns.end()) return it->second;
  for (const auto* more : {&workload_columns(), &storage_columns(), &policy_columns()}) {
    if (auto found = more->find(name); found != more->end()) return found->second;
  }
  return nullptr;
}

const model::Kind& table_kind(const model::Kind& kind) {
  const auto* storage = model::served(kind).storage;
  return storage == nullptr ? kind : *storage;
}

json typed_cell(const model::Column& column, std::string text) {
  if (column.type == "integer") return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
  if (column.type == "boolean") return text == "true";
  if (text.empty() && column.wide) return "<none>";
  return text;
}

}  // namespace gantry::apigw
