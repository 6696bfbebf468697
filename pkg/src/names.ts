/**
 * Names of the numbers that cross to and from the engine in records: in the order in which the functions of `wasm/src` have
 * them, whose tests read this file. They are here, and not there, since what counts most is the engine's size.
 *
 * How a number is shown stands behind its name: `sack?` is true or false, `state=states` the word at its place in a line of
 * {@link WORDS}, `flags&flags` those words whose bits are set, `mac#` a MAC address, and all with a dot are fields of an object.
 * These take more numbers: `local.address@` an IP address (4), `prefix/` an address with the length of its prefix (5), `port$` a text in
 * the engine's memory (2), `domain%` a domain name there (2), and `why!` a code with a sentence (10). NaN is null.
 */

/** The words that numbers stand for, each line with a name in front. */
export const WORDS = `
  states LISTEN SYN-SENT SYN-RECEIVED ESTABLISHED FIN-WAIT-1 FIN-WAIT-2 CLOSE-WAIT CLOSING LAST-ACK TIME-WAIT CLOSED
  recovery open disorder cwr recovery loss
  algorithms reno cubic bbr unlimited
  agreedEcn off on accurate
  timers reordering tailLoss retransmit persist delayedAck keepAlive connect finWait2 memory pacing
  reasons handshake newData mtuProbe fastRetransmit timeout tailLossProbe probe ack duplicateAck reset
  flags FIN SYN RST PSH ACK URG ECE CWR AE
  slowStartExits hystart++ hystart loss
  unusedWindows validated decays kept
  ecn off passive on accurate
  accEcnOptions off needed always
  synCookies off underPressure always
  mtuProbing off onBlackHole always
  manners linux freebsd
  reversePaths off loose strict
  natFilters addressAndPort none
  preferences low medium high
  addressStates tentative optimistic preferred deprecated duplicate
  addressOrigins static linkLocal advertised temporary dhcp
  neighborStates incomplete reachable stale delay probe unreachable failed permanent
  routeOrigins connected static advertised redirected dhcp
  natProtocols icmp tcp udp
  directions in out
`;

/** Why a call has failed. */
export const FAILURE = `
  why!
`;

/** `StackLimits`. */
export const LIMITS = `
  interfaces addresses routes neighbors connections listeners synQueue timeWait udpSockets pings pendingFlows natFlows
  trace memory
`;

/** `Impairment`: times in microseconds, the rate in bits per second, the queue in frames. */
export const IMPAIRMENT = `
  latency jitter loss duplicate corrupt reorder rate queue
`;

/** What a new interface has: its number in the stack, those of its port and of what is told of it, and its MTU. */
export const INTERFACE = `
  interface port events mtu
`;

/** `AddressInfo`. */
export const ADDRESSES = `
  prefix/ state=addressStates origin=addressOrigins
`;

/** What routers have advertised of names: one of the two. */
export const ADVERTISED_NAMES = `
  server@ domain%
`;

/** Addresses in the order in which they are to be tried. */
export const SORTED = `
  address@
`;

/** `NeighborInfo`. */
export const NEIGHBORS = `
  interface address@ mac# state=neighborStates
`;

/** `RouteInfo`: the end in microseconds. */
export const ROUTES = `
  to/ via@ interface metric preference=preferences origin=routeOrigins expires
`;

/** `NatFlow`: how long it was idle in milliseconds. */
export const NAT_FLOWS = `
  protocol=natProtocols inside.address@ inside.port outside.address@ outside.port remote.address@ remote.port
  established? idle
`;

/** `PortForward`. */
export const PORT_FORWARDS = `
  protocol=natProtocols port address@ insidePort
`;

/** `PortCounters`. */
export const PORT_COUNTERS = `
  framesReceived bytesReceived framesSent bytesSent dropped invalid
`;

/** What a switch counts. */
export const SWITCH_COUNTERS = `
  forwarded flooded filtered malformed stormDropped loopDropped spoofed
`;

/** What a stack counts. */
export const COUNTERS = `
  frames_received frames_sent bytes_received bytes_sent packets_looped fragments_received fragments_sent
  datagrams_reassembled forwarded nat_evicted tcp_predicted tcp_retransmits tcp_timeouts tcp_loss_probes
  tcp_loss_probe_recoveries tcp_resets_sent tcp_challenge_acks time_wait_evicted address_conflicts redirects_received
  frame_malformed frame_not_for_us no_interface ether_type_unknown vlan_unknown arp_malformed arp_spoofed ip_malformed
  ip_checksum ip_options ip_fragment_malformed ip_fragment_overlap ip_fragment_duplicate ip_reassembly_timeout
  ip_reassembly_full ip_martian ip_not_for_us ip_extension protocol_unknown icmp_malformed icmp_checksum icmp_ignored
  group_message_invalid neighbor_discovery_invalid udp_malformed udp_checksum udp_no_socket udp_source_filtered
  udp_queue_full raw_queue_full tcp_malformed tcp_checksum tcp_no_socket tcp_not_unicast tcp_not_acceptable
  tcp_old_timestamp tcp_bad_ack tcp_challenged tcp_bad_flags tcp_syn_queue_full tcp_accept_queue_full
  tcp_reassembly_full tcp_no_memory tcp_data_after_close no_route neighbor_unreachable neighbor_queue_full
  neighbor_table_full control_queue_full icmp_rate_limited packet_too_big hop_limit_exceeded forward_scope
  reverse_path forward_prohibited forward_queue_full nat_filtered nat_table_full nat_untranslatable flow_pending
  flow_table_full
`;

/** A captured frame: its time in microseconds, and how many of its bytes are in the scratch memory. */
export const CAPTURED = `
  index time port$ direction=directions length kept isPacket?
`;

/** A datagram whose bytes are in the scratch memory. */
export const DATAGRAM = `
  length remoteAddress@ remotePort localAddress@ interface mac# ttl trafficClass
`;

/** An ICMP error about a datagram, and whom that was for. */
export const UDP_ERROR = `
  address@ port reporter@ type code why!
`;

/** What came of an echo request: an answer, with milliseconds, or why there is none, and who says so. */
export const PING_RESULT = `
  rtt ttl size reporter@ exceeded? why!
`;

/** An ICMP error about a connection: its sender, type and code. */
export const ICMP_REPORT = `
  reporter@ type code
`;

/** A connection that was accepted. */
export const ACCEPTED = `
  socket remote.address@ remote.port local.address@ local.port
`;

/** The ends of a flow to any address. */
export const FLOW_ENDS = `
  local.address@ local.port remote.address@ remote.port isUdp?
`;

/** An end of a connection. */
export const CONNECTION_END = `
  address@ port
`;

/** Why a connection is over; null for a good end. */
export const CLOSE_REASON = `
  why!
`;

/** `ConnectionInfo`: times in milliseconds, sizes in bytes, rates in bytes a second. */
export const CONNECTION = `
  id state=states local.address@ local.port remote.address@ remote.port
  congestionControl=algorithms congestionState=recovery cwnd ssthresh srtt rttvar minRtt
  rto backoff probes totalRto totalRtoRecoveries totalRtoTime
  bytesInFlight unacked sacked lost retrans retransmits reordering reordSeen dsackDups rcvOoopack delivered
  sendQueue receiveQueue sendBuffer receiveBuffer sendWindow receiveWindow rcvRtt rcvSpace
  mss rcvMss advmss pmtu timestamps? sack? sndWscale rcvWscale ecn=agreedEcn ecnSeen? synData?
  receivedCe receivedE1Bytes receivedE0Bytes receivedCeBytes
  deliveredCe deliveredE1Bytes deliveredE0Bytes deliveredCeBytes
  ato lastDataSent lastDataReceived lastReceived
  pacingRate deliveryRate deliveryRateAppLimited? bandwidth
  bytesSent bytesAcked bytesRetrans bytesReceived segsOut dataSegsOut segsIn dataSegsIn
  busyTime rwndLimited sndbufLimited
  timers.reordering timers.tailLoss timers.retransmit timers.persist timers.delayedAck timers.keepAlive
  timers.connect timers.finWait2 timers.memory timers.pacing
`;

/** What all records of the trace begin with: the number of a line in {@link TRACE_EVENTS}, and microseconds. */
export const TRACE_RECORD = `
  kind time connection localPort remotePort
`;

/** The kinds of events and their fields; times in milliseconds. */
export const TRACE_EVENTS = `
  sent reason=reasons seq length flags&flags
  received seq ack length flags&flags acknowledged inOrder
  state from=states to=states
  timerSet timer=timers delay
  timerFired timer=timers
  window cwnd ssthresh
  recovery from=recovery to=recovery
  lost segments
  undone
`;

/** `TcpOptions`: times in microseconds, infinity for none. */
export const SETTINGS = `
  congestionControl=algorithms slowStartExit=slowStartExits unusedWindow=unusedWindows ecn=ecn
  accEcnOption=accEcnOptions synCookies=synCookies mtuProbing=mtuProbing manner=manners
  noDelay? cork? bufferTuning? pathMtuDiscovery? timestamps? sack? dsack? windowScaling? tailLossProbe? frto?
  ecnFallback? alternativeBackoff? rfc1337? exactResets? challengeSyns?
  trimToWindow? shrinkWindow? thinLinearTimeouts? keepAlive? keepAliveIdle keepAliveInterval keepAliveProbes
  sendBuffer initialSendBuffer receiveBuffer initialReceiveBuffer windowClamp notSentLowat receiveLowat maxSegmentSize
  hopLimit trafficClass delayedAck initialRto minRto maxRto timeWait finWait2 userTimeout linger challengeInterval
  deferAccept synRetries linearSynTimeouts synAckRetries retries orphanRetries
  initialWindow reordering maxReordering growthLimit compressedAcks maxPacingRate
`;

/** `UdpSettings`: 0 for the usual hop limits. */
export const UDP_SETTINGS = `
  ttl multicastTtl trafficClass broadcast? dontFragment? checksum? sharePort? multicastLoop?
`;

/** `ForwardingOptions`. */
export const FORWARDING = `
  ipv4? ipv6? reversePath=reversePaths redirects?
`;

/** `NatOptions`: times in microseconds, 0 flows for the usual limit. */
export const NAT = `
  filtering=natFilters flowsPerHost udpTimeout icmpTimeout tcpTimeout tcpTransitoryTimeout
`;

/** What a router advertises besides options: the lifetime in seconds, times of neighbours in milliseconds, the interval in microseconds. */
export const ADVERTISEMENT = `
  hopLimit managed? otherConfig? preference=preferences routerLifetime reachableTime retransmitTimer interval
`;
