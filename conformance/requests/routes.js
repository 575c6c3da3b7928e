'use strict';

// Paths, verbs, content types and CORS.

const { deviates } = require('../deviations.js');
const { badRoute, denied, empty, ok, text } = require('../support/responses.js');

/** @typedef {import('../support/server.js').Request} Request */

const SERVICE = '/twirp/livekit.RoomService';
const LIST = `${SERVICE}/ListRooms`;
const ORIGIN = 'https://app.example';
const JSON_TYPE = { 'content-type': 'application/json' };
const notFound = text(404, '404 page not found\n', { vary: 'Origin', 'x-content-type-options': 'nosniff' });
const token = { video: { roomList: true } };
const noRooms = ok({ rooms: [] });
const body = '{"names":["$room"]}';

const root = ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'].map((verb) => ({
  title: `${verb} / responds OK`,
  verb,
  path: '/',
  expected: text(200, 'OK', { vary: 'Origin' }),
}));

/** @type {Request[]} */
const plain = [
  ...root,
  { title: 'HEAD / responds with the Content-Length of GET', verb: 'HEAD', path: '/', expected: text(200, '', { 'content-length': '2' }) },
  { title: 'GET / names the server', verb: 'GET', path: '/', expected: deviates('Server header', 'in the response') },
  { title: 'GET / with a query responds OK', verb: 'GET', path: '/?a=b', expected: text(200, 'OK') },
  { title: 'GET // responds OK', verb: 'GET', path: '//', expected: text(200, 'OK') },
  {
    title: 'GET / rejects an invalid token',
    verb: 'GET',
    path: '/',
    headers: { authorization: 'Bearer x' },
    expected: text(401, 'invalid authorization token'),
  },
  {
    title: 'GET of an unknown path rejects an invalid token',
    verb: 'GET',
    path: '/none',
    headers: { authorization: 'Bearer x' },
    expected: text(401, 'invalid authorization token'),
  },
  { title: 'HEAD of an unknown path is not found', verb: 'HEAD', path: '/none', expected: { ...notFound, text: '' } },
];

const unknownPaths = [
  '/none',
  '/twirp',
  '/twirp/',
  '/Twirp/livekit.RoomService/ListRooms',
  '/livekit.RoomService/ListRooms',
  '/settings/regions',
  '/rtc/',
  '/rtc/v2',
  '/rtc/validate/',
].flatMap((path) => ['GET', 'POST'].map((verb) => ({ title: `${verb} ${path} is not found`, verb, path, expected: notFound })));

const SERVICES = ['Egress/ListEgress', 'Ingress/ListIngress', 'SIP/ListSIPInboundTrunk', 'AgentDispatchService/ListDispatch'];
const UNKNOWN_SERVICES = ['None/ListRooms', 'roomservice/ListRooms'];

const otherServices = [...SERVICES, ...UNKNOWN_SERVICES].map((method) => ({
  title: `POST /twirp/livekit.${method}`,
  path: `/twirp/livekit.${method}`,
  headers: JSON_TYPE,
  token,
  body: '{}',
  expected: deviates(
    'unsupported service',
    SERVICES.includes(method) ? 'known to livekit-server' : 'unknown to livekit-server',
  ),
}));

const otherVerbs = UNKNOWN_SERVICES.map((method) => ({
  title: `GET /twirp/livekit.${method} is not found`,
  verb: 'GET',
  path: `/twirp/livekit.${method}`,
  expected: notFound,
}));

const rtc = ['/rtc', '/rtc/v1'].flatMap((path) =>
  ['GET', 'POST'].map((verb) => ({
    title: `${verb} ${path} without an upgrade is not found`,
    verb,
    path,
    expected: empty(404, { vary: 'Origin' }),
  })),
);

const verbs = ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].flatMap((verb) =>
  ['ListRooms', 'None'].map((method) => ({
    title: `${verb} of the method ${method} is a bad route`,
    verb,
    path: `${SERVICE}/${method}`,
    token,
    expected: badRoute(`unsupported method "${verb}" (only POST is allowed)`, `${verb} ${SERVICE}/${method}`),
  })),
);

const methods = ['/None', '/listRooms', '/list_rooms', '/ListRooms/', '/List/Rooms', '/'].map((end) => ({
  title: `POST of the method ${end} is a bad route`,
  path: SERVICE + end,
  headers: JSON_TYPE,
  body: '{}',
  expected: badRoute(`no handler for path "${SERVICE}${end}"`, `POST ${SERVICE}${end}`),
}));

/** @type {Request[]} */
const paths = [
  { title: 'HEAD of a method is a bad route', verb: 'HEAD', path: LIST, expected: { status: 404, type: 'application/json', text: '' } },
  { title: 'a method with a query is called', method: 'ListRooms', path: `${LIST}?a=b`, token, body, expected: noRooms },
  { title: 'a method after two slashes is called', method: 'ListRooms', path: `/${LIST}`, token, body, expected: noRooms },
  { title: 'a percent-encoded method is called', method: 'ListRooms', path: `${SERVICE}/%4cistRooms`, token, body, expected: noRooms },
  { title: 'a percent-encoded slash does not separate segments', path: '/rtc%2Fvalidate', expected: text(404, '404 page not found\n') },
  {
    title: 'the service without a slash',
    path: SERVICE,
    expected: deviates('path that is not clean', 'missing slash'),
  },
  {
    title: 'a path with two slashes inside',
    path: `/twirp//livekit.RoomService/ListRooms`,
    expected: deviates('path that is not clean', 'double slash'),
  },
];

const WRONG_TYPES = [
  'text/plain',
  'application/x-protobuf',
  'application/grpc',
  'application/json, text/plain',
  'multipart/form-data; boundary=x',
  '',
];
const wrongType = (/** @type {string} */ type) => badRoute(`unexpected Content-Type: "${type}"`, `POST ${LIST}`);

/** @type {Request[]} */
const types = [
  ...WRONG_TYPES.map((type) => ({
    title: `the content type ${JSON.stringify(type)} is a bad route`,
    method: 'ListRooms',
    token,
    body,
    headers: { 'content-type': type },
    expected: wrongType(type),
  })),
  {
    title: 'a missing content type is a bad route',
    method: 'ListRooms',
    token,
    body,
    headers: { 'content-type': undefined },
    expected: wrongType(''),
  },
  {
    title: 'a wrong content type without a token is a bad route',
    method: 'ListRooms',
    body,
    headers: { 'content-type': 'text/plain' },
    expected: wrongType('text/plain'),
  },
  ...['application/json; charset=utf-8', 'application/json;charset=UTF-8', 'APPLICATION/JSON', 'application/json ;x=y'].map((type) => ({
    title: `the content type ${type} is JSON`,
    method: 'ListRooms',
    token,
    body,
    headers: { 'content-type': type },
    expected: noRooms,
  })),
  {
    title: 'the content type application/protobuf; x=y is protobuf',
    method: 'ListRooms',
    encoding: 'protobuf',
    message: { names: ['$room'] },
    token,
    headers: { 'content-type': 'application/protobuf; x=y' },
    expected: noRooms,
  },
  {
    title: 'Accept and Accept-Encoding are ignored',
    method: 'ListRooms',
    token,
    body,
    headers: { accept: 'application/protobuf', 'accept-encoding': 'gzip' },
    expected: noRooms,
  },
  {
    title: 'a request with Expect: 100-continue gets its response',
    method: 'ListRooms',
    token,
    body,
    headers: { expect: '100-continue' },
    expected: noRooms,
  },
];

const CORS = {
  'access-control-allow-origin': ORIGIN,
  'access-control-expose-headers': '*',
  'access-control-allow-credentials': undefined,
  vary: 'Origin',
};
const NO_CORS = { 'access-control-allow-origin': undefined, 'access-control-expose-headers': undefined, vary: 'Origin' };
const headers = { ...JSON_TYPE, origin: ORIGIN };

/** @type {Request[]} */
const origins = [
  { title: 'CORS: a response', method: 'ListRooms', token, body, headers, expected: { ...noRooms, headers: CORS } },
  { title: 'CORS: a response without Origin', method: 'ListRooms', token, body, expected: { ...noRooms, headers: NO_CORS } },
  { title: 'CORS: a Twirp error', method: 'ListRooms', body, headers, expected: { ...denied, headers: CORS } },
  {
    title: 'CORS: a rejected token',
    method: 'ListRooms',
    body,
    headers: { ...headers, authorization: 'Bearer x' },
    expected: text(401, 'invalid authorization token', CORS),
  },
  { title: 'CORS: an unknown path', verb: 'GET', path: '/none', headers, expected: text(404, '404 page not found\n', CORS) },
  {
    title: 'CORS: a bad route',
    verb: 'GET',
    path: LIST,
    headers,
    expected: { ...badRoute('unsupported method "GET" (only POST is allowed)', `GET ${LIST}`), headers: CORS },
  },
  {
    title: 'CORS: the root',
    verb: 'GET',
    path: '/',
    headers: { origin: 'null' },
    expected: text(200, 'OK', { ...CORS, 'access-control-allow-origin': 'null' }),
  },
  { title: 'CORS: a verb that is not allowed', verb: 'PUT', path: '/', headers, expected: text(200, 'OK', NO_CORS) },
];

const VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers';
const NOT_ALLOWED = {
  vary: VARY,
  'access-control-allow-origin': undefined,
  'access-control-allow-methods': undefined,
  'access-control-allow-headers': undefined,
  'access-control-max-age': undefined,
};
/** @param {string} method @param {string} [headers] */
const allowed = (method, headers) => ({
  vary: VARY,
  'access-control-allow-origin': ORIGIN,
  'access-control-allow-methods': method,
  'access-control-allow-headers': headers,
  'access-control-max-age': '86400',
  'access-control-expose-headers': undefined,
});
/**
 * @param {string} title
 * @param {Request['headers']} headers
 * @param {Record<string, string | undefined>} expected
 * @param {string} [path]
 * @returns {Request}
 */
const preflight = (title, headers, expected, path = LIST) => ({
  title: `CORS: preflight of ${title}`,
  verb: 'OPTIONS',
  path,
  headers: { origin: ORIGIN, 'access-control-request-method': 'POST', ...headers },
  expected: empty(204, expected),
});

const names = 'authorization,content-type';
const preflights = [
  preflight('a request', {}, allowed('POST')),
  preflight('a request with headers', { 'access-control-request-headers': names }, allowed('POST', names)),
  preflight('a request with unusual header names', { 'access-control-request-headers': 'X-A , x-b' }, allowed('POST', 'X-A , x-b')),
  preflight('a request with an invalid token', { authorization: 'Bearer x' }, allowed('POST')),
  preflight('an unknown path', {}, allowed('POST'), '/none'),
  preflight('a validation', { 'access-control-request-method': 'GET' }, allowed('GET'), '/rtc/validate'),
  preflight('a verb that is not allowed', { 'access-control-request-method': 'PUT' }, NOT_ALLOWED),
  preflight('a verb in lower case', { 'access-control-request-method': 'post' }, NOT_ALLOWED),
  preflight('a request without Origin', { origin: undefined }, NOT_ALLOWED),
  ...['GET', 'HEAD', 'PATCH', 'DELETE', 'OPTIONS'].map((verb) =>
    preflight(`a ${verb}`, { 'access-control-request-method': verb }, allowed(verb), '/'),
  ),
];

module.exports = [...plain, ...unknownPaths, ...otherServices, ...otherVerbs, ...rtc, ...verbs, ...methods, ...paths, ...types, ...origins, ...preflights];
