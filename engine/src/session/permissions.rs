//! Permissions of participants, and who may subscribe to their tracks.

use std::collections::{HashMap, HashSet};

use livekit_protocol as proto;

/// Maximum number of participants and tracks in a publisher's subscription permissions; past it, no participant is permitted.
const MAX_PERMISSIONS: usize = 4096;

/// Whether a track of that source may be published.
pub(crate) fn may_publish(permission: &proto::ParticipantPermission, source: i32) -> bool {
    let sources = &permission.can_publish_sources;
    permission.can_publish && (sources.is_empty() || sources.contains(&source))
}

/// A publisher's setting of who may subscribe to which of its tracks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionPermission {
    all_participants: bool,
    /// By the subscriber's `sid`, for permissions without an identity.
    by_sid: HashMap<String, AllowedTracks>,
    by_identity: HashMap<String, AllowedTracks>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct AllowedTracks {
    all: bool,
    sids: HashSet<String>,
}

impl SubscriptionPermission {
    /// Permits all participants to subscribe to all tracks.
    pub(crate) fn all() -> Self {
        Self { all_participants: true, by_sid: HashMap::new(), by_identity: HashMap::new() }
    }

    /// Parses a publisher's request.
    pub(crate) fn new(permission: proto::SubscriptionPermission) -> Self {
        let mut parsed = Self { all_participants: permission.all_participants, ..Self::all() };
        let named = permission.track_permissions.iter().map(|permission| 1 + permission.track_sids.len());
        if permission.all_participants || named.sum::<usize>() > MAX_PERMISSIONS {
            // On error, deny all: never permit more than requested.
            return parsed;
        }
        for permission in permission.track_permissions {
            let allowed = if permission.participant_identity.is_empty() {
                parsed.by_sid.entry(permission.participant_sid)
            } else {
                parsed.by_identity.entry(permission.participant_identity)
            };
            let allowed = allowed.or_default();
            allowed.all |= permission.all_tracks;
            allowed.sids.extend(permission.track_sids);
        }
        parsed
    }

    /// Whether a participant may subscribe to a track.
    pub(crate) fn may_subscribe(&self, who: &proto::ParticipantInfo, track_sid: &str) -> bool {
        let named = [self.by_sid.get(&who.sid), self.by_identity.get(&who.identity)];
        let may = |allowed: &AllowedTracks| allowed.all || allowed.sids.contains(track_sid);
        self.all_participants || named.into_iter().flatten().any(may)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn named(identity: &str, sid: &str) -> proto::ParticipantInfo {
        proto::ParticipantInfo { identity: identity.to_owned(), sid: sid.to_owned(), ..Default::default() }
    }

    fn allowed(identity: &str, sid: &str, tracks: &[&str]) -> proto::TrackPermission {
        proto::TrackPermission {
            participant_identity: identity.to_owned(),
            participant_sid: sid.to_owned(),
            all_tracks: tracks.is_empty(),
            track_sids: tracks.iter().map(|track| (*track).to_owned()).collect(),
        }
    }

    fn permission(track_permissions: Vec<proto::TrackPermission>) -> SubscriptionPermission {
        SubscriptionPermission::new(proto::SubscriptionPermission { all_participants: false, track_permissions })
    }

    #[test]
    fn permits_tracks_of_any_permission_of_a_participant() {
        let permissions = vec![
            allowed("ann", "", &["TR_1"]),
            allowed("ann", "", &["TR_2"]),
            allowed("", "PA_b", &[]),
            allowed("", "", &[]),
        ];
        let permission = permission(permissions);
        assert!(
            permission.may_subscribe(&named("ann", "PA_a"), "TR_1")
                && permission.may_subscribe(&named("ann", "PA_a"), "TR_2")
        );
        assert!(!permission.may_subscribe(&named("ann", "PA_a"), "TR_3"));
        assert!(permission.may_subscribe(&named("ben", "PA_b"), "TR_3"));
        assert!(!permission.may_subscribe(&named("cid", "PA_c"), "TR_1"));
        assert!(!permission.may_subscribe(&named("PA_b", "PA_c"), "TR_1"), "an identity is no sid");
        assert!(SubscriptionPermission::all().may_subscribe(&named("cid", "PA_c"), "TR_1"));
    }

    #[test]
    fn permits_no_participant_past_the_maximum_of_permissions() {
        let most = (0..MAX_PERMISSIONS).map(|number| allowed(&number.to_string(), "", &[])).collect::<Vec<_>>();
        assert!(permission(most.clone()).may_subscribe(&named("7", "PA_7"), "TR_1"));
        let more = most.into_iter().chain([allowed("more", "", &[])]).collect();
        assert!(!permission(more).may_subscribe(&named("7", "PA_7"), "TR_1"));
    }

    #[test]
    fn checks_permissions_in_constant_time() {
        let others: Vec<_> = (0..120).map(|number| named(&format!("other {number}"), "PA_other")).collect();
        let cost = |permissions: usize| {
            let names = (0..permissions).map(|number| allowed(&format!("name {number}"), "", &["TR"]));
            let permission = permission(names.collect());
            let time = || {
                let started = Instant::now();
                for other in &others {
                    assert!((0..64).all(|track| !permission.may_subscribe(other, &format!("TR_{track}"))));
                }
                started.elapsed()
            };
            (0..5).map(|_| time()).min().unwrap()
        };
        let (few, many) = (MAX_PERMISSIONS / 64, MAX_PERMISSIONS / 2);
        assert!(cost(many) < 8 * cost(few), "the cost grows with the permissions");
    }
}
