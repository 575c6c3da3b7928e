'use strict';

// Connection quality of participants, as reported to the others.

const { experienceOf } = require('../deviations.js');
const { setSession } = require('../support/session.js');
const { startSleeper } = require('../support/sleeper.js');

const session = setSession();
const { join, newRoom, server, tokenOf } = session;
const QUALITY_MS = 90_000;
const BACK = { within: 30_000 };

test(
  'a connection is lost while nothing comes from a participant, and good again afterwards',
  async () => {
    const room = newRoom();
    const ben = await join({ room, identity: 'ben' });
    const ann = await startSleeper(server.url, tokenOf({ room, identity: 'ann' }), 'ann');
    try {
      // At least a second of video: livekit-server reports only publishers that have sent a sender report as lost, and one is sent per second.
      for (let times = 0; times < 10; times += 1) await ben.sees('ann');
      await ben.notes('connectionQualityChanged ann QUALITY_EXCELLENT');
      ann.sleeps();
      const within = experienceOf('a connection that nothing comes from', 'is reported within', session.kind);
      await ben.notes('connectionQualityChanged ann QUALITY_LOST', { within });
      const lost = ben.events.length;
      ann.wakes();
      const isGood = (/** @type {string} */ event) => /^connectionQualityChanged ann QUALITY_(GOOD|EXCELLENT)$/.test(event);
      await ben.comesTo('notes that the connection is back', () => ben.events.slice(lost).some(isGood), true, BACK);
      await ben.sees('ann');
    } finally {
      ann.end();
    }
  },
  QUALITY_MS,
);
