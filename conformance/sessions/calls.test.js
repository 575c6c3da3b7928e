'use strict';

// Methods of a participant that another calls.

const { RpcError } = require('../support/rtc.js');
const { setSession } = require('../support/session.js');

const { gather, newRoom } = setSession();
const { ErrorCode } = RpcError;

let ann, ben;

beforeAll(async () => {
  [ann, ben] = await gather(newRoom(), 'ann', 'ben');
}, 30_000);

/** Ann calls. @param {string} method @param {Record<string, any>} [call] */
const calls = (method, call) => ann.me.performRpc({ destinationIdentity: 'ben', method, payload: '', ...call });

test('a method gets the payload and tells its caller what it gives', async () => {
  const invocations = [];
  ben.me.registerRpcMethod('greet', async (invocation) => {
    invocations.push(invocation);
    return `hello ${invocation.payload}`;
  });
  expect(await calls('greet', { payload: 'über 😀', responseTimeout: 9_000 })).toBe('hello über 😀');
  expect(invocations).toMatchObject([{ callerIdentity: 'ann', method: 'greet', payload: 'über 😀' }]);
});

test('each of many calls at once gets its own answer', async () => {
  ben.me.registerRpcMethod('echo', async ({ payload }) => payload);
  const payloads = Array.from({ length: 8 }, (_, index) => String(index));
  expect(await Promise.all(payloads.map((payload) => calls('echo', { payload })))).toEqual(payloads);
});

test('both call each other', async () => {
  ann.me.registerRpcMethod('name', async () => 'ann');
  ben.me.registerRpcMethod('name', async () => ben.me.performRpc({ destinationIdentity: 'ann', method: 'name', payload: '' }));
  expect(await calls('name')).toBe('ann');
});

test('an error of the method reaches the caller, with its code and its data', async () => {
  ben.me.registerRpcMethod('refuse', async () => {
    throw new RpcError(101, 'not today', 'tomorrow');
  });
  await expect(calls('refuse')).rejects.toMatchObject({ code: 101, message: 'not today', data: 'tomorrow' });
});

test('a method that is not there is unsupported', async () => {
  await expect(calls('none')).rejects.toMatchObject({ code: ErrorCode.UNSUPPORTED_METHOD });
});

test('a method that is too slow is given up', async () => {
  let goOn;
  ben.me.registerRpcMethod('dawdle', () => new Promise((resolve) => (goOn = resolve)));
  await expect(calls('dawdle', { responseTimeout: 1_500 })).rejects.toMatchObject({ code: ErrorCode.RESPONSE_TIMEOUT });
  goOn('too late');
});
