//! Codecs that livekit-server disables for clients with faulty implementations.

use livekit_protocol as proto;
use proto::client_info::Sdk;

const AV1: &str = "video/AV1";
const H264: &str = "video/H264";
const VP9: &str = "video/VP9";
/// Last Safari version that publishes usable VP9.
const LAST_SAFARI_WITH_VP9: &[u32] = &[18, 3];

/// The configuration of a client; `None` if no codec is disabled for it.
pub(crate) fn of(client: &proto::ClientInfo) -> Option<proto::ClientConfiguration> {
    let is = |field: &str, name: &str| field.eq_ignore_ascii_case(name);
    let is_safari = is(&client.browser, "safari");
    let is_firefox = is(&client.browser, "firefox") || is(&client.browser, "firefox mobile");
    let is_android = is(&client.os, "android");
    let mut disabled = proto::DisabledCodecs::default();
    if is_safari || is_firefox {
        disabled.codecs.push(codec(AV1));
    }
    if is_safari && version(&client.browser_version).as_slice() > LAST_SAFARI_WITH_VP9 {
        disabled.publish.push(codec(VP9));
    }
    if is_android && (is_firefox || is(&client.device_model, "xiaomi 2201117ti")) {
        disabled.publish.push(codec(H264));
    }
    let is_any = !disabled.codecs.is_empty() || !disabled.publish.is_empty();
    is_any.then(|| proto::ClientConfiguration { disabled_codecs: Some(disabled), ..Default::default() })
}

/// A client's support for unused sections of its peer connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SectionReuse {
    /// It reports a new track on such a section.
    pub(crate) receives: bool,
    /// It puts a new track into a section that the answer has rejected.
    pub(crate) recycles: bool,
}

impl Default for SectionReuse {
    fn default() -> Self {
        Self { receives: true, recycles: false }
    }
}

impl SectionReuse {
    /// Safari is excluded, as in livekit-server. Clients on Pion never recycle sections: they publish on unused ones.
    pub(crate) fn of(client: &proto::ClientInfo) -> Self {
        Self {
            receives: !client.browser.eq_ignore_ascii_case("safari"),
            recycles: !matches!(client.sdk(), Sdk::Unknown | Sdk::Go | Sdk::Esp32),
        }
    }
}

fn codec(mime: &str) -> proto::Codec {
    proto::Codec { mime: mime.to_owned(), fmtp_line: String::new() }
}

/// How a client receives subscribed tracks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceiveSupport {
    /// It reports a subscribed track only when a packet arrives, as Pion does.
    pub(crate) needs_first_packet: bool,
    /// It supports Opus with redundancy (RED), by the same rule as in livekit-server.
    pub(crate) reads_red: bool,
}

impl ReceiveSupport {
    pub(crate) fn of(client: &proto::ClientInfo) -> Self {
        let without_red = ["firefox", "firefox mobile", "safari"];
        Self {
            needs_first_packet: client.sdk() == Sdk::Go,
            reads_red: !without_red.iter().any(|browser| client.browser.eq_ignore_ascii_case(browser)),
        }
    }
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map_while(|part| part.parse().ok()).collect()
}

fn is_listed(codecs: &[proto::Codec], mime: &str) -> bool {
    codecs.iter().any(|codec| codec.mime.eq_ignore_ascii_case(mime))
}

/// Whether a client with this configuration may publish in a codec.
pub(crate) fn may_publish(configuration: Option<&proto::ClientConfiguration>, mime: &str) -> bool {
    let disabled = configuration.and_then(|configuration| configuration.disabled_codecs.as_ref());
    disabled.is_none_or(|disabled| !is_listed(&disabled.codecs, mime) && !is_listed(&disabled.publish, mime))
}

/// Whether a client with this configuration is offered AV1.
pub(crate) fn has_av1(configuration: Option<&proto::ClientConfiguration>) -> bool {
    let disabled = configuration.and_then(|configuration| configuration.disabled_codecs.as_ref());
    disabled.is_none_or(|disabled| !is_listed(&disabled.codecs, AV1))
}

/// Sets the browser and operating system from the `User-Agent` header if the client leaves them out. Only names that [`of`]
/// checks are recognized.
pub(crate) fn augment(client: &mut proto::ClientInfo, user_agent: &str) {
    let runs_in_browsers = [Sdk::Unknown, Sdk::Js, Sdk::ReactNative, Sdk::Flutter, Sdk::Unity];
    if !runs_in_browsers.contains(&client.sdk()) {
        return;
    }
    if client.browser.is_empty()
        && let Some((name, version)) = browser(user_agent)
    {
        name.clone_into(&mut client.browser);
        version.clone_into(&mut client.browser_version);
    }
    if client.os.is_empty() && user_agent.contains("Android") {
        "Android".clone_into(&mut client.os);
    }
}

/// The browser's name, as in livekit-server, and its version.
fn browser(user_agent: &str) -> Option<(&'static str, &str)> {
    let version = |product: &str| {
        let (_, rest) = user_agent.split_once(product)?;
        Some(rest.split([' ', ';', ')']).next().unwrap_or_default())
    };
    let has = |names: &[&str]| names.iter().any(|name| user_agent.contains(name));
    if let Some(version) = version("Firefox/").filter(|_| !has(&["Seamonkey/"])) {
        let is_mobile = has(&["Mobile;", "Tablet;"]);
        return Some((if is_mobile { "Firefox Mobile" } else { "Firefox" }, version));
    }
    // Other browsers also contain `Safari`.
    let is_safari = has(&["Macintosh"]) && has(&[" Safari/"]) && !has(&["Chrome/", "Chromium/", "Edg/", "OPR/"]);
    version("Version/").filter(|_| is_safari).map(|version| ("Safari", version))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    const FIREFOX_MOBILE: &str = "Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";
    const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15";
    const CHROME: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

    fn client(user_agent: &str) -> proto::ClientInfo {
        let mut client = proto::ClientInfo { sdk: Sdk::Js.into(), ..Default::default() };
        augment(&mut client, user_agent);
        client
    }

    /// The codecs that are disabled in both directions, and those that are disabled for publishing.
    fn disabled(client: &proto::ClientInfo) -> (Vec<String>, Vec<String>) {
        let names = |codecs: Vec<proto::Codec>| codecs.into_iter().map(|codec| codec.mime).collect();
        let disabled = of(client).and_then(|configuration| configuration.disabled_codecs).unwrap_or_default();
        (names(disabled.codecs), names(disabled.publish))
    }

    #[test]
    fn derives_the_browser_from_the_user_agent() {
        for (user_agent, name, version, os) in [
            (FIREFOX, "Firefox", "140.0", ""),
            (FIREFOX_MOBILE, "Firefox Mobile", "140.0", "Android"),
            (SAFARI, "Safari", "18.4", ""),
            (CHROME, "", "", ""),
            ("", "", "", ""),
        ] {
            let client = client(user_agent);
            assert_eq!((&*client.browser, &*client.browser_version, &*client.os), (name, version, os), "{user_agent}");
        }
    }

    #[test]
    fn keeps_client_info_that_the_client_has_set() {
        let mut client = proto::ClientInfo { browser: "Other".into(), os: "plan9".into(), ..Default::default() };
        augment(&mut client, FIREFOX_MOBILE);
        assert_eq!((&*client.browser, &*client.os), ("Other", "plan9"));
        let mut native = proto::ClientInfo { sdk: Sdk::Rust.into(), ..Default::default() };
        augment(&mut native, FIREFOX);
        assert_eq!(native.browser, "");
    }

    #[test]
    fn disables_codecs_for_the_clients_that_livekit_server_lists() {
        let both = |codecs: &[&str], publish: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            (names(codecs), names(publish))
        };
        assert_eq!(disabled(&client(CHROME)), both(&[], &[]));
        assert_eq!(disabled(&client(FIREFOX)), both(&[AV1], &[]));
        assert_eq!(disabled(&client(FIREFOX_MOBILE)), both(&[AV1], &[H264]));
        assert_eq!(disabled(&client(SAFARI)), both(&[AV1], &[VP9]));
        assert_eq!(disabled(&client(&SAFARI.replace("18.4", "18.3"))), both(&[AV1], &[]));
        let device = |os: &str| proto::ClientInfo {
            sdk: Sdk::Android.into(),
            device_model: "Xiaomi 2201117TI".into(),
            os: os.into(),
            ..Default::default()
        };
        assert_eq!(disabled(&device("android")), both(&[], &[H264]));
        assert_eq!(disabled(&device("")), both(&[], &[]));
    }

    #[test]
    fn reuses_sections_for_clients_that_support_it() {
        let reuse = |user_agent, sdk: Sdk| {
            let SectionReuse { receives, recycles } =
                SectionReuse::of(&proto::ClientInfo { sdk: sdk.into(), ..client(user_agent) });
            (receives, recycles)
        };
        assert_eq!(reuse(CHROME, Sdk::Js), (true, true));
        assert_eq!(reuse(FIREFOX, Sdk::Js), (true, true));
        assert_eq!(reuse(SAFARI, Sdk::Js), (false, true));
        assert_eq!(reuse("", Sdk::Rust), (true, true));
        assert_eq!(reuse("", Sdk::Go), (true, false));
        assert_eq!(reuse("", Sdk::Unknown), (true, false));
    }
}
