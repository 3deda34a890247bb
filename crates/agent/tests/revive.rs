//! Whose guest it is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod harness;

use harness::{Guest, revive, shell};
use trine_wire::agent::{DescribeResponse, RemoveContainerRequest, ReviveRequest};

const FAILED_PRECONDITION: i32 = 9;

fn named(pod: &str, provisional: bool) -> ReviveRequest {
    ReviveRequest {
        pod: pod.to_owned(),
        provisional,
        ..revive()
    }
}

fn refusal(guest: &mut Guest, request: &ReviveRequest) -> i32 {
    let answer = guest.call::<()>("Revive", request);
    answer.expect_err("it is another pod's").code
}

#[test]
fn a_guest_made_ready_for_no_pod_yet_becomes_one_pods_and_stays_that() {
    let mut guest = Guest::new();
    guest
        .call::<()>("Revive", &named("spare/1", true))
        .expect("revived");
    guest.create("warm", &shell("true")).expect("created");
    // What is in it now would be that pod's.
    let early = refusal(&mut guest, &named("default/pod", false));
    assert_eq!(early, FAILED_PRECONDITION);
    let remove = RemoveContainerRequest {
        container: "warm".to_owned(),
    };
    guest
        .call::<()>("RemoveContainer", &remove)
        .expect("removed");
    guest
        .call::<()>("Revive", &named("default/pod", false))
        .expect("another name");
    let found: DescribeResponse = guest.call("Describe", &()).expect("described");
    assert_eq!(found.pod, "default/pod");
    for later in [named("default/other", false), named("spare/1", true)] {
        assert_eq!(refusal(&mut guest, &later), FAILED_PRECONDITION);
    }
}
