'use strict';

// HTTP proxies of the environment, and a path in the URL.

require('./support/environment.js');
const { certificates } = require('./support/certificates.js');
const { callInChild, freePort } = require('./support/faults.js');
const { healthy, html } = require('./support/fault-server.js');
const { mediaAt } = require('./support/media.js');
const { startProxy } = require('./support/proxy.js');
const { cleanUp, serve } = require('./support/serve.js');

describe('a path in the URL', () => {
  test.each(['/livekit', '/livekit/', '/a/b%20c'])('is kept: %s', async (prefix) => {
    const server = await serve();
    const media = mediaAt(`${server.url}${prefix}`);
    await media.createRoom('room');
    const kept = prefix.replace(/\/$/, '');
    expect(server.requests[0].target).toBe(`${kept}/twirp/livekit.RoomService/CreateRoom`);
    expect(await media.mediaUrl()).toBe(`${server.url.replace('http', 'ws')}${kept}`);
  });
});

describe('a proxy', () => {
  async function proxied(certificate) {
    const server = await serve(healthy(), certificate);
    const proxy = await startProxy(server.port);
    cleanUp(() => proxy.close());
    return { server, proxy };
  }

  test.each(['HTTP_PROXY', 'http_proxy'])('in %s is used for http', async (variable) => {
    const { server, proxy } = await proxied();
    const { result } = await callInChild('http://livekit.test', { env: { [variable]: proxy.url } });
    expect(result.name).toBe('room');
    expect(server.requests).toHaveLength(1);
    expect(proxy.seen[0].target).toBe('http://livekit.test/twirp/livekit.RoomService/CreateRoom');
  });

  test.each(['HTTPS_PROXY', 'https_proxy'])('in %s is used for https, as a tunnel', async (variable) => {
    const { server, proxy } = await proxied(certificates().here);
    const env = { [variable]: proxy.url, NODE_EXTRA_CA_CERTS: certificates().authorityFile };
    const { result } = await callInChild('wss://livekit.test', { env });
    expect(result.name).toBe('room');
    expect(server.requests).toHaveLength(1);
    expect(proxy.seen.map(({ method, target }) => [method, target])).toEqual([['CONNECT', 'livekit.test:443']]);
    expect(JSON.stringify(proxy.seen)).not.toContain('eyJ');
  });

  test('for the other scheme is not used', async () => {
    const { proxy } = await proxied();
    expect((await callInChild('http://livekit.test', { env: { HTTPS_PROXY: proxy.url } })).code).toBe('UNAVAILABLE');
    expect((await callInChild('https://livekit.test', { env: { HTTP_PROXY: proxy.url } })).code).toBe('UNAVAILABLE');
    expect(proxy.seen).toHaveLength(0);
  });

  test.each([
    ['NO_PROXY', 'livekit.test'],
    ['no_proxy', '.livekit.test, example.org'],
    ['NO_PROXY', '*'],
    ['NO_PROXY', 'example.org,test'],
  ])('is not used for a host in %s: %s', async (variable, hosts) => {
    const { proxy } = await proxied();
    const { code } = await callInChild('http://sfu.livekit.test'.replace(hosts === 'livekit.test' ? 'sfu.' : '', ''), { env: { HTTP_PROXY: proxy.url, [variable]: hosts } });
    expect(code).toBe('UNAVAILABLE');
    expect(proxy.seen).toHaveLength(0);
  });

  test('is used for a host that is not in NO_PROXY', async () => {
    const { proxy } = await proxied();
    const { result } = await callInChild('http://livekit.test', { env: { HTTP_PROXY: proxy.url, NO_PROXY: 'example.org' } });
    expect(result.name).toBe('room');
    expect(proxy.seen).toHaveLength(1);
  });

  test.each(['127.0.0.1', 'localhost', '127.1.2.3', '[::1]', 'LOCALHOST'])('is not used for loopback: %s', async (host) => {
    const { server, proxy } = await proxied();
    const { result, code } = await callInChild(`http://${host}:${server.port}`, { env: { HTTP_PROXY: proxy.url, http_proxy: proxy.url, NO_PROXY: 'example.org' } });
    // The server listens on 127.0.0.1 only.
    if (['127.0.0.1', 'localhost', 'LOCALHOST'].includes(host)) expect(result.name).toBe('room');
    else expect(code).toBe('UNAVAILABLE');
    expect(proxy.seen).toHaveLength(0);
  });

  test('is not read from HTTP_PROXY under CGI, because a Proxy header of a request sets it', async () => {
    const { proxy } = await proxied();
    expect((await callInChild('http://livekit.test', { env: { HTTP_PROXY: proxy.url, REQUEST_METHOD: 'GET' } })).code).toBe('UNAVAILABLE');
    expect(proxy.seen).toHaveLength(0);
  });

  test('receives the password of its URL, and no message contains it', async () => {
    const { proxy } = await proxied();
    const withPassword = proxy.url.replace('//', '//user:proxy-password@');
    await callInChild('http://livekit.test', { env: { HTTP_PROXY: withPassword } });
    expect(proxy.seen[0].headers['proxy-authorization']).toBe(`Basic ${Buffer.from('user:proxy-password').toString('base64')}`);
    const failed = await callInChild('http://livekit.test', { env: { HTTP_PROXY: `http://user:proxy-password@127.0.0.1:${await freePort()}` } });
    expect(failed.code).toBe('UNAVAILABLE');
    expect(JSON.stringify(failed)).not.toContain('proxy-password');
  });

  test.each(['http://pass word@:x', 'socks5://user:pass-word@127.0.0.1:1080', 'ftp://127.0.0.1'])('with an invalid URL is INVALID_CONFIG, and the message names the variable: %s', async (url) => {
    const failure = await callInChild('http://livekit.test', { env: { HTTP_PROXY: url } });
    expect(failure.code).toBe('INVALID_CONFIG');
    expect(failure.message).toContain('HTTP_PROXY');
    expect(failure.message).not.toMatch(/pass.word/);
  });

  test('that rejects the request is UNAVAILABLE', async () => {
    const server = await serve(html(407));
    const failure = await callInChild('https://livekit.test', { env: { HTTPS_PROXY: server.url } });
    expect(failure).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
  });
});
