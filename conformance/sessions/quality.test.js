'use strict';

// Connection quality of participants, as the others receive it.

const { expectedInSession } = require('../deviations.js');
const { useSession } = require('../support/use-session.js');
const { startSuspendable } = require('../support/suspendable.js');

const session = useSession();
const { join, newRoom, server, tokenOf } = session;
const QUALITY_MS = 90_000;
const BACK = { within: 30_000 };

test(
  'the quality of a participant is LOST while no packets come from it, and recovers',
  async () => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben' });
    const ann = await startSuspendable(server.url, tokenOf({ room, identity: 'ann' }), 'ann');
    try {
      // At least a second of video: livekit-server reports only publishers that have sent a sender report as lost, and one is sent per second.
      for (let times = 0; times < 10; times += 1) await ben.receivesVideoOf('ann');
      await ben.hasEvent('connectionQualityChanged ann QUALITY_EXCELLENT');
      ann.suspend();
      const within = expectedInSession('connection without packets', 'reported within ms', session.kind);
      await ben.hasEvent('connectionQualityChanged ann QUALITY_LOST', { within });
      const lost = ben.events.length;
      ann.resume();
      const isGood = (/** @type {string} */ event) => /^connectionQualityChanged ann QUALITY_(GOOD|EXCELLENT)$/.test(event);
      await ben.waitFor('receives the recovered quality', () => ben.events.slice(lost).some(isGood), true, BACK);
      await ben.receivesVideoOf('ann');
    } finally {
      ann.end();
    }
  },
  QUALITY_MS,
);
