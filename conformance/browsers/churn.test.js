'use strict';

// Tracks come and go, and the session descriptions do not grow, because media sections are reused.

const { experienceOf } = require('../deviations.js');
const { paint, sound } = require('../support/participant.js');
const { setStage } = require('../support/stage.js');

const stage = setStage();
const { join, newRoom } = stage;
const ROUNDS = 60;
const RESUBSCRIPTIONS = 20;
const CHURN_MS = 300_000;
/** Maximum sections of a subscriber: one for data, three initial ones of each kind, and a reserve. */
const MAX_RECEIVING = 12;

const tracks = [paint('lime'), sound()];
const names = ['paint', 'sound'];

/** @typedef {import('../support/participant.js').Participant} Participant */

/** @param {Participant} who @returns {Promise<{ publisher: number, subscriber: number }>} */
const sectionsOf = (who) => who.run((here) => here.sections());

/** Publishes a track that stays the same however often it is published. @param {Participant} who @param {string} name */
const publish = (who, name) =>
  who.run((here, name) => here.me.publishTrack(here.source(name), { name, simulcast: false }).then(() => {}), name);
/** @param {Participant} who @param {string} name */
const unpublish = (who, name) => who.run((here, name) => here.me.unpublishTrack(here.source(name), false).then(() => {}), name);

/** @param {string} key @param {any} value */
const each = (key, value) => ({ tracks: Object.fromEntries(names.map((name) => [name, { [key]: value }])) });

/** @param {number} rounds @param {Partial<import('../support/stage.js').Joining>} joining */
async function publishesAgainAndAgain(rounds, joining) {
  const room = newRoom();
  const ann = await join({ room, identity: 'ann', ...joining });
  const ben = await join({ room, identity: 'ben', ...joining });
  for (let round = 0; round < rounds; round += 1) {
    const name = names[round % names.length];
    await publish(ann, name);
    await ben.knowsOf('ann', { tracks: { [name]: { isSubscribed: true } } });
    await unpublish(ann, name);
    await ben.missesTracksOf('ann');
  }
  for (const name of names) await publish(ann, name);
  await Promise.all([ben.seesVideoOf('ann', 'paint'), ben.hears('ann', 'sound')]);
  expect(await sectionsOf(ben)).toEqual({ publisher: expect.atMost(MAX_RECEIVING), subscriber: expect.atMost(MAX_RECEIVING) });
  const { publisher } = await sectionsOf(ann);
  expect(publisher).toBeLessThanOrEqual(experienceOf('a client that publishes again and again', 'has sections', stage.kind));
}

describe.each([{ singlePeerConnection: true }, { singlePeerConnection: false }])('with %j', (options) => {
  test(
    `after ${ROUNDS} rounds of publishing and unpublishing a track arrives, and no description has grown`,
    () => publishesAgainAndAgain(ROUNDS, { options }),
    CHURN_MS,
  );

  test(
    `after ${RESUBSCRIPTIONS} rounds of unsubscribing and subscribing a track arrives, and no description has grown`,
    async () => {
      const room = newRoom();
      await join({ room, identity: 'ann', options, publish: tracks });
      const ben = await join({ room, identity: 'ben', options });
      await ben.knowsOf('ann', each('isSubscribed', true));
      const subscribes = (/** @type {boolean} */ isWanted) =>
        ben.run((here, names, isWanted) => names.forEach((name) => here.of('ann', name).setSubscribed(isWanted)), names, isWanted);
      for (let round = 0; round < RESUBSCRIPTIONS; round += 1) {
        await subscribes(false);
        await ben.knowsOf('ann', each('status', 'unsubscribed'));
        await subscribes(true);
        await ben.knowsOf('ann', each('isSubscribed', true));
      }
      await Promise.all([ben.seesVideoOf('ann', 'paint'), ben.hears('ann', 'sound')]);
      expect(await sectionsOf(ben)).toEqual({ publisher: expect.atMost(MAX_RECEIVING), subscriber: expect.atMost(MAX_RECEIVING) });
    },
    CHURN_MS,
  );
});
