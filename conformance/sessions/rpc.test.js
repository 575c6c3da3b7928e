'use strict';

// RPC between participants.

const { RpcError } = require('../support/rtc.js');
const { useSession } = require('../support/use-session.js');

const { joinAll, newRoom } = useSession();
const { ErrorCode } = RpcError;

let ann, ben;

beforeAll(async () => {
  [ann, ben] = await joinAll(newRoom(), 'ann', 'ben');
}, 30_000);

/** Ann calls a method of Ben. @param {string} method @param {Record<string, any>} [call] */
const call = (method, call) => ann.me.performRpc({ destinationIdentity: 'ben', method, payload: '', ...call });

test('a method receives the payload, and its client the return value', async () => {
  const invocations = [];
  ben.me.registerRpcMethod('greet', async (invocation) => {
    invocations.push(invocation);
    return `hello ${invocation.payload}`;
  });
  expect(await call('greet', { payload: 'über 😀', responseTimeout: 9_000 })).toBe('hello über 😀');
  expect(invocations).toMatchObject([{ callerIdentity: 'ann', method: 'greet', payload: 'über 😀' }]);
});

test('concurrent calls each get their own response', async () => {
  ben.me.registerRpcMethod('echo', async ({ payload }) => payload);
  const payloads = Array.from({ length: 8 }, (_, index) => String(index));
  expect(await Promise.all(payloads.map((payload) => call('echo', { payload })))).toEqual(payloads);
});

test('a method can call a method of its caller', async () => {
  ann.me.registerRpcMethod('name', async () => 'ann');
  ben.me.registerRpcMethod('name', async () => ben.me.performRpc({ destinationIdentity: 'ann', method: 'name', payload: '' }));
  expect(await call('name')).toBe('ann');
});

test('an error of the method reaches the client with its code and data', async () => {
  ben.me.registerRpcMethod('refuse', async () => {
    throw new RpcError(101, 'not today', 'tomorrow');
  });
  await expect(call('refuse')).rejects.toMatchObject({ code: 101, message: 'not today', data: 'tomorrow' });
});

test('a call to an unregistered method fails with UNSUPPORTED_METHOD', async () => {
  await expect(call('none')).rejects.toMatchObject({ code: ErrorCode.UNSUPPORTED_METHOD });
});

test('a call of a slow method fails with RESPONSE_TIMEOUT', async () => {
  let respond;
  ben.me.registerRpcMethod('dawdle', () => new Promise((resolve) => (respond = resolve)));
  await expect(call('dawdle', { responseTimeout: 1_500 })).rejects.toMatchObject({ code: ErrorCode.RESPONSE_TIMEOUT });
  respond('too late');
});
