//! Tests with recorded offers (see `tests/offers`) and str0m's answers to them.

use std::path::PathBuf;
use std::time::Instant;
use std::{env, fs};

use proptest::prelude::*;
use str0m::change::SdpOffer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::rtp::{Extension, ExtensionSerializer, ExtensionValues};
use str0m::{Candidate, Rtc};

use super::{
    AnswerPlan, Meanings, MediaSection, PendingTrack, SectionRole, assign, reduce, rewrite, sections, shorten,
};

const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";

#[test]
fn answers_chromium_as_recorded() {
    replay("chromium", &conversation());
    replay("chromium", &[("publisher-h264", vec![("0", receives("video/H264")), ("1", stereo())])]);
    replay("chromium", &[("publisher-vp9", vec![("0", receives("video/vp9")), ("1", receives("opus"))])]);
}

#[test]
fn answers_firefox_as_recorded() {
    replay("firefox", &conversation());
    replay("firefox", &[("publisher-av1", vec![("0", receives("video/AV1")), ("1", stereo())])]);
}

#[test]
fn the_engines_offer_has_the_given_msid() {
    let mut rtc = rtc(false);
    let mut changes = rtc.sdp_api();
    changes.add_channel("_reliable".to_owned());
    for (kind, track) in [(MediaKind::Audio, "TR_a"), (MediaKind::Video, "TR_v")] {
        let stream = format!("PA_someone|{track}");
        changes.add_media(kind, Direction::SendOnly, Some(stream), Some(track.to_owned()), None);
    }
    let (offer, _pending) = changes.apply().unwrap();
    let offer = offer.to_sdp_string();
    let sections = sections(&offer);
    let tracks: Vec<_> = sections.iter().map(|section| section.track.as_deref()).collect();
    assert_eq!(tracks, [None, Some("TR_a"), Some("TR_v")]);
    assert!(sections[1..].iter().all(|section| section.direction == Direction::SendOnly));
    for track in ["TR_a", "TR_v"] {
        assert!(offer.contains(&format!("\r\na=msid:PA_someone|{track} {track}\r\n")), "{offer}");
        assert!(offer.contains(&format!(" msid:PA_someone|{track} {track}\r\n")), "{offer}");
    }
}

#[test]
fn parses_the_sections_of_an_offer() {
    let read = sections(&offer("chromium", "2-publish"));
    let kinds: Vec<_> = read.iter().map(|section| section.kind).collect();
    let (audio, video) = (Some(MediaKind::Audio), Some(MediaKind::Video));
    assert_eq!(kinds, [audio, audio, audio, video, video, video, None, audio, video, video, video]);
    let mids: Vec<_> = read.iter().map(|section| section.mid.to_string()).collect();
    assert_eq!(mids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    assert!(read.iter().all(|section| !section.is_rejected));
    assert!(read[..6].iter().all(|section| section.is_placeholder() && !section.sends() && section.track.is_none()));
    assert!(!read[6].is_placeholder() && !read[6].sends(), "data channels have no track");
    assert!(read[7..].iter().all(|section| section.sends() && section.track.is_some()));
}

#[test]
fn rejects_only_stopped_sections_though_firefox_writes_port_0_elsewhere() {
    for browser in ["chromium", "firefox"] {
        let read = sections(&offer(browser, "3-unpublish"));
        let rejected: Vec<_> = read.iter().filter(|section| section.is_rejected).map(|one| one.mid).collect();
        assert_eq!(rejected, [mid("9")], "{browser}");
        assert_eq!(find(&read, "7").direction, Direction::Inactive, "{browser}");
        let read = sections(&offer(browser, "4-share-again"));
        assert_eq!(read[9].mid, mid("11"), "{browser} uses the section again");
        assert!(read[9].is_placeholder(), "{browser}");
    }
}

#[test]
fn neither_side_sends_in_a_rejected_section() {
    for direction in ["sendonly", "recvonly", "sendrecv"] {
        let of = |port: &str| sections(&format!("m=audio {port}\na=mid:a\na={direction}\n")).pop().unwrap();
        assert!(of("9").sends() || of("9").is_placeholder(), "{direction}");
        assert!(!of("0").sends() && !of("0").is_placeholder(), "{direction}");
    }
}

#[test]
fn parses_incomplete_sections() {
    let read = |text: &str| sections(text).pop();
    assert_eq!(read(""), None);
    assert_eq!(read("m=audio 9 UDP/TLS/RTP/SAVPF 111"), None, "there is no mid");
    let plain = || MediaSection {
        mid: mid("a"),
        kind: Some(MediaKind::Audio),
        direction: Direction::SendRecv,
        track: None,
        is_rejected: false,
        rids: Vec::new(),
        sources: Vec::new(),
    };
    assert_eq!(read("m=audio 9\na=mid:a"), Some(plain()));
    assert_eq!(read("v=0\nm=audio 9\r\na=mid:a\r\na=msid:stream -\r\n"), Some(plain()));
    assert_eq!(read("v=0\nm=audio 9\na=mid:a\na=msid:-\n"), Some(plain()));
    assert_eq!(read("m=text 9\na=mid:a\n"), Some(MediaSection { kind: None, ..plain() }));
    assert_eq!(read("m=audio 0\na=mid:a\n"), Some(MediaSection { is_rejected: true, ..plain() }));
    assert_eq!(read("a=group:BUNDLE b a\nm=audio 0\na=mid:a\n"), Some(plain()));
}

#[test]
fn assigns_tracks_by_msid_in_any_order() {
    let read = sections(&offer("chromium", "2-publish"));
    let named = |mid: &str| PendingTrack { cid: track_of(&read, mid), kind: find(&read, mid).kind.unwrap() };
    let pending = [named("10"), named("7"), named("9"), named("8")];
    assert_eq!(mids(&assign(&pending, &read, |_| false)), ["10", "7", "9", "8"]);
}

#[test]
fn assigns_other_tracks_to_sections_of_their_kind_in_order() {
    let read = sections(&offer("firefox", "2-publish"));
    let pending = [video("camera"), audio("voice"), video("screen"), video("backup"), audio("none")];
    assert_eq!(mids(&assign(&pending, &read, |_| false)), ["8", "7", "9", "10", "-"]);
    let later = [video("screen"), video("backup"), video("none")];
    assert_eq!(mids(&assign(&later, &read, |mid| &*mid == "8")), ["9", "10", "-"]);
}

#[test]
fn does_not_assign_a_section_that_names_another_track() {
    let read = sections(&offer("chromium", "2-publish"));
    let pending = [video("unknown"), PendingTrack { cid: track_of(&read, "8"), kind: MediaKind::Video }];
    assert_eq!(mids(&assign(&pending, &read, |_| false)), ["9", "8"]);
    let wrong_kind = [PendingTrack { cid: track_of(&read, "8"), kind: MediaKind::Audio }];
    assert_eq!(mids(&assign(&wrong_kind, &read, |_| false)), ["7"]);
}

#[test]
fn assigns_no_track_to_a_stopped_or_inactive_section() {
    let read = sections(&offer("chromium", "3-unpublish"));
    let pending = [audio("voice"), video("a"), video("b"), video("c")];
    assert_eq!(mids(&assign(&pending, &read, |_| false)), ["-", "8", "10", "-"]);
}

#[test]
fn an_idle_section_has_no_track() {
    let answer = answer(&mut rtc(false), &offer("chromium", "1-join"));
    assert_eq!(section_of(&answer, "3").matches("a=ssrc").count(), 5, "str0m would send on it");
    let rewritten = rewrite(&answer, &plan("", vec![("3", SectionRole::Idle)]));
    let idle = section_of(&rewritten, "3");
    assert!(idle.contains("\r\na=inactive\r\n") && !idle.contains("a=sendonly"), "{idle}");
    assert!(!idle.contains("msid") && !idle.contains("ssrc:") && !idle.contains("ssrc-group"), "{idle}");
}

#[test]
fn a_sending_section_names_the_track_in_all_lines() {
    let answer = answer(&mut rtc(false), &offer("chromium", "1-join"));
    let role = SectionRole::Sends { stream: "PA_x|a b\r\na=c".into(), track: "TR_v".into(), nack: false };
    let rewritten = rewrite(&answer, &plan("", vec![("3", role)]));
    let sending = section_of(&rewritten, "3");
    assert!(sending.contains("\r\na=msid:PA_x|aba=c TR_v\r\n"), "no name breaks a line: {sending}");
    assert_eq!(sending.matches(" msid:PA_x|aba=c TR_v\r\n").count(), 2);
    assert_eq!(sending.matches("msid:").count(), 3);
    assert!(sending.contains("\r\na=sendonly\r\n"));
}

#[test]
fn sends_only_if_the_client_receives() {
    let sends = |direction: &str| {
        let answer = format!("v=0\r\nm=audio 9 X 111\r\na=mid:0\r\n{direction}\r\n");
        rewrite(&answer, &plan("", vec![("0", tracks("TR_a"))]))
    };
    assert!(sends("a=sendrecv").ends_with("\r\na=sendonly\r\n"));
    assert!(sends("a=recvonly").ends_with("\r\na=recvonly\r\n"));
    assert!(sends("a=inactive").ends_with("\r\na=inactive\r\n"));
}

#[test]
fn a_preferred_codec_comes_first_with_all_its_profiles_and_their_rtx() {
    let answer = answer(&mut rtc(false), &offer("chromium", "publisher-vp9"));
    let formats = |codec: Option<&str>| {
        let role = SectionRole::Receives { codec: codec.map(str::to_owned), dtx: false, stereo: false };
        formats_of(&rewrite(&answer, &plan("", vec![("0", role)])), "0")
    };
    let (vp8, h264) = ("96 97", "102 103 104 107 108 109 114 115 116 117 39 40");
    let (vp9, av1) = ("98 99 100 101", "45 46");
    assert_eq!(formats(None), format!("{vp8} {h264} {vp9} {av1}"));
    assert_eq!(formats(Some("VP8")), formats(None));
    assert_eq!(formats(Some("H265")), formats(None), "which is not to be had");
    assert_eq!(formats(Some("h264")), format!("{h264} {vp8} {vp9} {av1}"));
    assert_eq!(formats(Some("video/VP9")), format!("{vp9} {vp8} {h264} {av1}"));
    assert_eq!(formats(Some("video/av1")), format!("{av1} {vp8} {h264} {vp9}"));
}

#[test]
fn puts_red_before_opus_if_enabled() {
    let answer = answer(&mut rtc(true), &offer("chromium", "publisher-vp9"));
    assert!(section_of(&answer, "1").contains("\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"), "{answer}");
    let formats = |codec| formats_of(&rewrite(&answer, &plan("", vec![("1", receives(codec))])), "1");
    assert_eq!(formats("audio/red"), "63 111");
    assert_eq!(formats("audio/opus"), "111 63");
}

#[test]
fn sets_the_dtx_and_stereo_parameters_once() {
    let ask = |lines: &str, dtx, stereo| {
        let answer = format!("v=0\r\nm=audio 9 X 111 112 0\r\na=mid:0\r\n{lines}");
        let asked = rewrite(&answer, &plan("", vec![("0", SectionRole::Receives { codec: None, dtx, stereo })]));
        asked.split_once("a=mid:0\r\n").unwrap().1.to_owned()
    };
    let given = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=fmtp:112 apt=111\r\na=fmtp:0 x=1\r\n";
    let with = |more| given.replace("minptime=10", &format!("minptime=10{more}"));
    assert_eq!(ask(given, false, false), given);
    assert_eq!(ask(given, true, false), with(";usedtx=1"));
    assert_eq!(ask(given, false, true), with(";stereo=1;maxaveragebitrate=510000"));
    assert_eq!(ask(given, true, true), with(";usedtx=1;stereo=1;maxaveragebitrate=510000"));
    assert_eq!(ask(&with(";usedtx=1"), true, false), with(";usedtx=1"));
    assert_eq!(ask(&with(";usedtx=0"), true, false), with(";usedtx=0"), "str0m has the last word");
    let bare = "a=rtpmap:111 OPUS/48000/2\r\na=rtpmap:0 PCMU/8000\r\n";
    let added = "a=rtpmap:111 OPUS/48000/2\r\na=fmtp:111 usedtx=1\r\na=rtpmap:0 PCMU/8000\r\n";
    assert_eq!(ask(bare, true, false), added);
    assert_eq!(ask(bare, false, false), bare);
}

proptest! {
    #[test]
    fn parses_and_rewrites_any_text(text: String, (_, roles) in case()) {
        sections(&text);
        holds(&text, &roles)?;
    }

    #[test]
    fn str0m_does_not_panic_on_a_mutated_offer((text, _) in case(), (other, _) in case()) {
        let (mut rtc, mut meanings) = (rtc(true), Meanings::default());
        for text in [text, other] {
            let is_known = |mid| rtc.media(mid).is_some_and(|media| !media.remote_pts().is_empty());
            let Some(reduced) = reduce(&text, &mut meanings, is_known) else { continue };
            if let Ok(offer) = SdpOffer::from_sdp_string(&reduced) {
                let _ = rtc.sdp_api().accept_offer(offer);
            }
        }
    }

    #[test]
    fn parses_and_rewrites_mutated_descriptions((text, roles) in case()) {
        let read = sections(&text);
        let pending = [video("a"), audio("b"), video("c")];
        let given: Vec<_> = assign(&pending, &read, |_| false).into_iter().flatten().collect();
        prop_assert!(given.iter().all(|mid| read.iter().any(|section| section.mid == *mid && section.sends())));
        holds(&text, &roles)?;
    }
}

/// Invariants of every rewritten description.
fn holds(text: &str, roles: &AnswerPlan) -> Result<(), TestCaseError> {
    let once = rewrite(text, roles);
    prop_assert_eq!(&rewrite(&once, roles), &once, "twice is once");
    prop_assert_eq!(rewrite(text, &AnswerPlan::new()), text);
    let (before, after) = (parts(text), parts(&once));
    prop_assert_eq!(before.len(), after.len());
    for (before, after) in before.into_iter().zip(after) {
        let mid = before.lines().find_map(|line| line.strip_prefix("a=mid:"));
        if !before.starts_with("m=") || mid.is_none_or(|mid| !roles.contains_key(&Mid::from(mid))) {
            prop_assert_eq!(before, after);
        }
    }
    Ok(())
}

/// A recorded description with lines removed, duplicated, moved, cut and joined, and roles for some of its sections.
fn case() -> impl Strategy<Value = (String, AnswerPlan)> {
    let recorded = ["chromium/2-publish", "firefox/2-publish", "chromium/publisher-vp9", "firefox/4-share-again"];
    let texts = recorded.into_iter().flat_map(|name| ["offer", "answer"].map(|which| read(&format!("{name}.{which}"))));
    let text = prop::sample::select(texts.collect::<Vec<_>>());
    let harm = prop::collection::vec((0..6, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40);
    let codec = prop::option::of(prop::sample::select(vec!["opus", "red", "video/VP9", "H264", "", "/"]));
    let receives = (codec, any::<bool>(), any::<bool>()).prop_map(|(codec, dtx, stereo)| SectionRole::Receives {
        codec: codec.map(str::to_owned),
        dtx,
        stereo,
    });
    let sends = any::<(String, String, bool)>();
    let sends = sends.prop_map(|(stream, track, nack)| SectionRole::Sends { stream, track, nack });
    let role = prop_oneof![Just(SectionRole::Idle), sends, receives];
    let roles = prop::collection::hash_map((0..12_u8).prop_map(|mid| Mid::from(mid.to_string().as_str())), role, 0..8);
    (text, harm, roles).prop_map(|(text, harm, roles)| {
        let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
        for (way, at, other) in harm {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match way {
                0 if lines.len() > 1 => drop(lines.remove(at)),
                1 => lines.insert(other, lines[at].clone()),
                2 => lines.swap(at, other),
                3 => {
                    let rest = other % (lines[at].len() + 1);
                    lines[at].truncate(rest);
                }
                4 => lines[at] = lines[at].replace("\r\n", "\n"),
                _ => lines[at] = lines[at].replacen(' ', "\r", 1),
            }
        }
        (lines.concat(), roles)
    })
}

fn parts(text: &str) -> Vec<&str> {
    let starts = text.match_indices("m=").map(|(at, _)| at).filter(|at| *at == 0 || text[..*at].ends_with('\n'));
    let cuts: Vec<_> = [0].into_iter().chain(starts).chain([text.len()]).collect();
    cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// Negotiations of a client that publishes, unpublishes and shares its screen again, with subscriptions in between.
fn conversation() -> Vec<(&'static str, Vec<(&'static str, SectionRole)>)> {
    let (voice, view) = (("0", tracks("TR_voice")), ("3", tracks("TR_view")));
    let (camera, backup) = (("8", receives("VP8")), ("10", receives("VP9")));
    let (opus, screen) = (("7", receives("opus")), ("9", receives("vp8")));
    let later = vec![voice.clone(), view.clone(), ("4", tracks("TR_other")), camera.clone(), backup.clone()];
    vec![
        ("1-join", vec![]),
        ("2-publish", vec![voice, view, opus, camera, screen, backup]),
        ("3-unpublish", later.clone()),
        ("4-share-again", later),
    ]
}

fn replay(browser: &str, steps: &[(&str, Vec<(&'static str, SectionRole)>)]) {
    let mut rtc = rtc(false);
    for (name, roles) in steps {
        let offer = offer(browser, name);
        let rewritten = rewrite(&answer(&mut rtc, &offer), &plan(&offer, roles.clone()));
        let got = normal(&rewritten);
        let path = path(&format!("{browser}/{name}.answer"));
        if env::var_os("RECORD_ANSWERS").is_some() {
            fs::write(&path, &got).unwrap();
        }
        let recorded = fs::read_to_string(&path).unwrap();
        for (number, (got, recorded)) in got.lines().zip(recorded.lines()).enumerate() {
            assert_eq!(got, recorded, "{}:{}", path.display(), number + 1);
        }
        assert_eq!(got.lines().count(), recorded.lines().count(), "{}", path.display());
    }
}

/// A plan in which all receiving sections without a role are idle.
fn plan(offer: &str, roles: Vec<(&'static str, SectionRole)>) -> AnswerPlan {
    let idle = sections(offer)
        .into_iter()
        .filter(MediaSection::is_placeholder)
        .map(|section| (section.mid, SectionRole::Idle));
    idle.chain(roles.into_iter().map(|(name, role)| (mid(name), role))).collect()
}

fn tracks(track: &str) -> SectionRole {
    SectionRole::Sends { stream: format!("PA_someone|{track}"), track: track.to_owned(), nack: false }
}

fn receives(codec: &str) -> SectionRole {
    SectionRole::Receives { codec: Some(codec.to_owned()), dtx: true, stereo: false }
}

fn stereo() -> SectionRole {
    SectionRole::Receives { codec: None, dtx: false, stereo: true }
}

fn audio(cid: &str) -> PendingTrack<'_> {
    PendingTrack { cid, kind: MediaKind::Audio }
}

fn video(cid: &str) -> PendingTrack<'_> {
    PendingTrack { cid, kind: MediaKind::Video }
}

fn mid(name: &str) -> Mid {
    Mid::from(name)
}

fn mids(assigned: &[Option<Mid>]) -> Vec<String> {
    assigned.iter().map(|mid| mid.map_or_else(|| "-".to_owned(), |mid| mid.to_string())).collect()
}

fn find<'a>(sections: &'a [MediaSection], name: &str) -> &'a MediaSection {
    sections.iter().find(|section| section.mid == mid(name)).unwrap()
}

fn track_of<'a>(sections: &'a [MediaSection], name: &str) -> &'a str {
    find(sections, name).track.as_deref().unwrap()
}

fn section_of<'a>(text: &'a str, mid: &str) -> &'a str {
    parts(text).into_iter().find(|part| part.contains(&format!("\na=mid:{mid}\r\n"))).unwrap()
}

fn formats_of(text: &str, mid: &str) -> String {
    let first = section_of(text, mid).lines().next().unwrap();
    first.splitn(4, ' ').nth(3).unwrap().to_owned()
}

pub(crate) fn rtc(red: bool) -> Rtc {
    let mut rtc = Rtc::builder()
        .set_ice_lite(true)
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_opus(true, red)
        .enable_vp8(true)
        .enable_h264(true)
        .enable_vp9(true)
        .enable_av1(true)
        .set_extension(12, Extension::with_serializer(DEPENDENCY_DESCRIPTOR, Nothing))
        .build(Instant::now());
    rtc.add_local_candidate(Candidate::host("192.0.2.1:7881".parse().unwrap(), "udp").unwrap());
    rtc
}

fn answer(rtc: &mut Rtc, offer: &str) -> String {
    let is_known = |mid| rtc.media(mid).is_some_and(|media| !media.remote_pts().is_empty());
    let reduced = reduce(offer, &mut Meanings::default(), is_known).unwrap();
    let offer = SdpOffer::from_sdp_string(&reduced).unwrap();
    rtc.sdp_api().accept_offer(offer).unwrap().to_sdp_string()
}

pub(crate) fn offer(browser: &str, name: &str) -> String {
    read(&format!("{browser}/{name}.offer"))
}

/// A stored description, with CRLF line ends.
fn read(name: &str) -> String {
    let stored = fs::read_to_string(path(name)).unwrap();
    stored.lines().flat_map(|line| [line, "\r\n"]).collect()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/offers/{name}.sdp"))
}

/// The answer with placeholders for str0m's random values.
fn normal(answer: &str) -> String {
    let mut drawn = Vec::new();
    let lines: Vec<_> = answer.lines().map(|line| normal_line(line, &mut drawn) + "\n").collect();
    lines.concat()
}

fn normal_line<'a>(line: &'a str, drawn: &mut Vec<&'a str>) -> String {
    let secrets = ["o=", "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 "];
    if let Some(name) = secrets.into_iter().find(|name| line.starts_with(name)) {
        return format!("{name}...");
    }
    if let Some((candidate, _)) = line.split_once(" ufrag ") {
        return format!("{candidate} ufrag ...");
    }
    if !line.starts_with("a=msid") && !line.starts_with("a=ssrc") {
        return line.to_owned();
    }
    let words = line.split_inclusive([' ', ':']).map(|word| {
        let name = word.trim_end_matches([' ', ':']);
        let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let is_drawn = name.len() >= 20 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_number && !is_drawn {
            return word.to_owned();
        }
        let number = drawn.iter().position(|other| *other == name).unwrap_or_else(|| {
            drawn.push(name);
            drawn.len() - 1
        });
        format!("drawn{number}{}", &word[name.len()..])
    });
    words.collect::<Vec<_>>().concat()
}

/// Placeholder for the engine's serializer, because nothing is sent here.
#[derive(Debug)]
struct Nothing;

impl ExtensionSerializer for Nothing {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, _: &[u8], _: &mut ExtensionValues) -> bool {
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }
}

#[test]
fn shortening_does_not_change_the_reduced_description() {
    for (lines, times) in [
        ("a=extmap:1 urn:x\r\n", 100_000),
        ("a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n", 50_000),
        ("a=ssrc:1 cname:x\r\n", 400),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\r\n", 50_000),
        (&format!("m=audio 9 UDP/TLS/RTP/SAVPF{}\r\na=mid:x\r\n", " 111".repeat(100_000)), 5),
    ] {
        for text in [
            offer("chromium", "2-publish") + &lines.repeat(times),
            offer("firefox", "2-publish").replacen("a=group", &format!("{}a=group", lines.repeat(times)), 1),
        ] {
            let mut shortened = text.clone();
            shorten(&mut shortened);
            assert!(shortened.len() < 128 * 1024, "{} of {} bytes", shortened.len(), text.len());
            let reduced = |text| reduce(text, &mut Meanings::default(), |_| false);
            assert!(reduced(&shortened) == reduced(&text), "{lines}");
        }
    }
}

#[test]
fn video_keeps_its_payload_type_in_a_section_with_a_start_bitrate() {
    let section = |mid: &str, bitrate: &str| {
        format!(
            "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=mid:{mid}\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\n{}\
             a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0{bitrate}\r\n",
            if bitrate.is_empty() { String::new() } else { format!("a=fmtp:96 {}\r\n", &bitrate[1..]) }
        )
    };
    let mut meanings = Meanings::default();
    for (mid, bitrate) in [("0", ""), ("1", ";x-google-start-bitrate=1000"), ("2", ";x-google-start-bitrate=700")] {
        let reduced = reduce(&section(mid, bitrate), &mut meanings, |_| false).unwrap();
        assert!(reduced.contains("SAVPF 96 97 98\r\n"), "{reduced}");
    }
    let other = section("3", "").replace("profile-id=0", "profile-id=2");
    assert!(reduce(&other, &mut meanings, |_| false).unwrap().contains("SAVPF 96 97\r\n"));
}

#[test]
fn opus_keeps_its_payload_type_in_a_section_with_other_parameters() {
    let section = |mid: &str, parameters: &str| {
        format!(
            "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:{mid}\r\na=sendonly\r\na=rtpmap:111 opus/48000/2\r\n\
             a=fmtp:111 {parameters}\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"
        )
    };
    let mut meanings = Meanings::default();
    for (mid, parameters) in [("0", "minptime=10;useinbandfec=1"), ("1", "minptime=10;stereo=1;useinbandfec=1")] {
        let reduced = reduce(&section(mid, parameters), &mut meanings, |_| false).unwrap();
        assert!(reduced.contains("SAVPF 111 63\r\n"), "{reduced}");
    }
}
