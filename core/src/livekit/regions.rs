//! Regions of a LiveKit Cloud project, for failover.

use std::sync::LazyLock;
use std::time::Duration;

use livekit_region::{Cached, RegionCache, RegionsResponse, is_cloud_host, parse_max_age};
use reqwest::{Client, Url};

use crate::Secret;

/// Maximum time to fetch a list. Past it there is no failover.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum size of a list, in bytes. A longer one is ignored.
const MAX_LIST_BYTES: usize = 256 * 1024;
/// Maximum time for which a list is used, whatever `max-age` its response states: a project's regions change.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// Maximum number of regions of a project. The farthest are left out.
const MAX_REGIONS: usize = 32;

static CACHE: LazyLock<RegionCache> = LazyLock::new(|| RegionCache::new(RegionCache::DEFAULT_TTL));

/// Whether the server has regions for failover.
pub(super) fn has_regions(base: &Url) -> bool {
    base.host_str().is_some_and(is_cloud_host)
}

/// Drops the cached list of a project, because its region pinning has changed.
pub(super) fn forget(base: &Url) {
    CACHE.invalidate(&host(base));
}

/// The regions, nearest first, from the cache or the server; empty if there is no list.
pub(super) async fn list(base: &Url, client: &Client, token: &Secret, request_id: &str, within: Duration) -> Vec<Url> {
    let urls = match CACHE.get(&host(base)) {
        Cached::Fresh(urls) => urls,
        Cached::Stale(stale) => fetch(base, client, token, request_id, within).await.unwrap_or(stale),
        Cached::Miss => fetch(base, client, token, request_id, within).await.unwrap_or_default(),
    };
    urls.iter().filter_map(|url| usable(base, url)).collect()
}

/// The region's URL for server calls; `None` if it would send the token unencrypted.
fn usable(base: &Url, url: &str) -> Option<Url> {
    let url = url.strip_prefix("ws").map_or_else(|| url.to_owned(), |rest| format!("http{rest}"));
    let url = Url::parse(&url).ok()?;
    let is_as_safe = url.scheme() == "https" || (url.scheme() == "http" && base.scheme() == "http");
    (is_as_safe && url.host_str().is_some()).then_some(url)
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
        if body.len() > MAX_LIST_BYTES {
            return None;
        }
    }
    let list: RegionsResponse = serde_json::from_slice(&body).ok()?;
    let urls: Vec<String> = list.regions.into_iter().take(MAX_REGIONS).map(|region| region.url).collect();
    // An age of zero means that the list must not be cached.
    if max_age != Some(Duration::ZERO) {
        CACHE.insert(host(base), urls.clone(), max_age);
    }
    Some(urls)
}

/// How long a list may be cached, by its `cache-control`.
fn age(cache_control: &str) -> Option<Duration> {
    parse_max_age(cache_control).map(|age| age.min(MAX_AGE))
}

/// Host and port, which identify a region.
pub(super) fn host(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_a_list_for_at_most_an_hour() {
        assert_eq!(age("max-age=60"), Some(Duration::from_secs(60)));
        assert_eq!(age(&format!("max-age={}", u64::MAX)), Some(MAX_AGE));
        assert_eq!(age("no-store"), None);
    }

    #[test]
    fn rejects_a_region_that_downgrades_https_to_http() {
        let secure = Url::parse("https://x.livekit.cloud").unwrap();
        assert_eq!(usable(&secure, "ws://r.livekit.cloud"), None);
        assert_eq!(usable(&secure, "file:///etc/passwd"), None);
        assert_eq!(usable(&secure, "wss://r.livekit.cloud"), Url::parse("https://r.livekit.cloud").ok());
    }
}
