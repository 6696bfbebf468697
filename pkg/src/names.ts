/**
 * Names of the numbers that cross to and from the engine in records: in the order in which `info.rs`, `trace.rs` and
 * `settings.rs` in `wasm/src` have them, whose tests read this file. They are here, and not there, since what counts most is
 * the engine's size.
 *
 * How a number is shown stands behind its name: `sack?` is true or false, `state=states` the word at its place in a line of
 * {@link WORDS}, `flags&flags` those words whose bits are set, `local.address@` an IP address with three more numbers, and
 * all with a dot are fields of an object. NaN is null.
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
