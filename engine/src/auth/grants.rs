//! Conversion between a token's grants and a participant's permissions.

use livekit_protocol as proto;
use livekit_token::VideoGrants;
use proto::TrackSource;

/// The name of a track source in a token, such as `screen_share`.
fn name_of(source: TrackSource) -> String {
    source.as_str_name().to_ascii_lowercase()
}

/// The permissions that a token's grants give a participant.
#[expect(deprecated, reason = "older tokens still set `recorder` and `agent` among the permissions")]
pub(crate) fn from_grants(grants: &VideoGrants) -> proto::ParticipantPermission {
    let source = |name: &String| {
        let known = TrackSource::from_str_name(&name.to_ascii_uppercase());
        known.filter(|known| name_of(*known) == *name).map(i32::from)
    };
    let named = &grants.can_publish_sources;
    let sources: Vec<i32> = named.iter().filter_map(source).collect();
    // An empty list allows all sources, so a list of unknown names must revoke `can_publish`.
    let can_publish = grants.can_publish() && (named.is_empty() || !sources.is_empty());
    proto::ParticipantPermission {
        can_subscribe: grants.can_subscribe(),
        can_publish,
        can_publish_data: grants.can_publish_data(),
        can_publish_sources: sources,
        hidden: grants.hidden,
        recorder: grants.recorder,
        can_update_metadata: grants.can_update_own_metadata(),
        agent: grants.agent,
        ..proto::ParticipantPermission::default()
    }
}

/// Sets the grants that correspond to `permission`. Other grants stay unchanged.
#[expect(deprecated, reason = "older tokens still set `recorder` and `agent` among the permissions")]
pub(crate) fn apply_to(permission: &proto::ParticipantPermission, grants: &mut VideoGrants) {
    let name = |source: &i32| name_of(TrackSource::try_from(*source).unwrap_or_default());
    grants.can_subscribe = Some(permission.can_subscribe);
    grants.can_publish = Some(permission.can_publish);
    grants.can_publish_data = Some(permission.can_publish_data);
    grants.can_publish_sources = permission.can_publish_sources.iter().map(name).collect();
    grants.can_update_own_metadata = Some(permission.can_update_metadata);
    grants.hidden = permission.hidden;
    grants.recorder = permission.recorder;
    grants.agent = permission.agent;
}
