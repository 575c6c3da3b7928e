//! Participants that take nothing of what they are sent.

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;

use crate::{MEMORY, MIB, Party};

#[tokio::test]
async fn who_never_reads_its_signals_is_told_the_newest_once_it_does() {
    let party = Party::start().await;
    let deaf = party.connected_enemy().await;
    deaf.act(|state| state.is_deaf = true);
    let before = MEMORY.current_usage();
    for number in 0..400 {
        let metadata = format!("{number}{}", "m".repeat(60_000));
        party.ann.say(Ask::UpdateMetadata(proto::UpdateParticipantMetadata { metadata, ..Default::default() }));
        if number % 20 == 0 {
            party.check().await;
        }
    }
    crate::is_dealt_with(&party.ann, 0).await;
    party.check().await;
    let grown = MEMORY.current_usage().saturating_sub(before);
    println!("who never reads takes {} MB", grown / 1_000_000);
    assert!(grown < 24 * MIB, "{grown} bytes");
    deaf.act(|state| state.is_deaf = false);
    let is_newest = |told: &Told| match told {
        Told::Update(update) => update.participants.iter().any(|each| each.metadata.starts_with("399m")),
        _ => false,
    };
    deaf.until("is told the newest", |state| state.heard.iter().any(is_newest).then_some(())).await;
}

#[tokio::test]
async fn who_never_acknowledges_messages_loses_only_itself() {
    let party = Party::start().await;
    let stalled = party.connected_enemy().await;
    // DTLS's application data (RFC 6347) is SCTP.
    stalled.act(|state| state.reads = Box::new(|bytes| bytes.first() != Some(&23)));
    let before = MEMORY.current_usage();
    let text = "t".repeat(50_000);
    let mut most = 0;
    for number in 0..600 {
        party.ann.send(&format!("{number}{text}"), true);
        party.ben.receives(&format!("{number}{text}")).await;
        party.ben.act(|state| state.mail.clear());
        most = most.max(MEMORY.current_usage().saturating_sub(before));
        if number % 100 == 0 {
            party.check().await;
        }
    }
    println!("who never acknowledges takes {} MB", most / 1_000_000);
    assert!(most < 24 * MIB, "{most} bytes");
    stalled.is_gone().await;
    party.check().await;
}

#[tokio::test]
async fn of_lossy_messages_that_are_too_many_the_newest_arrives() {
    let party = Party::start().await;
    let stalled = party.connected_enemy().await;
    // DTLS's application data (RFC 6347) is SCTP.
    stalled.act(|state| state.reads = Box::new(|bytes| bytes.first() != Some(&23)));
    let text = "t".repeat(4000);
    let message = |number: usize| format!("{number}{text}");
    for number in 0..200 {
        party.ann.send(&message(number), false);
        party.ben.receives(&message(number)).await;
        party.ben.act(|state| state.mail.clear());
    }
    stalled.act(|state| state.reads = Box::new(|_| true));
    stalled.receives(&message(199)).await;
}
