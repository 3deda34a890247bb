use super::*;
use crate::host::net::create_own;
use crate::host::sys::read;
use crate::host::testing::{Scratch, eventually, in_thread, ip, open_tap, run};
use options::find;
use trine_testing::Random;

const MAC: [u8; 6] = [0x0a, 0x58, 10, 88, 0, 7];

fn request() -> Request {
    Request {
        tap: "tap0".to_owned(),
        client_mac: "0a:58:0a:58:00:07".to_owned(),
        address: "10.88.0.7".to_owned(),
        prefix: 16,
        server: "169.254.77.1".to_owned(),
        router: "10.88.0.1".to_owned(),
        mtu: 1450,
        hostname: "web-0".to_owned(),
        dns: vec!["10.96.0.10".to_owned(), "fd00::10".to_owned()],
        search: [
            "default.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local.",
        ]
        .map(str::to_owned)
        .to_vec(),
        routes: Vec::new(),
        lease_seconds: 3600,
    }
}

fn config() -> Config {
    let mut config = Config::parse(&request()).unwrap();
    config.server_mac = [2, 0, 0, 0, 0, 1];
    config
}

/// A client's frame. The UDP checksum is left to the device, as a virtio guest does.
fn frame(kind: u8, client: [u8; 4], extra: &[u8]) -> Vec<u8> {
    let mut bootp = vec![1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 1, 0, 0];
    bootp.extend_from_slice(&client);
    bootp.extend_from_slice(&[0; 12]);
    bootp.extend_from_slice(&MAC);
    bootp.resize(236, 0);
    bootp.extend_from_slice(&[99, 130, 83, 99, 53, 1, kind]);
    bootp.extend_from_slice(extra);
    bootp.push(255);
    let udp = (8 + bootp.len()) as u16;
    let mut frame = [[0xff; 6], MAC].concat();
    frame.extend_from_slice(&[8, 0, 0x45, 0]);
    frame.extend_from_slice(&(20 + udp).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    frame.extend_from_slice(&[0, 68, 0, 67]);
    frame.extend_from_slice(&udp.to_be_bytes());
    frame.extend_from_slice(&[0xab, 0xcd]);
    frame.extend_from_slice(&bootp);
    frame
}

struct Reply(Vec<u8>);

impl Reply {
    fn to(config: &Config, frame: &[u8]) -> Option<Self> {
        respond(config, frame).map(Self)
    }

    fn option(&self, code: u8) -> Option<&[u8]> {
        find(&self.0[14 + 20 + 8 + 240..], code)
    }

    fn kind(&self) -> u8 {
        self.option(53).unwrap()[0]
    }

    fn bootp(&self, from: usize, to: usize) -> &[u8] {
        &self.0[42 + from..42 + to]
    }
}

/// A sum over a whole that includes its checksum comes out as all ones.
fn sums_to_ones(parts: &[&[u8]]) -> bool {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words
        .map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)))
        .sum();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[test]
fn a_discover_is_offered_the_address_with_all_that_goes_with_it() {
    let offer = Reply::to(&config(), &frame(1, [0; 4], &[])).unwrap();
    assert_eq!(offer.kind(), 2);
    assert_eq!(offer.bootp(4, 8), [0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(offer.bootp(16, 20), [10, 88, 0, 7]);
    assert_eq!(
        offer.0[..14],
        [&MAC[..], &[2, 0, 0, 0, 0, 1], &[8, 0]].concat()
    );
    assert_eq!(offer.0[30..34], [10, 88, 0, 7]);
    assert_eq!(offer.option(54).unwrap(), [169, 254, 77, 1]);
    assert_eq!(offer.option(51).unwrap(), 3600u32.to_be_bytes());
    assert_eq!(offer.option(58).unwrap(), 1800u32.to_be_bytes());
    assert_eq!(offer.option(59).unwrap(), 3150u32.to_be_bytes());
    assert_eq!(offer.option(1).unwrap(), [255, 255, 0, 0]);
    assert_eq!(offer.option(3).unwrap(), [10, 88, 0, 1]);
    assert_eq!(offer.option(6).unwrap(), [10, 96, 0, 10]);
    assert_eq!(offer.option(12).unwrap(), b"web-0");
    assert_eq!(offer.option(15).unwrap(), b"default.svc.cluster.local");
    assert_eq!(offer.option(26).unwrap(), 1450u16.to_be_bytes());
    assert_eq!(
        offer.option(119).unwrap(),
        b"\x07default\x03svc\x07cluster\x05local\0\xc0\x08\xc0\x0c"
    );
    assert_eq!(offer.option(121), None);
}

#[test]
fn checksums_and_lengths_of_an_answer_are_right() {
    let offer = Reply::to(&config(), &frame(1, [0; 4], &[])).unwrap().0;
    let (ip, udp) = (&offer[14..34], &offer[34..]);
    assert!(sums_to_ones(&[ip]));
    assert_eq!(
        u16::from_be_bytes([ip[2], ip[3]]) as usize,
        offer.len() - 14
    );
    assert_eq!(u16::from_be_bytes([udp[4], udp[5]]) as usize, udp.len());
    assert!(sums_to_ones(&[&ip[12..20], &[0, 17], &udp[4..6], udp]));
}

#[test]
fn a_request_is_acknowledged_refused_or_left_to_another_server() {
    let config = config();
    let answer = |client: [u8; 4], extra: &[u8]| Reply::to(&config, &frame(3, client, extra));
    let ours = [54, 4, 169, 254, 77, 1, 50, 4, 10, 88, 0, 7];
    assert_eq!(answer([0; 4], &ours).unwrap().kind(), 5);
    assert!(answer([0; 4], &[54, 4, 10, 0, 0, 1, 50, 4, 10, 88, 0, 7]).is_none());
    assert_eq!(answer([0; 4], &[50, 4, 10, 88, 0, 7]).unwrap().kind(), 5);
    let refused = answer([0; 4], &[50, 4, 192, 168, 1, 1]).unwrap();
    assert_eq!((refused.kind(), &refused.0[..6]), (6, &[0xff; 6][..]));
    assert_eq!(
        (refused.bootp(16, 20), refused.option(51)),
        (&[0; 4][..], None)
    );
    let renewed = answer([10, 88, 0, 7], &[]).unwrap();
    assert_eq!(
        (renewed.kind(), renewed.bootp(12, 16)),
        (5, &[10, 88, 0, 7][..])
    );
    assert_eq!(renewed.0[..6], MAC);
    assert_eq!(answer([10, 88, 0, 8], &[]).unwrap().kind(), 6);
}

#[test]
fn an_inform_is_answered_without_a_lease_and_a_release_not_at_all() {
    let inform = Reply::to(&config(), &frame(8, [10, 88, 0, 7], &[])).unwrap();
    assert_eq!((inform.kind(), inform.option(51)), (5, None));
    assert_eq!(inform.bootp(16, 20), [0; 4]);
    for kind in [4, 7, 2, 5, 6, 0, 9, 255] {
        assert!(respond(&config(), &frame(kind, [10, 88, 0, 7], &[])).is_none());
    }
}

#[test]
fn a_client_that_wants_broadcast_gets_it() {
    let mut discover = frame(1, [0; 4], &[]);
    discover[42 + 10] = 0x80;
    let offer = respond(&config(), &discover).unwrap();
    assert_eq!(
        (&offer[..6], &offer[30..34]),
        (&[0xff; 6][..], &[255; 4][..])
    );
}

#[test]
fn routes_are_sent_with_the_default_route_among_them() {
    let mut request = request();
    request.routes = vec![
        ("169.254.1.1/32".to_owned(), String::new()),
        ("10.128.0.0/9".to_owned(), "10.88.0.2".to_owned()),
    ];
    let offer = Reply::to(&Config::parse(&request).unwrap(), &frame(1, [0; 4], &[])).unwrap();
    assert_eq!(
        offer.option(121).unwrap(),
        [
            32, 169, 254, 1, 1, 0, 0, 0, 0, 9, 10, 128, 10, 88, 0, 2, 0, 10, 88, 0, 1
        ]
    );
}

#[test]
fn an_answer_keeps_to_the_size_the_client_takes() {
    let mut request = request();
    request.search = (0..8)
        .map(|n| format!("a-rather-long-namespace-{n}.svc"))
        .collect();
    request.hostname = "h".repeat(63);
    request.routes = (0..20)
        .map(|n| (format!("10.{n}.0.0/16"), "10.88.0.2".to_owned()))
        .collect();
    let config = Config::parse(&request).unwrap();
    let small = Reply::to(&config, &frame(1, [0; 4], &[])).unwrap();
    assert!(small.0.len() <= 14 + 576, "{}", small.0.len());
    assert!(small.option(1).is_some() && small.option(121).is_some());
    assert_eq!(small.option(119), None);
    let large = Reply::to(&config, &frame(1, [0; 4], &[57, 2, 0x05, 0xdc])).unwrap();
    assert!(large.option(119).is_some());
}

#[test]
fn search_domains_that_do_not_fit_are_left_out() {
    let mut domains: Vec<String> = (0..40)
        .map(|n| format!("some-name-{n:02}.example"))
        .collect();
    domains.insert(0, ".".to_owned());
    let encoded = options::encode_search(&domains).unwrap();
    assert!(
        encoded.len() <= 255 && encoded.len() > 230,
        "{}",
        encoded.len()
    );
    assert!(encoded.starts_with(b"\x0csome-name-00\x07example\0\x0csome-name-01\xc0\x0d"));
    assert!(encoded.ends_with(&[0xc0, 0x0d]));
}

#[test]
fn frames_of_others_and_unsound_ones_are_not_answered() {
    let config = config();
    let sound = frame(1, [0; 4], &[]);
    assert!(respond(&config, &sound).is_some());
    let changes: [(usize, u8); 15] = [
        (6, 0xee),       // source MAC
        (12, 0x86),      // ethertype
        (14, 0x65),      // version
        (14, 0x44),      // header shorter than a header
        (14, 0x4f),      // header over the UDP header
        (20, 0x20),      // fragment
        (23, 6),         // TCP
        (35, 67),        // source port
        (37, 68),        // destination port
        (17, 255),       // packet longer than the frame
        (38, 0xff),      // datagram longer than the packet
        (42, 2),         // a reply
        (42 + 28, 0xee), // client address
        (42 + 24, 10),   // through a relay
        (42 + 236, 0),   // cookie
    ];
    for (offset, value) in changes {
        let mut changed = sound.clone();
        changed[offset] = value;
        assert!(respond(&config, &changed).is_none(), "offset {offset}");
    }
    for length in 0..sound.len() - 1 {
        assert!(
            respond(&config, &sound[..length]).is_none(),
            "cut to {length}"
        );
    }
    let padded = [sound, vec![0; 40]].concat();
    assert!(respond(&config, &padded).is_some());
}

#[test]
fn hostile_frames_never_break_it_and_answers_stay_in_bounds() {
    let config = config();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut answered = 0;
    for round in 0..60_000 {
        let mut frame = if round % 3 == 0 {
            (0..random.below(700))
                .map(|_| random.draw() as u8)
                .collect()
        } else {
            frame(
                [1, 3, 8][round % 3],
                [10, 88, 0, random.draw() as u8 & 15],
                &[57, 2, random.draw() as u8, 0],
            )
        };
        for _ in 0..random.below(4) {
            if !frame.is_empty() {
                let at = random.below(frame.len());
                frame[at] = random.draw() as u8;
            }
        }
        if random.below(4) == 0 {
            frame.truncate(random.below(frame.len() + 1));
        }
        if let Some(answer) = respond(&config, &frame) {
            answered += 1;
            assert!(answer.len() <= 1514);
        }
    }
    assert!(answered > 1000, "{answered}");
}

#[test]
fn unsound_requests_are_refused() {
    let refused = |change: &dyn Fn(&mut Request)| {
        let mut bad = request();
        change(&mut bad);
        let error = Config::parse(&bad).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    };
    refused(&|r| r.tap = "a/b".to_owned());
    for mac in [
        "",
        "0a:58:0a:58:00",
        "0a:58:0a:58:00:07:00",
        "0a:58:0a:58:00:zz",
        "0a:58:0a:58:00:+7",
    ] {
        refused(&|r| r.client_mac = mac.to_owned());
    }
    refused(&|r| r.address = "fd00::1".to_owned());
    refused(&|r| r.prefix = 33);
    refused(&|r| r.server = String::new());
    refused(&|r| r.router = "x".to_owned());
    refused(&|r| r.mtu = 70_000);
    refused(&|r| r.mtu = 20);
    refused(&|r| r.hostname = "a b".to_owned());
    refused(&|r| r.dns = vec!["dns.example".to_owned()]);
    refused(&|r| r.search = vec!["a..b".to_owned()]);
    refused(&|r| r.routes = vec![("10.0.0.0".to_owned(), String::new())]);
    refused(&|r| r.routes = vec![("10.0.0.0/40".to_owned(), String::new())]);
    refused(&|r| r.routes = vec![("10.0.0.0/32".to_owned(), "10.0.0.1".to_owned()); 40]);
}

/// The guest's side of a tap: frames behind a virtio-net header.
fn write_frame(tap: &OwnedFd, frame: &[u8]) {
    let bytes = [&[0; 10], frame].concat();
    // SAFETY: the pointer and the length describe `bytes`.
    let written = unsafe { libc::write(tap.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(written, bytes.len() as isize);
}

fn read_frame(tap: &OwnedFd) -> Option<Vec<u8>> {
    let mut bytes = [0u8; 2000];
    let length = read(tap.as_raw_fd(), &mut bytes).ok()?;
    Some(bytes[10..length].to_vec())
}

fn dhcp_frames(tap: &OwnedFd) -> usize {
    let is_dhcp =
        |frame: &Vec<u8>| frame.get(23) == Some(&17) && frame.get(36..38) == Some(&[0, 68]);
    std::iter::from_fn(|| read_frame(tap))
        .filter(is_dhcp)
        .count()
}

fn is_ready(server: &Server) -> bool {
    let mut poll = libc::pollfd {
        fd: server.fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

#[test]
fn serves_a_tap_even_when_its_frames_are_taken_away_at_the_ingress_hook() {
    in_thread(|| {
        create_own().unwrap();
        let tap = open_tap("tap0", 1500).unwrap();
        run("nft", "add table netdev t");
        run(
            "nft",
            "add chain netdev t c { type filter hook ingress device tap0 priority 0 ; policy drop ; }",
        );
        let mut server = Server::open(Config::parse(&request()).unwrap()).unwrap();
        write_frame(&tap, &frame(1, [0; 4], &[]));
        assert!(is_ready(&server));
        server.on_readable();
        assert_eq!(dhcp_frames(&tap), 1);
        assert!(!is_ready(&server));
        // Nothing else wakes the server.
        let mut other = frame(1, [0; 4], &[]);
        other[37] = 53;
        write_frame(&tap, &other);
        assert!(!is_ready(&server));
    });
}

#[test]
fn a_flood_is_answered_fifty_times_a_second() {
    in_thread(|| {
        create_own().unwrap();
        let tap = open_tap("tap0", 1500).unwrap();
        let mut server = Server::open(Config::parse(&request()).unwrap()).unwrap();
        for _ in 0..70 {
            write_frame(&tap, &frame(1, [0; 4], &[]));
        }
        server.on_readable();
        assert_eq!(dhcp_frames(&tap), 50);
        assert!(!is_ready(&server));
        eventually("the next second", || is_ready(&server));
        server.on_readable();
        assert_eq!(dhcp_frames(&tap), 20);
    });
}

#[test]
fn another_configuration_takes_over() {
    in_thread(|| {
        create_own().unwrap();
        let tap = open_tap("tap0", 1500).unwrap();
        let mut server = Server::open(Config::parse(&request()).unwrap()).unwrap();
        let changed = Request {
            address: "10.88.0.9".to_owned(),
            ..request()
        };
        server.set_config(Config::parse(&changed).unwrap()).unwrap();
        write_frame(&tap, &frame(1, [0; 4], &[]));
        server.on_readable();
        let offers = std::iter::from_fn(|| read_frame(&tap));
        assert!(
            offers
                .into_iter()
                .any(|frame| frame.get(58..62) == Some(&[10, 88, 0, 9]))
        );
        let elsewhere = Request {
            tap: "tap1".to_owned(),
            ..request()
        };
        assert!(
            server
                .set_config(Config::parse(&elsewhere).unwrap())
                .is_err()
        );
        assert!(Server::open(Config::parse(&elsewhere).unwrap()).is_err());
    });
}

#[test]
fn a_real_client_gets_a_lease() {
    in_thread(|| {
        create_own().unwrap();
        ip("link add tap0 type veth peer name client");
        ip("link set client address 0a:58:0a:58:00:07");
        ip("link set tap0 up");
        ip("link set client up");
        let scratch = Scratch::new("udhcpc");
        let script = scratch.path().join("script");
        std::fs::write(
            &script,
            "#!/bin/sh\necho $1 $ip/$mask $router $dns [$search] $hostname $mtu $lease $serverid\n",
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let mut server = Server::open(Config::parse(&request()).unwrap()).unwrap();
        let mut client = std::process::Command::new("busybox")
            .args([
                "udhcpc", "-f", "-q", "-n", "-i", "client", "-O", "search", "-O", "mtu", "-s",
            ])
            .arg(&script)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("a lease", || {
            server.on_readable();
            client.try_wait().unwrap().is_some()
        });
        let mut output = String::new();
        io::Read::read_to_string(&mut client.stdout.take().unwrap(), &mut output).unwrap();
        assert!(
            output.contains(
                "bound 10.88.0.7/16 10.88.0.1 10.96.0.10 \
                 [default.svc.cluster.local svc.cluster.local cluster.local] web-0 1450 3600 169.254.77.1"
            ),
            "{output}"
        );
    });
}
