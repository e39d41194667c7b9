// The name rules of the API. Each returns "" when valid, else the API server's words for what is wrong. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace gantry::model {

std::string check_dns_label(std::string_view name);       // RFC 1123 label, 63
std::string check_dns_subdomain(std::string_view name);   // RFC 1123 subdomain, 253
std::string check_service_name(std::string_view name);    // RFC 1035 label
std::string check_qualified_name(std::string_view name);  // label and annotation keys: [prefix/]name
std::string check_label_value(std::string_view value);
std::string check_port_name(std::string_view name);  // IANA service name, 15
std::string check_env_name(std::string_view name);
std::string check_path_segment(std::string_view name);

}  // namespace gantry::model
