'use strict';

// SDP answers to a client's offer.

const { useSession } = require('../support/use-session.js');

const { connectSignalling, newRoom } = useSession();

const TRANSPORT = [
  'c=IN IP4 0.0.0.0',
  'a=rtcp-mux',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:abcdefghijklmnopqrstuvwx',
  `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`,
  'a=setup:actpass',
];

/** Payload types that no server would choose itself. */
const VIDEO = [
  'm=video 9 UDP/TLS/RTP/SAVPF 45 46 47 48 49 50 51 52',
  ...TRANSPORT,
  'a=mid:1',
  'a=sendonly',
  'a=msid:- picture',
  'a=rtpmap:45 VP9/90000',
  'a=fmtp:45 profile-id=0',
  'a=rtpmap:46 rtx/90000',
  'a=fmtp:46 apt=45',
  'a=rtpmap:47 VP8/90000',
  'a=rtcp-fb:47 nack',
  'a=rtcp-fb:47 nack pli',
  'a=rtpmap:48 rtx/90000',
  'a=fmtp:48 apt=47',
  'a=rtpmap:49 H264/90000',
  'a=fmtp:49 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f',
  'a=rtpmap:50 rtx/90000',
  'a=fmtp:50 apt=49',
  'a=rtpmap:51 AV1/90000',
  'a=rtpmap:52 rtx/90000',
  'a=fmtp:52 apt=51',
  'a=ssrc:1001 cname:ann',
];
const DATA = ['m=application 9 UDP/DTLS/SCTP webrtc-datachannel', ...TRANSPORT, 'a=mid:0', 'a=sctp-port:5000', 'a=max-message-size:262144'];

/** @param {string[]} sections */
const offerOf = (...sections) =>
  ['v=0', 'o=- 1 2 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1', 'a=msid-semantic: WMS', ...sections, ''].join('\r\n');

/** The SDP answer to a client that publishes a track, as lines. @returns {Promise<string[]>} */
async function answerLines() {
  const ann = await connectSignalling({ room: newRoom(), identity: 'ann' });
  ann.send('addTrack', { cid: 'picture', type: 1, source: 1 });
  await ann.receives('trackPublished');
  ann.send('offer', { type: 'offer', sdp: offerOf(...DATA, ...VIDEO), id: 7 });
  const { sdp } = await ann.receives('answer', { id: 7 });
  return sdp.split(/\r?\n/);
}

test('the answer limits data channel messages to 65,535 bytes', async () => {
  expect(await answerLines()).toContain('a=max-message-size:65535');
});

test('the answer keeps the payload types of the offer', async () => {
  const lines = await answerLines();
  const codecs = lines.flatMap((line) => /^a=rtpmap:(\d+) (VP8|VP9|H264|AV1)\/90000/.exec(line)?.slice(1).join(' ') ?? []);
  expect(codecs.sort()).toEqual(['45 VP9', '47 VP8', '49 H264', '51 AV1']);
  const retransmissions = lines.flatMap((line) => /^a=fmtp:(\d+) apt=(\d+)/.exec(line)?.slice(1).join(' ') ?? []);
  expect(retransmissions.sort()).toEqual(['46 45', '48 47', '50 49', '52 51']);
});
