use super::*;
use crate::host::net::create_own;
use crate::host::testing::{Scratch, eventually, in_thread, ip, open_tap};
use std::os::fd::AsRawFd;
use trine_testing::Random;

const MAC: [u8; 6] = [0x0a, 0x58, 10, 88, 0, 7];
const GUEST: &str = "fe80::858:aff:fe58:7";

fn request() -> Request {
    Request {
        tap: "tap0".to_owned(),
        client_mac: "0a:58:0a:58:00:07".to_owned(),
        address: "fd00:1::7".to_owned(),
        prefix: 64,
        router: "fe80::77:1".to_owned(),
        router_mac: "02:00:00:00:00:99".to_owned(),
        is_default: true,
        mtu: 1450,
        dns: vec!["fd00::10".to_owned(), "10.96.0.10".to_owned()],
        search: vec!["svc.cluster.local".to_owned()],
    }
}

fn config() -> Config {
    Config {
        server_mac: [2, 0, 0, 0, 0, 1],
        ..Config::parse(&request()).unwrap()
    }
}

fn frame_of(from: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let to: Ipv6Addr = "ff02::2".parse().unwrap();
    let from: Ipv6Addr = from.parse().unwrap();
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 2];
    frame.extend_from_slice(&MAC);
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[protocol, 255]);
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(payload);
    frame
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let head = [code.to_be_bytes(), (value.len() as u16).to_be_bytes()].concat();
    [head, value.to_vec()].concat()
}

const CLIENT: [u8; 10] = [0, 3, 0, 1, 0x0a, 0x58, 10, 88, 0, 7];
const OURS: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];

fn question(kind: u8, options: &[Vec<u8>]) -> Vec<u8> {
    let message = [vec![kind, 1, 2, 3], options.concat()].concat();
    let length = (message.len() + 8) as u16;
    let head = [
        [2, 34],
        [2, 35],
        length.to_be_bytes(),
        [0, 0], // checksum
    ];
    frame_of(GUEST, 17, &[head.concat(), message].concat())
}

fn wants(address: Option<&str>) -> Vec<u8> {
    let mut value = vec![9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Some(address) = address {
        let address: Ipv6Addr = address.parse().unwrap();
        value.extend(option(5, &[&address.octets()[..], &[0; 8]].concat()));
    }
    option(3, &value)
}

/// Type and the rest of the answer's message.
fn answered(frame: &[u8]) -> Option<(u8, Vec<u8>)> {
    let answer = respond(&config(), frame)?;
    assert!(is_summed(&answer));
    assert_eq!(answer[..6], MAC);
    Some((answer[62], answer[66..].to_vec()))
}

/// A sum over a whole that includes its checksum comes out as all ones.
fn is_summed(frame: &[u8]) -> bool {
    let protocol = [0, 0, 0, frame[20]];
    let length = (frame.len() as u32 - 54).to_be_bytes();
    let parts = [&frame[22..54], &length, &protocol, &frame[54..]];
    crate::host::dhcp::checksum(&parts) == 0
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn who_asks_for_a_router_is_told_of_it_and_sent_to_dhcp() {
    let told = respond(&config(), &frame_of(GUEST, 58, &[133, 0, 0, 0, 0, 0, 0, 0])).unwrap();
    assert!(is_summed(&told));
    let router: Ipv6Addr = "fe80::77:1".parse().unwrap();
    assert_eq!(told[22..38], router.octets());
    assert_eq!(
        told[54..62],
        [134, 0, told[56], told[57], 64, 0xc0, 0x23, 0x28]
    );
    assert!(contains(&told, &[1, 1, 2, 0, 0, 0, 0, 0x99]));
    assert!(contains(&told, &[5, 1, 0, 0, 0, 0, 5, 0xaa]));
    assert!(contains(&told, &[3, 4, 64, 0x80, 0xff, 0xff]));
    let none = Config {
        is_default: false,
        router_mac: None,
        prefix: 128,
        mtu: 0,
        ..config()
    };
    let told = advertisement(&none);
    assert_eq!((&told[60..62], told.len()), (&[0, 0][..], 54 + 16));
}

#[test]
fn says_where_its_router_is_and_no_other_neighbour() {
    let ask = |target: &str| {
        let target: Ipv6Addr = target.parse().unwrap();
        let payload = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
        frame_of(GUEST, 58, &payload)
    };
    let told = respond(&config(), &ask("fe80::77:1")).unwrap();
    assert!(is_summed(&told));
    assert_eq!((told[54], told[58]), (136, 0xe0));
    assert!(told.ends_with(&[2, 1, 2, 0, 0, 0, 0, 0x99]));
    assert!(respond(&config(), &ask("fd00:1::1")).is_none());
    let elsewhere = Config {
        router_mac: None,
        ..config()
    };
    assert!(respond(&elsewhere, &ask("fe80::77:1")).is_none());
}

#[test]
fn the_one_address_is_offered_given_renewed_and_confirmed() {
    let address: Ipv6Addr = "fd00:1::7".parse().unwrap();
    let client = option(1, &CLIENT);
    let (server, other) = (option(2, &OURS), option(2, &CLIENT));
    let ask = |kind: u8, options: &[Vec<u8>]| answered(&question(kind, options));
    let (kind, offer) = ask(1, &[client.clone(), wants(None)]).unwrap();
    assert_eq!(kind, 2);
    assert!(contains(&offer, &option(2, &OURS)) && contains(&offer, &option(1, &CLIENT)));
    assert!(contains(&offer, &address.octets()) && contains(&offer, &[9, 9, 9, 9]));
    assert!(contains(&offer, b"\x03svc\x07cluster\x05local\0"));
    assert!(contains(&offer, &[0, 23, 0, 16, 0xfd])); // the resolver of this family alone
    let rapid = [client.clone(), wants(None), option(14, &[])];
    assert_eq!(ask(1, &rapid).unwrap().0, 7);
    for kind in [3, 5] {
        let (answer, body) = ask(kind, &[client.clone(), server.clone(), wants(None)]).unwrap();
        assert_eq!(answer, 7);
        assert!(contains(&body, &address.octets()));
        assert!(ask(kind, &[client.clone(), other.clone(), wants(None)]).is_none());
        assert!(ask(kind, &[client.clone(), wants(None)]).is_none());
    }
    assert_eq!(ask(6, &[client.clone(), wants(None)]).unwrap().0, 7);
    let status = |at: &str| ask(4, &[client.clone(), wants(Some(at))]).unwrap().1;
    assert!(status("fd00:1::7").ends_with(&option(13, &[0, 0])));
    assert!(status("fd00:1::8").ends_with(&option(13, &[0, 4])));
    assert!(ask(8, &[client.clone(), server]).is_some());
    let (_, known) = ask(11, &[]).unwrap();
    assert!(!contains(&known, &address.octets()) && contains(&known, b"cluster"));
    // A second group of addresses has none.
    let two = ask(1, &[client, wants(None), wants(None)]).unwrap().1;
    assert!(contains(&two, &option(13, &[0, 2])));
}

#[test]
fn questions_of_others_and_unsound_ones_are_not_answered() {
    let sound = question(1, &[option(1, &CLIENT), wants(None)]);
    assert!(respond(&config(), &sound).is_some());
    let changes: [(usize, u8); 10] = [
        (6, 0xee),  // source MAC
        (12, 8),    // ethertype
        (14, 0x45), // version
        (19, 0xff), // longer than the frame
        (20, 0),    // an extension header
        (22, 0x20), // source not of this link
        (55, 0),    // source port
        (57, 0),    // destination port
        (62, 2),    // an answer
        (69, 0xff), // an option that is cut off
    ];
    for (at, value) in changes {
        let mut frame = sound.clone();
        frame[at] = value;
        assert!(respond(&config(), &frame).is_none(), "byte {at}");
    }
    let mut routed = frame_of(GUEST, 58, &[133, 0, 0, 0, 0, 0, 0, 0]);
    routed[21] = 64;
    assert!(respond(&config(), &routed).is_none());
    let groups = vec![wants(None); 5];
    assert!(
        respond(
            &config(),
            &question(1, &[vec![option(1, &CLIENT)], groups].concat())
        )
        .is_none()
    );
    let many = vec![option(99, &[]); 65];
    assert!(
        respond(
            &config(),
            &question(1, &[vec![option(1, &CLIENT)], many].concat())
        )
        .is_none()
    );
    assert!(
        respond(
            &config(),
            &question(1, &[option(1, &[0; 131]), wants(None)])
        )
        .is_none()
    );
}

#[test]
fn hostile_frames_never_break_it_and_answers_stay_in_bounds() {
    let config = config();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut answered = 0;
    for round in 0..40_000 {
        let mut frame = match round % 3 {
            0 => frame_of(GUEST, 58, &[133 + 2 * random.below(2) as u8, 0, 0, 0]),
            1 => question(
                1 + random.below(11) as u8,
                &[option(1, &CLIENT), wants(None)],
            ),
            _ => (0..random.below(300))
                .map(|_| random.draw() as u8)
                .collect(),
        };
        for _ in 0..random.below(3) {
            if !frame.is_empty() {
                let at = random.below(frame.len());
                frame[at] = random.draw() as u8;
            }
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
    refused(&|r| r.client_mac = "1".to_owned());
    refused(&|r| r.address = "10.0.0.1".to_owned());
    refused(&|r| r.prefix = 129);
    refused(&|r| r.router = "fd00::1".to_owned());
    refused(&|r| r.router_mac = "x".to_owned());
    refused(&|r| r.dns = vec!["dns::example".to_owned()]);
    refused(&|r| r.search = vec!["a..b".to_owned()]);
}

#[test]
fn a_kernel_takes_its_router_from_it_and_a_flood_is_answered_fifty_times() {
    in_thread(|| {
        create_own().unwrap();
        ip("link add tap0 type veth peer name client");
        ip("link set client address 0a:58:0a:58:00:07");
        std::fs::write("/proc/sys/net/ipv6/conf/client/accept_ra", "2").unwrap();
        ip("link set tap0 up");
        let mut server = Server::open(Config::parse(&request()).unwrap()).unwrap();
        ip("link set client up");
        eventually("the kernel has asked and been told", || {
            server.on_readable();
            ip("-6 route show default dev client").contains("via fe80::77:1")
        });
        let shown = ip("-6 neigh show dev client");
        assert!(
            shown.contains("fe80::77:1 lladdr 02:00:00:00:00:99 router"),
            "{shown}"
        );
    });
    in_thread(|| {
        create_own().unwrap();
        let tap = open_tap("tap0", 1500).unwrap();
        let mut server = Server::open(Config::parse(&request()).unwrap()).unwrap();
        let ask = [
            vec![0; 10],
            frame_of(GUEST, 58, &[133, 0, 0, 0, 0, 0, 0, 0]),
        ]
        .concat();
        for _ in 0..70 {
            // SAFETY: the pointer and the length describe `ask`.
            let sent = unsafe { libc::write(tap.as_raw_fd(), ask.as_ptr().cast(), ask.len()) };
            assert_eq!(sent, ask.len() as isize);
        }
        server.on_readable();
        let mut bytes = [0u8; 2000];
        let told = std::iter::from_fn(|| {
            let length = crate::host::sys::read(tap.as_raw_fd(), &mut bytes).ok()?;
            Some(bytes[10..length].to_vec())
        });
        assert_eq!(told.filter(|frame| frame.get(54) == Some(&134)).count(), 50);
    });
}

#[test]
fn a_real_client_gets_a_lease() {
    in_thread(|| {
        create_own().unwrap();
        ip("link add tap0 type veth peer name client");
        ip("link set client address 0a:58:0a:58:00:07");
        std::fs::write("/proc/sys/net/ipv6/conf/client/accept_dad", "0").unwrap();
        ip("link set tap0 up");
        ip("link set client up");
        let scratch = Scratch::new("dhclient");
        let [script, lease, pid] = ["script", "lease", "pid"].map(|name| scratch.path().join(name));
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let mut server = Server::open(Config::parse(&request()).unwrap()).unwrap();
        let mut client = std::process::Command::new("dhclient")
            .args(["-6", "-1", "-d", "-cf", "/dev/null", "-sf"])
            .arg(&script)
            .arg("-lf")
            .arg(&lease)
            .arg("-pf")
            .arg(&pid)
            .arg("client")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("a lease", || {
            server.on_readable();
            std::fs::read_to_string(&lease).is_ok_and(|text| text.contains("iaaddr"))
        });
        let text = std::fs::read_to_string(&lease).unwrap();
        client.kill().unwrap();
        client.wait().unwrap();
        assert!(text.contains("iaaddr fd00:1::7"), "{text}");
        assert!(text.contains("dhcp6.name-servers fd00::10"), "{text}");
        assert!(text.contains("svc.cluster.local"), "{text}");
    });
}
