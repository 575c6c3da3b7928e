//! CPU time to accept a hostile offer. All participants wait meanwhile.

use std::time::Duration;

use str0m::Rtc;
use str0m::change::SdpOffer;
use str0m::media::Mid;

use super::reduce::{MAX_NEW_SECTIONS, MAX_SECTIONS};
use super::tests::{offer, rtc};
use super::{Meanings, reduce};

/// Maximum CPU time for one offer. Tests are compiled with checks and little optimisation, so this is several times the time of a
/// release build.
const MAX_COST: Duration = Duration::from_millis(150);

fn is_known(rtc: &Rtc, mid: Mid) -> bool {
    rtc.media(mid).is_some_and(|media| !media.remote_pts().is_empty())
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// CPU time that a new connection takes for the offer, the minimum of three runs.
fn cost(text: &str) -> Duration {
    let once = || {
        let mut rtc = rtc(true);
        let started = cpu_time();
        let _ = accept(&mut rtc, text);
        cpu_time().saturating_sub(started)
    };
    (0..3).map(|_| once()).min().unwrap()
}

fn accept(rtc: &mut Rtc, text: &str) -> Option<String> {
    let reduced = reduce(text, &mut Meanings::default(), |mid| is_known(rtc, mid))?;
    let offer = SdpOffer::from_sdp_string(&reduced).ok()?;
    Some(rtc.sdp_api().accept_offer(offer).ok()?.to_sdp_string())
}

/// Chromium's first offer, with lines added to one section.
fn with_lines(section: &str, count: usize, line: impl Fn(usize) -> String) -> String {
    let text = offer("chromium", "2-publish");
    let added: String = (0..count).flat_map(|number| [line(number), "\r\n".to_owned()]).collect();
    if section.is_empty() {
        return text.replacen("m=audio", &format!("{added}m=audio"), 1);
    }
    let name = format!("a=mid:{section}\r\n");
    text.replacen(&name, &format!("{name}{added}"), 1)
}

/// An offer with `count` video sections as Chromium writes them.
fn with_sections(count: usize) -> String {
    let text = offer("chromium", "1-join");
    let (head, rest) = text.split_once("m=").unwrap();
    let video = rest.split("m=").find(|part| part.starts_with("video")).unwrap();
    let names: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    let head: String = head
        .split_inclusive('\n')
        .map(|line| {
            if line.starts_with("a=group") {
                format!("a=group:BUNDLE {}\r\n", names.join(" "))
            } else {
                line.to_owned()
            }
        })
        .collect();
    let section = |name: &String| {
        let lines = video
            .split_inclusive('\n')
            .map(|line| if line.starts_with("a=mid:") { format!("a=mid:{name}\r\n") } else { line.to_owned() });
        format!("m={}", lines.collect::<String>())
    };
    head + &names.iter().map(section).collect::<String>()
}

#[test]
fn no_offer_of_the_longest_message_costs_more_than_the_maximum() {
    let many = 50_000;
    let candidate = |number: usize| {
        let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
        format!("a=candidate:{number} 1 udp 1 127.1.{high}.{low} 9 typ host")
    };
    let parameters = "apt=96;".repeat(100_000);
    let layers = "a;".repeat(100_000);
    let hostile = [
        ("candidates of the session", with_lines("", many, candidate)),
        ("candidates", with_lines("3", many, candidate)),
        ("sources", with_lines("8", many, |number| format!("a=ssrc:{number} cname:x"))),
        ("sources without value", with_lines("8", many, |number| format!("a=ssrc:{number} x"))),
        ("groups of sources", with_lines("8", many, |number| format!("a=ssrc-group:FID {} {number}", number + 1))),
        ("extensions", with_lines("8", many, |number| format!("a=extmap:{} urn:x{number}", number % 255))),
        ("layers", with_lines("8", many, |number| format!("a=rid:r{number} send pt=96;max-br=1"))),
        ("simulcast", with_lines("8", many, |number| format!("a=simulcast:send a{number};b;c"))),
        ("one simulcast", with_lines("8", 1, |_| format!("a=simulcast:send {layers}a"))),
        ("feedback", with_lines("8", many, |number| format!("a=rtcp-fb:{} nack x{number}", number % 128))),
        ("payload types", with_lines("8", many, |number| format!("a=rtpmap:{} VP8/90000", number % 128))),
        ("parameters", with_lines("8", many, |number| format!("a=fmtp:{} apt={}", number % 128, number % 127))),
        ("one parameter", with_lines("8", 1, |_| format!("a=fmtp:97 {parameters}"))),
        ("names of streams", with_lines("8", many, |number| format!("a=msid:s{number} t{number}"))),
        ("names", with_lines("8", many, |number| format!("a=mid:{number}"))),
        ("directions", with_lines("8", many, |_| "a=sendonly".into())),
        ("setups", with_lines("8", many, |_| "a=setup:actpass".into())),
        ("fingerprints", with_lines("8", many, |_| "a=fingerprint:sha-256 00:11".into())),
        ("unknown lines", with_lines("8", many, |number| format!("a=x{number}:y"))),
        ("groups", with_lines("", many, |number| format!("a=group:LS {number}"))),
        ("streams of the session", with_lines("", many, |number| format!("a=msid-semantic: WMS {number}"))),
        ("credentials", with_lines("", many, |number| format!("a=ice-ufrag:{number}"))),
        ("what cannot be parsed", with_lines("8", many, |number| format!("a=extmap:x{number} y"))),
        ("new sections", with_sections(MAX_NEW_SECTIONS)),
        (
            "sections of one line",
            format!("{}{}", offer("chromium", "1-join"), "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(many)),
        ),
        ("too many sections", with_sections(700)),
    ];
    for (what, text) in hostile {
        let cost = cost(&text);
        println!("{what}: {} kB, {cost:?}", text.len() / 1000);
        assert!(cost <= MAX_COST, "{what}: {cost:?}");
    }
}

#[test]
fn the_cost_of_a_large_session_grows_with_its_sections_and_no_faster() {
    let mut rtc = rtc(true);
    let mut costs = Vec::new();
    for count in (MAX_NEW_SECTIONS / 2..=MAX_SECTIONS).step_by(MAX_NEW_SECTIONS / 2) {
        let text = with_sections(count);
        let started = cpu_time();
        assert!(accept(&mut rtc, &text).is_some(), "{count}");
        costs.push(cpu_time().saturating_sub(started));
    }
    let (few, many): (Duration, Duration) = (costs.iter().take(3).sum(), costs.iter().rev().take(3).sum());
    // There are 4.5 times as many sections.
    assert!(many < 9 * few, "{costs:?}");
    assert_eq!(accept(&mut rtc, &with_sections(MAX_SECTIONS + 1)), None);
}
