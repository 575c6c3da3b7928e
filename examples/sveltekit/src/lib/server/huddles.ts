import { building, dev } from '$app/env';
import { type MediaRoomInfoSettings, type MediaService, isMediaError } from '@maravilla-labs/platform';
import { platform } from './platform';
import type { User } from './session';

/** A huddle that somebody is in. */
export interface Huddle {
  groupId: string;
  /** Their names. */
  people: string[];
}

export const SWITCHED_OFF = 'Calls are switched off';
export const BAD_NAME = 'A huddle is named with 1 to 40 small letters, digits and dashes';
export const settings: MediaRoomInfoSettings = { maxParticipants: 12, emptyTimeoutSecs: 60 };

const PREFIX = 'huddle:';
const POLL_MS = 1_000;
/** Who waits for a page does not wait for the media server. */
const ROSTER_MS = 2_000;
const KEEP_ALIVE_MS = 15_000;
/** Texts that a lobby may leave unread before it is let go. */
const MOST_UNREAD = 50;

export const refuse = (status: number, error: string) => Response.json({ error }, { status });

export const isGroupId = (text: string) => /^[a-z0-9][a-z0-9-]{0,39}$/.test(text);

/** The room of a group. Throws the answer 400 for what is no name. */
export function roomOf(groupId: string): string {
  if (!isGroupId(groupId)) throw refuse(400, BAD_NAME);
  return PREFIX + groupId;
}

/** Media, where there is any and browsers can reach it. */
export async function openMedia(): Promise<MediaService | undefined> {
  return (await platform.media?.mediaUrl()) ? platform.media : undefined;
}

/** The same, for routes that cannot do without. Throws the answer 503. */
export async function requireMedia(): Promise<MediaService> {
  const media = await openMedia();
  if (!media) throw refuse(503, SWITCHED_OFF);
  return media;
}

/** Throws the answer 403 unless the user is in the room, and not only to listen. */
export async function requireSpeaker(media: MediaService, roomId: string, user: User): Promise<void> {
  const people = await media.listParticipants(roomId);
  if (!people.some(({ identity, canPublish }) => identity === user.id && canPublish)) throw refuse(403, 'You are not in this huddle');
}

/** Answers with what `work` gives or throws. What the media server has to say about a failure is for the log, not for visitors. */
export async function answer(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Response) return error;
    if (!isMediaError(error)) throw error;
    console.error(error.code, error.operation, error.message);
    return refuse(error.retryable ? 503 : 500, 'Calls do not work just now');
  }
}

/** The huddles that somebody is in, by name. */
export async function readHuddles(): Promise<Huddle[]> {
  const media = await openMedia();
  const options = { timeoutMs: ROSTER_MS };
  const rooms = (await media?.listRooms(options)) ?? [];
  const huddles = rooms
    .filter(({ name }) => name.startsWith(PREFIX))
    .map(async ({ name }) => {
      const people = (await media?.listParticipants(name, options)) ?? [];
      return { groupId: name.slice(PREFIX.length), people: people.map((person) => person.name) };
    });
  return (await Promise.all(huddles)).filter(({ people }) => people.length > 0);
}

interface Listener {
  tell: (huddles: string) => void;
  /** It has gone. */
  forget: () => void;
  /** It has to go. */
  end: () => void;
}

const listeners = new Set<Listener>();
let newest = '';
let isPolling = false;
let hasFailed = false;

/** Asks for all listeners, as long as there are any: a hundred open streams cost the media server as much as one. */
async function poll(): Promise<void> {
  if (isPolling) return;
  isPolling = true;
  while (listeners.size > 0) {
    try {
      const huddles = JSON.stringify(await readHuddles());
      if (huddles !== newest) for (const { tell } of listeners) tell(huddles);
      newest = huddles;
      hasFailed = false;
    } catch (error) {
      if (!hasFailed) console.error('the roster cannot be read:', error instanceof Error ? error.message : error);
      hasFailed = true;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  isPolling = false;
  newest = '';
}

/** The huddles as server-sent events: all of them now, and again at each change, until the request ends. */
export function streamHuddles(request: Request): Response {
  // Nobody would read it, and nobody tell when they are gone.
  if (request.method === 'HEAD') return new Response();
  let listener: Listener | undefined;
  const body = new ReadableStream({
    start: (controller) => {
      listener = listen(controller, request.signal);
    },
    cancel: () => listener?.forget(),
  });
  // Without no-transform a compressing server keeps the events back.
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' } });
}

function listen(controller: ReadableStreamDefaultController, signal: AbortSignal): Listener {
  const write = (text: string) => {
    // The browser comes back by itself if it is still there.
    if ((controller.desiredSize ?? 0) < -MOST_UNREAD) listener.end();
    else controller.enqueue(new TextEncoder().encode(text));
  };
  const keepAlive = setInterval(() => write(': still here\n\n'), KEEP_ALIVE_MS);
  const listener: Listener = {
    tell: (huddles) => write(`data: ${huddles}\n\n`),
    forget: () => {
      clearInterval(keepAlive);
      listeners.delete(listener);
    },
    end: () => {
      listener.forget();
      controller.close();
    },
  };
  signal.addEventListener('abort', listener.forget);
  listeners.add(listener);
  if (newest !== '') listener.tell(newest);
  void poll();
  return listener;
}

function endAll(): void {
  for (const { end } of listeners) end();
}

// A server that ends waits for its streams. In development it does not, and these signals are its own.
if (!dev && !building) {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, endAll);
}
