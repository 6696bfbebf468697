//! Frames recorded from two Linux 6 network namespaces on a veth pair, 10.0.2.2 and fd00::2 (02:00:00:00:00:0a) and
//! 10.0.2.15 and fd00::15 (02:00:00:00:00:0b). Checksum offload was on: TCP and UDP carry the sum of the pseudo-header.

/// A multicast listener report behind hop-by-hop options with a router alert.
pub(super) const MLD_REPORT: [u8; 110] = hex(
    "33330000001602000000000a86dd600000000038000100000000000000000000000000000000ff02\
     00000000000000000000000000163a000502000001008f006d640000000204000000ff0200000000\
     000000000001ff00000a04000000ff0200000000000000000001ff000002",
);

/// fe80::ff:fe00:a to all routers.
pub(super) const ROUTER_SOLICITATION: [u8; 70] = hex(
    "33330000000202000000000a86dd6000000000103afffe80000000000000000000fffe00000aff02\
     000000000000000000000000000285007b1a00000000010102000000000a",
);

/// Who has 10.0.2.15? Tell 10.0.2.2.
pub(super) const ARP_REQUEST: [u8; 42] = hex(
    "ffffffffffff02000000000a0806000108000604000102000000000a0a0002020000000000000a00\
     020f",
);

/// 10.0.2.15 is at 02:00:00:00:00:0b.
pub(super) const ARP_REPLY: [u8; 42] = hex(
    "02000000000a02000000000b0806000108000604000202000000000b0a00020f02000000000a0a00\
     0202",
);

/// `ping`, identifier 7, sequence 3, data "ethertab".
pub(super) const ECHO_REQUEST: [u8; 50] = hex(
    "02000000000b02000000000a0800450000246e9840004001b4300a0002020a00020f080056450007\
     00036574686572746162",
);

/// Its answer.
pub(super) const ECHO_REPLY: [u8; 50] = hex(
    "02000000000a02000000000b080045000024d7e2000040018ae60a00020f0a00020200005e450007\
     00036574686572746162",
);

/// Who has fd00::15?
pub(super) const NEIGHBOR_SOLICITATION: [u8; 86] = hex(
    "3333ff00001502000000000a86dd6000000000203afffd000000000000000000000000000002ff02\
     00000000000000000001ff00001587007d6700000000fd0000000000000000000000000000150101\
     02000000000a",
);

/// Its answer.
pub(super) const NEIGHBOR_ADVERTISEMENT: [u8; 86] = hex(
    "02000000000a02000000000b86dd6000000000203afffd000000000000000000000000000015fd00\
     000000000000000000000000000288001c6a60000000fd0000000000000000000000000000150201\
     02000000000b",
);

/// `ping`, identifier 7, sequence 3, data "ethertab".
pub(super) const ECHO_REQUEST_V6: [u8; 70] = hex(
    "02000000000b02000000000a86dd6004a28e00103a40fd000000000000000000000000000002fd00\
     00000000000000000000000000158000e3e1000700036574686572746162",
);

/// 10.0.2.2 port 54954 connects to port 8080.
pub(super) const TCP_SYN: [u8; 74] = hex(
    "02000000000b02000000000a08004500003cbcb64000400665f50a0002020a00020fd6aa1f9099cf\
     523700000000a002faf0183f0000020405b40402080a923793c7000000000103030a",
);

/// Three bytes on that connection: "GET".
pub(super) const TCP_DATA: [u8; 69] = hex(
    "02000000000b02000000000a080045000037bcb84000400665f80a0002020a00020fd6aa1f9099cf\
     5238da7529d78018003f183a00000101080a923793c80da92d93474554",
);

/// Four bytes to port 9: "udp!".
pub(super) const UDP: [u8; 46] = hex(
    "02000000000b02000000000a0800450000200326400040111f970a0002020a00020fdec60009000c\
     182e75647021",
);

/// Its answer: nobody listens there.
pub(super) const PORT_UNREACHABLE: [u8; 74] = hex(
    "02000000000a02000000000b080045c0003cd7e3000040018a0d0a00020f0a0002020303206d0000\
     0000450000200326400040111f970a0002020a00020fdec60009000c182e75647021",
);

/// Four bytes to port 9: "udp!".
pub(super) const UDP_V6: [u8; 66] = hex(
    "02000000000b02000000000a86dd6000cacc000c1140fd000000000000000000000000000002fd00\
     0000000000000000000000000015de680009000cfa3575647021",
);

/// Its answer.
pub(super) const PORT_UNREACHABLE_V6: [u8; 114] = hex(
    "02000000000a02000000000b86dd600d5d61003c3a40fd000000000000000000000000000015fd00\
     000000000000000000000000000201041001000000006000cacc000c1140fd000000000000000000\
     000000000002fd000000000000000000000000000015de680009000cfa3575647021",
);

/// All of them.
pub(super) const ALL: &[&[u8]] = &[
    &MLD_REPORT,
    &ROUTER_SOLICITATION,
    &ARP_REQUEST,
    &ARP_REPLY,
    &ECHO_REQUEST,
    &ECHO_REPLY,
    &NEIGHBOR_SOLICITATION,
    &NEIGHBOR_ADVERTISEMENT,
    &ECHO_REQUEST_V6,
    &TCP_SYN,
    &TCP_DATA,
    &UDP,
    &PORT_UNREACHABLE,
    &UDP_V6,
    &PORT_UNREACHABLE_V6,
];

const fn hex<const N: usize>(text: &str) -> [u8; N] {
    assert!(text.len() == N * 2);
    let digits = text.as_bytes();
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(digits[at * 2]) << 4 | digit(digits[at * 2 + 1]);
        at += 1;
    }
    bytes
}

const fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'a'..=b'f' => character - b'a' + 10,
        _ => panic!("not a hexadecimal digit"),
    }
}
