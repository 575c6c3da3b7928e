'use strict';

// Data and calls that the server API sends to participants.

const { experienceOf } = require('../deviations.js');
const { digest } = require('../support/caller.js');
const { eventually } = require('../../test-support/eventually.js');
const { RpcError } = require('../support/rtc.js');
const { send } = require('../support/server.js');
const { setSession } = require('../support/session.js');

const session = setSession();
const { ask, gather, join, newRoom, server } = session;

const room = newRoom();
let ann, ben, cleo;

beforeAll(async () => {
  [ann, ben, cleo] = await gather(room, 'ann', 'ben', 'cleo');
  for (const who of [ann, ben, cleo]) await isReached(who);
}, 60_000);

const base64 = (/** @type {string | Buffer} */ data) => Buffer.from(data).toString('base64');
/** @param {string} topic @param {string | Buffer} data @param {Record<string, any>} [message] */
const sends = (topic, data, message) => ask('SendData', { room, topic, data: base64(data), kind: 'RELIABLE', ...message });

/** What the server sends may be lost until it knows that somebody is connected. @param {import('../support/caller.js').Caller} who */
async function isReached(who) {
  const look = async () => {
    await sends('knock', 'hello', { destination_identities: [who.identity] });
    return who.inbox.length;
  };
  await eventually(`${who.identity} is reached`, look, (count) => expect(count).toBeGreaterThan(0));
}

describe('SendData', () => {
  test.each(['RELIABLE', 'LOSSY'])('reaches everybody, %s, from nobody', async (kind) => {
    await sends(kind, 'hello', { kind });
    for (const who of [ann, ben, cleo]) {
      await who.receives(kind, ['hello']);
      expect(who.inbox).toContainEqual({ from: undefined, topic: kind, reliable: kind === 'RELIABLE', text: 'hello' });
    }
  });

  test('reaches those whom it names by their identities or sids', async () => {
    await sends('named', 'for ben', { destination_identities: ['ben'] });
    await sends('named', 'for cleo', { destination_sids: [cleo.me.sid] });
    await sends('named', 'for both', { destination_identities: ['ben', 'nobody'], destination_sids: [cleo.me.sid] });
    await sends('named', 'for all');
    await ann.receives('named', ['for all']);
    await ben.receives('named', ['for ben', 'for both', 'for all']);
    await cleo.receives('named', ['for cleo', 'for both', 'for all']);
  });

  test('reaches those who may send nothing', async () => {
    const dan = await join({ room, identity: 'dan', grants: { canPublish: false, canSubscribe: false } });
    await isReached(dan);
    await sends('mute', 'hello');
    await dan.receives('mute', ['hello']);
  });

  test('sends 60,000 bytes', async () => {
    const message = Buffer.alloc(60_000, 'a long message ');
    await sends('long', message);
    await ben.receives('long', [digest(message)]);
  });
});

/** The answer to a call of Ben's method. @param {string} method @param {Record<string, any>} [message] */
async function performs(method, message) {
  const token = { video: { roomAdmin: true, room } };
  const request = { title: method, method: 'PerformRpc', token, message: { room, destination_identity: 'ben', method, ...message } };
  const { status, body } = await send(server, { ...request, expected: { status: 200 } }, room);
  const { code, msg, payload } = JSON.parse(body.toString());
  return { status, code, msg, payload };
}

describe('PerformRpc', () => {
  test('gives what the method gives', async () => {
    ben.me.registerRpcMethod('greet', async ({ payload }) => `hello ${payload}`);
    expect(await performs('greet', { payload: 'server' })).toMatchObject({ status: 200, payload: 'hello server' });
  });

  test('tells what the method throws', async () => {
    ben.me.registerRpcMethod('refuse', async () => {
      throw new RpcError(101, 'not today', 'tomorrow');
    });
    expect(await performs('refuse')).toMatchObject({ status: 500, code: 'internal', msg: expect.stringContaining('not today') });
  });

  test('knows no other method', async () => {
    expect(await performs('none')).toMatchObject({ status: 400, code: 'invalid_argument' });
  });

  test('gives a slow method up', async () => {
    let goOn;
    ben.me.registerRpcMethod('dawdle', () => new Promise((resolve) => (goOn = resolve)));
    expect(await performs('dawdle', { response_timeout_ms: 1_000 })).toMatchObject({ status: 408, code: 'canceled' });
    goOn('too late');
  });

  test('refuses a payload of more than 15 KiB', async () => {
    expect(await performs('greet', { payload: 'x'.repeat(15 * 1024 + 1) })).toMatchObject({ status: 400, code: 'invalid_argument' });
  });

  test('gives up whoever goes meanwhile', async () => {
    const dan = await join({ room, identity: 'dan' });
    const isCalled = new Promise((resolve) => {
      dan.me.registerRpcMethod('leave', () => {
        resolve(undefined);
        return new Promise(() => {});
      });
    });
    await isReached(dan);
    const answer = performs('leave', { destination_identity: 'dan', response_timeout_ms: 4_000 });
    await isCalled;
    await dan.leaves();
    expect(experienceOf('a participant who goes while it is called', 'is given up', session.kind)).toContain((await answer).status);
  });
});
