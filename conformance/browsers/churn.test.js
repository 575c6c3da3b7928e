'use strict';

// Tracks are published and unpublished many times: session descriptions don't grow, because media sections are reused.

const { expectedInSession } = require('../deviations.js');
const { paint, sound } = require('../support/participant.js');
const { useBrowsers } = require('../support/use-browsers.js');

const suite = useBrowsers();
const { join, newRoom } = suite;
const ROUNDS = 60;
const RESUBSCRIPTIONS = 20;
const CHURN_MS = 300_000;
/** Maximum sections of a subscriber: one for data, three initial ones of each kind, and a reserve. */
const MAX_RECEIVING = 12;

const tracks = [paint('lime'), sound()];
const names = ['paint', 'sound'];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** @param {Participant} participant @returns {Promise<{ publisher: number, subscriber: number }>} */
const sectionsOf = (participant) => participant.run((here) => here.sections());

/** Publishes the page's own track, the same one each time. @param {Participant} participant @param {string} name */
const publish = (participant, name) =>
  participant.run((here, name) => here.me.publishTrack(here.source(name), { name, simulcast: false }).then(() => {}), name);
/** @param {Participant} participant @param {string} name */
const unpublish = (participant, name) => participant.run((here, name) => here.me.unpublishTrack(here.source(name), false).then(() => {}), name);

/** @param {string} key @param {any} value */
const each = (key, value) => ({ tracks: Object.fromEntries(names.map((name) => [name, { [key]: value }])) });

/** @param {number} rounds @param {Partial<import('../support/use-browsers.js').JoinOptions>} joining */
async function republish(rounds, joining) {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', ...joining });
  const ben = await join({ room, identity: 'ben', ...joining });
  for (let round = 0; round < rounds; round += 1) {
    const name = names[round % names.length];
    await publish(ann, name);
    await ben.seesStateOf('ann', { tracks: { [name]: { isSubscribed: true } } });
    await unpublish(ann, name);
    await ben.hasLostTracksOf('ann');
  }
  for (const name of names) await publish(ann, name);
  await Promise.all([ben.receivesVideoOf('ann', 'paint'), ben.receivesAudioOf('ann', 'sound')]);
  expect(await sectionsOf(ben)).toEqual({ publisher: expect.atMost(MAX_RECEIVING), subscriber: expect.atMost(MAX_RECEIVING) });
  const { publisher } = await sectionsOf(ann);
  expect(publisher).toBeLessThanOrEqual(expectedInSession('repeated publishing', 'maximum sections', suite.kind));
}

describe.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])('with %j', (options) => {
  test(
    `after ${ROUNDS} rounds of publishing and unpublishing a track is received, and no description has grown`,
    () => republish(ROUNDS, { options }),
    CHURN_MS,
  );

  test(
    `after ${RESUBSCRIPTIONS} rounds of unsubscribing and subscribing a track is received, and no description has grown`,
    async () => {
      const room = newRoom();
      await join({ room, identity: 'ann', options, publish: tracks });
      const ben = await join({ room, identity: 'ben', options });
      await ben.seesStateOf('ann', each('isSubscribed', true));
      const subscribes = (/** @type {boolean} */ isWanted) =>
        ben.run((here, names, isWanted) => names.forEach((name) => here.publication('ann', name).setSubscribed(isWanted)), names, isWanted);
      for (let round = 0; round < RESUBSCRIPTIONS; round += 1) {
        await subscribes(false);
        await ben.seesStateOf('ann', each('status', 'unsubscribed'));
        await subscribes(true);
        await ben.seesStateOf('ann', each('isSubscribed', true));
      }
      await Promise.all([ben.receivesVideoOf('ann', 'paint'), ben.receivesAudioOf('ann', 'sound')]);
      expect(await sectionsOf(ben)).toEqual({ publisher: expect.atMost(MAX_RECEIVING), subscriber: expect.atMost(MAX_RECEIVING) });
    },
    CHURN_MS,
  );
});
