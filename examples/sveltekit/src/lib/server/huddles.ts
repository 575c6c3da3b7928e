import { building, dev } from '$app/env';
import { type MediaRoomInfoSettings, type MediaService, isMediaError } from '@maravilla-labs/platform';
import { platform } from './platform';
import type { User } from './session';

/** A huddle with at least one participant. */
export interface Huddle {
  groupId: string;
  /** The participants' names. */
  people: string[];
}

export const SWITCHED_OFF = 'Calls are switched off';
export const BAD_NAME = 'The name of a huddle has 1 to 40 lowercase letters, digits and dashes';
/** Settings of every huddle's room. Pass them to `createRoom`, and to `generateToken` as `roomSettings`. */
export const settings: MediaRoomInfoSettings = { maxParticipants: 12, emptyTimeoutSecs: 60 };

/** Prefix of the huddles' room names. */
const PREFIX = 'huddle:';
/** Interval at which the media server is polled for the list of huddles. */
const POLL_MS = 1_000;
/** Timeout of the calls that a page waits for. Past it the page is rendered without the list of huddles. */
const ROSTER_TIMEOUT_MS = 2_000;
/** Interval of the comments that keep proxies from closing an idle stream. */
const KEEP_ALIVE_MS = 15_000;
/** Maximum events that a client may leave unread; past it its stream is closed, and the browser reconnects. */
const MAX_UNREAD_EVENTS = 50;

/** Makes an error response whose text is shown to the user. */
export const errorResponse = (status: number, error: string) => Response.json({ error }, { status });

export const isGroupId = (text: string) => /^[a-z0-9][a-z0-9-]{0,39}$/.test(text);

/** Returns the name of the group's room. Throws a 400 response for an invalid name. */
export function roomOf(groupId: string): string {
  if (!isGroupId(groupId)) throw errorResponse(400, BAD_NAME);
  return PREFIX + groupId;
}

/** Returns the media service if it is configured and has a URL that browsers can connect to. */
export async function openMedia(): Promise<MediaService | undefined> {
  return (await platform.media?.mediaUrl()) ? platform.media : undefined;
}

/** Returns the media service, for routes that need it. Throws a 503 response if it is not available. */
export async function requireMedia(): Promise<MediaService> {
  const media = await openMedia();
  if (!media) throw errorResponse(503, SWITCHED_OFF);
  return media;
}

/** Throws a 403 response unless the user is in the room and may publish. */
export async function requireSpeaker(media: MediaService, roomId: string, user: User): Promise<void> {
  const people = await media.listParticipants(roomId);
  if (!people.some(({ identity, canPublish }) => identity === user.id && canPublish)) throw errorResponse(403, 'You are not in this huddle');
}

/** Returns the response that `work` returns or throws. If it fails with a `MediaError`, logs that and returns an error response without its details. */
export async function withErrorResponse(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Response) return error;
    if (!isMediaError(error)) throw error;
    console.error(error.code, error.operation, error.message);
    return errorResponse(error.retryable ? 503 : 500, 'Calls are temporarily unavailable');
  }
}

/** Lists the huddles that have participants, sorted by name. */
export async function readHuddles(): Promise<Huddle[]> {
  const media = await openMedia();
  const options = { timeoutMs: ROSTER_TIMEOUT_MS };
  const rooms = (await media?.listRooms(options)) ?? [];
  const huddles = rooms
    .filter(({ name }) => name.startsWith(PREFIX))
    .map(async ({ name }) => {
      const people = (await media?.listParticipants(name, options)) ?? [];
      return { groupId: name.slice(PREFIX.length), people: people.map((person) => person.name) };
    });
  return (await Promise.all(huddles)).filter(({ people }) => people.length > 0);
}

/** An open event stream of one client. */
interface Subscriber {
  send: (huddles: string) => void;
  /** Stops sending, because the client has disconnected. */
  unsubscribe: () => void;
  /** Closes the stream. */
  close: () => void;
}

const subscribers = new Set<Subscriber>();
/** The JSON that was sent last. */
let latest = '';
let isPolling = false;
let hasFailed = false;

/** Polls the media server while there are subscribers: a hundred open streams cause as many requests as one. */
async function poll(): Promise<void> {
  if (isPolling) return;
  isPolling = true;
  while (subscribers.size > 0) {
    try {
      const huddles = JSON.stringify(await readHuddles());
      if (huddles !== latest) for (const { send } of subscribers) send(huddles);
      latest = huddles;
      hasFailed = false;
    } catch (error) {
      if (!hasFailed) console.error('the roster cannot be read:', error instanceof Error ? error.message : error);
      hasFailed = true;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  isPolling = false;
  latest = '';
}

/** Streams the list of huddles as server-sent events: now and after each change, until the client disconnects. */
export function streamHuddles(request: Request): Response {
  // The body of a response to HEAD is never read or cancelled.
  if (request.method === 'HEAD') return new Response();
  let subscriber: Subscriber | undefined;
  const body = new ReadableStream({
    start: (controller) => {
      subscriber = subscribe(controller, request.signal);
    },
    cancel: () => subscriber?.unsubscribe(),
  });
  // Without no-transform, a server that compresses responses would buffer the events.
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' } });
}

function subscribe(controller: ReadableStreamDefaultController, signal: AbortSignal): Subscriber {
  const write = (text: string) => {
    // A browser that is still there reconnects by itself.
    if ((controller.desiredSize ?? 0) < -MAX_UNREAD_EVENTS) subscriber.close();
    else controller.enqueue(new TextEncoder().encode(text));
  };
  const keepAlive = setInterval(() => write(': still here\n\n'), KEEP_ALIVE_MS);
  const subscriber: Subscriber = {
    send: (huddles) => write(`data: ${huddles}\n\n`),
    unsubscribe: () => {
      clearInterval(keepAlive);
      subscribers.delete(subscriber);
    },
    close: () => {
      subscriber.unsubscribe();
      controller.close();
    },
  };
  signal.addEventListener('abort', subscriber.unsubscribe);
  subscribers.add(subscriber);
  if (latest !== '') subscriber.send(latest);
  void poll();
  return subscriber;
}

function closeAll(): void {
  for (const { close } of subscribers) close();
}

// The production server waits for open streams before it exits. The dev server handles these signals itself.
if (!dev && !building) {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, closeAll);
}
