'use strict';

// SendData and PerformRpc: data and calls from the room service to participants.

const { expectedInSession } = require('../deviations.js');
const { digest } = require('../support/rtc-client.js');
const { eventually } = require('../../test-support/eventually.js');
const { RpcError } = require('../support/rtc.js');
const { send } = require('../support/server.js');
const { useSession } = require('../support/use-session.js');

const session = useSession();
const { callApi, joinAll, join, newRoom, server } = session;

const room = newRoom();
let ann, ben, cleo;

beforeAll(async () => {
  [ann, ben, cleo] = await joinAll(room, 'ann', 'ben', 'cleo');
  for (const client of [ann, ben, cleo]) await isReachable(client);
}, 60_000);

const base64 = (/** @type {string | Buffer} */ data) => Buffer.from(data).toString('base64');
/** @param {string} topic @param {string | Buffer} data @param {Record<string, any>} [message] */
const sendData = (topic, data, message) => callApi('SendData', { room, topic, data: base64(data), kind: 'RELIABLE', ...message });

/** Sends until the participant receives: data may be lost while its connection is not established. @param {import('../support/rtc-client.js').RtcClient} client */
async function isReachable(client) {
  const look = async () => {
    await sendData('knock', 'hello', { destination_identities: [client.identity] });
    return client.inbox.length;
  };
  await eventually(`${client.identity} is reachable`, look, (count) => expect(count).toBeGreaterThan(0));
}

describe('SendData', () => {
  test.each(['RELIABLE', 'LOSSY'])('%s reaches all participants, without a sender', async (kind) => {
    await sendData(kind, 'hello', { kind });
    for (const client of [ann, ben, cleo]) {
      await client.receives(kind, ['hello']);
      expect(client.inbox).toContainEqual({ from: undefined, topic: kind, reliable: kind === 'RELIABLE', text: 'hello' });
    }
  });

  test('reaches only its destinations, by identity or sid', async () => {
    await sendData('named', 'for ben', { destination_identities: ['ben'] });
    await sendData('named', 'for cleo', { destination_sids: [cleo.me.sid] });
    await sendData('named', 'for both', { destination_identities: ['ben', 'unknown'], destination_sids: [cleo.me.sid] });
    await sendData('named', 'for all');
    await ann.receives('named', ['for all']);
    await ben.receives('named', ['for ben', 'for both', 'for all']);
    await cleo.receives('named', ['for cleo', 'for both', 'for all']);
  });

  test('reaches a participant without canPublish and canSubscribe', async () => {
    const dan = await join({ room, identity: 'dan', grants: { canPublish: false, canSubscribe: false } });
    await isReachable(dan);
    await sendData('mute', 'hello');
    await dan.receives('mute', ['hello']);
  });

  test('sends 60,000 bytes', async () => {
    const message = Buffer.alloc(60_000, 'a long message ');
    await sendData('long', message);
    await ben.receives('long', [digest(message)]);
  });
});

/** Calls a method of Ben, and gives the response. @param {string} method @param {Record<string, any>} [message] */
async function performRpc(method, message) {
  const token = { video: { roomAdmin: true, room } };
  const request = { title: method, method: 'PerformRpc', token, message: { room, destination_identity: 'ben', method, ...message } };
  const { status, body } = await send(server, { ...request, expected: { status: 200 } }, room);
  const { code, msg, payload } = JSON.parse(body.toString());
  return { status, code, msg, payload };
}

describe('PerformRpc', () => {
  test('responds with the return value of the method', async () => {
    ben.me.registerRpcMethod('greet', async ({ payload }) => `hello ${payload}`);
    expect(await performRpc('greet', { payload: 'server' })).toMatchObject({ status: 200, payload: 'hello server' });
  });

  test('responds with the error of the method', async () => {
    ben.me.registerRpcMethod('refuse', async () => {
      throw new RpcError(101, 'not today', 'tomorrow');
    });
    expect(await performRpc('refuse')).toMatchObject({ status: 500, code: 'internal', msg: expect.stringContaining('not today') });
  });

  test('rejects an unknown method', async () => {
    expect(await performRpc('none')).toMatchObject({ status: 400, code: 'invalid_argument' });
  });

  test('fails after response_timeout_ms', async () => {
    let respond;
    ben.me.registerRpcMethod('dawdle', () => new Promise((resolve) => (respond = resolve)));
    expect(await performRpc('dawdle', { response_timeout_ms: 1_000 })).toMatchObject({ status: 408, code: 'canceled' });
    respond('too late');
  });

  test('rejects a payload of more than 15 KiB', async () => {
    expect(await performRpc('greet', { payload: 'x'.repeat(15 * 1024 + 1) })).toMatchObject({ status: 400, code: 'invalid_argument' });
  });

  test('fails when the participant leaves meanwhile', async () => {
    const dan = await join({ room, identity: 'dan' });
    const isCalled = new Promise((resolve) => {
      dan.me.registerRpcMethod('leave', () => {
        resolve(undefined);
        return new Promise(() => {});
      });
    });
    await isReachable(dan);
    const response = performRpc('leave', { destination_identity: 'dan', response_timeout_ms: 4_000 });
    await isCalled;
    await dan.leave();
    expect(expectedInSession('participant that leaves during an RPC', 'possible statuses', session.kind)).toContain((await response).status);
  });
});
