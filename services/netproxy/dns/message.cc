#include <arpa/inet.h>
#include <ldns/ldns.h>

#include "services/netproxy/dns/server.h"

namespace gantry::netproxy {
namespace {

constexpr uint32_t kTtl = 5;  // seconds: Services change, pods more so
constexpr uint32_t kNegativeTtl = 5;
constexpr uint16_t kEdnsUdpSize = 1232;

struct PacketDeleter {
  void operator()(ldns_pkt* p) const { ldns_pkt_free(p); }
};
using Packet = std::unique_ptr<ldns_pkt, PacketDeleter>;

Packet parse(std::string_view query) {
  ldns_pkt* packet = nullptr;
  if (ldns_wire2pkt(&packet, reinterpret_cast<const uint8_t*>(query.data()), query.size()) != LDNS_STATUS_OK)
    return nullptr;
  return Packet(packet);
}

std::string to_wire(const ldns_pkt* packet) {
  uint8_t* wire = nullptr;
  size_t size = 0;
  if (ldns_pkt2wire(&wire, packet, &size) != LDNS_STATUS_OK) return "";
  std::string out(reinterpret_cast<char*>(wire), size);
  free(wire);  // NOLINT: allocated by ldns with malloc
  return out;
}

ldns_rdf* name_rdf(const std::string& name) { return ldns_dname_new_frm_str(name.c_str()); }

ldns_rr* to_rr(const Record& record) {
  ldns_rdf* owner = name_rdf(record.name);
  if (owner == nullptr) return nullptr;
  ldns_rr* rr = ldns_rr_new();
  ldns_rr_set_owner(rr, owner);
  ldns_rr_set_ttl(rr, kTtl);
  ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
  ldns_rr_set_type(rr, static_cast<ldns_rr_type>(record.type));
  switch (record.type) {
    case Record::Type::kA: {
      in_addr a{};
      inet_pton(AF_INET, record.target.c_str(), &a);
      ldns_rr_push_rdf(rr, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, sizeof a, &a));
      break;
    }
    case Record::Type::kSrv:
      ldns_rr_push_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, 0));
      ldns_rr_push_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, 100));
      ldns_rr_push_rdf(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, record.port));
      ldns_rr_push_rdf(rr, name_rdf(record.target));
      break;
    default:
      ldns_rr_push_rdf(rr, name_rdf(record.target));
  }
  return rr;
}

ldns_rr* soa(const std::string& domain) {
  ldns_rr* rr = nullptr;
  std::string text = domain + ". " + std::to_string(kNegativeTtl) + " IN SOA ns.dns." + domain + ". hostmaster." +
                     domain + ". 1 7200 1800 86400 " + std::to_string(kNegativeTtl);
  return ldns_rr_new_frm_str(&rr, text.c_str(), 0, nullptr, nullptr) == LDNS_STATUS_OK ? rr : nullptr;
}

std::string header_only(std::string_view query, uint8_t rcode) {
  if (query.size() < 12) return "";
  std::string out(query.substr(0, 12));
  out[2] = static_cast<char>((out[2] & 0x79) | 0x80);  // QR, keep the opcode and RD
  out[3] = static_cast<char>(0x80 | (rcode & 15));     // RA
  for (size_t i = 4; i < 12; ++i) out[i] = 0;
  return out;
}

Packet reply_to(const ldns_pkt* query, uint8_t rcode) {
  Packet reply(ldns_pkt_new());
  ldns_pkt_set_id(reply.get(), ldns_pkt_id(query));
  ldns_pkt_set_qr(reply.get(), true);
  ldns_pkt_set_rd(reply.get(), ldns_pkt_rd(query));
  ldns_pkt_set_ra(reply.get(), true);
  ldns_pkt_set_rcode(reply.get(), rcode);
  ldns_rr_list_deep_free(ldns_pkt_question(reply.get()));  // the setter does not
  ldns_pkt_set_question(reply.get(), ldns_rr_list_clone(ldns_pkt_question(query)));
  ldns_pkt_set_qdcount(reply.get(), ldns_rr_list_rr_count(ldns_pkt_question(query)));
  if (ldns_pkt_edns(query)) ldns_pkt_set_edns_udp_size(reply.get(), kEdnsUdpSize);
  return reply;
}

void push(ldns_pkt* packet, ldns_pkt_section section, ldns_rr* rr) {
  if (rr != nullptr) ldns_pkt_push_rr(packet, section, rr);
}

}  // namespace

std::optional<std::string> answer_query(const Zone& zone, std::string_view bytes, size_t limit) {
  auto query = parse(bytes);
  if (!query) return header_only(bytes, LDNS_RCODE_FORMERR);
  if (ldns_pkt_qr(query.get())) return "";  // never answer an answer
  if (ldns_pkt_get_opcode(query.get()) != LDNS_PACKET_QUERY) return header_only(bytes, LDNS_RCODE_NOTIMPL);
  if (ldns_pkt_qdcount(query.get()) != 1) return header_only(bytes, LDNS_RCODE_FORMERR);
  const ldns_rr* question = ldns_rr_list_rr(ldns_pkt_question(query.get()), 0);
  char* text = ldns_rdf2str(ldns_rr_owner(question));
  std::string name = text != nullptr ? text : "";
  free(text);  // NOLINT: allocated by ldns with malloc
  auto lookup = zone.find(name, static_cast<Record::Type>(ldns_rr_get_type(question)));
  if (lookup.outcome == Lookup::Outcome::kNotOurs) return std::nullopt;
  auto reply =
      reply_to(query.get(), lookup.outcome == Lookup::Outcome::kNoName ? LDNS_RCODE_NXDOMAIN : LDNS_RCODE_NOERROR);
  ldns_pkt_set_aa(reply.get(), true);
  for (const auto& record : lookup.answers) push(reply.get(), LDNS_SECTION_ANSWER, to_rr(record));
  for (const auto& record : lookup.additional) push(reply.get(), LDNS_SECTION_ADDITIONAL, to_rr(record));
  if (lookup.answers.empty()) push(reply.get(), LDNS_SECTION_AUTHORITY, soa(zone.domain()));
  auto wire = to_wire(reply.get());
  if (ldns_pkt_edns_udp_size(query.get()) > limit && limit <= 512) {
    limit = std::min<size_t>(ldns_pkt_edns_udp_size(query.get()), kEdnsUdpSize);
  }
  if (wire.size() <= limit) return wire;
  auto truncated = reply_to(query.get(), LDNS_RCODE_NOERROR);
  ldns_pkt_set_tc(truncated.get(), true);
  return to_wire(truncated.get());
}

std::string failure_reply(std::string_view bytes, uint8_t rcode) {
  auto query = parse(bytes);
  return query ? to_wire(reply_to(query.get(), rcode).get()) : header_only(bytes, rcode);
}

}  // namespace gantry::netproxy
