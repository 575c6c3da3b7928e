//! The regions of a LiveKit Cloud project, for when the nearest one fails.

use std::sync::LazyLock;
use std::time::Duration;

use livekit_region::{Cached, RegionCache, RegionsResponse, is_cloud_host, parse_max_age};
use reqwest::{Client, Url};

use crate::Secret;

const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(2);
const MOST_LIST_BYTES: usize = 256 * 1024;
/// Maximum time for which a list is used, whatever `max-age` its response states: a project's regions change.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// Maximum number of regions of a project. The farthest are left out.
const MAX_REGIONS: usize = 32;

static CACHE: LazyLock<RegionCache> = LazyLock::new(|| RegionCache::new(RegionCache::DEFAULT_TTL));

/// Whether a server has regions to fail over to.
pub(super) fn has_regions(base: &Url) -> bool {
    base.host_str().is_some_and(is_cloud_host)
}

/// Forgets what is known of a project's regions: its pinning has changed.
pub(super) fn forget(base: &Url) {
    CACHE.invalidate(&host(base));
}

/// The regions, nearest first, from the cache or the server; none if there are none to be had.
pub(super) async fn list(base: &Url, client: &Client, token: &Secret, request_id: &str, within: Duration) -> Vec<Url> {
    let urls = match CACHE.get(&host(base)) {
        Cached::Fresh(urls) => urls,
        Cached::Stale(stale) => fetch(base, client, token, request_id, within).await.unwrap_or(stale),
        Cached::Miss => fetch(base, client, token, request_id, within).await.unwrap_or_default(),
    };
    urls.iter().filter_map(|url| usable(base, url)).collect()
}

/// A region's address for server calls. One that would send our token in the clear is not used.
fn usable(base: &Url, url: &str) -> Option<Url> {
    let url = url.strip_prefix("ws").map_or_else(|| url.to_owned(), |rest| format!("http{rest}"));
    let url = Url::parse(&url).ok()?;
    let as_safe = url.scheme() == "https" || (url.scheme() == "http" && base.scheme() == "http");
    (as_safe && url.host_str().is_some()).then_some(url)
}

async fn fetch(base: &Url, client: &Client, token: &Secret, request_id: &str, within: Duration) -> Option<Vec<String>> {
    let mut url = base.clone();
    url.set_path("/settings/regions");
    let mut response = client
        .get(url)
        .bearer_auth(token.expose())
        .header(super::twirp::REQUEST_ID, request_id)
        .timeout(within.min(DISCOVERY_TIMEOUT))
        .send()
        .await
        .ok()?
        .error_for_status()
        .ok()?;
    let max_age = response.headers().get("cache-control").and_then(|value| value.to_str().ok()).and_then(age);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_LIST_BYTES {
            return None;
        }
    }
    let list: RegionsResponse = serde_json::from_slice(&body).ok()?;
    let urls: Vec<String> = list.regions.into_iter().take(MAX_REGIONS).map(|region| region.url).collect();
    // An age of zero asks not to be kept.
    if max_age != Some(Duration::ZERO) {
        CACHE.insert(host(base), urls.clone(), max_age);
    }
    Some(urls)
}

/// How long a list may be used, by its `cache-control`.
fn age(cache_control: &str) -> Option<Duration> {
    parse_max_age(cache_control).map(|age| age.min(MAX_AGE))
}

/// Host and port: what tells one region from another.
pub(super) fn host(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_a_list_for_an_hour_at_most() {
        assert_eq!(age("max-age=60"), Some(Duration::from_secs(60)));
        assert_eq!(age(&format!("max-age={}", u64::MAX)), Some(MAX_AGE));
        assert_eq!(age("no-store"), None);
    }

    #[test]
    fn a_region_never_lowers_https_to_http() {
        let secure = Url::parse("https://x.livekit.cloud").unwrap();
        assert_eq!(usable(&secure, "ws://r.livekit.cloud"), None);
        assert_eq!(usable(&secure, "file:///etc/passwd"), None);
        assert_eq!(usable(&secure, "wss://r.livekit.cloud"), Url::parse("https://r.livekit.cloud").ok());
    }
}
